"""Quotes as frames carry them: what seldom changes as rows, once; what trades change as columns.

A symbol is named once, by an id, and prices follow under that id. Why: docs/decisions/012-page-and-api.md.
"""

from collections.abc import Sequence
from typing import Any

from marketpulse.web import columns
from marketpulse.web.symbol_state import SymbolState


def described_row(name: str, state: SymbolState, timeframes: Sequence[str], seq: int, since: int) -> list[Any] | None:
    """[id, symbol, reference, reference_kind, simulated, venue, [timeframe, …]]; None when that is known since
    `since`. `seq` numbers what is found to have changed."""
    quote = state.quote
    about = (
        quote.reference, quote.reference_kind, state.simulated, state.venue,
        [t for t in timeframes if t in state.series],
    )  # fmt: skip
    if about != state.about:
        state.about, state.about_seq = about, seq
    return [state.id, name, *about] if state.about_seq > since else None


def quote_columns(states: Sequence[SymbolState]) -> dict[str, Any] | None:
    """`id`, `last`, `ago` and those columns of the book that have a number: lists of one length. A price was made
    `ago` ms before `until`, ms UTC. None without states."""
    if not states:
        return None
    made = [state.quote.last_time_ns // 1_000_000 for state in states]
    until = max(made)
    shown: dict[str, Any] = {
        "until": until,
        "id": [state.id for state in states],
        "last": [state.quote.last for state in states],
        "ago": [until - ms for ms in made],
    }
    books = zip(columns.BOOK, zip(*(state.book for state in states), strict=True), strict=True)
    return shown | {name: numbers for name, numbers in books if any(n == n for n in numbers)}
