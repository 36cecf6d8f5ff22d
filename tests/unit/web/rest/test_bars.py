"""/api/bars and /api/indicators over a real lake and a board, on the real server; and questions take turns."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from board_rows import bars, indicators, live, row, served
from lake_store import LakeRows
from marketpulse.errors import QueryCancelled, Retryable
from marketpulse.model.adjusting import Adjustments
from marketpulse.ports import AlertSpan, BarSpan
from marketpulse.query.history import LakeHistory
from marketpulse.settings import Settings
from marketpulse.web.board import Board
from marketpulse.web.rest.seamless import Stretch, stretch
from marketpulse.web.rest.stored import AT_ONCE, WAITING_MAX, Stored
from marketpulse.web.series import BAR_COLUMNS, CLOSE
from marketpulse.web.turns import Turns

NAMES = ["sma_20", "vwap"]


def minute(i: int) -> dict[str, Any]:
    return row("AAA", "1m", 60 * i, float(i), sma_20=i + 0.5, vwap=float(i))


@contextmanager
def serving(folder: Path, board: Board, lake_rows: Callable[[LakeRows], None], **more: Any) -> Iterator[httpx.Client]:
    """A client of the server over a board and a lake that `lake_rows` fills."""
    settings = Settings(data_dir=folder)
    lake_rows(LakeRows(settings))
    stored = Stored(lambda: LakeHistory(settings))
    with served(board, stored=stored, **more) as client, closing(stored):
        yield client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Minutes 0 to 39 are stored, 30 to 49 on the board."""

    def fill(lake: LakeRows) -> None:
        lake.add("bars", [minute(i) for i in range(40)])
        lake.add("indicators", [minute(i) for i in range(40)], NAMES)

    board, live = Board(), [minute(i) for i in range(30, 50)]
    board.take(bars(*live))
    board.take(indicators(NAMES, *live))
    with serving(tmp_path_factory.mktemp("lake"), board, fill) as client:
        yield client


def asked(client: httpx.Client, path: str = "/api/bars", **options: Any) -> httpx.Response:
    return client.get(path, params={"symbol": "AAA", "timeframe": "1m", **options})


def test_pages_follow_their_links_from_the_live_bars_into_the_stored_ones(client: httpx.Client) -> None:
    seen: list[float] = []
    address: str | None = "/api/bars?symbol=AAA&timeframe=1m&limit=7"
    while address is not None:
        answer = client.get(address)
        body = answer.json()
        assert set(body) == {"symbol", "timeframe", "columns", "rows", "session", "older", "missing", "next"}
        assert body["columns"][-2:] == ["sma_20", "session_vwap"]
        rows = [dict(zip(body["columns"], r, strict=True)) for r in body["rows"]]
        assert all(r["sma_20"] == r["close"] + 0.5 for r in rows)
        seen = [r["close"] for r in rows] + seen
        assert body["older"] == ("next" in answer.links)
        address = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == [float(i) for i in range(50)]


def test_a_span_is_asked_for_by_ends_and_names_as_csv_or_arrow_and_not_sent_twice(client: httpx.Client) -> None:
    body = asked(client, from_ms=28 * 60_000, to_ms=32 * 60_000).json()
    assert ([r[5] for r in body["rows"]], body["older"]) == ([28.0, 29.0, 30.0, 31.0], False)
    body = asked(client, before_ms=10 * 60_000, limit=2).json()
    assert ([r[5] for r in body["rows"]], body["older"]) == ([8.0, 9.0], True)
    body = asked(client, "/api/indicators", names="sma_20", limit=2).json()
    assert body["columns"] == ["open_time_ms", "close_time_ms", "close", "revision", "sma_20"]
    assert body["rows"][-1] == [49 * 60_000.0, 50 * 60_000.0, 49.0, 0.0, 49.5]
    refused = asked(client, "/api/indicators", names="sma_20,sma_21")
    assert (refused.status_code, "sma_20, session_vwap" in refused.json()["error"]) == (400, True)
    text = client.get("/api/indicators?symbol=AAA&timeframe=1m&limit=1&names=sma_20", headers={"accept": "text/csv"})
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert text.text == '"open_time_ms","close_time_ms","close","revision","sma_20"\n2940000,3000000,49,0,49.5\n'
    arrow = asked(client, format="arrow", limit=3)
    assert pa.ipc.open_stream(arrow.content).read_all()["close"].to_pylist() == [47.0, 48.0, 49.0]
    first = asked(client, limit=3)
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = client.get(first.request.url, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
    other = asked(client, limit=4)
    assert other.headers["etag"] != first.headers["etag"]
    assert client.get(other.request.url, headers={"if-none-match": first.headers["etag"]}).status_code == 200


@pytest.mark.parametrize(("options", "status"), [
    ({"timeframe": "2d"}, 400), ({"timeframe": "x"}, 400), ({"timeframe": "1h"}, 404), ({"timeframe": ""}, 400),
    *(({"limit": limit}, 400) for limit in (0, -1, "\xb2", 10_001, 10**20)), ({"before_ms": "nan"}, 400),
    ({"before_ms": 1e300}, 400), ({"colour": "red"}, 400), ({"symbol": ""}, 400), ({"symbol": "x" * 65}, 400),
    ({"format": "xml"}, 400), ({"symbol": "BBB"}, 404), ({"symbol": "'; DROP TABLE bars --"}, 404),
    ({"symbol": "A\0A"}, 404), ({"before_ms": -1e15, "symbol": "BBB"}, 404),
])  # fmt: skip
def test_a_wrong_question_is_answered_in_one_shape(client: httpx.Client, options: dict[str, Any], status: int) -> None:
    answer = asked(client, **options)
    assert (answer.status_code, list(answer.json())) == (status, ["error", "kind"]), answer.text


def test_adjusted_bars_are_as_if_no_split_had_been(tmp_path: Path) -> None:
    def fill(lake: LakeRows) -> None:
        lake.add("bars", [row("BBB", "1m", 60 * i, 30.0 + i) for i in range(4)])
        place = {"topic": "market", "partition": 0, "offset": 0, "row": 0}
        split = {"type": "split", "body": '{"ratio": 2.0, "ex_time_ns": 120000000000}', "event_time_ns": 1}
        lake.add("events", [{**split, **place, "symbol": "BBB", "source": "files"}])

    board = Board()
    rows = [row("BBB", "1m", 60 * i, 30.0 + i, sma_20=60.0, rsi_14=55.0) for i in range(4)]
    board.take(bars(*rows))
    board.take(indicators(["sma_20", "rsi_14"], *rows))
    of = {"symbol": "BBB", "timeframe": "1m"}
    with serving(tmp_path, board, fill, in_prices=lambda name: name == "sma_20") as client:
        raw, split, again = (
            client.get("/api/bars", params={**of, "adjust": a}).json() for a in ("none", "split", "none")
        )
        changed = {
            name: [after[i] / before[i] for before, after in zip(raw["rows"], split["rows"], strict=True)]
            for i, name in enumerate(raw["columns"]) if name not in ("open_time_ms", "close_time_ms", "revision")
        }  # fmt: skip
        prices = {name: [0.5, 0.5, 1, 1] for name in ("open", "high", "low", "close", "vwap", "sma_20")}
        assert changed == {**prices, "volume": [2, 2, 1, 1], "trade_count": [1] * 4, "rsi_14": [1] * 4}
        assert [r[raw["columns"].index("close")] for r in split["rows"]] == [15.0, 15.5, 32.0, 33.0]
        assert again == raw, "what is stored and on the board stays as it is"
        told = client.get("/api/corporate_actions", params=of).json()
        assert told["actions"] == [{"type": "split", "ex_ms": 120_000.0, "value": 2.0}]
        assert told["split"] == told["all"] == [{"before_ms": 120_000.0, "price": 0.5, "volume": 2.0}]
        assert client.get("/api/bars", params={**of, "adjust": "half"}).status_code == 400


def test_the_forming_bar_ends_the_page_until_it_is_stored_and_values_come_from_board_and_store() -> None:
    board = Board()
    board.take(live(["sma_2"], row("AAA", "1m", 120, 7.0, sma_2=1.0)))
    found = found_in(board, [bar(0, 0), bar(1, 0)])
    assert [(r[CLOSE], r[9]) for r in found.rows] == [(0.0, 0.0), (100.0, 0.0), (7.0, -1.0)]
    assert [(r[CLOSE], r[9]) for r in found_in(board, [bar(0, 0), bar(1, 0), bar(2, 0)]).rows][-1] == (200.0, 0.0)
    board = Board()
    board.take(indicators(["sma_2"], row("AAA", "1m", 60, 1.0, sma_2=9.0)))
    board.take(bars(bar(1, 0), bar(2, 0)))
    found = found_in(board, [bar(0, 0), bar(1, 0), bar(2, 0)])
    assert (found.columns[-1], [r[-1] for r in found.rows]) == ("sma_2", [0.5, 9.0, 2.5])
    found = found_in(Board(), [bar(0, 0), bar(1, 0)], limit=1)  # a board that knows nothing yet
    assert (found.columns, found.older, found.session, found.rows[0][-1]) == ([*BAR_COLUMNS, "sma_2"], True, None, 1.5)


# Stored and live rows as one series: every bar once, as its highest revision says, however it is paged.

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


def stretch_of(board: Board, stored: list[dict[str, Any]] | None, **span: Any) -> Stretch | None:
    with closing(Stored(lambda: HistoryOfRows(stored or []))) as past:
        return asyncio.run(stretch(board, None if stored is None else past, BarSpan("AAA", "1m", **span)))


def found_in(board: Board, stored: list[dict[str, Any]] | None, **span: Any) -> Stretch:
    """Of a series that is known."""
    found = stretch_of(board, stored, **span)
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


def test_without_a_store_the_board_is_all_there_is_and_what_it_forgot_before_it_was_stored_is_told_missing() -> None:
    board = Board()
    board.take(bars(*(bar(i, 0) for i in range(4))))
    found = found_in(board, None, before_ms=180_000, limit=2)
    assert ([r[CLOSE] for r in found.rows], found.older) == ([100.0, 200.0], True)
    assert all(math.isnan(v) for r in found.rows for v in r[len(BAR_COLUMNS) :])
    assert stretch_of(Board(), []) is None
    assert stretch_of(Board(), None) is None
    empty = found_in(Board(), [bar(5, 0)], before_ms=0)
    assert (empty.rows, empty.older) == ([], False)
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


def request(gone: asyncio.Event) -> Request:
    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


@pytest.mark.parametrize("how", ["gone", "closed"])
def test_work_is_told_when_nobody_waits_for_it(how: str) -> None:
    begun = threading.Event()

    def work(cancelled: threading.Event) -> bool:
        begun.set()
        if cancelled.wait(30):
            raise QueryCancelled("stopped")
        return True

    async def run() -> None:
        turns, gone = Turns("questions", 1, 1), asyncio.Event()
        asked = asyncio.create_task(turns.take(request(gone), work))
        await asyncio.to_thread(begun.wait, 30)
        if how == "gone":
            gone.set()
        else:
            await asyncio.to_thread(turns.close)
        with pytest.raises(QueryCancelled):
            await asked
        turns.close()

    asyncio.run(run())


def test_more_than_run_and_wait_are_told_to_come_again_and_the_others_are_answered() -> None:
    let = threading.Event()

    def bars(span: BarSpan) -> pa.Table:
        assert let.wait(30)
        return pa.table({"limit": [span.limit]})

    slow = Mock(spec=["bars", "alerts", "close"], bars=bars)
    opened = Mock(return_value=slow)
    stored = Stored(opened)

    async def crowd() -> list[int]:
        asked = [
            asyncio.create_task(stored.ask(lambda h, n=n: h.bars(BarSpan("A", "1m", limit=n))))  # type: ignore[misc]
            for n in range(AT_ONCE + WAITING_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="try again"):
            await stored.ask(lambda history: history.alerts(AlertSpan()))
        let.set()
        return [table["limit"][0].as_py() for table in await asyncio.gather(*asked)]

    Stored(opened).close()
    assert not opened.called, "a history that nobody asked is never opened"
    assert asyncio.run(crowd()) == list(range(AT_ONCE + WAITING_MAX))
    stored.close()
    assert (opened.call_count, slow.close.called) == (1, True)
