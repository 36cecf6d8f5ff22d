"""What a rule may be, and which symbols it takes."""

import math
from typing import Any

import pytest

from marketpulse.alerts.rule import Rule
from marketpulse.errors import ParameterError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "rule '': name it with up to 100 letters"),
        ({"name": "two words"}, "rule 'two words': name it with"),
        ({"name": "1st"}, "rule '1st': name it with"),
        ({"name": "a" * 101}, "name it with up to 100 letters"),
        ({"severity": "loud"}, "rule 'r': severity must be one of info, warning, critical, found 'loud'"),
        ({"for_s": -1.0}, "rule 'r': for_s must be from 0 to 31622400 seconds, found -1.0"),
        ({"cooldown_s": math.nan}, "rule 'r': cooldown_s must be from 0 to 31622400 seconds, found nan"),
        ({"for_s": math.inf}, "rule 'r': for_s must be from 0"),
        ({"clear": "x" * 2_001}, "rule 'r': clear is longer than 2000 characters"),
        ({"symbols": ("AAA", "")}, "rule 'r': symbols must be at most 10,000 names, none of them empty"),
    ],
)
def test_a_rule_out_of_range_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match="rule") as caught:
        Rule(**{"name": "r", "expression": "close > 1", **fields})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("symbols", "taken", "left"),
    [
        ((), ["AAPL", "BTC-USD.COINBASE", ""], []),
        (("AAPL", "MSFT"), ["AAPL", "MSFT"], ["AAP", "AAPLX", "aapl"]),
        (("BTC-*",), ["BTC-USD", "BTC-", "BTC-USD.KRAKEN"], ["BTC", "XBTC-USD"]),
        (("*-USD*",), ["BTC-USD", "-USD", "ETH-USD.KRAKEN"], ["BTC-EUR"]),
        (("*.KRAKEN",), ["BTC-USD.KRAKEN"], ["BTC-USD.KRAKEN2"]),
        (("A*B*C",), ["ABC", "AxxByyC"], ["AC", "ACB", "AB"]),
        (("AB*BA",), ["ABBA", "ABxBA"], ["ABA"]),
        (("A.[A]?",), ["A.[A]?"], ["AxA", "A.A."]),
    ],
)
def test_a_rule_takes_the_symbols_that_its_filter_names(
    symbols: tuple[str, ...], taken: list[str], left: list[str]
) -> None:
    rule = Rule("r", "close > 1", symbols=symbols)
    assert [s for s in [*taken, *left] if rule.takes(s)] == taken


def test_seconds_become_whole_nanoseconds() -> None:
    rule = Rule("r", "close > 1", for_s=0.1, cooldown_s=90)
    assert (rule.for_ns, rule.cooldown_ns) == (100_000_000, 90_000_000_000)
