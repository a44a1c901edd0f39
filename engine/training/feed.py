"""What the coming batches need is read while the device works on this one.

Threads do it, not processes: Pillow, NumPy and torch let go of the interpreter while they decode, resize and copy.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """``make(number)``, made before it is asked for; numbers are asked for in their order, as a rule."""

    def __init__(self, make: Callable[[int], T], ahead: int = 2):
        self._make, self._ahead = make, ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._coming: dict[int, Future[T]] = {}

    def __call__(self, number: int) -> T:
        for old in [known for known in self._coming if not number <= known <= number + self._ahead]:
            self._coming.pop(old).cancel()
        for wanted in range(number, number + self._ahead + 1):
            if wanted not in self._coming:
                self._coming[wanted] = self._pool.submit(self._make, wanted)
        return self._coming.pop(number).result()

    def close(self) -> None:
        """Nothing is made any more."""
        self._pool.shutdown(cancel_futures=True)
