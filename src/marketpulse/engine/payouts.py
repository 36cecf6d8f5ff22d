"""Splits and dividends as the rules of data quality hear them: they say what the price will do, and may be wrong."""

from typing import Any

import numpy as np

from marketpulse.engine.layout import FOUND, NEVER, Plan
from marketpulse.engine.quality import OFF, PRINTS
from marketpulse.engine.state import PartitionState
from marketpulse.model.market import Kind
from marketpulse.model.quality import DIVIDEND, DIVIDEND_MAX
from marketpulse.model.timeframe import DAY_NS

_AGAIN_DAYS, _ALIKE = 5, 0.1
_UNITS = (100.0, 1000.0)
_UNIT_TOLERANCE = 0.1  # companies do pay other amounts than before


def hear_payout(state: PartitionState, plan: Plan, kind: Kind, record: dict[str, Any], row: int) -> np.ndarray:
    """Remember it for the bars that follow. Returns what is wrong with it at once (FOUND): nothing, or one finding.

    Of a symbol that no bar or trade has come of yet, nothing can be said.
    """
    nothing = np.empty(0, FOUND)
    symbol = state.symbols.find(str(record["symbol"]))
    if symbol < 0:
        return nothing
    q = state.tables.quality[2 * symbol + PRINTS]
    ex_ns = int(record["ex_time_ns"])
    if kind == Kind.SPLIT:
        _hear_split(state.tables.quality[2 * symbol : 2 * symbol + 2], q, record, ex_ns)
        return nothing
    amount, level, last = float(record["amount"]), float(q["level"]), float(q["dividend"])
    again = q["dividend_ns"] != NEVER and 0 <= ex_ns - q["dividend_ns"] < _AGAIN_DAYS * DAY_NS
    doubled = bool(again) and abs(amount - last) <= _ALIKE * last
    apart = max(amount / last, last / amount) if last > 0 else 1.0
    other_unit = any(abs(apart / unit - 1.0) <= _UNIT_TOLERANCE for unit in _UNITS)
    too_much = level > 0 and amount > plan.limits[DIVIDEND_MAX] * level
    if level > 0 and not too_much:
        q["yield_ns"], q["yielded"] = ex_ns, amount / level
    if not (doubled or other_unit or too_much):
        q["dividend_ns"], q["dividend"] = ex_ns, amount
        return nothing
    severity = plan.severity[DIVIDEND]
    if severity == OFF:
        return nothing
    return np.array([(row, DIVIDEND, severity, amount, level)], FOUND)


def _hear_split(places: np.ndarray, prints: np.void, record: dict[str, Any], ex_ns: int) -> None:
    """Prices that are adjusted for it already must not leap; all others do, and their level with them."""
    if record.get("adjusted"):
        prints["split_ns"], prints["split"] = ex_ns, float(record["ratio"])
        return
    prints["split_ns"], prints["split"] = NEVER, 0.0
    for q in places:  # of prints, and of quotes
        told_in_time = q["time_ns"] == NEVER or q["time_ns"] <= ex_ns
        q["due_ns"], q["due"] = ex_ns, float(record["ratio"]) if told_in_time else 0.0
