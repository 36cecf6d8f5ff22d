"""The board: what pages are told of prices, and what its series and figures keep."""

import math
import threading
from array import array
from typing import Any

import pyarrow as pa
import pytest

from board_rows import SECOND_NS, bars, indicators, live, minute, row
from marketpulse.clock import ManualClock
from marketpulse.errors import ParameterError
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.web.board import SPARK_POINTS, Board
from marketpulse.web.figures import Figures, LatencyWindow
from marketpulse.web.series import BAR_COLUMNS, FORMING, Series

DAY = 86_400


def told(*batches: FeedBatch, **options: Any) -> Board:
    board = Board(**options)
    for batch in batches:
        board.take(batch)
    return board


def shown(board: Board, *names: str, timeframe: str = "1m", since: int = -1) -> list[Any]:
    """The values of these columns of AAPL's chart, a row each; without names the chart."""
    chart = board.chart("AAPL", timeframe, **({} if since < 0 else {"since": since}))
    assert chart is not None
    rows = [dict(zip(board.columns(), values, strict=True)) for values in chart["rows"]]
    return [tuple(values[name] for name in names) for values in rows]


def session(board: Board) -> dict[str, Any]:
    chart = board.chart("AAPL", "1m")
    assert chart is not None
    found: dict[str, Any] = chart["session"]
    return found


def quotes(board: Board) -> dict[str, list[Any]]:
    return {values[0]: values for values in board.quote_rows()}


def test_bars_and_indicators_meet_in_one_row_then_forming_ones_the_newest_and_revisions_replace_them() -> None:
    values = indicators(["sma_20", "vwap"], minute(1, 10.0, sma_20=9.5, vwap=9.75))
    board = told(bars(minute(1, 10.0), minute(2, 11.0)), values)
    first, second = shown(board, "open_time_ms", "close_time_ms", "close", "sma_20", "vwap", "session_vwap")
    assert first == (60_000, 120_000, 10.0, 9.5, 10.0, 9.75)
    assert math.isnan(second[3])
    forming = live(["sma_20"], minute(2, 11.0, sma_20=10.5), minute(3, 12.0))
    board = told(bars(minute(1, 10.0)), forming, bars(minute(2, 11.25)))
    expected = [(60_000, 10.0, 0), (120_000, 11.25, 0), (180_000, 12.0, -1)]
    assert shown(board, "open_time_ms", "close", "revision") == expected
    board = told(live(["sma_20"], *(minute(1, 10.0 + i, sma_20=float(i)) for i in range(50))))
    assert shown(board, "close", "sma_20") == [(59.0, 49.0)]
    board = told(live(["vwap"], minute(1, 10.0, session_vwap=8.0)))
    assert (shown(board, "vwap", "session_vwap"), board.names) == ([(10.0, 8.0)], ["vwap"])
    board = told(bars(minute(1, 10.0), minute(2, 11.0)), indicators(["sma_20"], minute(1, 10.0, sma_20=1.0)))
    seen = board.seq
    board.take(indicators(["sma_20"], minute(1, 10.0, sma_20=2.0, revision=1)))
    assert shown(board, "open_time_ms", "sma_20", "revision", since=seen) == [(60_000, 2.0, 0)]
    seen = board.seq
    board.take(bars(minute(1, 10.5, revision=1)))
    assert shown(board, "open_time_ms", "close", "revision", since=seen) == [(60_000, 10.5, 1)]


def withdrawn(timeframe: str, open_s: int, revision: int) -> dict[str, Any]:
    empty = dict.fromkeys(("open", "high", "low", "close", "vwap"))
    return row("AAPL", timeframe, open_s, 0.0, revision=revision, volume=0.0, trade_count=0) | empty


def test_a_withdrawn_bar_takes_price_and_extremes_along_and_a_session_follows_what_was_revised() -> None:
    board = told(bars(*(minute(i, 10.0 + i) for i in range(3)), minute(3, 99.0)))
    seen = board.seq
    assert quotes(board)["AAPL"][1] == 99.0
    board.take(bars(withdrawn("1m", 180, 1)))
    (changed,) = board.quote_rows(seen)
    assert changed[1:3] == [12.0, 180_000]
    chart = board.chart("AAPL", "1m", since=seen)
    assert chart is not None
    assert (chart["whole"], [values[0] for values in chart["rows"]]) == (True, [0, 60_000, 120_000])
    assert (chart["session"]["high"], chart["session"]["low"]) == (13.0, 9.0)
    assert board.sparks()["AAPL"]["closes"] == [10.0, 11.0, 12.0]
    high = told(bars(*(minute(i, 10.0, high=50.0 if i == 1 else 11.0) for i in range(3))))
    high.take(bars(minute(1, 10.0, revision=1)))
    assert (session(high)["high"], session(high)["open"]) == (11.0, 10.0)
    before = row("AAPL", "1m", DAY - 60, 7.0)
    board = told(bars(before, *(row("AAPL", "1m", DAY + 60 * i, 10.0 + i) for i in (0, 1))))
    board.take(bars(withdrawn("1m", DAY, 1), row("AAPL", "1m", DAY - 60, 7.5, revision=1)))
    assert (session(board)["open"], quotes(board)["AAPL"][3:5]) == (11.0, [7.5, "previous_close"])
    day = row("AAPL", "1d", DAY, 50.0, high=60.0, low=40.0, volume=9.0)
    board = told(live([], row("AAPL", "1m", DAY + 60, 50.0), day))
    assert session(board) == {"date": 1, "open": 50.0, "high": 60.0, "low": 40.0, "close": 50.0, "volume": 9.0}


def test_the_quote_compares_with_the_session_before_says_if_it_is_simulated_and_comes_with_live_rows() -> None:
    board = told(bars(row("AAPL", "1d", 0, 100.0), row("AAPL", "1d", DAY, 110.0)))
    assert quotes(board)["AAPL"][:6] == ["AAPL", 110.0, 2 * DAY * 1_000, 100.0, "previous_close", False]
    board = told(bars(minute(1, 1.0, session_date=None), row("AAPL", "1m", DAY + 60, 2.0)))
    assert quotes(board)["AAPL"][3:5] == [1.0, "previous_close"]
    newer = live([], minute(0, 12.0) | {"event_time_ns": 30 * SECOND_NS})
    board = told(bars(row("AAPL", "1s", 0, 10.0), row("AAPL", "1s", 1, 11.0)), newer, bars(withdrawn("1s", 1, 1)))
    assert quotes(board)["AAPL"][1] == 12.0
    sources = {"AAA": "simulate", "BBB": "simulate-2", "CCC": "replay", "DDD": None}
    board = told(bars(*(row(name, "1m", 60, 1.0, source=source) for name, source in sources.items())))
    assert [values[5] for _, values in sorted(quotes(board).items())] == [True, True, False, False]
    quoted = minute(1, 5.0, bid=4.5, bid_size=3.0, ask=5.5, ask_size=7.0)
    board = told(live([], quoted, row("KO", "1m", 60, 1.0)))
    assert quotes(board)["AAPL"][8:] == [4.5, 3.0, 5.5, 7.0]
    assert all(math.isnan(value) for value in quotes(board)["KO"][8:])
    board.take(live([], minute(2, 5.0)))
    assert all(math.isnan(value) for value in quotes(board)["AAPL"][8:])
    assert board.names == []


def test_a_trade_of_after_the_page_began_is_measured_once_not_once_per_timeframe() -> None:
    clock = ManualClock(1_000 * SECOND_NS)
    board = Board(clock=clock)

    def take(ms: float, *timeframes: str, symbol: str = "AAPL") -> None:
        ingest = clock.now_ns() - round(ms * 1e6)
        board.take(live([], *(row(symbol, t, 960, 1.0, ingest_time_ns=ingest) for t in timeframes)))

    take(1e-6, "1m")
    clock.sleep(1)
    assert board.figures()["latency_p50_ms"] is None
    take(20, "1s", "1m", "5m")
    assert board.figures()["latency_p50_ms"] == pytest.approx(20, rel=0.06)
    take(80, "1m", symbol="KO")
    take(20, "1s", "1m", "5m")
    assert board.figures()["latency_p50_ms"] == pytest.approx(20, rel=0.06)
    assert board.figures()["latency_p99_ms"] == pytest.approx(80, rel=0.06)


def test_symbols_beyond_the_cap_push_out_who_was_silent_longest_and_rows_are_bounded_over_all_series() -> None:
    first = bars(row("AAA", "1m", 0, 1.0), row("BBB", "1m", 0, 1.0))
    board = told(first, bars(row("AAA", "1m", 60, 1.0)), symbols_max=2)
    generation = board.generation
    board.take(bars(row("CCC", "1m", 0, 1.0)))
    assert board.symbols() == ["AAA", "CCC"]
    assert board.generation > generation
    board = Board(history=500, rows_max=10_000)
    for i in range(100):
        board.take(bars(*(row(f"S{i:03d}", "1m", 60 * j, 1.0) for j in range(300))))
    assert sum(len(series) for state in board._symbols.values() for series in state.series.values()) <= 10_000 * 1.25
    assert all(len(state.series["1m"]) >= 60 for state in board._symbols.values())


def test_timeframes_are_offered_by_length_trades_of_one_time_are_bars_each_and_lone_rows_no_quotes() -> None:
    board = told(bars(*(row("AAPL", t, 0, 1.0) for t in ("1d", "1m", "1t", "1s"))))
    assert board.timeframes == ["1t", "1s", "1m", "1d"]
    board = told(bars(row("AAPL", "1d", 0, 1.0), row("KO", "1d", 0, 1.0), row("KO", "1m", 0, 1.0)))
    assert {name: values[7] for name, values in quotes(board).items()} == {"AAPL": ["1d"], "KO": ["1m", "1d"]}
    one, two = row("AAPL", "1t", 60, 1.0), row("AAPL", "1t", 60, 2.0)
    two["receipt"] = two["receipt"] | {"last_row": 1}
    assert shown(told(bars(one, two)), "close", timeframe="1t") == [(1.0,), (2.0,)]
    board = told(bars())
    assert (board.chart("AAPL", "1m"), board.seq, board.quote_rows()) == (None, 0, [])
    assert told(indicators(["sma_20"], minute(1, 10.0, sma_20=9.5))).quote_rows() == []
    alerts = pa.RecordBatch.from_pylist([{"rule": "x"}], pa.schema([("rule", pa.string())]))
    board = told(FeedBatch("alerts", alerts, 5_000))
    assert (board.seq, board.figures()["newest_row_ms"]) == (0, 5_000)  # they tell that the log moves
    bare = FeedBatch("bars", bars(minute(1, 1.0)).rows.drop_columns(["receipt"]), 1_000)
    with pytest.raises(ParameterError, match="receipt"):
        Board().take(bare)


def test_readers_and_the_feeder_do_not_disturb_each_other() -> None:
    board, failures = Board(history=50), []

    def read() -> None:
        try:
            for _ in range(200):
                board.chart("AAPL", "1m")
                board.quote_rows()
                board.sparks()
                board.figures()
        except Exception as error:  # noqa: BLE001 - whatever it is, it fails the test
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(200):
        board.take(bars(minute(i, 1.0), row(f"S{i}", "1m", 60 * i, 1.0)))
        board.take_stats(PipelineStats(i, 0, 0, i, broker_reachable=True))
    for reader in readers:
        reader.join()
    assert failures == []


# One series: minutes by their number, closed, forming or withdrawn.

S = 10**9


class Minutes(Series):
    """Counts up the sequence by itself; `rows_shown` are (minute, close, revision)."""

    step = 0

    def next(self) -> int:
        self.step += 1
        return self.step

    def bar(self, number: int, close: float, revision: int = 0) -> "array[float]":
        return array("d", [number * 6e4, (number + 1) * 6e4, 1, 2, 0.5, close, 10, close, 3, revision])

    def closed(self, number: int, close: float, revision: int = 0, history: int = 100, tie: int = 0) -> bool:
        return self.take_bar(60 * number * S, self.bar(number, close, revision), tie, self.next(), history)

    def forming(self, number: int, close: float) -> bool:
        return self.take_forming(60 * number * S, self.bar(number, close), array("d"), self.next(), 100)

    def values(self, number: int, value: float, revision: int = 0, history: int = 100, tie: int = 0) -> bool:
        return self.take_values(60 * number * S, revision, array("d", [value]), tie, self.next(), history)

    def rows_shown(self) -> list[tuple[float, float, float]]:
        return [(row[0] / 6e4, row[5], row[9]) for row in self.rows(0)]

    def closes_since(self, seq: int) -> list[float]:
        return [row[5] for row in self.rows_since(seq, 0)]


def series_of(*numbers: int) -> Minutes:
    """Closed minutes, each with its number as its close."""
    series = Minutes()
    for number in numbers:
        series.closed(number, float(number))
    return series


def test_only_a_higher_revision_replaces_its_bar_or_brings_a_withdrawn_one_back() -> None:
    series = series_of(0)
    assert series.closed(0, 6.0, revision=2)
    assert not series.closed(0, 7.0, revision=1)
    seen = series.step
    assert not series.closed(0, 6.0, revision=2)
    assert not series.rows_since(seen, 0)
    assert series.rows_shown() == [(0, 6.0, 2)]
    series = series_of(0, 1, 2)
    series.values(1, 9.0, revision=1)
    assert series.closed(1, math.nan, revision=2)
    assert ([row[0] for row in series.rows_shown()], series.whole_seq) == ([0, 2], series.step)
    assert not series.closed(1, 1.0), "the first row again"
    assert not series.values(1, 8.0)
    assert not series.forming(1, 1.0)
    assert series.closed(1, 3.0, revision=3)
    assert series.rows_shown() == [(0, 0.0, 0), (1, 3.0, 3), (2, 2.0, 0)]


def test_bars_stand_in_order_for_readers_what_changed_after_they_looked_and_sparks_the_newest_closes() -> None:
    series = series_of(2, 0, 3)
    series.closed(1, 2.0)
    assert ([row[0] for row in series.rows_shown()], series.closes_since(3)) == ([0, 1, 2, 3], [2.0])
    series = series_of(0, 1, 2, 3, 4)
    series.closed(1, 99.0, revision=1)
    assert (series.closes_since(4), series.rows_since(series.step, 0)) == ([99.0, 4.0], [])
    series = Minutes(ticks=True)
    for tie, close in ((11, 1.0), (12, 2.0), (13, 3.0), (12, 2.0)):
        series.closed(1, close, tie=tie)
        series.values(1, close * 10, tie=tie)
    rows = series.rows(1)
    assert [(row[5], row[-1]) for row in rows] == [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    assert [row[0] for row in rows] == pytest.approx([60_000, 60_000.001, 60_000.002], abs=3e-4)
    spark = told(bars(*(minute(i, float(i + 1)) for i in range(100)))).sparks()["AAPL"]
    assert (spark["timeframe"], spark["closes"]) == ("1m", [float(i + 1) for i in range(100)][-SPARK_POINTS:])
    young = told(bars(*(row("AAPL", "1s", i, float(i + 1)) for i in range(30)), minute(0, 1.0)))
    assert young.sparks()["AAPL"]["timeframe"] == "1s"
    series = series_of(0, 1, 2, 3)
    series.forming(5, 50.0)
    assert (series.closes(3), series.closes(60)) == ([1, 2, 3], [0, 1, 2, 3])


@pytest.mark.parametrize("ticks", [False, True])
def test_a_forming_bar_turns_into_the_closed_one_in_its_place(ticks: bool) -> None:
    series = Minutes(ticks=ticks)
    series.forming(1, 5.0)
    assert series.rows_shown() == [(1, 5.0, FORMING)]
    series.closed(1, 5.5, tie=77 if ticks else 0)
    assert series.rows_shown() == [(1, 5.5, 0)]
    if not ticks:
        assert not series.forming(1, 9.0)
        assert series.rows_shown() == [(1, 5.5, 0)]


def test_several_bars_may_be_open_and_one_that_was_overtaken_or_lost_all_its_trades_goes() -> None:
    series = Minutes()
    for number in (1, 2, 3):
        series.forming(number, 1.0)
    series.closed(1, 2.0)
    assert series.rows_shown() == [(1, 2.0, 0), (2, 1.0, FORMING), (3, 1.0, FORMING)]
    overtaken = Minutes()
    overtaken.forming(1, 1.0)
    overtaken.closed(2, 2.0)
    assert overtaken.rows_shown() == [(2, 2.0, 0)]
    assert overtaken.whole_seq == overtaken.step, "readers start over"
    series = Minutes()
    series.forming(1, 5.0)
    assert not series.forming(1, math.nan)
    assert series.rows_shown() == []


def test_indicator_values_find_their_bar_in_either_order_newer_ones_stay_and_forming_rows_leave_them() -> None:
    first, later = Minutes(), Minutes()
    first.values(1, 1.5)
    first.closed(1, 5.0)
    later.closed(1, 5.0)
    later.values(1, 1.5)
    for series in (first, later):
        assert series.rows_since(1, 1)[0][len(BAR_COLUMNS) :] == [1.5]
    later.values(1, 3.0, revision=3)
    assert not later.values(1, 2.0, revision=2)
    assert later.rows(1)[0][-1] == 3.0
    assert [math.isnan(v) for v in series_of(1).rows(3)[0][len(BAR_COLUMNS) :]] == [True] * 3, "it is padded"
    # Topics are read in no order between them: the bar has closed, although its own row is not here yet.
    series = Minutes()
    series.forming(1, 4.0)
    series.values(1, 1.5)
    assert not series.forming(1, 4.5)
    series.closed(1, 5.0)
    assert (series.rows(1)[0][5], series.rows(1)[0][-1]) == (5.0, 1.5)


def test_withdrawn_bars_and_values_without_bars_do_not_pile_up_and_only_who_missed_old_bars_starts_over() -> None:
    series = Minutes()
    for number in range(100):
        series.closed(number, math.nan, revision=1, history=10)
    assert len(series) == 0
    assert len(series._withdrawn) <= 10
    for number in range(1_000):
        series.values(number, 1.0, history=10)
    assert len(series._values) <= 21
    series = Minutes()
    for number in range(10):
        series.closed(number, number, history=4)
    assert [row[5] for row in series.rows(0)] == [6, 7, 8, 9]
    assert series.whole_seq == 6  # the change of the newest bar that is gone
    assert not series.closed(0, 1.0, history=4), "a bar older than all that is kept"


# The figures.


def figures_of(*samples: PipelineStats) -> dict[str, Any]:
    """After samples that are a second apart."""
    clock = ManualClock(10**18)
    figures = Figures(clock)
    for sample in samples:
        figures.take_stats(sample)
        clock.sleep(1)
    return dict(figures.shown())


def stats(records: int, bars: int = 0, *, lag: int = 0, reachable: bool = True) -> PipelineStats:
    return PipelineStats(records, lag, 7, bars, reachable)


def test_a_rate_is_what_came_within_five_seconds_and_a_log_that_is_away_has_none_but_its_last_counts() -> None:
    told = figures_of(*(stats(n, n // 10) for n in (0, 100, 200, 300, 400, 500, 600, 1_600)))
    assert (told["events_per_s"], told["bars_per_s"]) == ((1_600 - 200) / 5, (160 - 20) / 5)
    assert figures_of()["events_per_s"] is None
    assert (figures_of(stats(5))["events_per_s"], figures_of(stats(5))["dead_letters"]) == (None, 7), "one is no rate"
    assert figures_of(*map(stats, (1_000, 2_000, 10, 30)))["events_per_s"] == 20, "topics made anew"
    told = figures_of(stats(0, lag=3), stats(100, lag=3), *[stats(0, reachable=False)] * 8)
    assert (told["broker_reachable"], told["events_per_s"], told["lag_records"]) == (False, 0, 3)


def test_percentiles_are_right_to_five_percent_and_of_the_last_ten_seconds_also_beyond_the_scale() -> None:
    window = LatencyWindow()
    for latency_ms in range(1, 1_001):
        window.add([float(latency_ms)], 0.5)
    p50, p99 = window.percentiles_ms((0.5, 0.99), 0.5)
    assert p50 == pytest.approx(500, rel=0.05)
    assert p99 == pytest.approx(990, rel=0.05)
    window = LatencyWindow()
    window.add([1_000.0], 0.0)
    window.add([1.0], 9.0)
    assert window.percentiles_ms((0.99,), 9.0)[0] == pytest.approx(1_000, rel=0.06)
    assert window.percentiles_ms((0.99,), 10.0)[0] == pytest.approx(1, rel=0.06)
    assert window.percentiles_ms((0.99,), 19.0) == [None]
    for extreme_ms in (0.0, 1e9):
        window = LatencyWindow()
        window.add([extreme_ms], 0.0)
        assert window.percentiles_ms((0.5,), 0.0)[0] is not None
    figures = Figures(ManualClock(10**18))
    figures.take_latencies([10**18 + 5 * 10**9])  # a row from the future
    assert figures.shown()["latency_p50_ms"] == pytest.approx(0.1, rel=0.06)
