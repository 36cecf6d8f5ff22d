"""What a page is sent: the whole once, then only what changed, wherever it says that it stands; and its parts 'market'
and 'alerts'."""

import json
import math
import statistics
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_rows import PageReader, alert, alerts, bars, closes, indicators, live, minute, row, wish
from marketpulse.errors import ParameterError
from marketpulse.ports import FeedBatch
from marketpulse.web.alerts_feed import WHOLE, AlertsFeed
from marketpulse.web.board import Board
from marketpulse.web.frames import PageView, Resume, Wish, next_frame, next_frames
from marketpulse.web.market import BARS_MAX, COLUMNS, MarketPart
from marketpulse.web.quote import Quote, Seen
from marketpulse.web.wish import read_resume, read_wish

DAY_S = 86_400


class Market(MarketPart):
    """Its sequence counts the batches."""

    seq = 0

    def told(self, batch: FeedBatch) -> bool:
        self.seq += 1
        return self.take(batch, self.seq)

    def row(self, symbol: str, since: int = -1) -> dict[str, Any]:
        return rows_of(self.changes(since))[symbol]


def rows_of(changes: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    assert changes is not None
    lists = [changes[name] for name in COLUMNS]
    return {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in zip(*lists, strict=True)}


def test_a_session_bar_tells_the_session_a_new_one_begins_at_nothing_and_without_them_the_longest_are_added() -> None:
    part = Market()
    day = row("AAPL", "1d", DAY_S, 105.0, open=100.0, high=110.0, low=95.0, volume=30.0, vwap=102.0, trade_count=7)
    assert part.told(bars(day))
    assert part.row("AAPL") == {
        "symbol": "AAPL", "date": 1, "open": 100.0, "high": 110.0, "low": 95.0, "volume": 30.0, "value": 3_060.0, "trades": 7,
        "volatility": None, "volatility_of": None,
    }  # fmt: skip
    part = Market()
    part.told(bars(row("AAPL", "1d", 0, 100.0)))
    part.told(live([], row("AAPL", "1s", DAY_S, 7.0, volume=1.0, vwap=7.0)))
    told = part.row("AAPL", since=1)
    assert (told["date"], told["volume"], told["value"]) == (1, 1.0, 7.0)
    assert not part.told(live([], row("AAPL", "1d", 0, 100.0)))  # yesterday's
    part = Market()
    minutes = [row("KO", "1m", 60 * i, 10.0 + i, volume=5.0, vwap=10.0) for i in range(3)]
    part.told(bars(*minutes, row("KO", "1s", 0, 99.0)))
    told = part.row("KO")
    assert [told[name] for name in ("open", "high", "low", "volume", "value", "trades")] == [10, 13, 9, 15, 150, 6]
    part.told(live([], row("KO", "1h", 0, 12.0, volume=20.0, vwap=11.0)))
    assert part.row("KO", since=1)["value"] == 220.0
    part.told(live([], row("EURUSD", "1h", 0, 12.0, volume=None)))
    told = part.row("EURUSD", since=2)
    assert (math.isnan(told["volume"]), math.isnan(told["value"]), told["high"]) == (True, True, 13.0)


def test_a_forming_bar_follows_its_trades_until_it_closes_revisions_replace_it_and_withdrawals_remove_it() -> None:
    def day(volume: float, **other: Any) -> dict[str, Any]:
        return row("AAPL", "1d", 0, 50.0, volume=volume, **other)

    part = Market()
    for volume in (10.0, 20.0):
        part.told(live([], day(volume, vwap=50.0)))
    assert part.row("AAPL", since=1)["volume"] == 20.0
    part.told(bars(day(30.0)))
    assert not part.told(live([], day(25.0)))
    part.told(bars(day(31.0, revision=1)))
    assert not part.told(bars(day(30.0)))
    assert part.row("AAPL", since=3)["volume"] == 31.0
    part = Market()
    part.told(bars(*(row("KO", "1m", 60 * i, 10.0) for i in range(2))))
    part.told(bars(row("KO", "1m", 60, 10.0, revision=1) | {"close": None}))
    assert part.row("KO", since=1)["volume"] == 10.0


def test_only_what_changed_is_told_short_bars_are_one_sum_and_volatility_is_the_hourly_deviation() -> None:
    board = Board(parts={"market": MarketPart()})
    part = board.parts["market"]
    board.take(bars(row("AAPL", "1d", 0, 1.0), row("KO", "1d", 0, 2.0)))
    whole = part.changes(-1)
    assert whole is not None
    assert (whole["whole"], set(rows_of(whole))) == (True, {"AAPL", "KO"})
    assert part.changes(board.seq) is None
    board.take(bars(row("KO", "1d", 0, 3.0, revision=1)))
    step = part.changes(board.seq - 1)
    assert step is not None
    assert (step["whole"], list(rows_of(step))) == (False, ["KO"])
    assert MarketPart().changes(-1) == {"whole": True, **{name: [] for name in COLUMNS}}
    part = Market()
    part.told(bars(*(row("KO", "1s", i, 10.0, volume=1.0, vwap=10.0) for i in range(BARS_MAX + 500))))
    assert part.row("KO")["volume"] == BARS_MAX + 500
    assert not part.told(bars(row("KO", "1s", 3, 10.0, volume=1.0, revision=1)))  # too old to be told apart
    part = Market(symbols_max=2)
    part.told(bars(*(row(name, "1d", 0, 1.0) for name in ("A", "B", "C"))))
    assert set(rows_of(part.changes(-1))) == {"B", "C"}
    assert not part.told(bars(row("A", "1t", 0, 1.0)))
    part = Market()
    closes = [100.0 + math.sin(i) for i in range(30)]
    part.told(bars(*(row("KO", "1m", 60 * i, close) for i, close in enumerate(closes))))
    returns = [math.log(b / a) for a, b in zip(closes[-21:], closes[-20:], strict=False)]
    hourly = 100 * statistics.stdev(returns) * math.sqrt(60)
    assert (part.row("KO")["volatility"], part.row("KO")["volatility_of"]) == (pytest.approx(hourly, rel=1e-5), "1m")
    part = Market()
    part.told(bars(*(row("KO", "1d", DAY_S * i, 100.0 + i % 2) for i in range(9)), row("IBM", "1m", 0, 1.0)))
    assert (part.row("KO")["volatility_of"], part.row("IBM")["volatility"]) == ("1d", None)
    assert part.row("KO")["volatility"] > 0


# Alerts.


def test_a_row_is_told_once_and_whole_to_who_has_nothing() -> None:
    feed = AlertsFeed()
    assert feed.changes(-1) == [WHOLE]
    assert feed.take(alerts(alert(10, "raised")), 1)
    assert feed.take(alerts(alert(12, "cleared", value=None)), 2)
    raised = ["A", "high", "10000000000", "warning", "1s", 9000.0, "raised", None, False, 1.5, "A: high is raised at 1.5", 0, 0, 10]  # fmt: skip
    (second,) = feed.changes(1) or []
    assert (feed.changes(0), second[6], second[9]) == ([raised, second], "cleared", None)
    assert feed.changes(2) is None
    assert feed.changes(-1) == [WHOLE, raised, second]
    feed = AlertsFeed()
    feed.take(alerts(alert(10, "raised", receipt=None)), 1)
    assert (feed.changes(0) or [])[0][12:] == [None, None], "without a receipt it names no place"
    feed = AlertsFeed()
    assert not feed.take(bars(row("A", "1m", 0, 1.0)), 1), "rows of other topics are not its own"
    assert feed.changes(0) is None


def test_what_came_already_changes_nothing_a_revision_takes_its_place_and_the_oldest_go_but_what_stands() -> None:
    feed = AlertsFeed()
    feed.take(alerts(alert(10, "raised"), alert(11, "raised", "B")), 1)
    assert not feed.take(alerts(alert(10, "raised")), 2)
    assert feed.take(alerts(alert(10, "withdrawn", revision=1, was="raised")), 3)
    assert not feed.take(alerts(alert(10, "raised")), 4)
    assert [(r[0], r[6], r[11]) for r in feed.changes(2) or []] == [("A", "withdrawn", 1)]
    assert [(r[0], r[6]) for r in (feed.changes(-1) or [])[1:]] == [("B", "raised"), ("A", "withdrawn")]
    feed = AlertsFeed(kept=10)
    feed.take(alerts(alert(1, "raised", "OLD"), alert(2, "raised", "GONE"), alert(3, "cleared", "GONE")), 1)
    for i in range(60):
        feed.take(alerts(alert(10 + i, "raised" if i % 2 == 0 else "cleared", "BUSY")), 2 + i)
    rows = [(r[0], r[6]) for r in (feed.changes(-1) or [])[1:]]
    assert {("OLD", "raised"), ("GONE", "cleared")} <= set(rows)
    assert len(rows) <= 10 * 1.25 + 4
    assert sum(symbol == "BUSY" for symbol, _ in rows) >= 10


def seen(
    date: int, open_s: int, time_s: int, close: float, *, open_: float = 10.0, high: float = 12.0, low: float = 8.0,
    day: bool = False, volume: float = 1.0,
) -> Seen:  # fmt: skip
    return Seen(date, open_s * 10**9, time_s * 10**9, open_, high, low, close, volume, day)


def quote_of(*bars: Seen) -> Quote:
    quote = Quote()
    for bar in bars:
        quote.take(bar)
    return quote


def test_the_last_price_is_the_newest_in_any_order_and_the_change_is_since_the_session_before_or_the_open() -> None:
    quote = quote_of(seen(1, 60, 120, 11.0), seen(1, 0, 60, 9.0))
    assert quote.last == 11.0
    quote.take(seen(1, 60, 120, 11.5))  # a revision of the newest bar
    assert quote.last == 11.5
    assert math.isnan(Quote().last)
    assert math.isnan(Quote().reference)
    quote = quote_of(seen(5, 0, 60, 9.0, high=20.0, low=1.0))
    assert quote.session is not None
    assert math.isnan(quote.session.volume)
    quote.take(seen(5, 0, 70, 9.5, high=12.0, low=8.0, volume=500.0, day=True))  # a cancelled trade set 20
    assert (quote.session.high, quote.session.low, quote.session.volume) == (12.0, 8.0, 500.0)
    quote = quote_of(seen(5, 60, 120, 11.0, open_=10.5), seen(5, 0, 60, 9.0, open_=10.0))
    assert (quote.reference, quote.reference_kind) == (10.0, "session_open")
    late = quote_of(seen(9, 1_000, 1_060, 11.0), seen(3, 0, 60, 3.0), seen(8, 500, 560, 8.0), seen(2, 0, 60, 2.0))
    assert late.reference == 8.0
    quote = quote_of(seen(5, 0, 60, 9.0), seen(5, 60, 120, 9.5), seen(6, 1_000, 1_060, 11.0))
    assert (quote.reference, quote.reference_kind) == (9.5, "previous_close")
    quote.take(seen(5, 60, 120, 9.25))  # revised later
    assert quote.reference == 9.25


NO_FIGURES = -1


def frame(board: Board, view: PageView, *, figures: int = NO_FIGURES) -> dict[str, Any] | None:
    data = next_frame(board, view, figures=figures)
    return None if data is None else orjson.loads(data)


def sent(board: Board, view: PageView, *, figures: int = NO_FIGURES) -> dict[str, Any]:
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
