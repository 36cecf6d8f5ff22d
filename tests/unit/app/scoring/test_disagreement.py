"""Two sources of one instrument are held against each other, minute by minute."""

import pytest

from market_rows import trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.disagreement import instrument_of, percentiles
from score_rows import card_of, one

HOUR = 3_600.0


def told(
    source: str, minute: float, price: float, symbol: str = "BTC-USD", venue: str | None = None
) -> tuple[dict[str, object], float]:
    seconds = HOUR + 60 * minute
    return trade(symbol, seconds, price, 1.0, source, venue=venue), seconds


@pytest.mark.parametrize(
    ("symbol", "venue", "instrument"),
    [("BTC-USD.COINBASE", "COINBASE", "BTC-USD"), ("BTC-USD", "COINBASE", "BTC-USD"), ("BRK.B", "XNYS", "BRK.B"), ("BRK.B", None, "BRK.B")],
)  # fmt: skip
def test_the_venue_that_a_symbol_carries_is_no_part_of_the_instrument(
    symbol: str, venue: str | None, instrument: str
) -> None:
    assert instrument_of(symbol, venue) == instrument


def both() -> Card:
    return card_of([
        told("coinbase", 0.1, 90.0, "BTC-USD.COINBASE", "COINBASE"), told("binance", 0.2, 50.0, "BTC-USD.BINANCE", "BINANCE"),
        told("coinbase", 0.5, 100.5, "BTC-USD.COINBASE", "COINBASE"), told("binance", 0.6, 99.5, "BTC-USD.BINANCE", "BINANCE"),
        told("coinbase", 1.5, 10.0, "BTC-USD.COINBASE", "COINBASE"),
        told("binance", 2.5, 100.0, "BTC-USD.BINANCE", "BINANCE"), told("coinbase", 2.6, 100.0, "BTC-USD.COINBASE", "COINBASE"),
        told("coinbase", 3.0, 100.0, "ETH-USD.COINBASE", "COINBASE"),
    ])  # fmt: skip


def test_the_last_prices_of_the_minutes_that_both_have_are_compared() -> None:
    [apart] = both().symbols("coinbase", 10)["disagreements"]
    assert (apart["instrument"], apart["other_source"], apart["other_symbol"]) == (
        "BTC-USD",
        "binance",
        "BTC-USD.BINANCE",
    )
    assert apart["minutes"] == 2
    assert [v for v in apart["line_bps"] if v is not None] == [100.0, 0.0]  # 1 of 100; 0
    assert apart["p50_bps"] == pytest.approx(50.0)
    assert one(both(), "coinbase")["disagreement_p50_bps"] == pytest.approx(50.0)


def test_each_of_the_two_sees_the_other_from_its_side() -> None:
    [apart] = both().symbols("binance", 10)["disagreements"]
    assert [v for v in apart["line_bps"] if v is not None] == [-100.0, 0.0]


def test_one_source_does_not_disagree_with_itself() -> None:
    card = card_of([told("feed", 0.1, 1.0), told("feed", 0.2, 2.0, "BTC-USD.X", "X"), told("feed", 1.0, 2.0)])
    assert card.symbols("feed", 10)["disagreements"] == []
    assert one(card, "feed")["disagreement_p50_bps"] is None


def test_without_minutes_in_common_there_is_nothing_to_tell() -> None:
    import numpy as np

    assert percentiles(np.empty(0)) == (None, None)
