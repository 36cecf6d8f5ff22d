"""The door: rows of live sources whose clock cannot be right do not move any watermark (SEMANTICS 9)."""

from marketpulse.compiled import kernel
from marketpulse.engine.layout import (
    FUTURE_TIME,
    LOG_TIME,
    MODE_HISTORICAL,
    MODE_LIVE,
    N_REJECTED,
    NEVER,
    PAST_TIME,
    Output,
    Plan,
    Tables,
)


@kernel
def check_time(tables: Tables, plan: Plan, s: int, event_time_ns: int) -> int:
    """-1 when the row may enter, else the reason why not.

    A source that never said hello may bring the past (it may be history), but never the future.
    """
    log_time = tables.registers[LOG_TIME]
    mode = tables.sources[s].mode
    if log_time == NEVER or mode == MODE_HISTORICAL:
        return -1
    if event_time_ns > log_time + plan.max_skew_ns:
        return FUTURE_TIME
    if mode == MODE_LIVE and event_time_ns < log_time - plan.max_age_ns:
        return PAST_TIME
    return -1


@kernel
def refuse(tables: Tables, output: Output, row: int, reason: int, frames: int) -> None:
    """Note a row for the dead letters."""
    n = tables.registers[N_REJECTED]
    output.rejected[n].row = row
    output.rejected[n].reason = reason
    output.rejected[n].frames = frames
    tables.registers[N_REJECTED] = n + 1
