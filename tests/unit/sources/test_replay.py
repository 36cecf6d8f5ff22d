"""A replay: order, pace, promises, rounds, positions and its end, and random rows of it, on a clock that stands still."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.model.market import COMPLETE, LATEST_TIME_NS
from marketpulse.ports import Hello, Polled
from marketpulse.settings import Mapping, ReplaySettings
from marketpulse.sources.defaults import bundled
from marketpulse.sources.pace import LONGEST_WAIT_S, ROWS_MAX, Pacer, Speed
from marketpulse.sources.replay import ReplaySource, begin_again
from marketpulse.sources.rounds import rounds_of
from marketpulse.sources.sample import SampleSource

T0 = 1_767_366_000
SECOND = 10**9
NOW = 1_800_000_000 * SECOND
NEW_YORK = ZoneInfo("America/New_York")
SPY = bundled("minutes/SPY.csv")
TIMES = np.array([0, 1, 2, 60, 3_600], np.int64) * SECOND + 1_600_000_000 * SECOND


def written(path: Path, count: int = 5, more: str = "") -> Path:
    """A file of so many trades, a second apart."""
    lines = "".join(f"{T0 + i},A,{i + 1},1,x{i}\n" for i in range(count))
    (path / "t.csv").write_text("time,symbol,price,size,trade_id\n" + lines + more)
    return path / "t.csv"


def replay(
    file: Path, clock: ManualClock | None = None, position: str | None = None, **more: Any
) -> tuple[ReplaySource, Hello]:
    """A source that has started, and how it said hello."""
    settings = ReplaySettings(files=(str(file),), **{"speed": "max", **more})
    source = ReplaySource(settings, "replay-x", lateness_ns=2 * SECOND, clock=clock or ManualClock(9))
    return source, source.start(position)


def rows(polled: Polled) -> list[dict[str, Any]]:
    return [row for batch in polled.batches for row in batch.to_pylist()]


def test_it_says_hello_sends_everything_and_says_goodbye(tmp_path: Path) -> None:
    source, hello = replay(written(tmp_path))
    said = (hello.source, hello.mode, hello.simulated, hello.lateness_ns)
    assert said == ("replay-x", "historical", False, 2 * SECOND)
    polled = source.poll(0)
    expected = [(i + 1.0, (T0 + i) * SECOND, "replay-x", 9) for i in range(5)]
    assert [(r["price"], r["event_time_ns"], r["source"], r["ingest_time_ns"]) for r in rows(polled)] == expected
    assert (polled.goodbye_watermark_ns, polled.ended) == (COMPLETE, True)
    assert source.poll(0) == Polled(ended=True)


def test_rows_come_at_the_recorded_pace_and_the_watermark_moves_between_them(tmp_path: Path) -> None:
    clock = ManualClock(0)
    source, _ = replay(written(tmp_path), clock, speed="recorded")
    assert source.watermark_ns() is None
    assert [r["price"] for r in rows(source.poll(0))] == [1.0]
    assert source.watermark_ns() == T0 * SECOND
    assert not source.poll(0.5).batches
    assert source.watermark_ns() == T0 * SECOND + SECOND // 2
    assert [r["price"] for r in rows(source.poll(0.6))] == [2.0]
    assert clock.now_ns() == SECOND


def test_the_watermark_never_passes_a_row_that_is_not_sent_nor_reaches_a_bars_close_before_it(tmp_path: Path) -> None:
    source, _ = replay(written(tmp_path), ManualClock(0), speed="2/s")
    sent = 0
    while not (polled := source.poll(10)).ended:
        sent += len(rows(polled))
        promised = source.watermark_ns()
        assert promised is not None
        assert (T0 + sent - 1) * SECOND <= promised < (T0 + sent) * SECOND
    source, _ = replay(SPY, ManualClock(0), mapping=Mapping(timezone="America/New_York"), speed="1/s")
    (first,) = rows(source.poll(10))
    promised = source.watermark_ns()
    assert promised is not None
    assert first["close_time_ns"] <= promised < first["close_time_ns"] + 60 * SECOND


def test_set_aside_rows_are_handed_over_once_with_a_position(tmp_path: Path) -> None:
    file = written(tmp_path, more="bad,A,1,1,y\n")
    first = replay(file)[0].poll(0)
    assert [(r.row, r.reason, r.value) for r in first.rejected] == [(7, "bad_time", b"bad,A,1,1,y")]
    assert not first.batches
    polled = replay(file, position=first.position)[0].poll(0)
    assert (len(polled.rejected), len(rows(polled))) == (0, 5)


def test_a_new_beginning_is_another_run_and_what_was_finished_ends_at_once(tmp_path: Path) -> None:
    file = written(tmp_path)
    source, hello = replay(file, speed="1/s")
    position = source.poll(0).position
    assert replay(file, position=position)[1] == hello, "the same files give the same run"
    assert replay(file, position=begin_again(position))[1].run_id != hello.run_id
    assert begin_again(None) is None
    position = replay(file)[0].poll(0).position
    again, _ = replay(file, position=position)
    assert again.finished_before
    assert again.poll(0) == Polled(ended=True)
    anew, _ = replay(file, position=begin_again(position))
    assert not anew.finished_before
    assert len(rows(anew.poll(0))) == 5
    assert len(rows(replay(written(tmp_path, 7), position=position)[0].poll(0))) == 7, "files that changed begin anew"


def test_a_loop_goes_on_with_later_times_another_run_and_other_ids_and_a_bar_moves_all_its_times(
    tmp_path: Path,
) -> None:
    source, hello = replay(written(tmp_path), loop=True)
    first, second = source.poll(0), source.poll(0)
    assert (first.ended, first.goodbye_watermark_ns) == (False, None)
    assert second.hello is not None
    assert second.hello.run_id != hello.run_id
    times = [[row["event_time_ns"] for row in rows(polled)] for polled in (first, second)]
    assert times[1] == [at + 60 * SECOND for at in times[0]]
    assert [r["trade_id"] for r in rows(second)] == [f"x{i}~1" for i in range(5)]
    resumed, again = replay(tmp_path / "t.csv", position=second.position, loop=True)
    assert again == replace(hello, run_id=second.hello.run_id)
    assert rows(resumed.poll(0))[0]["event_time_ns"] == (T0 + 120) * SECOND
    source, _ = replay(bundled("daily/KO.csv"), loop=True)
    polls = [rows(source.poll(0)) for _ in range(2)]
    bars = [[row for row in polled if row["type"] == "bar"] for polled in polls]
    events = [[json.loads(row["body"]) for row in polled if "body" in row] for polled in polls]
    shift = bars[1][0]["event_time_ns"] - bars[0][0]["event_time_ns"]
    assert shift % (7 * 86_400 * SECOND) == 0
    for before, after in zip(*bars, strict=True):
        assert {after[name] - before[name] for name in ("open_time_ns", "close_time_ns")} == {shift}
        assert (after["session_date"] - before["session_date"]).days * 86_400 * SECOND == shift
    assert events[1][0]["ex_time_ns"] - events[0][0]["ex_time_ns"] == shift


def test_a_speed_is_a_word_a_factor_or_a_rate_and_another_is_refused_at_once(tmp_path: Path) -> None:
    factors = [Speed.parse(text) for text in ("recorded", "20x", "0.5x")]
    assert factors == [Speed(factor=1.0), Speed(factor=20.0), Speed(factor=0.5)]
    assert [Speed.parse(text) for text in ("500/s", " MAX ")] == [Speed(rate=500.0), Speed()]
    for text in ("fast", "0x", "-1/s", "20", ""):
        with pytest.raises(SettingsError, match="500/s"):
            Speed.parse(text)
    with pytest.raises(SettingsError, match="speed"):
        replay(written(tmp_path), speed="ludicrous")


def pacer(speed: str, row: int = 0) -> tuple[Pacer, ManualClock]:
    clock = ManualClock(5 * SECOND)
    begun = Pacer(Speed.parse(speed), clock)
    begun.begin(TIMES, row)
    return begun, clock


@pytest.mark.parametrize(("speed", "row", "seconds", "due"), [
    ("recorded", 0, (0, 0.9, 1, 2.5, 59, 60, 3_599, 3_600), [1, 1, 2, 3, 3, 4, 4, 5]), ("60x", 0, (0, 0.9, 1.0, 60.0), [1, 3, 4, 5]),
    ("2/s", 0, (0, 0.4, 0.5, 1.0, 100), [1, 1, 2, 3, 5]), ("max", 0, (0,), [5]), ("recorded", 3, (0,), [4]), ("2/s", 3, (0.5,), [5]),
], ids=["as recorded", "that much faster", "a rate looks at no time", "max at once", "resumed", "resumed at a rate"])  # fmt: skip
def test_so_many_rows_are_due_after_so_many_seconds(
    speed: str, row: int, seconds: Sequence[float], due: list[int]
) -> None:
    for after, expected in zip(seconds, due, strict=True):
        begun, clock = pacer(speed, row)
        clock.sleep(after)
        assert begun.due(TIMES, row) == expected


def test_max_gives_what_a_poll_may_carry_waiting_is_until_the_next_row_and_closed_hours_are_cut_short() -> None:
    assert Pacer(Speed.parse("max"), ManualClock()).due(np.zeros(3 * ROWS_MAX, np.int64), 7) == 7 + ROWS_MAX
    begun, _ = pacer("recorded", 2)
    assert begun.wait_s(TIMES, 3) == pytest.approx(58)
    assert begun.wait_s(TIMES, 2) == 0
    begun, clock = pacer("2x", 3)
    assert begun.wait_s(TIMES, 4) == LONGEST_WAIT_S  # 3,540 s of market would be 1,770 s
    clock.sleep(LONGEST_WAIT_S)
    assert begun.due(TIMES, 4) == 5


def ns(*moments: datetime) -> np.ndarray:
    return np.array([int(m.timestamp()) for m in moments], np.int64) * 10**9


def test_sessions_move_by_whole_weeks_on_the_local_clock() -> None:
    tuesday = datetime(2020, 12, 15, 9, 30, tzinfo=NEW_YORK)
    times = ns(tuesday, tuesday + timedelta(days=3))
    rounds = rounds_of(times, "America/New_York", venues=True)
    for again in (1, 13, 14, 52):
        first, last = rounds.times(times, again)
        there = datetime.fromtimestamp(first / 1e9, NEW_YORK)
        assert (there.weekday(), there.hour, there.minute) == (1, 9, 30)  # Tuesday, winter and summer
        assert there.replace(tzinfo=None) == tuesday.replace(tzinfo=None) + again * timedelta(weeks=1)
        assert datetime.fromtimestamp(last / 1e9, NEW_YORK).weekday() == 4


def test_dates_stay_midnight_utc_a_short_stretch_follows_itself_and_a_market_that_never_sleeps_moves_in_utc() -> None:
    days = ns(datetime(2020, 2, 3, tzinfo=UTC), datetime(2020, 2, 7, tzinfo=UTC))
    rounds = rounds_of(days, "America/New_York", venues=True)
    assert (rounds.times(days, 20) - days == 20 * 7 * 86_400 * SECOND).all()
    start = datetime(2020, 1, 1, 12, tzinfo=UTC)
    assert rounds_of(ns(start, start + timedelta(seconds=90)), "UTC", venues=False).span_ns == 120 * SECOND
    start = datetime(2020, 12, 15, tzinfo=UTC)
    times = ns(*(start + timedelta(hours=h) for h in range(30)))
    rounds = rounds_of(times, "America/New_York", venues=True)
    assert rounds.zone is None
    assert (np.diff(rounds.times(times, 14)) == 3_600 * 10**9).all()


def test_rounds_follow_one_another_without_overlap_and_end_before_the_times_that_cannot_be() -> None:
    times = ns(datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 1, 13, tzinfo=UTC))
    rounds = rounds_of(times, "UTC", venues=True)
    assert rounds.times(times, 1)[0] > times[-1]
    rounds = rounds_of(times[:1], "UTC", venues=True)
    assert rounds.possible(times[:1], 1)
    assert not rounds.possible(times[:1], (LATEST_TIME_NS - int(times[0])) // rounds.span_ns + 1)


def sampled(seconds: int, **more: Any) -> tuple[list[dict[str, Any]], SampleSource]:
    clock = ManualClock(NOW)
    settings = ReplaySettings(files=(str(SPY),), sample=True, **more)
    source = SampleSource(settings, "replay-s", lateness_ns=0, clock=clock)
    assert source.start(None).mode == "live"
    polls: list[Polled] = []
    while clock.now_ns() < NOW + seconds * SECOND:
        polls.append(source.poll(0.25))
    assert all(p.position is None and not p.ended for p in polls)
    return [row for polled in polls for row in rows(polled)], source


def test_a_row_is_sent_each_second_stamped_with_that_second() -> None:
    sent, source = sampled(10, mapping=Mapping(symbol="SPY"))
    assert [(row["event_time_ns"] - NOW) / 1e9 for row in sent] == pytest.approx(list(range(len(sent))), abs=1e-5)
    assert len(sent) in {10, 11}
    promised = source.watermark_ns()
    assert promised is not None
    assert promised >= sent[-1]["event_time_ns"]


def test_a_bar_becomes_a_trade_at_its_close_that_stands_in_the_file_by_rate_and_seed() -> None:
    fields = [line.split(",") for line in SPY.read_text("utf-8-sig").splitlines()[1:]]
    sent, _ = sampled(4, speed="5/s")
    assert 20 <= len(sent) <= 21
    assert {row["type"] for row in sent} == {"trade"}
    assert {(row["price"], row["size"]) for row in sent} <= {(float(f[4]), float(f[5])) for f in fields}
    prices = [[row["price"] for row in sampled(20, seed=seed)[0]] for seed in (1, 1, 2)]
    assert prices[0] == prices[1] != prices[2]
