import math

import pytest

from marketpulse.app.receipts.bar_arithmetic import explain_column
from marketpulse.app.receipts.trace import Input


def traded(offset: int, time: int, price: float, size: float, *, counts: bool = True) -> Input:
    return Input("trade", offset, 0, time, "feed", price, size, counts=counts)


TRADES = [
    traded(7, 30, 4.0, 1.0), traded(5, 10, 5.0, 1.0), traded(6, 20, 9.0, 3.0, counts=False), traded(8, 40, 7.0, 3.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("open", 5.0), ("high", 7.0), ("low", 4.0), ("close", 7.0), ("volume", 5.0), ("vwap", 6.0), ("trade_count", 3)],
)
def test_a_column_follows_from_the_trades_that_count_in_order_of_time(name: str, value: float) -> None:
    lines, found = explain_column(name, TRADES, by_count=False)
    assert found == value
    assert lines


def test_a_bar_by_count_follows_the_log() -> None:
    swapped = [traded(1, 50, 2.0, 1.0), traded(2, 10, 3.0, 1.0)]
    assert explain_column("close", swapped, by_count=True)[1] == 3.0
    assert explain_column("close", swapped, by_count=False)[1] == 2.0


def test_without_volume_there_is_no_vwap_and_without_trades_nothing() -> None:
    assert explain_column("vwap", [traded(1, 1, 2.0, 0.0)], by_count=False)[1] is None
    assert explain_column("close", [traded(1, 1, 2.0, 0.0, counts=False)], by_count=False)[1] is None


def test_bars_of_a_source_are_joined_and_the_newest_of_each_counts() -> None:
    def given(offset: int, opens: int, close: float, volume: float, vwap: float) -> Input:
        bar = {
            "open": 1.0, "high": close, "low": 0.5, "close": close, "volume": volume, "vwap": vwap, "trade_count": 2,
        }  # fmt: skip
        return Input("bar", offset, 0, opens, "feed", close, volume, bar=bar)

    bars = [given(1, 0, 3.0, 1.0, 2.0), given(2, 0, 4.0, 1.0, 2.0), given(3, 60, 2.0, 3.0, 6.0)]
    assert explain_column("high", bars, by_count=False)[1] == 4.0
    assert explain_column("volume", bars, by_count=False)[1] == 4.0
    assert explain_column("vwap", bars, by_count=False)[1] == 5.0
    assert explain_column("trade_count", bars, by_count=False)[1] == 4
    assert explain_column("vwap", [given(1, 0, 3.0, 1.0, math.nan)], by_count=False)[1] is None
