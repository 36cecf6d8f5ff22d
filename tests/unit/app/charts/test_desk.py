"""What a chart may ask for, the bars that it is drawn from, and the desk that answers it."""

import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest

from board_rows import row
from lake_rows import LakeRows
from marketpulse.app.charts.catalogue import OF_STORED_BARS, catalogue, in_prices, indicators_of, needs_the_engine
from marketpulse.app.charts.closed_bars import PRICES, REVISION, ClosedBars, forming, merged, stored_bars
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.errors import Fatal, MarketPulseError
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import EngineSettings, Settings
from marketpulse.web.series import BAR_COLUMNS


def test_every_indicator_is_listed_with_its_pane_and_unit_and_says_where_bars_are_not_enough() -> None:
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


def test_a_users_own_indicators_are_among_them(tmp_path: Path) -> None:
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
