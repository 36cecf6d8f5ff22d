import math
from typing import Any

import orjson
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from board_rows import bars, indicators, live, row
from marketpulse.ports import FeedBatch
from marketpulse.web.board import Board
from marketpulse.web.frames import PageView, Wish, next_frame, next_frames
from marketpulse.web.wish import read_resume
from page_reader import PageReader

NO_FIGURES = -1


def frame(board: Board, view: PageView, *, figures: int = NO_FIGURES) -> dict[str, Any] | None:
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
    assert (first["after"], first["timeframes"], first["columns"][0]) == (None, [], "open_time_ms")
    assert not {"quotes", "symbols", "sparks"} & set(first)


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
    name_of = {row[0]: row[1] for row in first["symbols"]}
    assert [name_of[number] for number in second["quotes"]["id"]] == ["AAPL"]
    assert "symbols" not in second  # its name is known, and what it is compared with
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
    first = frame(board, view, figures=1)
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
    assert next_frame(board, view, figures=NO_FIGURES) is None
    board.take(bars(row("AAPL", "1m", 60, 1.0)))
    assert "parts" not in known(frame(board, view))
    board.take(alerts)
    assert known(frame(board, view))["parts"] == {"alerts": {"rows": 2}}
    view.wanted = Wish()
    frame(board, view, figures=1)
    view.wanted = Wish(parts=frozenset({"alerts"}))
    assert known(frame(board, view))["parts"] == {"alerts": {"rows": 2}}  # the whole again
    assert [since for since in part.asked if since < 0] == [-1, -1]


def reader_after(board: Board, view: PageView) -> PageReader:
    reader = PageReader()
    while (text := next_frame(board, view, figures=NO_FIGURES)) is not None:
        reader.take(text)
    return reader


def test_pages_at_one_place_that_want_the_same_get_one_text() -> None:
    board = Board(parts={"alerts": Counting()})
    board.take(bars(row("AAPL", "1m", 60, 1.0), row("KO", "1m", 60, 2.0)))
    views = [PageView(wanted=Wish((name, "1m"))) for name in ("AAPL", "AAPL", "KO")]
    for _ in range(2):
        first, same, other = next_frames(board, views, figures=1)
        assert first is same
        assert other is not first
        board.take(live([], row("AAPL", "1m", 120, 3.0), row("KO", "1m", 120, 4.0)))
    assert next_frames(board, views, figures=1) != [None] * 3
    assert next_frames(board, views, figures=1) == [None] * 3


def test_every_page_hears_each_number_of_the_figures_once() -> None:
    board, early, late = Board(), PageView(), PageView()
    assert "figures" in known(frame(board, early, figures=1))
    assert frame(board, early, figures=1) is None
    assert ["figures" in orjson.loads(text or "") for text in next_frames(board, [early, late], figures=2)] == [
        True,
        True,
    ]


def test_a_page_that_comes_back_gets_only_what_it_missed() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 1.0), row("KO", "1m", 0, 9.0)))
    reader = reader_after(board, view)
    board.take(live([], row("AAPL", "1m", 60, 5.5)))
    back = PageView()
    at = read_resume(reader.resume(), ())
    assert at is not None
    assert back.resume(board, at)
    missed = known(frame(board, back))
    assert (missed["after"], closes(missed), missed["chart"]["whole"]) == (reader.seq, [5.5], False)
    assert len(missed["quotes"]["id"]) == 1
    assert not {"symbols", "columns", "shown"} & set(missed)


def test_another_run_or_generation_or_a_number_from_nowhere_gets_the_whole() -> None:
    board, view = Board(), PageView()
    board.take(bars(row("AAPL", "1m", 0, 1.0)))
    reader = reader_after(board, view)
    at = read_resume(reader.resume(), ())
    assert at is not None
    assert not PageView().resume(Board(), at)
    reader.seq = board.seq + 1
    ahead = read_resume(reader.resume(), ())
    assert ahead is not None
    assert not PageView().resume(board, ahead)
    board.take(indicators(["rsi_14"], row("AAPL", "1m", 0, 1.0, rsi_14=44.0)))
    assert not PageView().resume(board, at)


def test_a_chart_that_was_left_before_the_line_broke_comes_whole_when_it_is_wanted_again() -> None:
    board, view = Board(), PageView(wanted=Wish(("AAPL", "1m")))
    board.take(bars(row("AAPL", "1m", 0, 1.0)))
    reader = reader_after(board, view)
    view.wanted = Wish(("KO", "1m"))
    reader.take(next_frame(board, view, figures=NO_FIGURES) or "")
    at = read_resume(reader.resume(), ())
    assert at is not None
    assert at.shown == Wish(("KO", "1m"))
    back = PageView()
    assert back.resume(board, at)
    back.wanted = Wish(("AAPL", "1m"))
    assert known(frame(board, back))["chart"]["whole"]


SYMBOLS, TIMEFRAMES = ("AAPL", "KO", "IBM"), ("1m", "1h")
STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["live", "bars", "indicators"]),
        st.sampled_from(SYMBOLS), st.sampled_from(TIMEFRAMES), st.integers(0, 40), st.integers(1, 99), st.integers(0, 3),
    ),
    st.tuples(st.just("look")),
    st.tuples(st.just("break")),
    st.tuples(st.just("break and miss a frame")),
    st.tuples(st.just("want"), st.sampled_from(SYMBOLS), st.sampled_from(TIMEFRAMES)),
)  # fmt: skip


@given(steps=st.lists(STEPS, max_size=40))
def test_any_cut_of_frames_with_any_breaks_leads_to_what_the_board_says(steps: list[tuple[Any, ...]]) -> None:
    """Also with bars withdrawn, revised and dropped, new columns, and frames that were lost with the line."""
    board = Board(history=8, parts={"alerts": Counting()})
    view, reader = PageView(), PageReader()
    for kind, *of in steps:
        if kind == "want":
            view.wanted = Wish((of[0], of[1]), frozenset({"alerts"}))
        elif kind == "look":
            if (text := next_frame(board, view, figures=NO_FIGURES)) is not None:
                reader.take(text)
        elif kind.startswith("break"):
            if kind.endswith("frame"):
                next_frame(board, view, figures=NO_FIGURES)
            wanted, view = view.wanted, PageView()
            if (at := read_resume(reader.resume(), {"alerts"})) is not None:
                view.resume(board, at)
            view.wanted = wanted
        else:
            symbol, timeframe, at_bar, close, revision = of
            length = 60 if timeframe == "1m" else 3_600
            new = row(symbol, timeframe, at_bar * length, float(close), revision=revision)
            if kind == "live":
                board.take(live([], new | {"bid": float(close) if revision else None}))
            elif kind == "bars":
                gone = {"close": None, "volume": None} if revision and close % 3 == 0 else {}
                board.take(bars(new | gone))
            else:
                name = ("sma_2", "rsi_2")[revision % 2]
                board.take(indicators([name], new | {name: float(close)}))
    while (text := next_frame(board, view, figures=NO_FIGURES)) is not None:
        reader.take(text)
    fresh = reader_after(board, PageView(wanted=view.wanted))
    assert (reader.columns, reader.timeframes) == (board.columns(), board.timeframes)
    assert reader.quotes == fresh.quotes
    told = orjson.loads(
        orjson.dumps({name: [last, math.floor(time), *rest] for name, last, time, *rest in board.quote_rows()})
    )
    assert reader.quotes == told
    drawn = {name: spark for name, spark in board.sparks().items() if spark["closes"]}
    assert {name: spark for name, spark in reader.sparks.items() if spark["closes"]} == orjson.loads(
        orjson.dumps(drawn)
    )
    if view.wanted.chart is not None:
        chart = board.chart(*view.wanted.chart)
        rows = orjson.loads(orjson.dumps(chart["rows"] if chart else []))
        assert list(dict(sorted(reader.charts.get(view.wanted.chart, {}).items())).values()) == rows
