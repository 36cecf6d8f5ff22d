"""What a chart asks for, over a desk that answers from memory."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import httpx
import pytest

from board_rows import bars, live, row
from marketpulse.errors import Fatal, ParameterError, QueryLimit, Retryable
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.web.board import Board
from marketpulse.web.rest.charts import ChartApi
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


def test_values_come_with_the_names_of_their_columns_for_closed_and_forming_bars(desk: Desk) -> None:
    answer = get(desk, "/api/chart/indicators", symbol="AAPL", timeframe="1m", indicator="twice", limit=2).json()
    assert (answer["columns"], answer["rows"]) == (["open_time_ms", "twice"], [[240_000, 10], [300_000, 18]])
    assert (desk.asked, desk.closed) == ([BarSpan("AAPL", "1m", None, None, 2)], True)
    assert get(desk, "/api/catalog").json() == {"indicators": [{"name": "twice", "stem": "twice"}]}


def test_sessions_are_those_of_the_symbols_venue(desk: Desk) -> None:
    found = get(desk, "/api/chart/sessions", symbol="AAPL", from_ms=0, to_ms=1_000).json()
    assert (found["venue"], found["calendar"], found["sessions"]) == ("XNAS", "XNYS", [0, 1_000])
    assert get(desk, "/api/chart/sessions", symbol="ZZZ", from_ms=0, to_ms=1).json()["calendar"] == "24x7"


def test_a_receipt_is_asked_for_by_the_bars_open_time(desk: Desk) -> None:
    found = get(desk, "/api/explain", symbol="AAPL", timeframe="1m", open_ms=1_734_532_200_000, name="rsi_14")
    assert found.json()["same"] is True
    assert desk.asked == [ReceiptAsk("AAPL", "1m", 1_734_532_200_000_000_000, "rsi_14")]
    shown_ms = 1_734_532_200_000_001_234 / 1e6
    get(desk, "/api/explain", symbol="AAPL", timeframe="100t", open_ms=shown_ms, name="close")
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
