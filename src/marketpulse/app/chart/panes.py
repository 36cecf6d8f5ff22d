"""What of a table is drawn where: indicators over the prices, over the volume, or in panes of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from marketpulse.errors import ParameterError
from marketpulse.indicators.declaration import Spec

LEVELS = {"rsi": (30.0, 70.0)}
"""Lines across an indicator's pane."""


@dataclass(frozen=True, slots=True)
class Line:
    """One column. `thin`: an edge of a band; `histogram`: bars from zero."""

    column: str
    style: Literal["line", "thin", "histogram"]
    colour: int  # of the series' colours


@dataclass(frozen=True, slots=True)
class Group:
    """The columns of one indicator, which stand together. `band`: the columns that it is filled between."""

    label: str
    place: Literal["price", "volume", "own"]
    lines: tuple[Line, ...]
    band: tuple[str, str] | None
    levels: tuple[float, ...]


def groups_of(specs: Sequence[Spec], columns: Sequence[str]) -> list[Group]:
    """In the order in which they are drawn: bands lie under lines. Raises ParameterError for a column that the table
    lacks."""
    found: list[Group] = []
    for spec in specs:
        session = spec.columns == ("vwap",) and "session_vwap" in columns  # the session's, beside a bar's own
        named = ("session_vwap",) if session else spec.columns
        own = [name for name in named if not name.endswith("_direction")]  # 1 or -1: nothing to draw beside prices
        if missing := [name for name in own if name not in columns]:
            raise ParameterError(f"there is no column {missing[0]} to draw: the table has {', '.join(columns)}")
        place = spec.indicator.pane
        order = sum(group.place == place for group in found)
        found.append(_group(spec, own, place, order))
    return sorted(found, key=lambda group: (("price", "volume", "own").index(group.place), group.band is None))


def _group(spec: Spec, names: Sequence[str], place: Literal["price", "volume", "own"], order: int) -> Group:
    upper = next((name for name in names if name.endswith("_upper")), None)
    lower = next((name for name in names if name.endswith("_lower")), None)
    band = (upper, lower) if upper and lower else None
    lines = tuple(
        Line(name, _style(name), _colour(spec.indicator.name, place, order, i, band)) for i, name in enumerate(names)
    )
    numbers = [f"{value:g}" for value in spec.parameters]
    return Group(" ".join([spec.indicator.name.upper().replace("_", " "), *numbers]), place, lines, band, LEVELS.get(spec.indicator.name, ()))  # fmt: skip


def _style(name: str) -> Literal["line", "thin", "histogram"]:
    if name.endswith("_hist"):
        return "histogram"
    return "thin" if name.endswith(("_upper", "_lower")) else "line"


def _colour(name: str, place: str, order: int, line: int, band: tuple[str, str] | None) -> int:
    """As on the page, so that a line is known again."""
    if place == "volume":
        return 0
    if band is not None:
        return 3
    if place == "own":
        return (5 if order % 2 else 1, 0, 4)[line % 3]
    return 4 if "vwap" in name else (0, 1, 2, 5)[order % 4]
