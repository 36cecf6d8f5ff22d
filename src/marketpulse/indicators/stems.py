"""Reads `rsi_21`, `bbands_20_2p5`: an indicator with its parameters as its columns begin.

It is the shortest way to write one, and fit for an address: no bracket, no comma.
"""

import re
from collections.abc import Mapping

from marketpulse.errors import ParameterError
from marketpulse.indicators.declaration import Indicator, Spec, identifier

_VALUE = re.compile(r"m?[0-9]+(?:p[0-9]+)?")


def stem(spec: Spec) -> str:
    """What all its columns begin with, such as `bbands_20_2`."""
    return "_".join([spec.indicator.name, *(identifier(value) for value in spec.parameters)])


def spec_of(text: str, catalogue: Mapping[str, Indicator]) -> Spec:
    """`macd_12_26_9` -> macd(12,26,9); a name alone has its defaults.

    Raises ParameterError for what is no indicator of the catalogue, or has values out of their range.
    """
    names = (name for name in catalogue if text == name or text.startswith(f"{name}_"))
    for name in sorted(names, key=len, reverse=True):
        indicator = catalogue[name]
        parts = text[len(name) + 1 :].split("_") if text != name else []
        if all(_VALUE.fullmatch(part) for part in parts) and len(parts) in (0, len(indicator.parameters)):
            values = tuple(float(part.replace("m", "-").replace("p", ".")) for part in parts)
            return Spec(indicator, values or indicator.defaults())
    raise ParameterError(
        f"{text[:80]!r} is no indicator: write a name and its values, such as rsi_21; /api/catalog lists them all"
    )
