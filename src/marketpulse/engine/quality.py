"""The rules of data quality at the door (docs/quality.md): trades and quotes. Bars have theirs in engine.bar_quality.

A rule looks at one row and what its symbol's rows before it have left behind, in order of the log. It changes no row:
what it finds is noted, and where its severity is `drop` the row enters nothing.
"""

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import N_FOUND, NEVER, Output, Plan, Tables
from marketpulse.engine.price_level import BELIEVED, judge_price, leap_with_split
from marketpulse.model.quality import (
    BAND,
    BAND_FACTOR,
    CONFIRM_TRADES,
    CROSSED_QUOTE,
    REOPEN_BAND,
    REOPEN_S,
    SIZE_FACTOR,
    SIZE_OUTLIER,
    STALE,
    STALE_TRADES,
    WARM_TRADES,
)

OFF, COUNT, MARK, DROP = range(4)  # as model.quality.SEVERITIES
FOUND_PER_ROW = 8
"""Room that one row's findings need."""

# Of a symbol's two places in `Tables.quality`
PRINTS, QUOTED = 0, 1
"""Its trades or a source's bars; its quotes."""

TRADE_SCALE = 0.0005
_SIZES_SEEN, _SIZE_UP = 20, 1.1
_SIZE_DOWN = 1.0 / _SIZE_UP
_SECOND_NS = 1_000_000_000


@bare_kernel
def find(tables: Tables, plan: Plan, output: Output, row: int, rule: int, value: float, expected: float) -> bool:
    """Note what a rule has found. True where the row may not enter."""
    severity = plan.severity[rule]
    if severity == OFF:
        return False
    n = tables.registers[N_FOUND]
    found = output.found[n]
    found.row, found.rule, found.severity, found.value, found.expected = row, rule, severity, value, expected
    tables.registers[N_FOUND] = n + 1
    return severity == DROP


@inlined
def judge_trade(
    tables: Tables, plan: Plan, output: Output, row: int, symbol: int, time_ns: int, price: float, size: float
) -> bool:
    """Whether the trade may enter."""
    at = 2 * symbol + PRINTS
    good = judge_mark(tables, plan, output, row, at, time_ns, price)
    q = tables.quality[at]
    if price == q.last_price and size == q.last_size:
        q.repeats += 1
        if q.repeats >= plan.limits[STALE_TRADES]:
            good &= not find(tables, plan, output, row, STALE, q.repeats + 1.0, plan.limits[STALE_TRADES])
    else:
        q.repeats, q.last_price, q.last_size = 0, price, size
    return good & judge_size(tables, plan, output, row, at, size, plan.limits[SIZE_FACTOR])


@inlined
def judge_mark(tables: Tables, plan: Plan, output: Output, row: int, at: int, time_ns: int, price: float) -> bool:
    """A trade's price or a quote's middle. After a pause the market may have gone further."""
    leap_with_split(tables.quality, at, time_ns)
    q, limits = tables.quality[at], plan.limits
    paused = q.time_ns != NEVER and time_ns - q.time_ns > limits[REOPEN_S] * _SECOND_NS
    floor = limits[REOPEN_BAND] if paused else limits[BAND]
    level = q.level
    rule = judge_price(
        tables.quality, at, price, TRADE_SCALE, floor, limits[BAND_FACTOR], limits[CONFIRM_TRADES], limits[WARM_TRADES]
    )
    if rule == BELIEVED:
        q.time_ns = max(q.time_ns, time_ns)
        return True
    return not find(tables, plan, output, row, rule, price, level)


@inlined
def judge_size(tables: Tables, plan: Plan, output: Output, row: int, at: int, size: float, factor: float) -> bool:
    """A size beside a running median of the symbol's sizes, which begins with the first one."""
    if not size > 0.0:
        return True
    q = tables.quality[at]
    median = q.size
    if q.sizes < _SIZES_SEEN:
        q.sizes += 1
    elif size > factor * median:
        return not find(tables, plan, output, row, SIZE_OUTLIER, size, median)
    q.size = size if median == 0.0 else median * (_SIZE_UP if size > median else _SIZE_DOWN)
    return True


@inlined
def judge_quote(
    tables: Tables, plan: Plan, output: Output, row: int, symbol: int, time_ns: int, bid: float, ask: float
) -> bool:
    """Whether the quote may enter."""
    if bid > ask and find(tables, plan, output, row, CROSSED_QUOTE, bid, ask):
        return False
    return judge_mark(tables, plan, output, row, 2 * symbol + QUOTED, time_ns, 0.5 * (bid + ask))
