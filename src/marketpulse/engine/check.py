"""The door: rows of live sources whose clock cannot be right do not move any watermark (docs/semantics.md, 9),
and bars are made of one kind of record a symbol (5)."""

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import (
    BEHIND_WINDOW,
    FUTURE_TIME,
    LOG_TIME,
    MODE_HISTORICAL,
    MODE_LIVE,
    N_REJECTED,
    NEVER,
    ORIGIN_NONE,
    PAST_TIME,
    TOO_LATE,
    Output,
    Plan,
    Tables,
)

ENTER, ASK = -1, -2


@inlined
def check_time(tables: Tables, plan: Plan, s: int, event_time_ns: int, appended_ns: int) -> int:
    """ENTER, or the reason why the row may not; ASK when that hangs on its own append time.

    Log time stands still while neither heartbeats nor clocks are written; a row that seems to come
    from the future is therefore held against its own append time (NEVER: not asked yet) too.
    A source that never said hello may bring the past (it may be history), but never the future.
    """
    log_time = tables.registers[LOG_TIME]
    mode = tables.sources[s].mode
    if mode == MODE_HISTORICAL:
        return ENTER
    if log_time == NEVER:  # before the partition's first heartbeat or clock: a heartbeat knows its own
        if appended_ns != NEVER and event_time_ns > appended_ns + plan.max_skew_ns:
            return FUTURE_TIME
        return ENTER
    if event_time_ns > log_time + plan.max_skew_ns:
        if appended_ns == NEVER:
            return ASK
        return FUTURE_TIME if event_time_ns > appended_ns + plan.max_skew_ns else ENTER
    if mode == MODE_LIVE and event_time_ns < log_time - plan.max_age_ns:
        return PAST_TIME
    return ENTER


@inlined
def accepts(tables: Tables, plan: Plan, symbol: int, origin: int, base: int) -> bool:
    """Whether the symbol's bars are made from this kind of record (docs/semantics.md, 5); the first one decides. `base`: the
    smallest timeframe then."""
    who = tables.symbols[symbol]
    if who.origin == ORIGIN_NONE and (plan.origin in (ORIGIN_NONE, origin)):
        who.origin, who.base = origin, base
    return who.origin == origin


@bare_kernel
def refuse(tables: Tables, output: Output, row: int, reason: int, frames: int) -> None:
    """Note a row for the dead letters."""
    n = tables.registers[N_REJECTED]
    output.rejected[n].row = row
    output.rejected[n].reason = reason
    output.rejected[n].frames = frames
    tables.registers[N_REJECTED] = n + 1


@bare_kernel
def set_aside(tables: Tables, plan: Plan, output: Output, row: int, source: int) -> None:
    """Note a row that came behind the correction window, by all timeframes of time: history is brought in by a rebuild, a
    live row is refused."""
    is_history = tables.sources[source].mode == MODE_HISTORICAL
    timed = (1 << plan.length.size) - (1 << plan.ticks)
    refuse(tables, output, row, BEHIND_WINDOW if is_history else TOO_LATE, timed)
