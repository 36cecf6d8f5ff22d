"""What a page is sent: the whole once, then only what changed, wherever it says that it stands."""

import json
import math
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_rows import bars, indicators, live, minute, row
from marketpulse.errors import ParameterError
from marketpulse.ports import FeedBatch
from marketpulse.web.board import Board
from marketpulse.web.frames import PageView, Resume, Wish, next_frame, next_frames
from marketpulse.web.wish import read_resume, read_wish
from page_reader import PageReader, closes, wish

NO_FIGURES = -1


def frame(board: Board, view: PageView, *, figures: int = NO_FIGURES) -> dict[str, Any] | None:
    data = next_frame(board, view, figures=figures)
    return None if data is None else orjson.loads(data)


def sent(board: Board, view: PageView, *, figures: int = NO_FIGURES) -> dict[str, Any]:
    """A frame that must come."""
    found = frame(board, view, figures=figures)
    assert found is not None
    return found


def on(symbol: str = "AAPL", timeframe: str = "1m") -> PageView:
    return PageView(wanted=Wish((symbol, timeframe)))


def board_of(*rows: dict[str, Any], **options: Any) -> Board:
    board = Board(**options)
    board.take(bars(*rows))
    return board


def test_the_first_frame_is_the_whole_even_of_nothing_and_later_ones_hold_what_changed_since_the_one_before() -> None:
    first = sent(Board(), PageView())
    assert (first["after"], first["timeframes"], first["columns"][0]) == (None, [], "open_time_ms")
    assert not {"quotes", "symbols", "sparks"} & set(first)
    board, view = board_of(minute(1, 1.0)), PageView()
    assert frame(board, view) is not None
    assert frame(board, view) is None
    board, view = board_of(*(minute(i, float(i)) for i in range(5)), minute(0, 9.0, "KO")), on()
    first = sent(board, view)
    assert closes(first) == [0, 1, 2, 3, 4]
    board.take(live([], minute(5, 5.5)))
    second = sent(board, view)
    assert second["after"] == first["seq"] < second["seq"]
    name_of = {row[0]: row[1] for row in first["symbols"]}
    assert [name_of[number] for number in second["quotes"]["id"]] == ["AAPL"]
    assert "symbols" not in second  # its name is known, and what it is compared with
    assert (closes(second), second["chart"]["whole"]) == ([5.5], False)


def test_a_slow_page_gets_one_step_or_the_chart_anew_and_a_new_indicator_starts_every_page_over() -> None:
    board, view = board_of(minute(0, 1.0)), on()
    sent(board, view)
    for i in range(1, 400):
        board.take(live([], minute(1, float(i))))
    assert closes(sent(board, view)) == [399.0]
    assert frame(board, view) is None
    board, view = board_of(minute(0, 0.0), history=10), on()
    sent(board, view)
    board.take(bars(*(minute(i, float(i)) for i in range(1, 30))))
    step = sent(board, view)
    assert step["chart"]["whole"]
    assert closes(step) == [float(i) for i in range(20, 30)]
    board, view = board_of(minute(0, 1.0)), on()
    sent(board, view)
    board.take(indicators(["rsi_14"], minute(0, 1.0, rsi_14=44.0)))
    step = sent(board, view)
    assert (step["after"], step["columns"][-1], step["chart"]["rows"][0][-1]) == (None, "rsi_14", 44.0)
    first = sent(board_of(minute(0, 1.0, vwap=None)), on(), figures=1)
    assert (first["chart"]["rows"][0][7], first["chart"]["session"]["volume"]) == (None, None)
    assert first["figures"]["latency_p50_ms"] is None


def test_another_chart_comes_whole_without_quotes_also_after_a_break_and_one_without_bars_is_said_once() -> None:
    board, view = board_of(minute(0, 1.0), minute(0, 2.0, "KO")), on()
    sent(board, view)
    view.wanted = Wish(("KO", "1m"))
    step = sent(board, view)
    assert (step["chart"]["symbol"], step["chart"]["whole"], closes(step)) == ("KO", True, [2.0])
    assert "quotes" not in step
    board, view = board_of(minute(0, 1.0)), on("AAPL", "1h")
    assert closes(sent(board, view)) == []
    assert frame(board, view) is None
    board.take(bars(row("AAPL", "1h", 0, 7.0)))
    assert closes(sent(board, view)) == [7.0]
    board, view, back = board_of(minute(0, 1.0)), on(), PageView()
    reader = reader_after(board, view)
    view.wanted = Wish(("KO", "1m"))
    reader.take(next_frame(board, view, figures=NO_FIGURES) or "")
    at = place_of(reader)
    assert at.shown == Wish(("KO", "1m"))
    assert back.resume(board, at)
    back.wanted = Wish(("AAPL", "1m"))
    assert sent(board, back)["chart"]["whole"]


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
    wish = Wish(parts=frozenset({"alerts"}))
    board.take(bars(minute(0, 1.0)))
    board.take(alerts)
    assert "parts" not in sent(board, view)
    assert part.asked == []  # nobody wants it
    view.wanted = wish
    assert sent(board, view)["parts"] == {"alerts": {"rows": 1}}
    assert frame(board, view) is None
    board.take(bars(minute(1, 1.0)))
    assert "parts" not in sent(board, view)
    board.take(alerts)
    assert sent(board, view)["parts"] == {"alerts": {"rows": 2}}
    view.wanted = Wish()
    sent(board, view, figures=1)
    view.wanted = wish
    assert sent(board, view)["parts"] == {"alerts": {"rows": 2}}  # the whole again
    assert [since for since in part.asked if since < 0] == [-1, -1]


def reader_after(board: Board, view: PageView) -> PageReader:
    reader = PageReader()
    while (text := next_frame(board, view, figures=NO_FIGURES)) is not None:
        reader.take(text)
    return reader


def test_pages_at_one_place_that_want_the_same_get_one_text_and_each_number_of_the_figures_once() -> None:
    board = board_of(minute(1, 1.0), minute(1, 2.0, "KO"), parts={"alerts": Counting()})
    views = [on(), on(), on("KO")]
    for _ in range(2):
        first, same, other = next_frames(board, views, figures=1)
        assert first is same
        assert other is not first
        board.take(live([], minute(2, 3.0), minute(2, 4.0, "KO")))
    assert next_frames(board, views, figures=1) != [None] * 3
    assert next_frames(board, views, figures=1) == [None] * 3
    board, early, late = Board(), PageView(), PageView()
    assert "figures" in sent(board, early, figures=1)
    assert frame(board, early, figures=1) is None
    texts = next_frames(board, [early, late], figures=2)
    assert ["figures" in orjson.loads(text or "") for text in texts] == [True, True]


def place_of(reader: PageReader) -> Resume:
    """Where a page stands when its line breaks."""
    at = read_resume(reader.resume(), ())
    assert at is not None
    return at


def test_a_page_that_comes_back_gets_what_it_missed_and_of_another_run_generation_or_number_the_whole() -> None:
    board, back = board_of(minute(0, 1.0), minute(0, 9.0, "KO")), PageView()
    reader = reader_after(board, on())
    board.take(live([], minute(1, 5.5)))
    assert back.resume(board, place_of(reader))
    missed = sent(board, back)
    assert (missed["after"], closes(missed), missed["chart"]["whole"]) == (reader.seq, [5.5], False)
    assert len(missed["quotes"]["id"]) == 1
    assert not {"symbols", "columns", "shown"} & set(missed)
    board = board_of(minute(0, 1.0))
    reader = reader_after(board, PageView())
    at = place_of(reader)
    assert not PageView().resume(Board(), at)
    reader.seq = board.seq + 1
    assert not PageView().resume(board, place_of(reader))
    board.take(indicators(["rsi_14"], minute(0, 1.0, rsi_14=44.0)))
    assert not PageView().resume(board, at)


SYMBOLS, TIMEFRAMES = ("AAPL", "KO", "IBM"), ("1m", "1h")
SERIES = (st.sampled_from(SYMBOLS), st.sampled_from(TIMEFRAMES))
STEPS = st.one_of(
    st.tuples(st.sampled_from(["live", "bars", "indicators"]), *SERIES, st.integers(0, 40), st.integers(1, 99), st.integers(0, 3)),
    *(st.tuples(st.just(step)) for step in ("look", "break", "break and miss a frame")), st.tuples(st.just("want"), *SERIES),
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
    assert (reader.columns, reader.timeframes, reader.quotes) == (board.columns(), board.timeframes, fresh.quotes)
    told = {name: [last, math.floor(time), *rest] for name, last, time, *rest in board.quote_rows()}
    assert reader.quotes == orjson.loads(orjson.dumps(told))
    shown, drawn = ({n: s for n, s in of.items() if s["closes"]} for of in (reader.sparks, board.sparks()))
    assert shown == orjson.loads(orjson.dumps(drawn))
    if view.wanted.chart is not None:
        chart = board.chart(*view.wanted.chart)
        rows = orjson.loads(orjson.dumps(chart["rows"] if chart else []))
        assert list(dict(sorted(reader.charts.get(view.wanted.chart, {}).items())).values()) == rows


CHART = {"symbol": "KO", "timeframe": "1h"}
SAID = {"run": "a1", "generation": 3, "seq": 70, "shown": {"chart": CHART, "parts": ["market"]}}


def test_a_wish_names_a_chart_and_parts_and_a_page_that_comes_back_says_where_it_stands() -> None:
    assert read_resume(json.dumps(SAID), {"market"}) == Resume("a1", 3, 70, Wish(("KO", "1h"), frozenset({"market"})))
    assert read_resume(None, ()) is None
    assert read_wish(wish("BTC-USD", "5m"), ()) == Wish(("BTC-USD", "5m"))
    only_a_part = '{"subscribe": {"chart": null, "parts": ["alerts"]}}'
    assert read_wish(only_a_part, {"alerts", "market"}) == Wish(None, frozenset({"alerts"}))
    for wrong in ('{"subscribe": {"symbol": "AAPL"}}', only_a_part, only_a_part.replace('["alerts"]', '"market"')):
        with pytest.raises(ParameterError, match="subscribe"):
            read_wish(wrong, {"market"})


@pytest.mark.parametrize("wrong", ["", "[]", "7", "nonsense", "{}", *(json.dumps(SAID | changed) for changed in (
    {"seq": "70"}, {"seq": True}, {"run": None}, {"run": "x" * 3_000}, {"shown": {"chart": None, "parts": ["gone"]}},
    {"shown": {"chart": CHART | {"timeframe": "9x"}, "parts": []}},
))])  # fmt: skip
def test_what_is_no_place_means_the_whole(wrong: str) -> None:
    assert read_resume(wrong, {"market"}) is None
