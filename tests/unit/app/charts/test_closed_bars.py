from pathlib import Path

import numpy as np
import pytest

from board_rows import row
from lake_rows import LakeRows
from marketpulse.app.charts.closed_bars import PRICES, REVISION, ClosedBars, forming, merged, stored_bars
from marketpulse.ports import LiveBars
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings
from marketpulse.web.series import BAR_COLUMNS


def of(*bars: tuple[float, float, float]) -> ClosedBars:
    """(open ms, close, revision)."""
    table = np.array(bars, np.float64).reshape(-1, 3)
    return ClosedBars(table[:, 0], np.repeat(table[:, 1:2], 5, axis=1), table[:, 2])


def live(*bars: tuple[float, float, float], gone: dict[float, float] | None = None) -> LiveBars:
    rows = {t: [t, t + 1, close, close, close, close, close, close, 1.0, rev] for t, close, rev in bars}
    return LiveBars(rows, gone or {})


def told(bars: ClosedBars) -> list[tuple[float, float]]:
    return list(zip(bars.open_ms.tolist(), bars.prices[:, 3].tolist(), strict=True))


def test_the_places_of_columns_are_those_of_the_boards_rows() -> None:
    assert BAR_COLUMNS[2 : 2 + len(PRICES)] == PRICES
    assert BAR_COLUMNS[REVISION] == "revision"


def test_the_higher_revision_is_the_truth_wherever_it_stands() -> None:
    stored = of((0, 1, 0), (1, 2, 1), (2, 3, 0))
    assert told(merged(stored, live((1, 9, 0), (2, 8, 1), (3, 7, 0)))) == [(0, 1), (1, 2), (2, 8), (3, 7)]


def test_a_withdrawn_bar_is_gone_and_a_later_revision_of_it_is_there() -> None:
    stored = of((0, 1, 0), (1, 2, 0), (2, 3, 2))
    assert told(merged(stored, live((3, 4, 0), gone={1.0: 1.0, 2.0: 1.0}))) == [(0, 1), (2, 3), (3, 4)]


def test_without_live_bars_all_that_is_stored_stands() -> None:
    stored = of((0, 1, 0), (1, 2, 0))
    assert merged(stored, LiveBars()) is stored


def test_forming_bars_stand_apart() -> None:
    bars = live((0, 1, 0), (1, 2, -1))
    assert told(merged(of(), bars)) == [(0, 1)]
    assert told(forming(bars)) == [(1, 2)]


@pytest.mark.parametrize("timeframe", ["1m", "1t"])
def test_the_lake_gives_the_newest_revisions_and_tells_tick_bars_apart(tmp_path: Path, timeframe: str) -> None:
    settings = Settings(data_dir=tmp_path)
    lake = LakeRows(settings)
    opens = (60, 120) if timeframe == "1m" else (60, 60)
    rows = [row("AAA", timeframe, at, float(i)) for i, at in enumerate(opens)]
    for place, one in enumerate(rows):
        one["receipt"] = one["receipt"] | {"last_offset": place}
    lake.add("bars", [*rows, row("BBB", timeframe, 60, 5.0)])
    if timeframe == "1m":
        lake.add("bars", [row("AAA", timeframe, 120, 7.0, revision=1)])
    query = LakeQuery(settings)
    found = stored_bars(query, "AAA", timeframe)
    query.close()
    expected = [(60_000, 0), (120_000, 7)] if timeframe == "1m" else [(60_000, 0), (60_000.001, 1)]
    assert told(found) == expected
