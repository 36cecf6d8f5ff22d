"""The views that SQL sees, and what each is made of."""

import re

from marketpulse.model.tables import TABLES
from marketpulse.query.adjusted import ACTIONS, SPLIT_ADJUSTED, TOTAL_RETURN

REVISED: dict[str, tuple[str, ...]] = {
    "bars": ("symbol", "timeframe", "open_time_ns"),
    "indicators": ("symbol", "timeframe", "open_time_ns"),
    "alerts": ("symbol", "rule", "event_time_ns"),
}
"""The views whose rows come again, corrected, and their keys: the highest revision of a key is the truth."""

_ALL = "SELECT * FROM ({rows})"
_RENAMED = "SELECT event_time AS timestamp, * EXCLUDE (event_time) FROM ({rows})"

VIEWS = {
    "trades": _RENAMED, "quotes": _RENAMED, "events": _RENAMED,
    "bars": _ALL, "bars_history": _ALL, "indicators": _ALL, "indicators_history": _ALL, "alerts": _ALL, "alerts_history": _ALL,
    "dead_letters": _ALL,
    "stock_data": "SELECT symbol, event_time AS timestamp, price, size AS volume, 'trade' AS kind FROM ({rows})",
    "corporate_actions": ACTIONS, "bars_adjusted": SPLIT_ADJUSTED, "bars_total_return": TOTAL_RETURN,
}  # fmt: skip
"""The views, by name. Times stand as UTC wall time (microseconds) before the exact `…_ns` columns."""

_OTHERWISE = {"stock_data": "trades", "corporate_actions": "events"}
TABLE_OF = _OTHERWISE | {
    view: next(table for table in TABLES if view.startswith(table)) for view in VIEWS if view not in _OTHERWISE
}
"""The stored table of each view: what its rows are."""

ADJUSTED = ("bars_adjusted", "bars_total_return")
"""Views of bars that read events too."""

BARS_AS_STOCK_DATA = """
    UNION ALL
    SELECT symbol, open_time AS timestamp, close AS price, volume, 'bar' AS kind FROM ({bars}) WHERE {smallest}"""
"""What stands behind `stock_data` where a symbol without trades is asked for. `bars` is a SELECT of the view `bars`."""

ACTION_KEYS = {"corporate_actions": ("symbol", "type")} | dict.fromkeys(ADJUSTED, ("symbol",))
"""Views that read events for what was told last, by the columns whose conditions may leave events out."""

# Nearly every row stands alone, so only those are looked up that replace others, in the files that the
# manifests say have some: a window over all rows makes a whole scan about twice as slow. A withdrawn row
# is below itself. Tick bars that share an open time are never revised, so they all stay.
_CURRENT = """
    SELECT own.* FROM ({rows}) AS own ANTI JOIN (
        SELECT {keys}, revision + ({withdrawn})::BIGINT AS below FROM ({later}) WHERE revision > 0
    ) AS later ON {same} AND own.revision < later.below"""
_WITHDRAWN = {"alerts": "state = 'withdrawn'"}
_WORD = re.compile(r"[a-z_]+")


def view_sql(view: str, rows: str, later: str | None) -> str:
    """The SELECT of a view over SELECTs of its table's rows, and of those that may replace others (None: there are none)."""
    if later is None:
        return VIEWS[view].format(rows=rows)
    keys = REVISED[view]
    return _CURRENT.format(
        rows=rows, later=later, keys=", ".join(keys), withdrawn=_WITHDRAWN.get(view, "close IS NULL"),
        same=" AND ".join(f"own.{key} = later.{key}" for key in keys),
    )  # fmt: skip


def adjusted_sql(view: str, bars: str, events: str, closes: str) -> str:
    """The SELECT of a view of ADJUSTED over SELECTs of the view `bars`, of events, and of `bars` again: all that a dividend
    may be a part of."""
    return VIEWS[view].format(actions=ACTIONS.format(events=events), bars=bars, closes=closes)


def tables_of(view: str) -> tuple[str, ...]:
    """The stored tables that a view reads."""
    others = {"stock_data": ("bars",), **dict.fromkeys(ADJUSTED, ("events",))}
    return (TABLE_OF[view], *others.get(view, ()))


def views_in(query: str) -> list[str]:
    """The views that the query may name: it holds the word."""
    words = set(_WORD.findall(query.lower()))
    return [view for view in VIEWS if view in words]
