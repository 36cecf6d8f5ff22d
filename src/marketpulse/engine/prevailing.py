"""The quote that prevails when a bar closes, onto the bar (docs/semantics.md, 17).

A time bar's is the last one by (event time, place in the log) before its close, in the same session; a tick
bar's is the last one of the log. Which quotes are there to choose from: engine.quotes.
"""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import (
    FREE_QUOTE,
    FREE_QUOTES,
    LOGGED,
    N_CLOSED,
    N_SYMBOLS,
    NEVER,
    NEWEST,
    NO_PLACE,
    Output,
    Tables,
)

_OF_QUOTE = ("bid", "bid_size", "ask", "ask_size")


@inlined
def copy_quote(quotes: NDArray[np.void], at: int, closed: NDArray[np.void], n: int) -> None:
    """A quote onto row n of CLOSED."""
    row, quote = closed[n], quotes[at]
    row.bid, row.bid_size, row.ask, row.ask_size = quote.bid, quote.bid_size, quote.ask, quote.ask_size
    row.quote_offset, row.quote_row = quote.offset, quote.row


@inlined
def older_quote(tables: Tables, at: int, close_ns: int) -> int:
    """From this quote of a symbol's chain back to the first one before `close_ns`; -1: there is none."""
    while at >= 0 and tables.quotes[at].event_ns >= close_ns:
        at = tables.quotes[at].next
    return at


@bare_kernel
def quote_closed(tables: Tables, output: Output, first: int) -> None:
    """The bars that have just closed, from row `first` of the output on, get their quotes."""
    for n in range(first, tables.registers[N_CLOSED]):
        row = output.closed[n]
        at = older_quote(tables, tables.symbols[row.symbol].quote_head, row.close_ns)
        if at >= 0 and tables.quotes[at].session_date == row.session_date:
            copy_quote(tables.quotes, at, output.closed, n)


@bare_kernel
def quote_tick_bar(tables: Tables, output: Output, symbol: int, session_date: int) -> None:
    """The bar that a trade of this session has just cut gets the log's last quote."""
    at = 2 * symbol + LOGGED
    quote = tables.last_quotes[at]
    if quote.offset != NO_PLACE and quote.session_date == session_date:
        copy_quote(tables.last_quotes, at, output.closed, tables.registers[N_CLOSED] - 1)


def quote_rebuilt(tables: Tables, closed: np.ndarray) -> None:
    """Bars that were built again, each symbol's in order of closing, get their quotes."""
    places, seen = np.empty(tables.symbols.size, np.int32), np.full(tables.symbols.size, NEVER)
    walk_back(tables, closed, places, seen)


@bare_kernel
def walk_back(tables: Tables, closed: NDArray[np.void], places: NDArray[np.int32], seen_ns: NDArray[np.int64]) -> None:
    """From the last bar to the first, so that every chain is walked once.

    `places` and `seen_ns` (S,): where in its chain each symbol stands, and for which close; NEVER: nowhere yet.
    """
    for k in range(closed.size):
        n = closed.size - 1 - k
        symbol, close_ns = closed[n].symbol, closed[n].close_ns
        at = places[symbol] if close_ns <= seen_ns[symbol] else tables.symbols[symbol].quote_head
        at = older_quote(tables, at, close_ns)
        places[symbol], seen_ns[symbol] = at, close_ns
        if at >= 0 and tables.quotes[at].session_date == closed[n].session_date:
            copy_quote(tables.quotes, at, closed, n)


def quote_forming(tables: Tables, forming: np.ndarray) -> None:
    """Forming bars get their symbol's newest quote, unless it is of an earlier session."""
    newest = tables.last_quotes[2 * forming["symbol"] + NEWEST]
    known = (newest["offset"] != NO_PLACE) & (newest["session_date"] >= forming["session_date"])
    for name in _OF_QUOTE:
        forming[name] = np.where(known, newest[name], np.nan)


@bare_kernel
def forget_quotes(tables: Tables, floors_ns: NDArray[np.int64]) -> None:
    """Of each symbol, free the quotes that no bar behind its floor (by symbol) can need: all that are older
    than the last one before it."""
    for symbol in range(tables.registers[N_SYMBOLS]):
        last = older_quote(tables, tables.symbols[symbol].quote_head, floors_ns[symbol])
        if last < 0:
            continue
        at = tables.quotes[last].next
        tables.quotes[last].next = -1
        while at >= 0:
            after = tables.quotes[at].next
            tables.quotes[at].next = tables.registers[FREE_QUOTE]
            tables.registers[FREE_QUOTE] = at
            tables.registers[FREE_QUOTES] += 1
            at = after


def blank_quotes(closed: np.ndarray) -> None:
    """Rows that have no quote."""
    for name in _OF_QUOTE:
        closed[name] = np.nan
    closed["quote_offset"], closed["quote_row"] = -1, 0
