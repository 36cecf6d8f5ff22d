"""What a notebook asks for: frames in and out, stored frames and SQL, charts, and a frame that follows a feed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import marketpulse as mp
from board_rows import bars, row
from marketpulse.app.frames import as_kind
from marketpulse.app.notebook.bars import bars_of
from marketpulse.app.notebook.following import Live
from marketpulse.errors import Fatal, ParameterError, QueryRefused, Retryable
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.sources.defaults import bundled
from real_rows import daily
from refused import assert_raises
from waiting import wait_until

DAYS = {"day": [date(2024, 5, 2), date(2024, 5, 1)], "open": [1.0, 2.0], "high": [3.0, 3.0], "low": [0.5, 1.0]}
LAST = datetime(2014, 12, 31, tzinfo=UTC)  # of the bundled days
FRAME = pl.DataFrame({**DAYS, "close": [2.0, 2.5]})


@pytest.mark.parametrize(("kind", "made"), [("polars", pl.DataFrame), ("pandas", pd.DataFrame), ("arrow", pa.Table)])
def test_every_kind_of_frame_is_made_as_asked_for_and_taken_and_put_in_order_of_time(kind: Any, made: Any) -> None:
    assert isinstance(as_kind(FRAME.to_arrow(), kind), made)
    table, symbol, timeframe = bars_of(as_kind(FRAME.to_arrow(), kind))
    assert table.column("close").to_pylist() == [2.5, 2.0]
    assert table.column("open_time_ns")[0].as_py() == 1_714_521_600 * 10**9
    assert (symbol, timeframe) == ("DATA", "")
    named = FRAME.with_columns(pl.lit("KO").alias("symbol"), pl.lit("1d").alias("timeframe"))
    assert bars_of(as_kind(named.to_arrow(), kind))[1:] == ("KO", "1d")
    with pytest.raises(ParameterError, match="polars, pandas or arrow"):
        as_kind(named.to_arrow(), "csv")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "said"),
    [(FRAME.drop("high"), "needs a column high"), (FRAME.drop("day"), "needs a column of times"),
     (FRAME.with_columns(pl.Series("symbol", ["A", "B"])), "shows one symbol, and the frame has A, B"),
     (FRAME.head(0), "no bar to draw yet"), ([1, 2], "found list")],
)  # fmt: skip
def test_what_is_no_series_of_bars_is_refused_in_words(frame: Any, said: str) -> None:
    assert_raises(ParameterError, said, bars_of, frame)


class Feed:
    """A LiveFeed that brings what a test puts in, one batch at a time."""

    def __init__(self, *steps: FeedBatch | Exception) -> None:
        self.steps = list(steps)
        self.closed = False

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        if not self.steps:
            time.sleep(min(timeout_s, 0.01))
            return
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        yield step

    def stats(self) -> PipelineStats:
        return PipelineStats(0, 0, 0, 0, True)

    def close(self) -> None:
        self.closed = True


def test_rows_of_the_symbol_are_there_in_order_and_revised() -> None:
    late = bars(row("AAPL", "1m", 60, 9.0, revision=1))
    feed = Feed(bars(row("AAPL", "1m", 0, 1.0), row("KO", "1m", 0, 5.0), row("AAPL", "1m", 60, 2.0)))
    with Live(feed, "AAPL", "1m", 100) as live, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.wait, 1, 120.0)

        def told_again() -> bool:
            feed.steps.append(late)
            return waiting.done()

        wait_until(told_again, "that a change behind its beginning ends the wait")
        assert waiting.result()
        wait_until(lambda: live.frame()["close"].to_list() == [1.0, 9.0], "the revision")
        frame = live.frame()
    assert live.heard() == ["AAPL", "KO"]
    minutes = [datetime(1970, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1)]
    assert frame.select("symbol", "open_time", "closed").rows() == [("AAPL", at, True) for at in minutes]
    assert feed.closed


def test_so_many_bars_are_held_a_log_that_is_away_is_waited_for_and_before_rows_the_frame_is_empty() -> None:
    rows = bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(50)))
    with Live(Feed(Retryable("away"), rows), "AAPL", "1m", 12) as live:
        wait_until(lambda: len(live.frame()), "the first rows")
        assert live.frame()["close"].to_list() == [float(i) for i in range(39, 51)]
    with Live(Feed(), "AAPL", "1m", 10) as live:
        assert live.wait(timeout_s=0.05) is False
        assert (len(live.frame()), "close" in live.frame().columns) == (0, True)
        assert "following" in repr(live)
    assert "closed" in repr(live)


@pytest.mark.parametrize("fault", [Fatal("the topics may not be read"), ValueError("odd")])
def test_what_ends_the_reading_reaches_who_looks(fault: Exception) -> None:
    live = Live(Feed(fault), "AAPL", "1m", 10)
    assert_raises(Fatal, r"may not be read|odd", live.wait, timeout_s=30)
    assert_raises(Fatal, "", live.frame)
    live.close()


@pytest.mark.usefixtures("beside_the_lake")
def test_stored_bars_are_the_lakes_with_indicators_from_the_first_bar_on_in_the_kind_of_frame_that_is_chosen() -> None:
    frame = mp.stored("AAPL", "1d", bars=3, indicators="sma(200)")
    closes = daily("AAPL")["close"]
    assert frame["close"].to_list() == closes.tail(3).to_list()
    assert frame["sma_200"][-1] == pytest.approx(closes.tail(200).mean(), rel=1e-12)
    assert isinstance(mp.stored("KO", bars=2), pl.DataFrame)
    assert frame["open_time"][-1] == LAST
    assert list(mp.stored("KO", bars=2, frame="pandas")["close"]) == daily("KO")["close"].tail(2).to_list()


@pytest.mark.usefixtures("beside_the_lake")
def test_sql_and_the_queries_of_the_library_are_asked_and_a_mistake_is_shown_in_what_was_written() -> None:
    assert mp.sql("SELECT count(*) AS n FROM bars WHERE symbol = 'KO'")["n"].to_list() == [754]
    assert mp.sql("SELECT max(open_time) FROM bars WHERE symbol = 'KO'").item() == LAST
    assert mp.sql(named="losers", params={"days": 90})["symbol"].to_list() == ["IBM", "KO"]
    assert_raises(QueryRefused, r"LINE 1: SELECT prize FROM trades\n +\^", mp.sql, "SELECT prize FROM trades")
    assert_raises(ParameterError, "give one query", mp.sql)
    assert_raises(ParameterError, "from 1 to 10,000", mp.live, "AAPL", bars=0)


@pytest.mark.usefixtures("beside_the_lake")
def test_a_symbol_is_drawn_from_what_is_stored_and_a_frame_with_the_values_of_all_its_rows() -> None:
    picture = mp.chart("AAPL", bars=30, indicators="sma(50)")
    assert repr(picture) == "<Picture AAPL 1d, 30 bars>"
    assert picture.table.column("close").to_pylist() == daily("AAPL")["close"].tail(30).to_list()
    assert picture.table.column("sma_50").null_count == 0
    picture = mp.chart(mp.stored("KO", "1d", bars=100, frame="pandas"), indicators="sma(20)", bars=10)
    assert (picture.symbol, picture.timeframe, picture.table.num_rows) == ("KO", "1d", 10)
    assert picture.table.column("sma_20")[-1].as_py() == pytest.approx(daily("KO")["close"].tail(20).mean())
    own = pl.read_csv(bundled("daily/IBM.csv"), try_parse_dates=True)
    assert mp.chart(own, indicators="", bars=20).png()[:4] == b"\x89PNG"
    assert_raises(ParameterError, "found 0", mp.chart, mp.stored("KO", bars=5), start="2030-01-01", indicators="")
