"""What one page is sent: everything at first, then only what changed since its last frame.

A page's state is a few numbers, never a queue: a slow page simply gets fewer, larger steps.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from marketpulse.web.board import Board


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page wants to see beside the quotes: a chart (symbol, timeframe), and parts by name."""

    chart: tuple[str, str] | None = None
    parts: frozenset[str] = frozenset()


@dataclass(slots=True)
class PageView:
    """What one page has seen so far."""

    seq: int = -1
    generation: int = -1
    wanted: Wish = Wish()
    shown: Wish = Wish()  # what it has

    def forget(self) -> None:
        """Send everything again."""
        self.seq, self.generation, self.shown = -1, -1, Wish()


def next_frame(board: Board, view: PageView, *, figures: bool) -> bytes | None:
    """The next frame of a page as JSON, and `view` moved on; None when there is nothing to say.

    `seq` numbers the state that the page has after it, `after` the state it builds on (null: on
    nothing; the page forgets what it had). Times are milliseconds; a missing number is null.
    """
    frame: dict[str, Any] = {}
    with board.lock:
        if view.generation != board.generation:
            view.forget()
            frame |= {"columns": board.columns(), "timeframes": board.timeframes}
        since = view.seq
        if since != board.seq:
            frame |= _changes(board, since)
        if view.wanted.chart is not None:
            frame |= _chart(board, view.wanted.chart, view.shown.chart, since)
        frame |= _parts(board, view, since)
        if figures:
            frame["figures"] = board.figures()
        if not frame:
            return None
        frame = {"seq": board.seq, "after": None if since < 0 else since, **frame}
        view.seq, view.generation, view.shown = board.seq, board.generation, view.wanted
    return orjson.dumps(frame)


def _changes(board: Board, since: int) -> dict[str, Any]:
    quotes, sparks = board.quote_rows(since), board.sparks(since)
    return ({"quotes": quotes} if quotes or since < 0 else {}) | ({"sparks": sparks} if sparks else {})


def _parts(board: Board, view: PageView, since: int) -> dict[str, Any]:
    found = {
        name: changes
        for name in sorted(view.wanted.parts)
        if (changes := board.parts[name].changes(since if name in view.shown.parts else -1)) is not None
    }
    return {"parts": found} if found else {}


def _chart(
    board: Board, wanted: tuple[str, str], shown: tuple[str, str] | None, since: int
) -> dict[str, Any]:
    symbol, timeframe = wanted
    fresh = shown != wanted
    chart = board.chart(symbol, timeframe, -1 if fresh else since)
    if chart is None:
        nothing = {"symbol": symbol, "timeframe": timeframe, "whole": True, "rows": [], "session": None}
        return {"chart": nothing} if fresh else {}
    return {"chart": chart} if chart["rows"] or chart["whole"] else {}
