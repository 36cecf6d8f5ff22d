"""The way of one row through the bar builder, top to bottom (docs/semantics.md, 8).

    check -> log time and liveness -> watermark -> closings -> the row's own trade, quote or bar

`take_rows` walks a batch. Where it needs something that only the host can give (a new symbol, more
room), it stops *before* the row has changed anything that counts and says so; the host helps and
calls it again at the same row.
"""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined, prefetch
from marketpulse.engine.check import ASK, ENTER, check_time, refuse
from marketpulse.engine.closing import DONE, anything_due, close_due
from marketpulse.engine.layout import (
    FREE_BARS,
    FREE_QUOTES,
    N_CLOSED,
    N_FOUND,
    N_GROUPS,
    N_KEPT,
    N_KEPT_BARS,
    N_LATE_SYMBOLS,
    N_REJECTED,
    N_STALE,
    N_UNTOLD,
    TOO_MANY_SOURCES,
    TOO_MANY_SYMBOLS,
    TOO_MANY_VENUES,
    MarketColumns,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.quality import FOUND_PER_ROW
from marketpulse.engine.quotes import take_quote
from marketpulse.engine.source_bars import release_late_bars, take_bar
from marketpulse.engine.trade_ids import first_place, hash_of, key_of
from marketpulse.engine.trades import take_trade
from marketpulse.engine.watermark import feed_symbol, hear_source, move_log_time, move_source
from marketpulse.model.market import Kind

(
    FINISHED,
    RARE,
    NEW_SOURCE,
    NEW_VENUE,
    NEW_SYMBOL,
    NEW_FRAME,
    NEED_ROOM,
    NEED_BARS,
    NEED_GROUPS,
    NEED_APPEND_TIME,
    NEED_WINDOW,
    NEED_KEPT_BARS,
    NEED_QUOTES,
    REFRESH,
    REVISE,
) = range(15)

_AHEAD = 8
"""How many rows ahead memory is asked for: a look into the table of ids takes longer than some rows do."""

_TRADE, _QUOTE, _BAR, _HEARTBEAT, _CLOCK = (
    int(Kind.TRADE),
    int(Kind.QUOTE),
    int(Kind.BAR),
    int(Kind.HEARTBEAT),
    int(Kind.CLOCK),
)
UNMAPPED = -3  # an id of the decoder that the host has not translated yet
REFUSED = -4  # a symbol, source or venue beyond its cap


@inlined
def prefetch_rows(tables: Tables, rows: MarketColumns, i: int) -> None:
    """Ask for what the trades some rows ahead will be looked up in, and put into."""
    far, near = i + 2 * _AHEAD, i + _AHEAD
    if far < rows.kind.size and rows.kind[far] == _TRADE:
        symbol, source = rows.symbol_of[rows.symbol[far]], rows.source_of[rows.source[far]]
        if symbol >= 0 and source >= 0:
            prefetch(tables.symbols, symbol)
            prefetch(tables.heads, symbol)
            if rows.trade_id_length[far] > 0:
                high, low = key_of(rows.data, rows.trade_id_start[far], rows.trade_id_length[far])
                prefetch(tables.ids, first_place(tables.ids, hash_of(symbol, source, high, low)))
    if near < rows.kind.size and rows.kind[near] == _TRADE:
        symbol = rows.symbol_of[rows.symbol[near]]
        if symbol >= 0:
            prefetch(tables.quality, 2 * symbol)
            for frame in range(tables.heads.shape[1]):
                slot = tables.heads[symbol, frame]
                if slot >= 0:
                    prefetch(tables.bars, slot)
                    prefetch(tables.volume, slot)
                    prefetch(tables.notional, slot)
                    break


@bare_kernel
def take_rows(
    tables: Tables, sessions: Sessions, plan: Plan, rows: MarketColumns, output: Output, start: int
) -> tuple[int, int]:
    """Take the batch's rows from `start` on. Returns (why it stopped, at which row)."""
    frames = plan.length.size
    for i in range(start, rows.kind.size):
        kind = rows.kind[i]
        if kind > _CLOCK:
            return RARE, i
        prefetch_rows(tables, rows, i)
        if output.rejected.size - tables.registers[N_REJECTED] < 1:
            return NEED_ROOM, i
        if output.found.size - tables.registers[N_FOUND] < FOUND_PER_ROW:
            return NEED_ROOM, i
        if output.closed.size - tables.registers[N_CLOSED] < frames + 1:
            return NEED_ROOM, i
        if kind == _CLOCK:
            move_log_time(tables, plan, rows.log_time_ns[i])
            if tables.registers[N_LATE_SYMBOLS]:
                release_late_bars(tables)
            if tables.registers[N_UNTOLD]:
                return REVISE, i
            if anything_due(tables) and close_due(tables, sessions, plan, output) != DONE:
                return NEED_ROOM, i
            continue
        source = rows.source_of[rows.source[i]]
        if source == UNMAPPED:
            return NEW_SOURCE, i
        if source == REFUSED:
            refuse(tables, output, i, TOO_MANY_SOURCES, 0)
            continue
        reason = check_time(tables, plan, source, rows.event_time_ns[i], rows.log_time_ns[i])
        if reason == ASK:
            return NEED_APPEND_TIME, i
        if reason != ENTER:
            refuse(tables, output, i, reason, 0)
            continue
        if kind == _HEARTBEAT:
            move_log_time(tables, plan, rows.log_time_ns[i])
            hear_source(tables, source)
            move_source(tables, plan, source, rows.event_time_ns[i])
            if tables.registers[N_LATE_SYMBOLS]:
                release_late_bars(tables)
            if tables.registers[N_UNTOLD]:
                return REVISE, i
            if anything_due(tables) and close_due(tables, sessions, plan, output) != DONE:
                return NEED_ROOM, i
            continue
        if rows.venue[i] >= 0:
            venue = rows.venue_of[rows.venue[i]]
            if venue == UNMAPPED:
                return NEW_VENUE, i
            if venue == REFUSED:
                refuse(tables, output, i, TOO_MANY_VENUES, 0)
                continue
        symbol = rows.symbol_of[rows.symbol[i]]
        if symbol == UNMAPPED:
            return NEW_SYMBOL, i
        if symbol == REFUSED:
            refuse(tables, output, i, TOO_MANY_SYMBOLS, 0)
            continue
        if tables.groups.size - tables.registers[N_GROUPS] < 1:
            return NEED_GROUPS, i
        if tables.registers[FREE_BARS] <= frames:
            return NEED_BARS, i
        if tables.registers[N_KEPT] == tables.window.size:
            return NEED_WINDOW, i
        hear_source(tables, source)
        if (
            not tables.symbols[symbol].feeds & (np.uint64(1) << np.uint64(source))
            and not tables.symbols[symbol].switched
        ):
            feed_symbol(tables, plan, symbol, source)
        seen = rows.event_time_ns[i]
        if kind == _BAR:  # a bar tells of the time before its close: those of others may still come
            seen = min(seen, rows.close_time_ns[i] - 1)
        move_source(tables, plan, source, seen - tables.sources[source].lateness_ns)
        if anything_due(tables):
            if tables.registers[N_STALE]:
                return REFRESH, i
            if close_due(tables, sessions, plan, output) != DONE:
                return NEED_ROOM, i
        if kind == _TRADE:
            take_trade(tables, sessions, plan, rows, output, i, symbol, source)
            if plan.revise_each and tables.registers[N_UNTOLD]:
                return REVISE, i + 1
        elif kind == _QUOTE:
            if plan.quotes and tables.registers[FREE_QUOTES] == 0:
                return NEED_QUOTES, i
            take_quote(tables, sessions, plan, rows, output, i, symbol, source)
            if plan.revise_each and tables.registers[N_UNTOLD]:
                return REVISE, i + 1
        elif kind == _BAR:
            if rows.frame_of[rows.timeframe[i]] == UNMAPPED:
                return NEW_FRAME, i
            if tables.registers[N_KEPT_BARS] + 1 >= min(tables.kept_bars.size, plan.kept_bars):
                return NEED_KEPT_BARS, i
            take_bar(tables, sessions, plan, rows, output, i, symbol, source)
            if plan.revise_each and tables.registers[N_UNTOLD]:
                return REVISE, i + 1
    return FINISHED, rows.kind.size
