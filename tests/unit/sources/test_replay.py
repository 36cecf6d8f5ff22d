"""A replay: order, pace, promises, rounds, positions and its end, and random rows of it, on a clock that stands still.

And the simulated market: habits of a real one from a seed and nothing else; live on the wall clock, history at once.
"""

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
from marketpulse.errors import Fatal, SettingsError
from marketpulse.model.market import COMPLETE, LATEST_TIME_NS
from marketpulse.ports import Hello, Polled
from marketpulse.settings import Mapping, ReplaySettings, SimulateSettings
from marketpulse.sources.defaults import bundled
from marketpulse.sources.pace import LONGEST_WAIT_S, ROWS_MAX, Pacer, Speed
from marketpulse.sources.replay import ReplaySource, begin_again
from marketpulse.sources.rounds import rounds_of
from marketpulse.sources.sample import SampleSource
from marketpulse.sources.sim_market import BLOCK, Block, Market, symbol_names
from marketpulse.sources.simulate import SimulateSource
from refused import assert_raises

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


def replay(file: Path, clock: Any = None, position: str | None = None, **more: Any) -> tuple[ReplaySource, Hello]:
    """A source that has started, and how it said hello."""
    settings = ReplaySettings(files=(str(file),), **{"speed": "max", **more})
    source = ReplaySource(settings, "replay-x", lateness_ns=2 * SECOND, clock=clock or ManualClock(9))
    return source, source.start(position)


def rows(polled: Polled) -> list[dict[str, Any]]:
    return [row for batch in polled.batches for row in batch.to_pylist()]


def test_it_says_hello_sends_everything_and_once_what_was_set_aside_and_says_goodbye(tmp_path: Path) -> None:
    source, hello = replay(written(tmp_path))
    said = (hello.source, hello.mode, hello.simulated, hello.lateness_ns)
    assert said == ("replay-x", "historical", False, 2 * SECOND)
    polled = source.poll(0)
    expected = [(i + 1.0, (T0 + i) * SECOND, "replay-x", 9) for i in range(5)]
    assert [(r["price"], r["event_time_ns"], r["source"], r["ingest_time_ns"]) for r in rows(polled)] == expected
    assert (polled.goodbye_watermark_ns, polled.ended, source.poll(0)) == (COMPLETE, True, Polled(ended=True))
    file = written(tmp_path, more="bad,A,1,1,y\n")
    first = replay(file)[0].poll(0)
    assert [(r.row, r.reason, r.value) for r in first.rejected] == [(7, "bad_time", b"bad,A,1,1,y")]
    assert not first.batches
    polled = replay(file, position=first.position)[0].poll(0)
    assert (len(polled.rejected), len(rows(polled))) == (0, 5)


def test_rows_come_at_the_recorded_pace_and_the_watermark_moves_but_never_passes_an_unsent_row(tmp_path: Path) -> None:
    clock = ManualClock(0)
    source, _ = replay(written(tmp_path), clock, speed="recorded")
    assert source.watermark_ns() is None
    assert ([r["price"] for r in rows(source.poll(0))], source.watermark_ns()) == ([1.0], T0 * SECOND)
    assert not source.poll(0.5).batches
    assert source.watermark_ns() == T0 * SECOND + SECOND // 2
    assert ([r["price"] for r in rows(source.poll(0.6))], clock.now_ns()) == ([2.0], SECOND)
    source, _ = replay(written(tmp_path), ManualClock(0), speed="2/s")
    sent = 0
    while not (polled := source.poll(10)).ended:
        sent += len(rows(polled))
        promised: Any = source.watermark_ns()
        assert (T0 + sent - 1) * SECOND <= promised < (T0 + sent) * SECOND
    source, _ = replay(SPY, ManualClock(0), mapping=Mapping(timezone="America/New_York"), speed="1/s")
    (first,) = rows(source.poll(10))
    promised = source.watermark_ns()
    assert first["close_time_ns"] <= promised < first["close_time_ns"] + 60 * SECOND


def test_a_new_beginning_is_another_run_and_what_was_finished_ends_at_once(tmp_path: Path) -> None:
    file = written(tmp_path)
    source, hello = replay(file, speed="1/s")
    position = source.poll(0).position
    assert replay(file, position=position)[1] == hello, "the same files give the same run"
    assert replay(file, position=begin_again(position))[1].run_id != hello.run_id
    position = replay(file)[0].poll(0).position
    again, anew = (replay(file, position=start)[0] for start in (position, begin_again(position)))
    assert (again.finished_before, again.poll(0)) == (True, Polled(ended=True))
    assert (anew.finished_before, len(rows(anew.poll(0)))) == (False, 5)
    assert len(rows(replay(written(tmp_path, 7), position=position)[0].poll(0))) == 7, "files that changed begin anew"


def test_a_file_that_two_runs_name_is_sent_by_the_first_alone_and_whole_by_one_with_again(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.csv").write_text(f"time,symbol,price,size\n{T0 + number},A,{number + 1},1\n")

    def run(names: str, position: str | None = None) -> tuple[list[float], list[str], bool, str | None]:
        settings = ReplaySettings(files=tuple(str(tmp_path / f"{name}.csv") for name in names), speed="max")
        source = ReplaySource(
            settings, f"replay-{names[0]}", lateness_ns=1, clock=ManualClock(9), claims=tmp_path / "fed"
        )
        source.start(position)
        finished, polled = source.finished_before, source.poll(0)
        return [r["price"] for r in rows(polled)], source.left_out, finished, polled.position

    (tmp_path / "d.csv").write_text("no rows at all")
    assert_raises(Fatal, "", run, "ad")
    assert run("ab") == ([1, 2], [], False, position := run("ab")[3]), "the same run may ask again"
    assert run("bc")[:3] == ([3], ["b.csv"], False)
    assert run("b")[:3] == ([], ["b.csv"], True)
    assert run("ab", run("bc")[3])[:3] == ([], ["a.csv", "b.csv"], True), "where it stood is forgotten"
    assert run("ab", position)[:3] == ([], [], True)
    assert run("bc", begin_again(None))[:3] == ([2, 3], [], False)


def test_a_loop_goes_on_with_later_times_another_run_and_other_ids_and_moves_all_times_of_a_bar(tmp_path: Path) -> None:
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


def test_a_speed_is_a_word_factor_or_rate_max_fills_polls_and_sessions_move_by_local_weeks(tmp_path: Path) -> None:
    speeds = {text: Speed.parse(text) for text in ("recorded", "20x", "0.5x", "500/s", " MAX ")}
    assert [*speeds.values()] == [*(Speed(factor=f) for f in (1.0, 20.0, 0.5)), Speed(rate=500.0), Speed()]
    for text in ("fast", "0x", "-1/s", "20", ""):
        assert_raises(SettingsError, "500/s", Speed.parse, text)
    assert_raises(SettingsError, "speed", replay, written(tmp_path), speed="ludicrous")
    assert Pacer(Speed.parse("max"), ManualClock()).due(np.zeros(3 * ROWS_MAX, np.int64), 7) == 7 + ROWS_MAX
    begun, _ = pacer("recorded", 2)
    assert begun.wait_s(TIMES, 3) == pytest.approx(58)
    assert begun.wait_s(TIMES, 2) == 0
    begun, clock = pacer("2x", 3)
    assert begun.wait_s(TIMES, 4) == LONGEST_WAIT_S  # 3,540 s of market would be 1,770 s
    clock.sleep(LONGEST_WAIT_S)
    assert begun.due(TIMES, 4) == 5
    tuesday = datetime(2020, 12, 15, 9, 30, tzinfo=NEW_YORK)
    times = ns(tuesday, tuesday + timedelta(days=3))
    rounds = rounds_of(times, "America/New_York", venues=True)
    for again in (1, 13, 14, 52):
        first, last = rounds.times(times, again)
        there = datetime.fromtimestamp(first / 1e9, NEW_YORK)
        assert (there.weekday(), there.hour, there.minute) == (1, 9, 30)  # Tuesday, winter and summer
        assert there.replace(tzinfo=None) == tuesday.replace(tzinfo=None) + again * timedelta(weeks=1)
        assert datetime.fromtimestamp(last / 1e9, NEW_YORK).weekday() == 4


def pacer(speed: str, row: int = 0) -> tuple[Pacer, ManualClock]:
    clock = ManualClock(5 * SECOND)
    begun = Pacer(Speed.parse(speed), clock)
    begun.begin(TIMES, row)
    return begun, clock


@pytest.mark.parametrize(("speed", "row", "seconds", "due"), [
    ("recorded", 0, (0, 0.9, 1, 2.5, 59, 60, 3_599, 3_600), [1, 1, 2, 3, 3, 4, 4, 5]), ("60x", 0, (0, 0.9, 1.0, 60.0), [1, 3, 4, 5]),
    ("2/s", 0, (0, 0.4, 0.5, 1.0, 100), [1, 1, 2, 3, 5]), ("max", 0, (0,), [5]), ("recorded", 3, (0,), [4]), ("2/s", 3, (0.5,), [5]),
], ids=["as recorded", "that much faster", "a rate looks at no time", "max at once", "resumed", "resumed at a rate"])  # fmt: skip
def test_rows_are_due_after_so_many_seconds(speed: str, row: int, seconds: Sequence[float], due: list[int]) -> None:
    for after, expected in zip(seconds, due, strict=True):
        begun, clock = pacer(speed, row)
        clock.sleep(after)
        assert begun.due(TIMES, row) == expected


def ns(*moments: datetime) -> np.ndarray:
    return np.array([int(m.timestamp()) for m in moments], np.int64) * 10**9


def test_dates_stay_midnight_utc_a_market_that_never_sleeps_moves_in_utc_and_rounds_never_overlap() -> None:
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
    times = ns(datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 1, 13, tzinfo=UTC))
    rounds = rounds_of(times, "UTC", venues=True)
    assert rounds.times(times, 1)[0] > times[-1]
    rounds = rounds_of(times[:1], "UTC", venues=True)
    last = (LATEST_TIME_NS - int(times[0])) // rounds.span_ns
    assert [rounds.possible(times[:1], again) for again in (1, last + 1)] == [True, False]


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


def test_a_row_is_sent_each_second_and_a_bar_as_a_trade_at_its_close_by_rate_and_seed() -> None:
    sent, source = sampled(10, mapping=Mapping(symbol="SPY"))
    assert [(row["event_time_ns"] - NOW) / 1e9 for row in sent] == pytest.approx(list(range(len(sent))), abs=1e-5)
    assert len(sent) in {10, 11}
    promised: Any = source.watermark_ns()
    assert promised >= sent[-1]["event_time_ns"]
    fields = [line.split(",") for line in SPY.read_text("utf-8-sig").splitlines()[1:]]
    sent, _ = sampled(4, speed="5/s")
    assert 20 <= len(sent) <= 21
    assert {row["type"] for row in sent} == {"trade"}
    assert {(row["price"], row["size"]) for row in sent} <= {(float(f[4]), float(f[5])) for f in fields}
    prices = [[row["price"] for row in sampled(20, seed=seed)[0]] for seed in (1, 1, 2)]
    assert prices[0] == prices[1] != prices[2]


DAY_NS = 86_400 * 10**9
LIVE_NS = 1_767_312_345 * 10**9
START = "2026-01-02T00:00:00Z"


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    market = Market(20, 500.0, 3)
    return [market.block() for _ in range(120)]


def column(blocks: list[Block], name: str) -> np.ndarray:
    return np.concatenate([getattr(block, name) for block in blocks])


def minute_returns(blocks: list[Block], symbol: int) -> np.ndarray:
    """Of the middle of the book, so that trades at its two sides do not count as moves."""
    own = column(blocks, "symbol") == symbol
    at, middle = column(blocks, "at_s")[own], (column(blocks, "bid") + column(blocks, "ask"))[own]
    returns = np.diff(np.log(middle[np.searchsorted(at, np.arange(at[0] + 60, at[-1], 60)) - 1]))
    low, high = np.quantile(returns, [0.02, 0.98])
    return np.asarray(np.clip(returns, low, high))  # news aside


def test_symbols_have_invented_names_the_same_seed_the_same_market_whenever_and_halts_are_events() -> None:
    markets = [Market(10, 100.0, seed) for seed in (5, 5, 6)]
    prices = [np.concatenate([m.block().price for _ in range(3)]).tobytes() for m in markets]
    assert prices[0] == prices[1] != prices[2]
    names = set(symbol_names(50_000))
    assert len(names) == 50_000
    assert all(name.startswith("SIM-") and len(name) < 20 for name in names)
    block = Market(3, 10.0, 1).block()
    assert len(block.price) == len(block.at_s) <= BLOCK
    assert len(set(block.number.tolist())) == len(block.number)

    def prices_from(at_ns: int) -> list[float]:
        live, _ = started(ManualClock(at_ns), rate=50, quotes=False, duration_s=60, symbols=5)
        return [row["price"] for row in everything(live)[0] if row["type"] == "trade"]

    morning, noon = prices_from(LIVE_NS), prices_from(LIVE_NS + 40_000 * 10**9)
    n = min(len(morning), len(noon))
    assert n > 500
    assert morning[:n] == noon[:n]
    history, _ = started(start=START, duration_s=2_000, rate=20, symbols=200, quotes=False, seed=6)
    sent, _ = everything(history)
    events = [json.loads(row["body"]) for row in sent if "body" in row]
    halt = next(e for e in events if e["type"] == "halt")
    assert ({e["type"] for e in events}, halt["source"]) == ({"halt", "resume"}, "simulate-m")
    assert halt["event_time_ns"] == halt["from_ns"] < halt["to_ns"]
    stopped = [r["event_time_ns"] for r in sent if r["type"] == "trade" and r["symbol"] == halt["symbol"]]
    assert not [t for t in stopped if halt["from_ns"] <= t < halt["to_ns"]]
    times = [row["event_time_ns"] for row in sent]
    assert times == sorted(times)


def test_trades_come_in_order_at_the_configured_rate_on_the_tick_and_symbols_move_together(blocks: list[Block]) -> None:
    at, price, bid, ask, size = (column(blocks, name) for name in ("at_s", "price", "bid", "ask", "size"))
    assert (np.diff(at) >= 0).all()
    assert len(at) / at[-1] == pytest.approx(500, rel=0.02)  # but for halts
    assert ((ask > bid) & (bid > 0) & (size > 0)).all()
    assert ((price == bid) | (price == ask)).all()
    assert np.abs(price * 1_000 - np.rint(price * 1_000)).max() < 1e-6
    returns = [minute_returns(blocks, s) for s in range(4)]
    n = min(map(len, returns))
    assert np.corrcoef([r[:n] for r in returns])[np.triu_indices(4, 1)].mean() > 0.1


def test_volatility_clusters_and_returns_do_not_and_nothing_trades_in_a_halt() -> None:
    def follows(series: list[np.ndarray]) -> float:
        return float(np.mean([np.corrcoef(one[1:], one[:-1])[0, 1] for one in series]))

    market = Market(8, 100.0, 11)
    blocks = [market.block() for _ in range(400)]
    returns = [minute_returns(blocks, s) for s in range(8)]
    assert follows([np.abs(r) for r in returns]) > 0.1
    assert abs(follows(returns)) < 0.1
    market = Market(50, 50.0, 2)
    blocks = [market.block() for _ in range(60)]
    halts = [halt for block in blocks for halt in block.halts]
    at, symbol = column(blocks, "at_s"), column(blocks, "symbol")
    assert halts
    for halt in halts:
        own = at[symbol == halt.symbol]
        assert not ((own > halt.start_s) & (own < halt.end_s)).any()
        assert (own == halt.start_s).any(), "it begins with the trade that caused it"


def started(clock: Any = None, position: str | None = None, **settings: Any) -> tuple[SimulateSource, Hello]:
    """A source that has started, and how it said hello."""
    clock = clock or ManualClock(LIVE_NS)
    source = SimulateSource(SimulateSettings(**settings), "simulate-m", lateness_ns=2 * 10**9, clock=clock)
    return source, source.start(position)


def everything(simulated: SimulateSource) -> tuple[list[dict[str, Any]], Polled]:
    """All rows until it ends, and the last poll."""
    polls = [Polled()]
    while not polls[-1].ended:
        polls.append(simulated.poll(0.05))
    return [row for polled in polls for row in rows(polled)], polls[-1]


def test_live_rows_are_due_now_and_the_watermark_follows_the_clock_and_is_kept_and_a_start_must_be_a_time() -> None:
    clock = ManualClock(LIVE_NS)
    live, hello = started(clock, rate=300)
    assert (hello.mode, hello.simulated, hello.calendar, hello.source) == ("live", True, "24x7", "simulate-m")
    seen = promised = 0
    for _ in range(300):
        polled = live.poll(0.02)
        now = clock.now_ns()
        for batch in polled.batches:
            times = batch.column("event_time_ns").to_pylist()
            seen += len(times)
            assert all(max(LIVE_NS, promised + 1) <= t <= now for t in times)
            assert now - min(times) < 10**9
        assert polled.position is None
        promised = live.watermark_ns() or promised
        assert promised <= now
    assert promised
    assert 500 < seen == pytest.approx(300 * (clock.now_ns() - LIVE_NS) / 1e9, abs=128)  # trades and quotes together
    assert_raises(SettingsError, "yesterday", started, start="yesterday")


def test_history_has_an_end_its_trades_stand_at_a_quote_and_it_resumes_where_it_was() -> None:
    history, hello = started(start=START, duration_s=30, rate=200)
    sent, last = everything(history)
    assert (hello.mode, last.goodbye_watermark_ns) == ("historical", COMPLETE)
    book: dict[str, dict[str, Any]] = {}
    trades = [row for row in sent if row["type"] == "trade"]
    for row in sorted(sent, key=lambda r: (r["event_time_ns"], r["type"] == "trade")):
        if row["type"] == "quote":
            book[row["symbol"]] = row
        elif row["type"] == "trade":
            assert row["price"] in (book[row["symbol"]]["bid"], book[row["symbol"]]["ask"])
    assert {row["venue"] for row in trades} == {"XSIM"}
    assert [row["type"] for row in sent].count("quote") == len(trades) == pytest.approx(100 * 30, abs=64)
    assert len({row["trade_id"] for row in trades}) == len(trades)
    settings: dict[str, Any] = {"start": START, "duration_s": 60, "rate": 500, "symbols": 3}
    source, hello = started(**settings)
    sent, _ = everything(source)
    first = started(**settings)[0].poll(0)
    resumed, again = started(position=first.position, **settings)
    assert (again, rows(first) + everything(resumed)[0]) == (hello, sent)
    end = json.dumps({"market": json.loads(first.position or "")["market"], "row": len(sent)})
    assert started(position=end, **settings)[0].finished_before
