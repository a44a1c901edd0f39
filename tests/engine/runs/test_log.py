"""Following a run: whole lines, none lost, none twice."""

from __future__ import annotations

from pathlib import Path

from engine.events import Phase, Step, dump_event
from engine.runs.log import follow, last_event


def a_step(step: int) -> Step:
    return Step(step=step, total=9, loss=1 / 3, lr=1e-4, seconds=0.1)


def test_nothing_is_there_before_the_first_event(tmp_path: Path) -> None:
    assert follow(tmp_path / "events.jsonl") == ([], 0) and last_event(tmp_path / "events.jsonl") is None


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    log, line = tmp_path / "e", dump_event(a_step(1))
    log.write_bytes(line + line[:10])
    events, offset = follow(log)
    assert events == [a_step(1).model_copy(update={"time": events[0].time})] and offset == len(line)
    log.write_bytes(line + line)
    assert follow(log, offset) == (events, 2 * len(line))


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    log, good = tmp_path / "e", [a_step(1), Phase(name="Zeile \u2028 zwei"), a_step(3)]
    strange = [
        b'{"kind":"st',
        b'{"kind":"teleported","to":"mars"}',
        b"\xff\xfe",
        b"",
        b'{"kind":"step","step":"x"}',
    ]
    log.write_bytes(b"\n".join([*strange, dump_event(good[0]) + dump_event(good[1]), *strange, dump_event(good[2])]))
    events, offset = follow(log)
    assert events == good and offset == log.stat().st_size
    assert last_event(log) == good[2]


def test_reading_in_pieces_gives_the_same_as_reading_at_once(tmp_path: Path) -> None:
    log, pieces, offset = tmp_path / "e", [], 0
    whole = b"".join(dump_event(a_step(step)) for step in range(20))
    for end in range(0, len(whole) + 1, 37):
        log.write_bytes(whole[:end])
        events, offset = follow(log, offset)
        pieces += events
    log.write_bytes(whole)
    pieces += follow(log, offset)[0]
    assert pieces == follow(log)[0] and [event.step for event in pieces] == list(range(20))


def test_a_run_that_was_begun_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "e"
    log.write_bytes(b"".join(dump_event(a_step(step)) for step in range(5)))
    _, offset = follow(log)
    log.write_bytes(dump_event(a_step(7)))
    assert [event.step for event in follow(log, offset)[0]] == [7]


def test_the_newest_event_of_a_long_log_is_found_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "e"
    log.write_bytes(b"".join(dump_event(Phase(name="x" * 1000)) for _ in range(600)) + dump_event(a_step(8)))
    assert last_event(log).step == 8
