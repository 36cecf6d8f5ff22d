"""What pages are sent: everything at first, then only what changed since a page's last frame.

A page's state is a few numbers, never a queue: a slow page simply gets fewer, larger steps. Pages that stand at the
same place and want the same get the same text, made once.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from marketpulse.web.board import Board

Place = tuple[str, str]  # symbol, timeframe


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page wants to see beside the quotes: a chart (symbol, timeframe), and parts by name."""

    chart: Place | None = None
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a page stands that was connected before: of which board, at which number, and what it was shown."""

    run: str
    generation: int
    seq: int
    shown: Wish


@dataclass(slots=True)
class PageView:
    """What one page has seen so far."""

    seq: int = -1
    generation: int = -1
    wanted: Wish = Wish()
    shown: Wish | None = None  # what it has; None: it was not told yet
    figures: int = -1  # the number of the figures that it has

    def forget(self) -> None:
        """Send everything again."""
        self.seq, self.generation, self.shown = -1, -1, None

    def resume(self, board: Board, at: Resume) -> bool:
        """Go on where the page stands; False when this board cannot tell what it missed, and it gets the whole."""
        with board.lock:
            if (at.run, at.generation) != (board.run, board.generation) or not 0 <= at.seq <= board.seq:
                return False
        self.seq, self.generation, self.shown, self.wanted = at.seq, at.generation, at.shown, at.shown
        return True


def next_frame(board: Board, view: PageView, *, figures: int) -> str | None:
    """The next frame of one page."""
    return next_frames(board, [view], figures=figures)[0]


def next_frames(board: Board, views: Sequence[PageView], *, figures: int) -> list[str | None]:
    """The next frame of each page as JSON, all of one moment, and the views moved on; None where there is
    nothing to say. `figures` numbers the pipeline's figures: they go to who has not had this number.

    `seq` numbers the state that the page has after it, `after` the state it builds on (null: on
    nothing; the page forgets what it had). Times are milliseconds; a missing number is null.
    """
    moment = _Moment(board)
    with board.lock:
        plans = [moment.plan(view, figures) for view in views]
    written: dict[tuple[Hashable, ...], str] = {}  # what it is of -> the frame
    return [None if plan is None else moment.write(plan, written) for plan in plans]


Piece = tuple[Hashable, ...]  # what a piece of a frame is of


@dataclass(slots=True)
class _Moment:
    """One reading of the board. Pieces are read under its lock, each once, and turned into JSON after it."""

    board: Board
    _values: dict[Piece, dict[str, Any]] = field(default_factory=dict)
    _texts: dict[Piece, bytes] = field(default_factory=dict)

    def plan(self, view: PageView, figures: int) -> tuple[Piece, ...] | None:
        """The pieces of a page's next frame: None without any."""
        board = self.board
        whole = view.generation != board.generation
        if whole:
            view.forget()
        since, had, wanted = view.seq, view.shown or Wish(), view.wanted
        pieces: list[Piece] = [("head",)] if whole else []
        if since != board.seq:
            pieces.append(("quotes", since))
        if wanted.chart is not None:
            fresh = had.chart != wanted.chart
            pieces.append(("chart", wanted.chart, -1 if fresh else since, fresh))
        pieces += [("part", name, since if name in had.parts else -1) for name in sorted(wanted.parts)]
        if view.shown != wanted:
            pieces.append(("shown", wanted))
        if view.figures != figures:
            pieces.append(("figures",))
        found = [piece for piece in pieces if self._read(piece)]
        if not found:
            return None
        view.seq, view.generation, view.shown, view.figures = board.seq, board.generation, wanted, figures
        return (("place", board.seq, None if since < 0 else since), *found)

    def write(self, plan: tuple[Piece, ...], written: dict[tuple[Hashable, ...], str]) -> str:
        text = written.get(plan)
        if text is None:
            _, seq, after = plan[0]
            parts = [self._text(piece) for piece in plan[1:] if piece[0] == "part"]
            texts = [orjson.dumps({"seq": seq, "after": after})[:-1]]
            texts += [self._text(piece) for piece in plan[1:] if piece[0] != "part"]
            texts += [b'"parts":{' + b",".join(parts) + b"}"] if parts else []
            text = written[plan] = b",".join(texts).decode() + "}"
        return text

    def _text(self, piece: Piece) -> bytes:
        text = self._texts.get(piece)
        if text is None:
            text = self._texts[piece] = orjson.dumps(self._values[piece])[1:-1]
        return text

    def _read(self, piece: Piece) -> bool:
        """Whether there is anything of it."""
        if piece not in self._values:
            self._values[piece] = self._value(*piece)
        return bool(self._values[piece])

    def _value(self, kind: Hashable, *of: Any) -> dict[str, Any]:
        match kind:
            case "head":
                return _head(self.board)
            case "quotes":
                return _quotes(self.board, *of)
            case "chart":
                return _chart(self.board, *of)
            case "part":
                name, since = of
                changes = self.board.parts[name].changes(since)
                return {} if changes is None else {name: changes}
            case "shown":
                return _shown(*of)
            case _:
                return {"figures": self.board.figures()}


def _head(board: Board) -> dict[str, Any]:
    return {
        "run": board.run, "generation": board.generation, "columns": board.columns(), "timeframes": list(board.timeframes),
    }  # fmt: skip


def _quotes(board: Board, since: int) -> dict[str, Any]:
    (symbols, quotes), sparks = board.quotes(since), board.sparks(since)
    found = {"symbols": symbols, "quotes": quotes, "sparks": sparks}
    return {name: value for name, value in found.items() if value}


def _chart(board: Board, place: Place, since: int, fresh: bool) -> dict[str, Any]:
    chart = board.chart(*place, since)
    if chart is None:
        symbol, timeframe = place
        nothing = {"symbol": symbol, "timeframe": timeframe, "whole": True, "rows": [], "session": None}
        return {"chart": nothing} if fresh else {}
    return {"chart": chart} if chart["rows"] or chart["whole"] else {}


def _shown(wish: Wish) -> dict[str, Any]:
    """What the page is shown from this frame on: it says so when it comes back."""
    place = None if wish.chart is None else dict(zip(("symbol", "timeframe"), wish.chart, strict=True))
    return {"shown": {"chart": place, "parts": sorted(wish.parts)}}
