import math
import threading
from typing import Any

import pyarrow as pa
import pytest

from board_rows import SECOND_NS, bars, indicators, live, row
from marketpulse.clock import ManualClock
from marketpulse.errors import ParameterError
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.web.board import SPARK_POINTS, Board

DAY = 86_400


def shown(board: Board, symbol: str = "AAPL", timeframe: str = "1m", **kwargs: Any) -> list[dict[str, float]]:
    chart = board.chart(symbol, timeframe, **kwargs)
    assert chart is not None
    return [dict(zip(board.columns(), values, strict=True)) for values in chart["rows"]]


def quotes(board: Board) -> dict[str, list[Any]]:
    return {values[0]: values for values in board.quote_rows()}


def test_bars_and_their_indicators_meet_in_one_row() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1m", 60, 10.0), row("AAPL", "1m", 120, 11.0)))
    board.take(indicators(["sma_20", "vwap"], row("AAPL", "1m", 60, 10.0, sma_20=9.5, vwap=9.75)))
    first, second = shown(board)
    assert (first["open_time_ms"], first["close_time_ms"], first["close"]) == (60_000, 120_000, 10.0)
    assert (first["sma_20"], first["vwap"], first["session_vwap"]) == (9.5, 10.0, 9.75)
    assert math.isnan(second["sma_20"])


def test_history_and_the_forming_bar_follow_each_other_without_a_seam() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1m", 60, 10.0)))
    board.take(live(["sma_20"], row("AAPL", "1m", 120, 11.0, sma_20=10.5), row("AAPL", "1m", 180, 12.0)))
    board.take(bars(row("AAPL", "1m", 120, 11.25)))
    rows = shown(board)
    assert [(r["open_time_ms"], r["close"], r["revision"]) for r in rows] == [
        (60_000, 10.0, 0),
        (120_000, 11.25, 0),
        (180_000, 12.0, -1),
    ]


def test_of_many_forming_rows_only_the_newest_counts() -> None:
    board = Board()
    board.take(live(["sma_20"], *(row("AAPL", "1m", 60, 10.0 + i, sma_20=float(i)) for i in range(50))))
    (only,) = shown(board)
    assert (only["close"], only["sma_20"]) == (59.0, 49.0)


def test_the_session_vwap_of_a_forming_bar_is_not_the_bars_own() -> None:
    board = Board()
    board.take(live(["vwap"], row("AAPL", "1m", 60, 10.0, session_vwap=8.0)))
    (only,) = shown(board)
    assert (only["vwap"], only["session_vwap"]) == (10.0, 8.0)
    assert board.names == ["vwap"]


def test_a_revision_of_a_shown_bar_replaces_it() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1m", 60, 10.0), row("AAPL", "1m", 120, 11.0)))
    seen = board.seq
    board.take(bars(row("AAPL", "1m", 60, 10.5, revision=1)))
    (changed,) = shown(board, since=seen)
    assert (changed["open_time_ms"], changed["close"], changed["revision"]) == (60_000, 10.5, 1)


def withdrawn(symbol: str, timeframe: str, open_s: int, revision: int) -> dict[str, Any]:
    empty = dict.fromkeys(("open", "high", "low", "close", "vwap"))
    return row(symbol, timeframe, open_s, 0.0, revision=revision, volume=0.0, trade_count=0) | empty


def test_a_withdrawn_bar_disappears_and_takes_its_price_and_extremes_along() -> None:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, 10.0 + i) for i in range(3)), row("AAPL", "1m", 180, 99.0)))
    seen = board.seq
    assert quotes(board)["AAPL"][1] == 99.0
    board.take(bars(withdrawn("AAPL", "1m", 180, 1)))
    (changed,) = board.quote_rows(seen)
    assert changed[1:3] == [12.0, 180_000]
    chart = board.chart("AAPL", "1m", since=seen)
    assert chart is not None
    assert (chart["whole"], [values[0] for values in chart["rows"]]) == (True, [0, 60_000, 120_000])
    assert (chart["session"]["high"], chart["session"]["low"]) == (13.0, 9.0)
    assert board.sparks()["AAPL"]["closes"] == [10.0, 11.0, 12.0]


def test_a_cancelled_high_is_undone_in_the_session() -> None:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, 10.0, high=50.0 if i == 1 else 11.0) for i in range(3))))
    board.take(bars(row("AAPL", "1m", 60, 10.0, revision=1)))
    chart = board.chart("AAPL", "1m")
    assert chart is not None
    assert (chart["session"]["high"], chart["session"]["open"]) == (11.0, 10.0)


def test_a_withdrawn_first_bar_gives_the_session_another_open() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1m", DAY - 60, 7.0), *(row("AAPL", "1m", DAY + 60 * i, 10.0 + i) for i in (0, 1))))
    board.take(bars(withdrawn("AAPL", "1m", DAY, 1), row("AAPL", "1m", DAY - 60, 7.5, revision=1)))
    chart = board.chart("AAPL", "1m")
    assert chart is not None
    assert chart["session"]["open"] == 11.0
    assert quotes(board)["AAPL"][3:5] == [7.5, "previous_close"]


def test_a_price_that_is_newer_than_the_revised_bar_stays() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1s", 0, 10.0), row("AAPL", "1s", 1, 11.0)))
    board.take(live([], row("AAPL", "1m", 0, 12.0) | {"event_time_ns": 30 * SECOND_NS}))
    board.take(bars(withdrawn("AAPL", "1s", 1, 1)))
    assert quotes(board)["AAPL"][1] == 12.0


def test_revised_indicator_values_replace_the_older_ones_of_a_bar_that_stays_as_it_is() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1m", 60, 10.0), row("AAPL", "1m", 120, 11.0)))
    board.take(indicators(["sma_20"], row("AAPL", "1m", 60, 10.0, sma_20=1.0)))
    seen = board.seq
    board.take(indicators(["sma_20"], row("AAPL", "1m", 60, 10.0, sma_20=2.0, revision=1)))
    (changed,) = shown(board, since=seen)
    assert (changed["open_time_ms"], changed["sma_20"], changed["revision"]) == (60_000, 2.0, 0)


def test_the_quote_compares_with_the_previous_sessions_close() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1d", 0, 100.0), row("AAPL", "1d", DAY, 110.0)))
    symbol, last, time_ms, reference, kind, simulated, *_ = quotes(board)["AAPL"]
    assert (symbol, last, time_ms, reference, kind, simulated) == (
        "AAPL", 110.0, 2 * DAY * 1_000, 100.0, "previous_close", False,
    )  # fmt: skip


def test_rows_of_the_simulator_are_said_to_be_simulated() -> None:
    board = Board()
    board.take(bars(row("AAA", "1m", 60, 1.0, source="simulate"), row("BBB", "1m", 60, 1.0, source="simulate-2")))
    board.take(bars(row("CCC", "1m", 60, 1.0, source="replay"), row("DDD", "1m", 60, 1.0, source=None)))
    assert {name: values[5] for name, values in quotes(board).items()} == {
        "AAA": True, "BBB": True, "CCC": False, "DDD": False,
    }  # fmt: skip


def test_the_session_so_far_comes_with_the_chart() -> None:
    board = Board()
    board.take(
        live([], row("AAPL", "1m", DAY + 60, 50.0), row("AAPL", "1d", DAY, 50.0, high=60.0, low=40.0, volume=9.0))
    )
    chart = board.chart("AAPL", "1m")
    assert chart is not None
    assert chart["session"] == {"date": 1, "open": 50.0, "high": 60.0, "low": 40.0, "close": 50.0, "volume": 9.0}


def test_trades_of_before_the_page_began_are_not_measured() -> None:
    clock = ManualClock(1_000 * SECOND_NS)
    board = Board(clock=clock)
    board.take(live([], row("AAPL", "1m", 960, 1.0, ingest_time_ns=clock.now_ns() - 1)))
    clock.sleep(1)
    assert board.figures()["latency_p50_ms"] is None
    board.take(live([], row("AAPL", "1m", 960, 1.0, ingest_time_ns=clock.now_ns() - 40_000_000)))
    assert board.figures()["latency_p50_ms"] == pytest.approx(40, rel=0.06)


def test_a_trade_is_measured_once_not_once_per_timeframe() -> None:
    clock = ManualClock(1_000 * SECOND_NS)
    board = Board(clock=clock)
    clock.sleep(1)
    ingest = clock.now_ns() - 20_000_000
    rows = [row("AAPL", t, 960, 1.0, ingest_time_ns=ingest) for t in ("1s", "1m", "5m")]
    board.take(live([], *rows))
    board.take(live([], row("KO", "1m", 960, 1.0, ingest_time_ns=clock.now_ns() - 80_000_000)))
    board.take(live([], *rows))
    figures = board.figures()
    assert figures["latency_p50_ms"] == pytest.approx(20, rel=0.06)
    assert figures["latency_p99_ms"] == pytest.approx(80, rel=0.06)


def test_a_spark_line_has_the_newest_closes_and_says_of_what() -> None:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(100))))
    spark = board.sparks()["AAPL"]
    assert spark["timeframe"] == "1m"
    assert spark["closes"] == [float(i + 1) for i in range(100)][-SPARK_POINTS:]


def test_a_young_symbols_spark_line_is_of_what_it_has() -> None:
    board = Board()
    board.take(bars(*(row("AAPL", "1s", i, float(i + 1)) for i in range(30)), row("AAPL", "1m", 0, 1.0)))
    assert board.sparks()["AAPL"]["timeframe"] == "1s"


def test_symbols_beyond_the_cap_push_out_who_was_silent_longest() -> None:
    board = Board(symbols_max=2)
    board.take(bars(row("AAA", "1m", 0, 1.0), row("BBB", "1m", 0, 1.0)))
    board.take(bars(row("AAA", "1m", 60, 1.0)))
    generation = board.generation
    board.take(bars(row("CCC", "1m", 0, 1.0)))
    assert board.symbols() == ["AAA", "CCC"]
    assert board.generation > generation


def test_memory_is_bounded_by_rows_over_all_series() -> None:
    board = Board(history=500, rows_max=10_000)
    for i in range(100):
        board.take(bars(*(row(f"S{i:03d}", "1m", 60 * j, 1.0) for j in range(300))))
    held = sum(len(series) for state in board._symbols.values() for series in state.series.values())
    assert held <= 10_000 * 1.25
    assert all(len(state.series["1m"]) >= 60 for state in board._symbols.values())


def test_timeframes_are_offered_tick_bars_first_then_by_length() -> None:
    board = Board()
    board.take(bars(*(row("AAPL", t, 0, 1.0) for t in ("1d", "1m", "1t", "1s"))))
    assert board.timeframes == ["1t", "1s", "1m", "1d"]


def test_a_symbol_says_which_timeframes_it_has() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1d", 0, 1.0), row("KO", "1d", 0, 1.0), row("KO", "1m", 0, 1.0)))
    assert {name: values[7] for name, values in quotes(board).items()} == {"AAPL": ["1d"], "KO": ["1m", "1d"]}


def test_trades_of_one_nanosecond_are_tick_bars_of_their_own() -> None:
    board = Board()
    one, two = row("AAPL", "1t", 60, 1.0), row("AAPL", "1t", 60, 2.0)
    two["receipt"] = two["receipt"] | {"last_row": 1}
    board.take(bars(one, two))
    assert [r["close"] for r in shown(board, timeframe="1t")] == [1.0, 2.0]


def test_a_date_that_is_missing_is_the_utc_day() -> None:
    board = Board()
    board.take(bars(row("AAPL", "1m", 60, 1.0, session_date=None), row("AAPL", "1m", DAY + 60, 2.0)))
    assert quotes(board)["AAPL"][3:5] == [1.0, "previous_close"]


def test_what_is_unknown_is_none_and_empty_batches_change_nothing() -> None:
    board = Board()
    board.take(bars())
    assert (board.chart("AAPL", "1m"), board.seq, board.quote_rows()) == (None, 0, [])


def test_indicators_alone_are_no_quote_yet() -> None:
    board = Board()
    board.take(indicators(["sma_20"], row("AAPL", "1m", 60, 10.0, sma_20=9.5)))
    assert board.quote_rows() == []


def test_alerts_only_tell_that_the_log_moves() -> None:
    board = Board()
    batch = pa.RecordBatch.from_pylist([{"rule": "x"}], pa.schema([("rule", pa.string())]))
    board.take(FeedBatch("alerts", batch, 5_000))
    assert (board.seq, board.figures()["newest_row_ms"]) == (0, 5_000)


def test_rows_without_receipts_say_what_they_lack() -> None:
    batch = bars(row("AAPL", "1m", 60, 1.0))
    bare = FeedBatch("bars", batch.rows.drop_columns(["receipt"]), 1_000)
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
        board.take(bars(row("AAPL", "1m", 60 * i, 1.0), row(f"S{i}", "1m", 60 * i, 1.0)))
        board.take_stats(PipelineStats(i, 0, 0, i, broker_reachable=True))
    for reader in readers:
        reader.join()
    assert failures == []


def test_the_newest_quote_comes_with_live_rows_and_goes_with_one_that_has_none() -> None:
    board = Board()
    board.take(
        live([], row("AAPL", "1m", 60, 5.0, bid=4.5, bid_size=3.0, ask=5.5, ask_size=7.0), row("KO", "1m", 60, 1.0))
    )
    assert quotes(board)["AAPL"][8:] == [4.5, 3.0, 5.5, 7.0]
    assert all(math.isnan(value) for value in quotes(board)["KO"][8:])
    board.take(live([], row("AAPL", "1m", 120, 5.0)))
    assert all(math.isnan(value) for value in quotes(board)["AAPL"][8:])
    assert board.names == []
