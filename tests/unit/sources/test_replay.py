"""A replay: order, pace, promises, rounds, positions and its end, on a clock that stands still."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.model.market import COMPLETE
from marketpulse.ports import Polled
from marketpulse.settings import Mapping, ReplaySettings
from marketpulse.sources.defaults import bundled
from marketpulse.sources.replay import ReplaySource, begin_again

T0 = 1_767_366_000
SECOND = 10**9


def trades(path: Path, count: int = 5, name: str = "t.csv") -> Path:
    file = path / name
    file.write_text("time,symbol,price,size,trade_id\n" + "".join(f"{T0 + i},A,{i + 1},1,x{i}\n" for i in range(count)))
    return file


def replay(file: Path, clock: ManualClock | None = None, **settings: Any) -> ReplaySource:
    settings.setdefault("speed", "max")
    return ReplaySource(
        ReplaySettings(files=(str(file),), **settings),
        "replay-x",
        lateness_ns=2 * SECOND,
        clock=clock or ManualClock(9),
    )


def rows(polled: Polled) -> list[dict[str, Any]]:
    return [row for batch in polled.batches for row in batch.to_pylist()]


def test_it_says_hello_sends_everything_and_says_goodbye(tmp_path: Path) -> None:
    source = replay(trades(tmp_path))
    hello = source.start(None)
    assert (hello.source, hello.mode, hello.simulated, hello.lateness_ns) == (
        "replay-x",
        "historical",
        False,
        2 * SECOND,
    )
    polled = source.poll(0)
    assert [(r["price"], r["event_time_ns"], r["source"], r["ingest_time_ns"]) for r in rows(polled)] == [
        (i + 1.0, (T0 + i) * SECOND, "replay-x", 9) for i in range(5)
    ]
    assert polled.goodbye_watermark_ns == COMPLETE
    assert polled.ended
    assert source.poll(0) == Polled(ended=True)


def test_rows_come_at_the_recorded_pace_and_the_watermark_moves_between_them(tmp_path: Path) -> None:
    clock = ManualClock(0)
    source = replay(trades(tmp_path), clock, speed="recorded")
    source.start(None)
    assert source.watermark_ns() is None
    assert [r["price"] for r in rows(source.poll(0))] == [1.0]
    assert source.watermark_ns() == T0 * SECOND
    assert not source.poll(0.5).batches
    assert source.watermark_ns() == T0 * SECOND + SECOND // 2
    assert [r["price"] for r in rows(source.poll(0.6))] == [2.0]
    assert clock.now_ns() == SECOND


def test_the_watermark_never_passes_a_row_that_is_not_sent(tmp_path: Path) -> None:
    source = replay(trades(tmp_path), speed="2/s", clock=ManualClock(0))
    source.start(None)
    sent = 0
    while not (polled := source.poll(10)).ended:
        sent += len(rows(polled))
        promised = source.watermark_ns()
        assert promised is not None
        assert (T0 + sent - 1) * SECOND <= promised < (T0 + sent) * SECOND


def test_a_bar_is_sent_before_the_watermark_reaches_its_close() -> None:
    source = replay(
        bundled("minutes/SPY.csv"), mapping=Mapping(timezone="America/New_York"), speed="1/s", clock=ManualClock(0)
    )
    source.start(None)
    (first,) = rows(source.poll(10))
    promised = source.watermark_ns()
    assert promised is not None
    assert first["close_time_ns"] <= promised < first["close_time_ns"] + 60 * SECOND


def test_set_aside_rows_are_handed_over_once_with_a_position(tmp_path: Path) -> None:
    file = trades(tmp_path)
    file.write_text(file.read_text() + "bad,A,1,1,y\n")
    source = replay(file)
    source.start(None)
    first = source.poll(0)
    assert [(r.row, r.reason, r.value) for r in first.rejected] == [(7, "bad_time", b"bad,A,1,1,y")]
    assert not first.batches
    again = replay(file)
    again.start(first.position)
    polled = again.poll(0)
    assert not polled.rejected
    assert len(rows(polled)) == 5


def test_the_same_files_give_the_same_run_id_and_a_new_beginning_another(tmp_path: Path) -> None:
    file = trades(tmp_path)
    source = replay(file, speed="1/s")
    hello = source.start(None)
    position = source.poll(0).position
    assert replay(file).start(position) == hello
    assert replay(file).start(begin_again(position)).run_id != hello.run_id
    assert begin_again(None) is None


def test_a_replay_that_was_finished_ends_at_once_and_says_so(tmp_path: Path) -> None:
    file = trades(tmp_path)
    source = replay(file)
    source.start(None)
    position = source.poll(0).position
    again = replay(file)
    again.start(position)
    assert again.finished_before
    assert again.poll(0) == Polled(ended=True)
    anew = replay(file)
    anew.start(begin_again(position))
    assert not anew.finished_before
    assert len(rows(anew.poll(0))) == 5


def test_files_that_changed_begin_anew(tmp_path: Path) -> None:
    source = replay(trades(tmp_path))
    source.start(None)
    position = source.poll(0).position
    changed = replay(trades(tmp_path, 7))
    changed.start(position)
    assert len(rows(changed.poll(0))) == 7


def test_a_loop_goes_on_with_later_times_another_run_and_other_ids(tmp_path: Path) -> None:
    source = replay(trades(tmp_path), loop=True)
    hello = source.start(None)
    first, second = source.poll(0), source.poll(0)
    assert not first.ended
    assert first.goodbye_watermark_ns is None
    assert second.hello is not None
    assert second.hello.run_id != hello.run_id
    assert [b["event_time_ns"] - a["event_time_ns"] for a, b in zip(rows(first), rows(second), strict=True)] == [
        60 * SECOND
    ] * 5
    assert [r["trade_id"] for r in rows(second)] == [f"x{i}~1" for i in range(5)]
    resumed = replay(tmp_path / "t.csv", loop=True)
    assert resumed.start(second.position) == replace(hello, run_id=second.hello.run_id)
    assert rows(resumed.poll(0))[0]["event_time_ns"] == (T0 + 120) * SECOND


def test_a_looping_bar_moves_all_its_times() -> None:
    source = replay(bundled("daily/KO.csv"), loop=True)
    source.start(None)
    first, second = source.poll(0), source.poll(0)
    bars = [[row for row in rows(p) if row["type"] == "bar"] for p in (first, second)]
    events = [[json.loads(row["body"]) for row in rows(p) if "body" in row] for p in (first, second)]
    shift = bars[1][0]["event_time_ns"] - bars[0][0]["event_time_ns"]
    assert shift % (7 * 86_400 * SECOND) == 0
    for before, after in zip(*bars, strict=True):
        assert (
            after["open_time_ns"] - before["open_time_ns"] == after["close_time_ns"] - before["close_time_ns"] == shift
        )
        assert (after["session_date"] - before["session_date"]).days * 86_400 * SECOND == shift
    assert events[1][0]["ex_time_ns"] - events[0][0]["ex_time_ns"] == shift


def test_a_speed_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="speed"):
        replay(trades(tmp_path), speed="ludicrous")
