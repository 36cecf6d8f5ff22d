"""One quote: the best bid and ask of a symbol from its event time on (docs/semantics.md, 17).

Two are always known, the newest by time and the last of the log. Where an indicator reads quotes, the last one
of each *slot*, a bar of the smallest timeframe, is kept as well: no other can prevail when a bar closes.
A symbol's kept quotes are a chain, newest first, and end like its trades do with the correction window, but for
the last one before it, which stands for all that were older.
"""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.check import refuse, set_aside
from marketpulse.engine.layout import (
    FREE_QUOTE,
    FREE_QUOTES,
    LOGGED,
    MODE_HISTORICAL,
    NEWEST,
    NO_PLACE,
    ORIGIN_TRADES,
    QUALITY_RULE,
    QUOTES_CROSSED,
    QUOTES_LATE,
    QUOTES_LOCKED,
    QUOTES_OUT_OF_SESSION,
    QUOTES_TOO_LATE,
    MarketColumns,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.quality import judge_quote
from marketpulse.engine.sessions import bar_span, find_session
from marketpulse.engine.trades import is_closed
from marketpulse.engine.watermark import watermark_of
from marketpulse.engine.window import mark_untold, window_floor


@bare_kernel
def take_quote(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    output: Output,
    i: int,
    symbol: int,
    source: int,
) -> None:
    """One quote; where an indicator reads quotes, a place for it must be free. Outside its session, or behind
    the correction window, it enters nothing and is counted; one of a historical source waits for a rebuild."""
    registers, time = tables.registers, rows.event_time_ns[i]
    bid, ask = rows.a[i], rows.c[i]
    if bid > ask:
        registers[QUOTES_CROSSED] += 1
    elif bid == ask:
        registers[QUOTES_LOCKED] += 1
    opened, closed, date = find_session(tables, sessions, plan, symbol, time)
    if time >= closed:  # the grace is for trades: a bar's quote is that of its close
        registers[QUOTES_OUT_OF_SESSION] += 1
        return
    if time < window_floor(tables, plan, symbol):
        registers[QUOTES_TOO_LATE] += 1
        if tables.sources[source].mode == MODE_HISTORICAL:
            set_aside(tables, plan, output, i, source)
        return
    if not judge_quote(tables, plan, output, i, symbol, time, bid, ask):
        refuse(tables, output, i, QUALITY_RULE, 0)
        return
    who = tables.symbols[symbol]
    who.dirty, who.ingest_ns = 1, rows.ingest_time_ns[i]
    newest = tables.last_quotes[2 * symbol + NEWEST]
    if newest.offset == NO_PLACE or time >= newest.event_ns:
        write_quote(tables.last_quotes, 2 * symbol + NEWEST, rows, i, date)
    write_quote(tables.last_quotes, 2 * symbol + LOGGED, rows, i, date)
    if plan.quotes and plan.ticks < plan.length.size:
        keep_quote(tables, sessions, plan, rows, i, symbol, opened, closed, date)


@inlined
def write_quote(quotes: NDArray[np.void], at: int, rows: MarketColumns, i: int, date: int) -> None:
    quote = quotes[at]
    quote.event_ns, quote.session_date = rows.event_time_ns[i], date
    quote.bid, quote.bid_size, quote.ask, quote.ask_size = rows.a[i], rows.b[i], rows.c[i], rows.d[i]
    quote.offset, quote.row = rows.offset[i], rows.row[i]


@bare_kernel
def keep_quote(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    i: int,
    symbol: int,
    opened: int,
    closed: int,
    date: int,
) -> None:
    """The quote in the place of its slot, if it is the last of it; who knows rows that it changes is to be told."""
    time, who, quotes = rows.event_time_ns[i], tables.symbols[symbol], tables.quotes
    watermark = watermark_of(tables, symbol)
    late = is_closed(tables, sessions, plan, symbol, plan.ticks, opened, closed, time, watermark)
    if late:
        tables.registers[QUOTES_LATE] += 1
    at = who.quote_head
    if at < 0 or time < quotes[at].event_ns or time >= quotes[at].slot_end_ns:
        _, end_ns = bar_span(plan, plan.ticks, opened, closed, time)
        at = find_slot(tables, symbol, end_ns)
        if quotes[at].offset != NO_PLACE and time < quotes[at].event_ns:
            return
    write_quote(quotes, at, rows, i, date)
    if late and who.origin == ORIGIN_TRADES:
        mark_untold(tables, symbol)


@bare_kernel
def find_slot(tables: Tables, symbol: int, end_ns: int) -> int:
    """The place of the symbol's slot that ends then; a new one, without a quote yet, where it has none."""
    quotes, who = tables.quotes, tables.symbols[symbol]
    behind, at = -1, who.quote_head
    while at >= 0 and quotes[at].slot_end_ns > end_ns:
        behind, at = at, quotes[at].next
    if at >= 0 and quotes[at].slot_end_ns == end_ns:
        return at
    place = tables.registers[FREE_QUOTE]
    tables.registers[FREE_QUOTE] = quotes[place].next
    tables.registers[FREE_QUOTES] -= 1
    quotes[place].slot_end_ns, quotes[place].offset, quotes[place].next = end_ns, -1, at
    if behind < 0:
        who.quote_head = place
    else:
        quotes[behind].next = place
    return place
