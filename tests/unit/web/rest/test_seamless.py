"""Stored and live rows as one series: every bar once, as its highest revision says, however it is paged."""

import asyncio
import math
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from board_rows import bars, indicators, live, row
from marketpulse.model.adjusting import Adjustments
from marketpulse.ports import AlertSpan, BarSpan
from marketpulse.web.board import Board
from marketpulse.web.rest.seamless import Stretch, stretch
from marketpulse.web.rest.stored import Stored
from marketpulse.web.series import BAR_COLUMNS, CLOSE

PRICES = [name.replace("_ms", "_ns") for name in BAR_COLUMNS]


@dataclass
class HistoryOfRows:
    """ports.History over rows in memory, with one indicator."""

    rows: list[dict[str, Any]]

    def bars(self, span: BarSpan) -> pa.Table:
        newest = {one["open_time_ns"]: one for one in sorted(self.rows, key=lambda r: int(r["revision"]))}
        chosen = [
            one
            for time, one in sorted(newest.items())
            if one["close"] is not None
            and (span.symbol, span.timeframe) == (one["symbol"], one["timeframe"])
            and (span.from_ms is None or time / 1e6 >= span.from_ms)
            and (span.before_ms is None or time / 1e6 < span.before_ms)
        ][-span.limit :]
        return pa.table({name: pa.array([one.get(name) for one in chosen]) for name in (*PRICES, "sma_2")})

    def adjustments(self, symbol: str, timeframe: str) -> Adjustments:  # noqa: ARG002
        return Adjustments()

    def alerts(self, span: AlertSpan) -> pa.Table:  # noqa: ARG002
        return pa.table({})

    def close(self) -> None:
        """Nothing is open."""


def asked(board: Board, stored: list[dict[str, Any]] | None, **span: Any) -> Stretch | None:
    with closing(Stored(lambda: HistoryOfRows(stored or []))) as past:
        return asyncio.run(stretch(board, None if stored is None else past, BarSpan("AAA", "1m", **span)))


def found_in(board: Board, stored: list[dict[str, Any]] | None, **span: Any) -> Stretch:
    """Of a series that is known."""
    found = asked(board, stored, **span)
    assert found is not None
    return found


def paged(board: Board, stored: list[dict[str, Any]], limit: int) -> list[list[float]]:
    """All rows, page by page into the past."""
    rows: list[list[float]] = []
    before: float | None = None
    while True:
        page = found_in(board, stored, before_ms=before, limit=limit)
        rows = page.rows + rows
        if not page.older:
            return rows
        before = page.rows[0][0]


def bar(minute: int, revision: int, *, gone: bool = False) -> dict[str, Any]:
    one = row("AAA", "1m", 60 * minute, 100.0 * minute + revision, revision=revision, sma_2=minute + 0.5)
    return one | (dict.fromkeys(("open", "high", "low", "close", "vwap")) if gone else {})


@given(
    told=st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 2)), min_size=1, max_size=30),
    limit=st.integers(1, 5),
    held=st.integers(1, 9),
)
def test_every_bar_comes_once_as_last_revised(told: list[tuple[int, bool, int]], limit: int, held: int) -> None:
    """Each minute's revisions are told in order; the store has those before some moment, the board the newest minutes."""
    revisions: dict[int, int] = {}
    rows: list[tuple[dict[str, Any], int]] = []
    for minute, gone, flushed in sorted(told, key=lambda t: t[2]):
        revision = revisions[minute] = revisions.get(minute, -1) + 1
        rows.append((bar(minute, revision, gone=gone), flushed))
    stored = [one for one, flushed in rows if flushed < 2]
    board = Board()
    first = max(revisions) - held  # what is older has left the board, so it has been stored long ago
    stored += [one for one, flushed in rows if flushed == 2 and one["open_time_ns"] < first * 60 * 10**9]
    for one, _ in rows:
        if one["open_time_ns"] >= first * 60 * 10**9:
            board.take(bars(one))
    newest = {one["open_time_ns"]: one["close"] for one, _ in rows}
    expected = [close for _, close in sorted(newest.items()) if close is not None]
    found = paged(board, stored, limit) if expected else []
    assert ([r[CLOSE] for r in found], [r[0] for r in found]) == (expected, sorted({r[0] for r in found}))


def test_the_forming_bar_ends_the_newest_page_until_its_bar_is_stored_and_the_store_fills_what_is_missing() -> None:
    board = Board()
    board.take(live(["sma_2"], row("AAA", "1m", 120, 7.0, sma_2=1.0)))
    found = found_in(board, [bar(0, 0), bar(1, 0)])
    assert [(r[CLOSE], r[9]) for r in found.rows] == [(0.0, 0.0), (100.0, 0.0), (7.0, -1.0)]
    closed = found_in(board, [bar(0, 0), bar(1, 0), bar(2, 0)])
    assert [(r[CLOSE], r[9]) for r in closed.rows][-1] == (200.0, 0.0)
    board = Board()
    board.take(indicators(["sma_2"], row("AAA", "1m", 60, 1.0, sma_2=9.0)))
    board.take(bars(bar(1, 0), bar(2, 0)))
    found = found_in(board, [bar(0, 0), bar(1, 0), bar(2, 0)])
    assert (found.columns[-1], [r[-1] for r in found.rows]) == ("sma_2", [0.5, 9.0, 2.5])
    found = found_in(Board(), [bar(0, 0), bar(1, 0)], limit=1)  # a board that knows nothing yet
    assert (found.columns, found.older, found.session, found.rows[0][-1]) == ([*BAR_COLUMNS, "sma_2"], True, None, 1.5)


def test_without_a_store_the_board_is_all_there_is_and_a_series_that_nobody_knows_is_none() -> None:
    board = Board()
    board.take(bars(*(bar(i, 0) for i in range(4))))
    found = found_in(board, None, before_ms=180_000, limit=2)
    assert ([r[CLOSE] for r in found.rows], found.older) == ([100.0, 200.0], True)
    assert all(math.isnan(v) for r in found.rows for v in r[len(BAR_COLUMNS) :])
    assert asked(Board(), []) is None
    assert asked(Board(), None) is None
    empty = found_in(Board(), [bar(5, 0)], before_ms=0)
    assert (empty.rows, empty.older) == ([], False)


def test_what_the_board_had_to_forget_before_it_was_stored_is_told_to_be_missing() -> None:
    board = Board(history=2)
    board.take(bars(*(bar(i, 0) for i in range(6))))  # 4 and 5 are left
    found = found_in(board, [bar(0, 0), bar(1, 0)])
    assert ([r[CLOSE] for r in found.rows], found.missing) == ([0.0, 100.0, 400.0, 500.0], (60_000.0, 240_000.0))
    for span, missing in (
        ({"limit": 2}, (60_000.0, 240_000.0)),  # right before this page
        ({"limit": 1}, None), ({"before_ms": 240_000.0}, None), ({"from_ms": 240_000.0}, None),
        ({"from_ms": 120_000.0}, (None, 240_000.0)),
    ):  # fmt: skip
        assert found_in(board, [bar(0, 0), bar(1, 0)], **span).missing == missing, span
    assert found_in(board, [bar(i, 0) for i in range(4)]).missing is None
