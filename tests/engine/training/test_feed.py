"""What is read ahead is what would be read in its turn."""

from __future__ import annotations

import threading
import time

import pytest

from engine.training.feed import Feed


def test_the_next_ones_are_made_while_this_one_is_used():
    made: list[int] = []
    feed = Feed(lambda number: made.append(number) or number * 10, ahead=2)
    assert feed(0) == 0
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made == [0, 1, 2]
    assert [feed(1), feed(2), feed(3)] == [10, 20, 30]
    feed.close()
    assert sorted(made) == list(range(len(made)))  # each once


def test_any_number_can_be_asked_for():
    feed = Feed(lambda number: number)
    assert [feed(7), feed(8), feed(3), feed(100)] == [7, 8, 3, 100]
    feed.close()


def test_an_error_comes_when_its_number_is_asked_for_and_not_before():
    def make(number: int) -> int:
        if number == 2:
            raise OSError("the file is gone")
        return number

    feed = Feed(make)
    assert [feed(0), feed(1)] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        feed(2)
    feed.close()


def test_closing_ends_its_thread():
    feed = Feed(lambda number: number)
    feed(0)
    feed.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]
