"""One bar of a source that only has bars: it enters where the bars that we build do (docs/semantics.md, 5 and 11).

Final bars are kept. One that opens before the last closed one is late: it changes nothing until its symbol's rows are
built again from all kept bars (engine.late_bars), at the next heartbeat or clock record. So is a bar of another length
than the symbol's others that opens before one of them has closed.
"""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.bar_quality import forget_series, judge_bar
from marketpulse.engine.check import accepts, refuse
from marketpulse.engine.closing import DONE, build_larger, close_symbol, emit_bar
from marketpulse.engine.exact_sum import add_exact
from marketpulse.engine.forming import clear_receipt, find_bar, free_bar, larger_bar, open_bar, open_larger, stretch
from marketpulse.engine.layout import (
    ALONE,
    COVERED,
    DUPLICATES,
    FREE_BARS,
    IN_TIME,
    LATE,
    LATE_BAR,
    LOG_TIME,
    N_CLOSED,
    N_KEPT_BARS,
    N_LATE_SYMBOLS,
    N_SYMBOLS,
    NEVER,
    NO_LATE_BARS,
    ORIGIN_BARS,
    OTHER_ORIGIN,
    QUALITY_RULE,
    TOO_LATE,
    UNCOVERED,
    UNKNOWN_TIMEFRAME,
    MarketColumns,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.prevailing import quote_closed
from marketpulse.engine.quality import PRINTS
from marketpulse.engine.sessions import find_session, session_of_date
from marketpulse.engine.trades import is_closed
from marketpulse.engine.watermark import watermark_of
from marketpulse.engine.window import mark_untold, window_floor

_ALL = (1 << 32) - 1
_WAIT_PER_BAR_NS = 100_000  # twenty times what building one again takes


@bare_kernel
def take_bar(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    output: Output,
    i: int,
    symbol: int,
    source: int,
) -> None:
    """One bar of a source that only has bars. Room for one more kept bar must be free."""
    frame = rows.frame_of[rows.timeframe[i]]
    if frame < plan.ticks:
        refuse(tables, output, i, UNKNOWN_TIMEFRAME, 0)
        return
    if not accepts(tables, plan, symbol, ORIGIN_BARS, frame):
        refuse(tables, output, i, OTHER_ORIGIN, 1 << frame)
        return
    who = tables.symbols[symbol]
    if frame > who.base and not rows.final[i]:
        return  # what it says once it is final counts
    open_ns, close_ns = rows.open_time_ns[i], rows.close_time_ns[i]
    if rows.session_date[i] >= 0:
        opened, closed = session_of_date(tables, sessions, symbol, rows.session_date[i])
        if opened < closed:
            open_ns, close_ns = opened, closed
    if frame != who.base:
        mix_lengths(tables, symbol, frame)
    late = open_ns < tables.closed_until[symbol, frame] or (open_ns < who.until_ns and not who.sealed)
    late = late or (frame > who.base and is_any_open(tables, plan, symbol, frame))
    if late:
        tables.registers[LATE] += 1
        slot = find_bar(tables, symbol, frame, open_ns)
        if who.sealed and frame > who.base and slot >= 0 and tables.bars[slot].parts > 0:  # it is being built
            tables.registers[DUPLICATES] += 1
            return
        if who.sealed or not rows.final[i]:
            refuse(tables, output, i, TOO_LATE, 1 << frame)
            return
    elif (
        rows.final[i]
        and frame == who.base
        and not judge_bar(tables, sessions, plan, rows, output, i, symbol, frame, open_ns)
    ):
        refuse(tables, output, i, QUALITY_RULE, 1 << frame)
        forming = find_bar(tables, symbol, frame, open_ns)
        if forming >= 0:  # what it had told of the bar before
            free_bar(tables, forming)
        return
    place = tables.registers[N_KEPT_BARS]
    write_bar(tables, rows, i, symbol, source, frame, open_ns, close_ns, place)
    if rows.final[i] and (frame > who.base or who.until_ns != NEVER):
        who.until_ns = max(who.until_ns, close_ns)
    if late:
        tables.kept_bars[place].late = LATE_BAR
        keep_bar(tables, place)
        put_in_later(tables, plan, symbol)
        return
    who.dirty = 1
    who.event_ns, who.ingest_ns = rows.event_time_ns[i], rows.ingest_time_ns[i]
    slot = put_source_bar(tables, sessions, plan, place, watermark_of(tables, symbol), True)
    if not rows.final[i]:
        return
    missed = late_above(tables, sessions, plan, symbol, frame, open_ns)
    if missed:
        tables.registers[LATE] += 1
        if who.sealed:
            refuse(tables, output, i, TOO_LATE, missed)
        else:
            tables.kept_bars[place].missed = missed
            put_in_later(tables, plan, symbol)
    if not who.sealed:
        keep_bar(tables, place)
    finish_bar(tables, output, plan, slot, missed)
    if plan.quotes and close_ns >= window_floor(tables, plan, symbol):  # before that, quotes may be gone
        quote_closed(tables, output, tables.registers[N_CLOSED] - 1)


@bare_kernel
def mix_lengths(tables: Tables, symbol: int, frame: int) -> None:
    """The symbol has bars of this length too. From the first of a smaller one on, what is built and what the rules of data
    quality remember begin with that."""
    who = tables.symbols[symbol]
    who.until_ns = max(who.until_ns, tables.closed_until[symbol, who.base])
    if frame > who.base:
        return
    while tables.heads[symbol, who.base] >= 0:  # what it had said of a bar that is not final
        free_bar(tables, tables.heads[symbol, who.base])
    who.base = frame
    forget_series(tables.quality, 2 * symbol + PRINTS)


@bare_kernel
def is_any_open(tables: Tables, plan: Plan, symbol: int, frame: int) -> bool:
    """Whether a bar of this timeframe or a smaller one is open: its row comes before those of later bars."""
    for smaller in range(plan.ticks, frame + 1):  # noqa: SIM110  kernels have no `any`
        if tables.heads[symbol, smaller] >= 0:
            return True
    return False


@bare_kernel
def write_bar(
    tables: Tables,
    rows: MarketColumns,
    i: int,
    symbol: int,
    source: int,
    frame: int,
    open_ns: int,
    close_ns: int,
    place: int,
) -> None:
    """The row as a kept bar; it counts once the register does."""
    kept = tables.kept_bars[place]
    kept.symbol, kept.source, kept.frame = symbol, source, frame
    kept.venue = rows.venue_of[rows.venue[i]] if rows.venue[i] >= 0 else -1
    kept.late, kept.covered, kept.missed = IN_TIME, UNCOVERED, 0
    kept.open_ns, kept.close_ns = open_ns, close_ns
    kept.open, kept.high, kept.low, kept.close = rows.a[i], rows.b[i], rows.c[i], rows.d[i]
    kept.volume, kept.vwap, kept.trade_count = rows.e[i], rows.f[i], rows.trade_count[i]
    kept.offset, kept.row = rows.offset[i], rows.row[i]


@inlined
def keep_bar(tables: Tables, place: int) -> None:
    """The bar that was written there counts from here on."""
    tables.registers[N_KEPT_BARS] = place + 1
    tables.symbols[tables.kept_bars[place].symbol].bars_kept += 1


@bare_kernel
def put_in_later(tables: Tables, plan: Plan, symbol: int) -> None:
    """The symbol's rows lack a late bar. They are built again when log time has moved on by as much as that is worth: so
    many bars in any order cost little more than a few."""
    who, log_time = tables.symbols[symbol], tables.registers[LOG_TIME]
    if who.late_due_ns != NO_LATE_BARS:
        return
    waits = not plan.revise_each and log_time != NEVER
    who.late_due_ns = log_time + _WAIT_PER_BAR_NS * who.bars_kept if waits else NEVER
    tables.registers[N_LATE_SYMBOLS] += 1
    if plan.revise_each:
        release_late_bars(tables)


@bare_kernel
def release_late_bars(tables: Tables) -> None:
    """The rows of symbols whose late bars have waited long enough are to be built again, and emitted."""
    for symbol in range(tables.registers[N_SYMBOLS]):
        who = tables.symbols[symbol]
        if who.late_due_ns <= tables.registers[LOG_TIME]:
            who.late_due_ns = NO_LATE_BARS
            tables.registers[N_LATE_SYMBOLS] -= 1
            mark_untold(tables, symbol)


@bare_kernel
def put_source_bar(tables: Tables, sessions: Sessions, plan: Plan, place: int, watermark: int, waits: bool) -> int:
    """The source's values in a slot of their own, and the larger bars above it opened.

    It waits in no heap: a source's bar closes when the source says that it is final.
    """
    kept = tables.kept_bars[place]
    symbol, frame, open_ns, close_ns = kept.symbol, kept.frame, kept.open_ns, kept.close_ns
    opened, closed, date = find_session(tables, sessions, plan, symbol, open_ns)
    if opened == closed:  # outside every session: the source's own times stand, nothing is built from it
        opened, closed, date = open_ns, close_ns, open_ns // 86_400_000_000_000
    else:
        open_larger(tables, sessions, plan, symbol, frame, opened, closed, date, open_ns, watermark, waits)
    slot = find_bar(tables, symbol, frame, open_ns)
    if slot < 0:
        slot = open_bar(tables, symbol, frame, open_ns, close_ns, close_ns, date, False)
    bar = tables.bars[slot]
    bar.parts = 1
    bar.open, bar.high, bar.low, bar.close = kept.open, kept.high, kept.low, kept.close
    bar.trade_count = kept.trade_count
    bar.source, bar.venue = kept.source, kept.venue
    stretch(tables, slot, kept.offset, kept.row)
    bar.has_volume = not np.isnan(kept.volume)
    bar.has_vwap = bar.has_volume and not np.isnan(kept.vwap)
    tables.volume[slot, :] = 0
    tables.notional[slot, :] = 0
    volume = kept.volume if bar.has_volume else 0.0
    add_exact(tables.volume[slot], volume)
    typical = kept.vwap if bar.has_vwap else (bar.high + bar.low + bar.close) / 3.0
    add_exact(tables.notional[slot], typical * volume)
    return slot


@bare_kernel
def finish_bar(tables: Tables, output: Output, plan: Plan, slot: int, missed: int) -> None:
    """Emit a source's bar, put it into the larger ones but for those that it has `missed`, and free its slot."""
    bar = tables.bars[slot]
    emit_bar(tables, output, slot)
    tables.closed_until[bar.symbol, bar.frame] = bar.close_ns
    tables.last_close[bar.symbol, bar.frame] = np.nan  # no flat bar follows
    build_larger(tables, plan, slot, missed)
    free_bar(tables, slot)


@bare_kernel
def late_above(tables: Tables, sessions: Sessions, plan: Plan, symbol: int, base: int, open_ns: int) -> int:
    """A bit for each larger timeframe whose bar over one that opens then has closed already."""
    opened, closed, _ = find_session(tables, sessions, plan, symbol, open_ns)
    if opened == closed:
        return 0
    late, watermark = 0, watermark_of(tables, symbol)
    for frame in range(base + 1, plan.length.size):
        if plan.parent[base, frame] >= 0 and is_closed(
            tables, sessions, plan, symbol, frame, opened, closed, open_ns, watermark
        ):
            late |= 1 << frame
    return late


@bare_kernel
def replay_bars(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    order: NDArray[np.int64],
    start: int,
    until_ns: NDArray[np.int64],
    as_emitted: bool,
    output: Output,
) -> int:
    """Put kept bars in, in this order, closing the larger ones that end before each (but nothing that its symbol's
    watermark, `until_ns`, has not closed yet). A bar of another length than the smallest closes what ends before it whatever
    the watermark, since rows of a series leave in their order; a covered one what ends with it, since it is final, and it is
    the row itself if `plan.given` says so.
    `as_emitted`: a larger bar lacks what it has missed. Returns where it stopped: for room in the output or among the slots,
    or at the end."""
    frames = plan.length.size
    for k in range(start, order.size):
        kept = tables.kept_bars[order[k]]
        if tables.registers[FREE_BARS] <= 2 * frames or tables.registers[N_CLOSED] == output.closed.size:
            return k
        until = min(kept.open_ns, until_ns[kept.symbol])
        is_built = kept.covered == COVERED and not plan.given
        ended = kept.close_ns if is_built else kept.open_ns
        ended_frames = kept.frame + 1 if kept.frame > tables.symbols[kept.symbol].base else 0
        if close_symbol(tables, sessions, plan, output, kept.symbol, until, ended, ended_frames) != DONE:
            return k
        replaces = kept.covered == COVERED and plan.given
        if (
            replaces
            and close_symbol(tables, sessions, plan, output, kept.symbol, until, kept.close_ns, kept.frame) != DONE
        ):
            return k
        if tables.registers[N_CLOSED] == output.closed.size:
            return k
        if is_built:
            continue
        if replaces:
            built = find_bar(tables, kept.symbol, kept.frame, kept.open_ns)
            if built >= 0:
                clear_receipt(tables, built)
        slot = put_source_bar(tables, sessions, plan, order[k], NEVER, False)
        if kept.late != IN_TIME:
            tables.bars[slot].late_count = 1
            for frame in range(tables.bars[slot].frame + 1, frames):
                above = larger_bar(tables, frame, slot)
                if above >= 0:
                    tables.bars[above].late_count += 1
        missed = kept.missed if as_emitted else 0
        finish_bar(tables, output, plan, slot, _ALL if kept.covered == ALONE else missed)
        if replaces:
            output.closed[tables.registers[N_CLOSED] - 1].built = 0
    return order.size
