import threading
from pathlib import Path
from typing import Any

import pytest

from board_rows import row
from lake_rows import LakeRows
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.errors import Fatal, MarketPulseError
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.settings import Settings


def alert(minute: int, rule: str, state: str, **other: Any) -> dict[str, Any]:
    at = 60 * 10**9 * minute
    return {
        "symbol": "AAA", "rule": rule, "severity": "warning", "timeframe": "1m", "open_time_ns": at,
        "event_time_ns": at + 60 * 10**9, "state": state, "was": None, "late": False, "value": 1.5,
        "message": "low", "revision": 0, "receipt": row("AAA", "1m", 0, 1.0)["receipt"],
    } | other  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_values_are_computed_over_the_lakes_bars(settings: Settings) -> None:
    LakeRows(settings).add("bars", [row("AAA", "1m", 60 * i, float(i)) for i in range(10)])
    desk = LiveDesk(settings)
    columns, rows = desk.values(["sma_3"], BarSpan("AAA", "1m", limit=2), LiveBars())
    desk.close()
    assert (columns, rows) == (["sma_3"], [[480_000, 7.0], [540_000, 8.0]])


def test_without_a_lake_there_are_no_alerts_and_values_begin_with_the_board(tmp_path: Path) -> None:
    desk = LiveDesk(Settings(data_dir=tmp_path, sinks={"lake": {"enabled": False}}))
    board = LiveBars({60_000.0 * i: [60_000.0 * i, 0, *[float(i)] * 5, 0, 1, 0] for i in range(4)})
    assert desk.values(["sma_3"], BarSpan("AAA", "1m", limit=1), board)[1] == [[180_000, 2.0]]
    desk.close()


def test_a_receipt_of_what_is_not_there_says_what_is(settings: Settings) -> None:
    LakeRows(settings).add("bars", [row("AAA", "1m", 60, 1.0)])
    desk = LiveDesk(settings)
    with pytest.raises(Fatal, match="no 1m bar of AAA opens at"):
        desk.receipt(ReceiptAsk("AAA", "1m", 0), threading.Event())
    with pytest.raises(MarketPulseError, match="is not computed"):
        desk.receipt(ReceiptAsk("AAA", "1m", 60 * 10**9, "nothing"), threading.Event())
    desk.close()
