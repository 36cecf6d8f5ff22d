"""The indicators that a chart may show, and which of them its bars are enough for."""

from collections.abc import Mapping
from typing import Any

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, NAMES, OPEN, VOLUME
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.indicators.declaration import Indicator, Spec
from marketpulse.indicators.describe import catalogue_table
from marketpulse.indicators.own import own_indicators
from marketpulse.indicators.stems import stem
from marketpulse.model.rows import LIVE_NAME
from marketpulse.settings import EngineSettings

OF_STORED_BARS = frozenset(NAMES[column] for column in (OPEN, HIGH, LOW, CLOSE, VOLUME))
"""What a stored bar has to the bit. Its sum of price and size, and the quote at its close, only the engine has."""


_STORED_NAME = {shown: name for name, shown in LIVE_NAME.items()}


def indicators_of(settings: EngineSettings) -> dict[str, Indicator]:
    """The catalogue and the user's own, by name."""
    return {**CATALOGUE, **own_indicators(settings.indicator_files)}


def in_prices(column: str, known: Mapping[str, Indicator]) -> bool:
    """Whether a column of values is in the unit of prices: a chart draws it over them."""
    column = _STORED_NAME.get(column, column)
    names = [name for name in known if column == name or column.startswith(f"{name}_")]
    return bool(names) and known[max(names, key=len)].pane == "price"


def needs_the_engine(indicator: Indicator) -> str | None:
    """Why stored bars are not enough for it, and what to do; None: they are."""
    if OF_STORED_BARS.issuperset(indicator.reads):
        return None
    what = "trades" if "notional" in indicator.reads else "quotes"
    return f"it is made of {what}, not of bars: name it in engine.indicators, and the engine computes it"


def catalogue(settings: EngineSettings) -> list[Mapping[str, Any]]:
    """One row per indicator: describe.catalogue_table's, the `stem` with its defaults, and `needs_the_engine`."""
    known = indicators_of(settings)
    return [
        {
            **row,
            "stem": stem(Spec(known[row["name"]], known[row["name"]].defaults())),
            "outputs": list(known[row["name"]].outputs),
            "needs_the_engine": needs_the_engine(known[row["name"]]),
        }
        for row in catalogue_table(known)
    ]
