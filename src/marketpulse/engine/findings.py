"""What a rule of data quality has found, in words."""

import numpy as np

from marketpulse.model.quality import (
    CROSSED_QUOTE,
    DIVIDEND,
    MISSING_BARS,
    OHLC,
    OUT_OF_HOURS,
    PRICE_SPIKE,
    RULES,
    SIZE_OUTLIER,
    SPLIT,
    STALE,
)

RULE_NAMES = tuple(RULES)

_SENTENCES = {
    PRICE_SPIKE: "the bar before closed at {value:g}, between {expected:g} and a close near it",
    SIZE_OUTLIER: "size {value:g} where {expected:g} is usual",
    STALE: "the same values {value:.0f} times in a row",
    CROSSED_QUOTE: "bid {value:g} is above ask {expected:g}",
    OUT_OF_HOURS: "its calendar has no session then",
    MISSING_BARS: "{value:.0f} missing before it",
    DIVIDEND: "dividend {value:g} beside a price of {expected:g}",
    OHLC: "open or close {value:g} lies beyond the bar's end of {expected:g}",
}
_OF_A_PRICE = "{value:g} where {expected:g} is about the level"


def describe(found: np.void) -> str:
    """One finding (FOUND) as a sentence."""
    rule, value, expected = int(found["rule"]), float(found["value"]), float(found["expected"])
    if rule == SPLIT:
        announced = f", and a split of {expected:g} was announced" if expected else ""
        return f"the price is {value:.4g} times the one before{announced}"
    return _SENTENCES.get(rule, _OF_A_PRICE).format(value=value, expected=expected)
