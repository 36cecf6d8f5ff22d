"""Indicators of a chart against what the engine itself gives for the same bars, bit for bit."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import marketpulse
from lake_rows import LakeRows
from marketpulse.app.charts.values import ChartValues
from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.ports import BarSpan, LiveBars
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings
from real_rows import daily

NOTATION = "sma(20),rsi(14),ema(12),macd(12,26,9),bbands(20,2.5),kama(30),obv,supertrend(10,3)"
STEMS = ["sma_20", "rsi_14", "ema_12", "macd_12_26_9", "bbands_20_2p5", "kama_30", "obv", "supertrend_10_3"]
_HEAD = ("open", "high", "low", "close", "volume")
WHOLE = BarSpan("KO", "1d", limit=10_000)


@pytest.fixture(scope="module")
def engine() -> pl.DataFrame:
    """754 real days with the values that the engine gave, one step for each bar."""
    found: pl.DataFrame = marketpulse.compute(daily("KO").select("date", *_HEAD), NOTATION, symbol="KO")
    return found


def stored(rows: pl.DataFrame) -> list[dict[str, Any]]:
    bars = list(rows.select("symbol", "timeframe", "open_time_ns", "close_time_ns", "session_date", *_HEAD).to_dicts())
    return [bar | {"revision": 0, "source": "file", "vwap": None, "trade_count": None} for bar in bars]


def live(rows: pl.DataFrame, *, revision: float = 0.0, newest: float | None = None) -> LiveBars:
    """The board's rows of these bars; the last one has the revision `newest`."""
    found = {}
    for r in rows.iter_rows(named=True):
        at = r["open_time_ns"] / 1e6
        found[at] = [at, r["close_time_ns"] / 1e6, *(r[name] for name in _HEAD), np.nan, np.nan, revision]
    if newest is not None:
        found[max(found)][-1] = newest
    return LiveBars(found)


def expected(engine: pl.DataFrame, columns: list[str]) -> bytes:
    return as_bytes(
        np.column_stack([engine["open_time_ns"].to_numpy() / 1e6, *(engine[c].to_numpy() for c in columns)])
    )


def as_bytes(rows: Any) -> bytes:
    return np.array(rows, np.float64).tobytes()


@pytest.fixture
def lake(tmp_path: Path) -> LakeRows:
    return LakeRows(Settings(data_dir=tmp_path))


@pytest.fixture
def values(lake: LakeRows) -> Iterator[ChartValues]:
    with contextlib.closing(LakeQuery(lake.settings)) as query:
        yield ChartValues(query)


@pytest.mark.parametrize("in_lake", [0, 300, 754])
def test_they_have_the_bits_of_the_engines_wherever_the_lake_ends(
    lake: LakeRows, values: ChartValues, engine: pl.DataFrame, in_lake: int
) -> None:
    if in_lake:
        lake.add("bars", stored(engine.head(in_lake)))
    board = live(engine.slice(min(in_lake, 254))) if in_lake < len(engine) else LiveBars()
    columns, rows = values.values(STEMS, CATALOGUE, WHOLE, board)
    assert as_bytes(rows) == expected(engine, columns)
    assert np.isfinite([row[1] for row in rows]).sum() == len(engine) - 19


def test_bar_after_bar_they_stay_so_and_a_forming_one_moves_nothing(
    lake: LakeRows, values: ChartValues, engine: pl.DataFrame
) -> None:
    lake.add("bars", stored(engine.head(600)))
    seen: list[list[float]] = []
    for end in range(601, 640):
        board = live(engine.slice(end - 100, 100), newest=-1.0)
        columns, rows = values.values(STEMS, CATALOGUE, BarSpan("KO", "1d", max(board.rows) - 1, limit=5), board)
        seen += rows
    assert as_bytes(seen) == expected(engine.slice(600, 39), columns)


def test_a_revised_bar_changes_every_value_after_it(engine: pl.DataFrame) -> None:
    values, bars = ChartValues(None), engine.head(200)
    before = values.values(["ema_12"], CATALOGUE, WHOLE, live(bars))[1]
    board = live(bars.with_columns(close=bars["close"].scatter(20, bars["close"][20] + 1)))
    board.rows[sorted(board.rows)[20]][-1] = 1.0  # type: ignore[index]
    after = values.values(["ema_12"], CATALOGUE, WHOLE, board)[1]
    assert as_bytes(before[:20]) == as_bytes(after[:20])
    assert all(a[1] != b[1] for a, b in zip(before[20:60], after[20:60], strict=True))


def test_a_page_of_the_past_is_cut_from_the_whole_and_what_needs_the_engine_is_refused(engine: pl.DataFrame) -> None:
    values, board = ChartValues(None), live(engine)
    whole = values.values(["rsi_14"], CATALOGUE, WHOLE, board)[1]
    times = sorted(board.rows)
    page = values.values(["rsi_14"], CATALOGUE, BarSpan("KO", "1d", times[100], times[200], 50), board)[1]
    assert as_bytes(page) == as_bytes(whole[150:200])
    with pytest.raises(ParameterError, match=r"name it in engine\.indicators"):
        values.values(["spread"], CATALOGUE, BarSpan("KO", "1d"), LiveBars())


def test_bars_that_left_the_board_are_read_again(lake: LakeRows, values: ChartValues, engine: pl.DataFrame) -> None:
    lake.add("bars", stored(engine.head(300)))
    values.values(["ema_12"], CATALOGUE, WHOLE, live(engine.slice(250, 100)))
    lake.add("bars", stored(engine.slice(300, 300)))
    columns, rows = values.values(["ema_12"], CATALOGUE, WHOLE, live(engine.slice(600, 100)))
    assert as_bytes(rows) == expected(engine.head(700), columns)
