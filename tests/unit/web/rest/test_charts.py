"""What a chart, the pipeline's page and the sources' page ask for, over desks that answer from memory."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any
from unittest.mock import Mock, call

import httpx
import pytest

from board_rows import bars, live, row
from market_rows import trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.processes import with_processes
from marketpulse.errors import Fatal, MarketPulseError, ParameterError, QueryLimit, RejectedRecord, Retryable
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.web.board import Board
from marketpulse.web.rest.charts import ChartApi
from marketpulse.web.rest.pipeline import PipelineApi
from marketpulse.web.rest.sources import Sources, SourcesApi, SymbolScores
from score_rows import card_of
from served_app import app_of, ask


class Desk:
    """Behaves as ports.ChartDesk says: the close, twice, is the only indicator it knows."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fault: Exception | None = None
        self.closed = False

    def catalogue(self) -> Sequence[Mapping[str, Any]]:
        return [{"name": "twice", "stem": "twice"}]

    def values(self, stems: Sequence[str], span: BarSpan, live: LiveBars) -> tuple[list[str], list[list[float]]]:
        self.asked.append(span)
        if list(stems) != ["twice"]:
            raise ParameterError(f"{stems[0]} is no indicator")
        return ["twice"], [[time, 2 * row[5]] for time, row in live.rows.items()][-span.limit :]

    def sessions(self, venue: str | None, from_ms: float, to_ms: float) -> Mapping[str, Any]:
        return {"calendar": "XNYS" if venue == "XNAS" else "24x7", "built": "regular", "sessions": [from_ms, to_ms]}

    def receipt(self, ask: ReceiptAsk, cancelled: threading.Event) -> Mapping[str, Any]:
        self.asked.append(ask)
        if self.fault is not None:
            raise self.fault
        return {"symbol": ask.symbol, "name": ask.name, "same": True, "cancelled": cancelled.is_set()}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def desk() -> Desk:
    return Desk()


def get(desk: Desk, path: str, **options: Any) -> httpx.Response:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1), venue="XNAS") for i in range(5))))
    board.take(live([], row("AAPL", "1m", 300, 9.0, venue="XNAS")))
    with closing(ChartApi(board, lambda: desk)) as charts:
        return ask(app_of(board, routers=[charts.router()]), path, params=options)


def test_values_come_with_their_columns_also_of_forming_bars_and_sessions_of_the_symbols_venue(desk: Desk) -> None:
    answer = get(desk, "/api/chart/indicators", symbol="AAPL", timeframe="1m", indicator="twice", limit=2).json()
    assert (answer["columns"], answer["rows"]) == (["open_time_ms", "twice"], [[240_000, 10], [300_000, 18]])
    assert (desk.asked, desk.closed) == ([BarSpan("AAPL", "1m", None, None, 2)], True)
    assert get(desk, "/api/catalog").json() == {"indicators": [{"name": "twice", "stem": "twice"}]}
    found = get(desk, "/api/chart/sessions", symbol="AAPL", from_ms=0, to_ms=1_000).json()
    assert (found["venue"], found["calendar"], found["sessions"]) == ("XNAS", "XNYS", [0, 1_000])
    assert get(desk, "/api/chart/sessions", symbol="ZZZ", from_ms=0, to_ms=1).json()["calendar"] == "24x7"


def test_a_receipt_is_asked_for_by_the_bars_open_time(desk: Desk) -> None:
    found = get(desk, "/api/explain", symbol="AAPL", timeframe="1m", open_ms=1_734_532_200_000, name="rsi_14")
    assert found.json()["same"] is True
    assert desk.asked == [ReceiptAsk("AAPL", "1m", 1_734_532_200_000_000_000, "rsi_14")]
    get(desk, "/api/explain", symbol="AAPL", timeframe="100t", open_ms=1_734_532_200_000_001_234 / 1e6, name="close")
    ticks = desk.asked[1]
    assert ticks.as_shown
    assert abs(ticks.open_ns - 1_734_532_200_000_001_234) < 300  # what a double keeps


@pytest.mark.parametrize(("fault", "status"), [
    (Fatal("no 1m bar opens then"), 404), (ParameterError("'x' is not computed"), 400),
    (QueryLimit("it took too long"), 422), (Retryable("the log is away"), 503),
])  # fmt: skip
def test_why_there_is_no_receipt_is_said(desk: Desk, fault: Exception, status: int) -> None:
    desk.fault = fault
    answer = get(desk, "/api/explain", symbol="AAPL", timeframe="1m", open_ms=0)
    assert (answer.status_code, answer.json()["error"]) == (status, str(fault))


@pytest.mark.parametrize(("path", "options", "said"), [
    ("indicators", {"symbol": "AAPL", "timeframe": "1m", "indicator": "x"}, "is no indicator"),
    ("indicators", {"symbol": "AAPL", "timeframe": "1m", "indicator": ","}, "from 1 to 24"),
    ("indicators", {"symbol": "AAPL", "timeframe": "1m"}, "indicator is missing"),
    ("indicators", {"symbol": "AAPL", "timeframe": "9d", "indicator": "twice"}, "only 1d"),
    ("sessions", {"symbol": "AAPL", "from_ms": 2, "to_ms": 1}, "after from_ms"),
    ("sessions", {"symbol": "AAPL", "from_ms": 0, "to_ms": 8e12}, "20 years"),
])  # fmt: skip
def test_a_wrong_question_is_told_what_is_wrong(desk: Desk, path: str, options: dict[str, Any], said: str) -> None:
    answer = get(desk, f"/api/chart/{path}", **options)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True)


# /api/pipeline, /api/dead-letters and /api/sources, with a desk and watches that are made up.

LETTER = {"letter_partition": 3, "letter_offset": 7, "reason": "bad_price", "value": "{}"}


class Room:
    """The routes with what is behind them."""

    def __init__(self) -> None:
        sent_to, board = {"topic": "market", "partition": 1, "offset": 2}, Board()
        self.watch = Mock(**{"spec": ["picture"], "picture.return_value": {"findings": []}})
        self.desk = Mock(**{"spec": ["newest", "send_again", "close"], "send_again.return_value": sent_to})
        self.desk.newest.side_effect = lambda limit: [LETTER][:limit]
        self.api = PipelineApi(board, self.watch, lambda: self.desk)
        self.app = app_of(board, routers=[self.api.router()])

    def send(self, partition: int, offset: int, value: str) -> httpx.Response:
        body = {"letter_partition": partition, "letter_offset": offset, "value": value}
        return ask(self.app, "/api/dead-letters/send", "POST", json=body)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.api.close()


def test_the_picture_has_the_strips_figures_and_a_desk_that_is_closed_after_sends_letters_again(room: Room) -> None:
    answer = ask(room.app, "/api/pipeline").json()
    assert (answer["pipeline"], answer["figures"]["symbols"]) == ({"findings": []}, 0)
    assert room.watch.mock_calls == [call.picture()]
    assert ask(room.app, "/api/dead-letters").json() == {"letters": [LETTER]}
    assert room.send(3, 7, '{"price": 1.5}').json() == {"sent_to": {"topic": "market", "partition": 1, "offset": 2}}
    assert room.desk.send_again.mock_calls == [call(3, 7, b'{"price": 1.5}')]
    for query in ("limit=0", "limit=501", "limit=x"):
        assert ask(room.app, f"/api/dead-letters?{query}").status_code in (400, 422), query
    room.api.close()
    assert room.desk.close.called


@pytest.mark.parametrize(("fault", "status", "words"), [
    (RejectedRecord("price must be above 0"), 422, "no market data still: price must be above 0"),
    (ParameterError("this letter was sent again already"), 409, "already"), (Retryable("the broker is away"), 503, "away"),
])  # fmt: skip
def test_a_letter_that_is_refused_says_why(room: Room, fault: MarketPulseError, status: int, words: str) -> None:
    room.desk.send_again.side_effect = fault
    answer = room.send(0, 0, "{}")
    assert (answer.status_code, words in answer.json()["error"]) == (status, True)


class Keeper:
    """What a keeper of the scores has heard; `heard` is None before it has."""

    def __init__(self, heard: Card | None) -> None:
        self.heard = heard

    def sources(self) -> Mapping[str, Any] | None:
        if self.heard is None:
            return None
        rows = with_processes(self.heard.sources(), None, {})
        unchanging = {"hours": 1, "log_time_ms": 5, "catching_up": False, "left_out_rows": 0}
        return {**unchanging, "sources": rows, "dead_letters_of_nobody": {}}

    def symbols(self, source: str, limit: int) -> Mapping[str, Any] | None:
        return None if self.heard is None else self.heard.symbols(source, limit)


def ask_sources(query: str, keeper: Keeper | None) -> httpx.Response:
    with closing(SourcesApi(keeper)) as api:
        return ask(app_of(routers=[api.router()]), f"/api/sources{query}")


def test_the_scores_are_as_they_are_described_and_wrong_questions_are_refused() -> None:
    keeper = Keeper(card_of([(trade(name, 3_600.0 + i, 1.0, 1.0), 3_600.0 + i) for i, name in enumerate("ABC")]))
    found = Sources.model_validate(ask_sources("", keeper).json())
    assert [(one.source, one.symbols, one.reconnects) for one in found.sources] == [("feed", 3, None)]
    symbols = SymbolScores.model_validate(ask_sources("/symbols?source=feed&limit=2", keeper).json())
    assert [one.symbol for one in symbols.symbols] == ["A", "B"]
    assert SymbolScores.model_validate(ask_sources("/symbols?source=other", keeper).json()).symbols == []
    for query in ("", "?source=feed&limit=0", "?source=feed&limit=1001", "?source=", "?source=feed&more=1"):
        assert ask_sources(f"/symbols{query}", keeper).status_code == 400, query


@pytest.mark.parametrize(("keeper", "words"), [(None, "set scorecard.enabled"), (Keeper(None), "try again")])
def test_without_a_card_it_says_why(keeper: Keeper | None, words: str) -> None:
    for query in ("", "/symbols?source=feed"):
        answer = ask_sources(query, keeper)
        assert (answer.status_code, words in answer.json()["error"]) == (503, True)
