"""A stretch of a series as it reads had there been no splits, or no dividends either."""

import dataclasses
from collections.abc import Callable, Sequence

from marketpulse.model.adjusting import Adjust, Adjustments
from marketpulse.web.rest.seamless import Stretch
from marketpulse.web.series import BAR_COLUMNS

_PRICES = frozenset({"open", "high", "low", "close", "vwap"})

InPrices = Callable[[str], bool]
"""Whether an indicator's column is in the unit of prices."""


def adjusted(found: Stretch, by: Adjustments, adjust: Adjust, in_prices: InPrices) -> Stretch:
    """The stretch with its prices, volumes and values that are prices multiplied."""
    if not by.steps.get(adjust):
        return found
    prices = [i for i, name in enumerate(found.columns) if _is_price(i, name, in_prices)]
    volume = found.columns.index("volume")
    return dataclasses.replace(found, rows=[_row(row, by, adjust, prices, volume) for row in found.rows])


def _is_price(place: int, name: str, in_prices: InPrices) -> bool:
    return name in _PRICES if place < len(BAR_COLUMNS) else in_prices(name)


def _row(row: list[float], by: Adjustments, adjust: Adjust, prices: Sequence[int], volume: int) -> list[float]:
    step = by.step(adjust, row[0] * 1e6)
    if step is None:
        return row
    found = list(row)
    for place in prices:
        found[place] *= step.price
    found[volume] *= step.volume
    return found
