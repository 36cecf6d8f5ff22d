from typing import Any

import orjson
import pyarrow as pa

from board_rows import bars, indicators, live, row
from marketpulse.ports import FeedBatch
from marketpulse.web.board import Board
from marketpulse.web.frames import PageView, Wish, next_frame


def frame(board: Board, view: PageView, *, figures: bool = False) -> dict[str, Any] | None:
    data = next_frame(board, view, figures=figures)
    return None if data is None else orjson.loads(data)


def known(part: dict[str, Any] | None) -> dict[str, Any]:
    assert part is not None
    return part


def closes(part: dict[str, Any] | None) -> list[float]:
    assert part is not None
    return [values[5] for values in part["chart"]["rows"]]


def test_the_first_frame_is_the_whole_even_when_there_is_nothing() -> None:
    first = frame(Board(), PageView())
    assert first is not None
    assert (first["after"], first["quotes"], first["timeframes"]) == (None, [], [])


def test_a_page_that_has_seen_everything_gets_nothing() -> None:
    board, view = Board(), PageView()
    board.take(bars(row("AAPL", "1m", 60, 1.0)))
    assert frame(board, view) is not None
    assert frame(board, view) is None


def test_later_frames_hold_only_what_changed_and_build_on_the_one_before() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i)) for i in range(5)), row("KO", "1m", 0, 9.0)))
    first = frame(board, view)
    assert first is not None
    assert closes(first) == [0, 1, 2, 3, 4]
    board.take(live([], row("AAPL", "1m", 300, 5.5)))
    second = frame(board, view)
    assert second is not None
    assert second["after"] == first["seq"] < second["seq"]
    assert [q[0] for q in second["quotes"]] == ["AAPL"]
    assert (closes(second), second["chart"]["whole"]) == ([5.5], False)


def test_a_slow_page_gets_one_step_over_all_that_it_missed() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 1.0)))
    frame(board, view)
    for i in range(1, 400):
        board.take(live([], row("AAPL", "1m", 60, float(i))))
    step = frame(board, view)
    assert closes(step) == [399.0]
    assert frame(board, view) is None


def test_a_page_that_missed_more_than_is_kept_gets_the_chart_anew() -> None:
    board, view = Board(history=10), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 0.0)))
    frame(board, view)
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i)) for i in range(1, 30))))
    step = frame(board, view)
    assert step is not None
    assert step["chart"]["whole"]
    assert closes(step) == [float(i) for i in range(20, 30)]


def test_another_chart_comes_whole_and_the_quotes_do_not_come_again() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 1.0), row("KO", "1m", 0, 2.0)))
    frame(board, view)
    view.wanted = Wish(("KO", "1m"))
    step = frame(board, view)
    assert step is not None
    assert (step["chart"]["symbol"], step["chart"]["whole"], closes(step)) == ("KO", True, [2.0])
    assert "quotes" not in step


def test_a_chart_without_bars_is_said_once_and_appears_when_it_has_some() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1h")))
    board.take(bars(row("AAPL", "1m", 0, 1.0)))
    assert closes(frame(board, view)) == []
    assert frame(board, view) is None
    board.take(bars(row("AAPL", "1h", 0, 7.0)))
    assert closes(frame(board, view)) == [7.0]


def test_a_new_indicator_starts_every_page_over_with_the_new_columns() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 1.0)))
    frame(board, view)
    board.take(indicators(["rsi_14"], row("AAPL", "1m", 0, 1.0, rsi_14=44.0)))
    step = frame(board, view)
    assert step is not None
    assert step["after"] is None
    assert step["columns"][-1] == "rsi_14"
    assert step["chart"]["rows"][0][-1] == 44.0


def test_missing_numbers_are_null() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 1.0, vwap=None)))
    first = frame(board, view, figures=True)
    assert first is not None
    assert first["chart"]["rows"][0][7] is None
    assert first["chart"]["session"]["volume"] is None
    assert first["figures"]["latency_p50_ms"] is None


class Counting:
    """A part that tells how many rows of `alerts` came, and what it was asked."""

    def __init__(self) -> None:
        self.rows, self.seq = 0, 0
        self.asked: list[int] = []

    def take(self, batch: FeedBatch, seq: int) -> bool:
        if batch.topic != "alerts":
            return False
        self.rows, self.seq = self.rows + batch.rows.num_rows, seq
        return True

    def changes(self, since: int) -> Any | None:
        self.asked.append(since)
        return {"rows": self.rows} if self.seq > since else None


def test_a_part_comes_when_it_is_asked_for_and_then_only_what_changed() -> None:
    part = Counting()
    board, view = Board(parts={"alerts": part}), PageView()
    alerts = FeedBatch("alerts", pa.RecordBatch.from_pylist([{"symbol": "AAPL"}]), 1)
    board.take(bars(row("AAPL", "1m", 0, 1.0)))
    board.take(alerts)
    assert "parts" not in known(frame(board, view))
    assert part.asked == []  # nobody wants it
    view.wanted = Wish(parts=frozenset({"alerts"}))
    assert known(frame(board, view))["parts"] == {"alerts": {"rows": 1}}
    assert next_frame(board, view, figures=False) is None
    board.take(bars(row("AAPL", "1m", 60, 1.0)))
    assert "parts" not in known(frame(board, view))
    board.take(alerts)
    assert known(frame(board, view))["parts"] == {"alerts": {"rows": 2}}
    view.wanted = Wish()
    frame(board, view, figures=True)
    view.wanted = Wish(parts=frozenset({"alerts"}))
    assert known(frame(board, view))["parts"] == {"alerts": {"rows": 2}}  # the whole again
    assert [since for since in part.asked if since < 0] == [-1, -1]
