"""The queue: one SQLite table, safe to use from any thread and process. Knows nothing of what a run does."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..control import Request, word_of
from ..errors import JobError
from .alive import is_alive

Status = Literal["queued", "running", "completed", "stopped", "failed", "interrupted"]
STALE_AFTER = 30.0
"""Seconds without a sign of life, after which a worker that cannot be seen is taken for dead."""
BEAT_EVERY = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    name     TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    lane     TEXT NOT NULL,                 -- one run of a lane at a time
    folder   TEXT NOT NULL,                 -- relative to this file where it is inside its folder
    status   TEXT NOT NULL,                 -- a Status, or removed: not shown, its folder stays
    added    REAL NOT NULL,
    position REAL NOT NULL,                 -- place in the line
    request  TEXT NOT NULL DEFAULT '',      -- what was asked of it while running: words
    worker   TEXT NOT NULL DEFAULT '',      -- who drives it, see alive.py
    beat     REAL NOT NULL DEFAULT 0        -- the worker's last sign of life
);
"""


@dataclass(frozen=True)
class RunRecord:
    name: str
    kind: str
    status: Status
    folder: Path
    added: float

    @property
    def lane(self) -> str:
        """What it takes turns with: a preview does not wait for a training."""
        return "draw" if self.kind == "generate" else "train"


class RunQueue:
    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise JobError(
                f"The list of runs, {path}, cannot be opened: {error}.",
                "If it is damaged, move it away: runs are found again by their folders.",
            ) from error

    def enqueue(self, record: RunRecord, worker: str = "") -> bool:
        """Puts a run at the end of the line, unless it waits or runs already; a known one keeps its first date.

        With ``worker``, which runs it at once: only if the lane is free. False if it is not.
        """
        values = {
            "name": record.name,
            "kind": record.kind,
            "folder": self._kept(record.folder),
            "lane": record.lane,
            "worker": worker,
            "now": time.time(),
        }
        with self._transaction() as db:
            if worker and db.execute("SELECT 1 FROM run WHERE lane = :lane AND status = 'running'", values).fetchone():
                return False
            db.execute(
                """INSERT INTO run (name, kind, folder, lane, worker, status, added, position, beat)
                   VALUES (:name, :kind, :folder, :lane, :worker, iif(:worker = '', 'queued', 'running'), :now, :now, :now)
                   ON CONFLICT (name) DO UPDATE SET
                       kind = :kind, folder = :folder, lane = :lane, worker = :worker, status = excluded.status,
                       position = :now, beat = :now, request = ''
                   WHERE run.status NOT IN ('queued', 'running') OR (run.status = 'queued' AND :worker != '')""",
                values,
            )
            return True

    def adopt(self, record: RunRecord) -> None:
        """Lists a run that was found on the disk; one that is known stays as it is."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO run (name, kind, folder, lane, status, added, position) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record.name,
                    record.kind,
                    self._kept(record.folder),
                    record.lane,
                    record.status,
                    record.added,
                    record.added,
                ),
            )

    def claim(self, lane: str, worker: str) -> RunRecord | None:
        """The first in the line of a free lane, now running; one statement, so two workers never take the same."""
        with self._transaction() as db:
            row = db.execute(
                """UPDATE run SET status = 'running', worker = :worker, beat = :now, request = '' WHERE name = (
                       SELECT name FROM run WHERE status = 'queued' AND lane = :lane
                       AND NOT EXISTS (SELECT 1 FROM run WHERE status = 'running' AND lane = :lane)
                       ORDER BY position LIMIT 1)
                   RETURNING *""",
                {"lane": lane, "worker": worker, "now": time.time()},
            ).fetchone()
        return self._record(row) if row else None

    def ask(self, name: str, request: Request | dict[str, Any]) -> None:
        """Leaves a word for the worker of a running run, or other values of settings. A waiting run that is asked to stop leaves the line."""
        with self._transaction() as db:
            db.execute(
                "UPDATE run SET request = request || ' ' || ? WHERE name = ? AND status = 'running'",
                (request if isinstance(request, str) else word_of(request), name),
            )
            if request == "stop":
                db.execute("UPDATE run SET status = 'stopped' WHERE name = ? AND status = 'queued'", (name,))

    def beat(self, name: str, worker: str) -> list[str] | None:
        """Says that a run is alive; returns, and clears, what was asked of it, in that order. None: it is no longer this worker's."""
        mine = "name = ? AND worker = ? AND status = 'running'"
        with self._connection() as db:
            row = db.execute(f"SELECT request, beat FROM run WHERE {mine}", (name, worker)).fetchone()
        if row is None:
            return None
        if not row["request"] and time.time() - row["beat"] < BEAT_EVERY:
            return []  # most calls write nothing
        with self._transaction() as db:
            row = db.execute(f"SELECT request FROM run WHERE {mine}", (name, worker)).fetchone()
            db.execute(f"UPDATE run SET beat = ?, request = '' WHERE {mine}", (time.time(), name, worker))
        return row["request"].split() if row else None

    def finish(self, name: str, worker: str, status: Status) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE run SET status = ?, request = '' WHERE name = ? AND worker = ? AND status = 'running'",
                (status, name, worker),
            )

    def recover(self, worker: str, driven: Collection[str]) -> list[str]:
        """Runs whose worker died without a word become interrupted. ``worker`` is who asks, and which it drives."""
        with self._connection() as db:
            running = db.execute("SELECT name, worker, beat FROM run WHERE status = 'running'").fetchall()
        now, dead = time.time(), []
        for row in running:
            mine = row["worker"] == worker
            if row["name"] not in driven if mine else not is_alive(row["worker"], fresh=now - row["beat"] < STALE_AFTER):
                self.finish(row["name"], row["worker"], "interrupted")
                dead.append(row["name"])
        return dead

    def remove(self, name: str) -> None:
        """Takes a run off the list, unless it is running."""
        with self._transaction() as db:
            db.execute("UPDATE run SET status = 'removed' WHERE name = ? AND status != 'running'", (name,))

    def forget(self, name: str) -> None:
        """As if it had never been listed: for a run whose folder is gone."""
        with self._transaction() as db:
            db.execute("DELETE FROM run WHERE name = ? AND status != 'running'", (name,))

    def get(self, name: str) -> RunRecord | None:
        with self._connection() as db:
            row = db.execute("SELECT * FROM run WHERE name = ? AND status != 'removed'", (name,)).fetchone()
        return self._record(row) if row else None

    def runs(self) -> list[RunRecord]:
        """All that are listed, the newest first."""
        with self._connection() as db:
            return [self._record(row) for row in db.execute("SELECT * FROM run WHERE status != 'removed' ORDER BY added DESC, rowid DESC")]

    def names(self) -> set[str]:
        """All that are known, those that were removed too."""
        with self._connection() as db:
            return {row["name"] for row in db.execute("SELECT name FROM run")}

    def _kept(self, folder: Path) -> str:
        """Relative to where the list lies, if inside: both can be moved or copied together."""
        place = self.path.parent
        return folder.relative_to(place).as_posix() if folder.is_relative_to(place) else str(folder)

    def _record(self, row: sqlite3.Row) -> RunRecord:
        return RunRecord(row["name"], row["kind"], row["status"], self.path.parent / row["folder"], row["added"])

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = NORMAL")
            yield db
        finally:
            db.close()  # an open transaction is rolled back

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction. Begun by hand: sqlite3 begins by itself only at the first write, so that a read
        before it would stand outside, and another process could write between the two."""
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
