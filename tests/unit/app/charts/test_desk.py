"""What a chart may ask for, the bars that it is drawn from, and the desk that answers it, with the engine's values."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import marketpulse
from board_rows import row
from lake_store import LakeRows
from marketpulse.app.charts.catalogue import OF_STORED_BARS, catalogue, in_prices, indicators_of, needs_the_engine
from marketpulse.app.charts.closed_bars import PRICES, REVISION, ClosedBars, forming, merged, stored_bars
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.app.charts.values import ChartValues
from marketpulse.app.frames import with_nanoseconds
from marketpulse.errors import Fatal, MarketPulseError, ParameterError
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import EngineSettings, Settings
from marketpulse.web.series import BAR_COLUMNS
from real_rows import daily


def test_every_indicator_also_a_users_own_is_listed_and_says_where_bars_are_not_enough(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in catalogue(EngineSettings())}
    assert set(rows) == set(CATALOGUE)
    bands = rows["bbands"]
    assert (bands["stem"], bands["outputs"], bands["pane"]) == ("bbands_20_2", ["upper", "middle", "lower"], "price")
    assert bands["parameters"][0] == {"name": "period", "kind": "int", "default": 20, "minimum": 2, "maximum": 10_000}
    assert "made of quotes" in rows["microprice"]["needs_the_engine"]
    assert "made of trades" in rows["vwap"]["needs_the_engine"]
    assert rows["rsi"]["needs_the_engine"] is None
    enough = [name for name, indicator in CATALOGUE.items() if needs_the_engine(indicator) is None]
    assert all(OF_STORED_BARS.issuperset(CATALOGUE[name].reads) for name in enough)
    assert len(enough) > 60
    names = ("sma_20", "bbands_20_2_upper", "session_vwap", "rsi_14", "volume_sma_20", "macd_12_26_9", "nothing_7")
    assert [in_prices(name, CATALOGUE) for name in names] == [True, True, True, False, False, False, False]
    file = tmp_path / "mine.py"
    file.write_text(
        'from marketpulse.indicators.own import indicator\n@indicator(window="period", pane="price")\n'
        "def middle(high, low, period=10):\n    return (high.max() + low.min()) / 2\n"
    )
    settings = EngineSettings(indicator_files=(file,))
    assert "middle" in indicators_of(settings)
    own = next(row for row in catalogue(settings) if row["name"] == "middle")
    assert (own["group"], own["stem"], own["pane"]) == ("own", "middle_10", "price")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def of(*bars: tuple[float, float, float]) -> ClosedBars:
    """(open ms, close, revision)."""
    table = np.array(bars, np.float64).reshape(-1, 3)
    return ClosedBars(table[:, 0], np.repeat(table[:, 1:2], 5, axis=1), table[:, 2])


def live(*bars: tuple[float, float, float], gone: dict[float, float] | None = None) -> LiveBars:
    rows = {t: [t, t + 1, close, close, close, close, close, close, 1.0, rev] for t, close, rev in bars}
    return LiveBars(rows, gone or {})


def told(bars: ClosedBars) -> list[tuple[float, float]]:
    return list(zip(bars.open_ms.tolist(), bars.prices[:, 3].tolist(), strict=True))


def test_the_higher_revision_is_the_truth_a_withdrawn_bar_is_gone_and_forming_ones_stand_apart() -> None:
    assert BAR_COLUMNS[2 : 2 + len(PRICES)] == PRICES, "the places of columns are those of the board's rows"
    assert BAR_COLUMNS[REVISION] == "revision"
    stored = of((0, 1, 0), (1, 2, 1), (2, 3, 0))
    assert told(merged(stored, live((1, 9, 0), (2, 8, 1), (3, 7, 0)))) == [(0, 1), (1, 2), (2, 8), (3, 7)]
    later = of((0, 1, 0), (1, 2, 0), (2, 3, 2))
    assert told(merged(later, live((3, 4, 0), gone={1.0: 1.0, 2.0: 1.0}))) == [(0, 1), (2, 3), (3, 4)]
    assert merged(stored, LiveBars()) is stored
    bars = live((0, 1, 0), (1, 2, -1))
    assert (told(merged(of(), bars)), told(forming(bars))) == ([(0, 1)], [(1, 2)])


@pytest.mark.parametrize("timeframe", ["1m", "1t"])
def test_the_lake_gives_the_newest_revisions_and_tells_tick_bars_apart(settings: Settings, timeframe: str) -> None:
    lake = LakeRows(settings)
    opens = (60, 120) if timeframe == "1m" else (60, 60)
    rows = [row("AAA", timeframe, at, float(i)) for i, at in enumerate(opens)]
    for place, one in enumerate(rows):
        one["receipt"] = one["receipt"] | {"last_offset": place}
    lake.add("bars", [*rows, row("BBB", timeframe, 60, 5.0)])
    if timeframe == "1m":
        lake.add("bars", [row("AAA", timeframe, 120, 7.0, revision=1)])
    with contextlib.closing(LakeQuery(settings)) as query:
        found = stored_bars(query, "AAA", timeframe)
    expected = [(60_000, 0), (120_000, 7)] if timeframe == "1m" else [(60_000, 0), (60_000.001, 1)]
    assert told(found) == expected


def test_values_are_computed_over_the_lakes_bars_and_without_a_lake_begin_with_the_board(settings: Settings) -> None:
    LakeRows(settings).add("bars", [row("AAA", "1m", 60 * i, float(i)) for i in range(10)])
    with contextlib.closing(LiveDesk(settings)) as desk:
        columns, rows = desk.values(["sma_3"], BarSpan("AAA", "1m", limit=2), LiveBars())
    assert (columns, rows) == (["sma_3"], [[480_000, 7.0], [540_000, 8.0]])
    without = Settings(data_dir=settings.data_dir, sinks={"lake": {"enabled": False}})
    board = LiveBars({60_000.0 * i: [60_000.0 * i, 0, *[float(i)] * 5, 0, 1, 0] for i in range(4)})
    with contextlib.closing(LiveDesk(without)) as desk:
        assert desk.values(["sma_3"], BarSpan("AAA", "1m", limit=1), board)[1] == [[180_000, 2.0]]


def test_a_receipt_of_what_is_not_there_says_what_is(settings: Settings) -> None:
    LakeRows(settings).add("bars", [row("AAA", "1m", 60, 1.0)])
    with contextlib.closing(LiveDesk(settings)) as desk:
        with pytest.raises(Fatal, match="no 1m bar of AAA opens at"):
            desk.receipt(ReceiptAsk("AAA", "1m", 0), threading.Event())
        with pytest.raises(MarketPulseError, match="is not computed"):
            desk.receipt(ReceiptAsk("AAA", "1m", 60 * 10**9, "nothing"), threading.Event())


# Indicators of a chart against what the engine itself gives for the same bars, bit for bit.

NOTATION = "sma(20),rsi(14),ema(12),macd(12,26,9),bbands(20,2.5),kama(30),obv,supertrend(10,3)"
STEMS = ["sma_20", "rsi_14", "ema_12", "macd_12_26_9", "bbands_20_2p5", "kama_30", "obv", "supertrend_10_3"]
_HEAD = ("open", "high", "low", "close", "volume")
WHOLE = BarSpan("KO", "1d", limit=10_000)


@pytest.fixture(scope="module")
def engine() -> pl.DataFrame:
    """754 real days with the values that the engine gave, one step for each bar."""
    return with_nanoseconds(marketpulse.compute(daily("KO").select("date", *_HEAD), NOTATION, symbol="KO"))


def engine_bars(rows: pl.DataFrame) -> list[dict[str, Any]]:
    bars = list(rows.select("symbol", "timeframe", "open_time_ns", "close_time_ns", "session_date", *_HEAD).to_dicts())
    return [bar | {"revision": 0, "source": "file", "vwap": None, "trade_count": None} for bar in bars]


def live_bars(rows: pl.DataFrame, *, revision: float = 0.0, newest: float | None = None) -> LiveBars:
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
        lake.add("bars", engine_bars(engine.head(in_lake)))
    board = live_bars(engine.slice(min(in_lake, 254))) if in_lake < len(engine) else LiveBars()
    columns, rows = values.values(STEMS, CATALOGUE, WHOLE, board)
    assert as_bytes(rows) == expected(engine, columns)
    assert np.isfinite([row[1] for row in rows]).sum() == len(engine) - 19


def test_bar_after_bar_they_stay_so_and_a_forming_one_moves_nothing(
    lake: LakeRows, values: ChartValues, engine: pl.DataFrame
) -> None:
    lake.add("bars", engine_bars(engine.head(600)))
    seen: list[list[float]] = []
    for end in range(601, 640):
        board = live_bars(engine.slice(end - 100, 100), newest=-1.0)
        columns, rows = values.values(STEMS, CATALOGUE, BarSpan("KO", "1d", max(board.rows) - 1, limit=5), board)
        seen += rows
    assert as_bytes(seen) == expected(engine.slice(600, 39), columns)


def test_a_past_page_is_cut_from_the_whole_and_a_revision_changes_all_after_it(engine: pl.DataFrame) -> None:
    values, board = ChartValues(None), live_bars(engine)
    whole = values.values(["rsi_14"], CATALOGUE, WHOLE, board)[1]
    times = sorted(board.rows)
    page = values.values(["rsi_14"], CATALOGUE, BarSpan("KO", "1d", times[100], times[200], 50), board)[1]
    assert as_bytes(page) == as_bytes(whole[150:200])
    with pytest.raises(ParameterError, match=r"name it in engine\.indicators"):
        values.values(["spread"], CATALOGUE, BarSpan("KO", "1d"), LiveBars())
    values, bars = ChartValues(None), engine.head(200)
    before = values.values(["ema_12"], CATALOGUE, WHOLE, live_bars(bars))[1]
    board = live_bars(bars.with_columns(close=bars["close"].scatter(20, bars["close"][20] + 1)))
    board.rows[sorted(board.rows)[20]][-1] = 1.0  # type: ignore[index]
    after = values.values(["ema_12"], CATALOGUE, WHOLE, board)[1]
    assert as_bytes(before[:20]) == as_bytes(after[:20])
    assert all(a[1] != b[1] for a, b in zip(before[20:60], after[20:60], strict=True))


def test_bars_that_left_the_board_are_read_again(lake: LakeRows, values: ChartValues, engine: pl.DataFrame) -> None:
    lake.add("bars", engine_bars(engine.head(300)))
    values.values(["ema_12"], CATALOGUE, WHOLE, live_bars(engine.slice(250, 100)))
    lake.add("bars", engine_bars(engine.slice(300, 300)))
    columns, rows = values.values(["ema_12"], CATALOGUE, WHOLE, live_bars(engine.slice(600, 100)))
    assert as_bytes(rows) == expected(engine.head(700), columns)
