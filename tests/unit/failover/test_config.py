import pytest

from marketpulse.errors import ParameterError
from marketpulse.failover.config import FailoverConfig, Group

STOCKS, PAIRS = Group(("alpaca", "finnhub")), Group(("coinbase", "binance"))
NAMED = Group(("polygon", "alpaca"), frozenset({"AAPL"}))


def test_a_symbol_is_of_the_group_that_names_it_else_of_that_of_its_source() -> None:
    config = FailoverConfig((STOCKS, PAIRS, NAMED))
    assert config.group_of("AAPL", "alpaca") is NAMED
    assert config.group_of("AAPL", "finnhub") is NAMED
    assert config.group_of("MSFT", "finnhub") is STOCKS
    assert config.group_of("BTC-USD", "binance") is PAIRS
    assert config.group_of("MSFT", "polygon") is STOCKS
    assert FailoverConfig((NAMED,)).group_of("MSFT", "alpaca") is None
    assert config.sources() == ["alpaca", "finnhub", "coinbase", "binance", "polygon"]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ((Group(("alpaca",)),), "two or more sources"),
        ((Group(("alpaca", "alpaca")),), "each once"),
        ((NAMED, Group(("a", "b"), frozenset({"AAPL"}))), "AAPL is a symbol of two groups"),
        ((STOCKS, Group(("alpaca", "binance"))), "alpaca is in two groups"),
    ],
)
def test_groups_that_contradict_each_other_are_refused(groups: tuple[Group, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        FailoverConfig(groups)
