"""Vendors that only settings describe: four shapes of answers through kills, and what is said of each mistake."""

import re
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from marketpulse.app.pipeline.vendors import open_polled
from marketpulse.clock import ManualClock
from marketpulse.errors import Retryable, SettingsError, WrongKey
from marketpulse.ports import Polled
from marketpulse.settings import RestSettings, Settings
from marketpulse.sources.rest.found_rows import find_rows
from marketpulse.sources.rest.polled import PolledSource
from marketpulse.telemetry import REGISTRY
from vendor_server import Reply, Request, VendorServer, ns, scripted, vendor

KEY = "S3CR+T/k3y"
OPEN, FIRST_DAY = ns(2026, 3, 2, 14, 30) // 10**9, ns(2026, 1, 1) // 10**9
ENDS = ("accepted", "repeated", "waiting", "refused", "not_asked")


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Fake:
    """A vendor whose prices follow from their times; it counts the rows that it sends."""

    def __init__(self, clock: ManualClock, first: int = OPEN, step: int = 60) -> None:
        self.clock, self.first, self.step, self.sent, self.rng = clock, first, step, 0, Random(3)

    def rows(self, since: int = 0, until: int = 1 << 60) -> list[tuple[int, int]]:
        """(time, price) of what has begun."""
        times = range(self.first, min(self.clock.now_ns() // 10**9, until) + 1, self.step)
        return [(at, 100 + (at - self.first) // self.step) for at in times if at >= since]

    def reply(self, rows: list[Any], body: Any, **more: Any) -> Reply:
        self.sent += len(rows)
        return Reply.json(body, **more)

    def cursor(self, request: Request) -> Reply:
        """Objects with ISO times, seven a page; one row is none."""
        assert request.headers["authorization"] == f"Bearer {KEY}"
        rows = self.rows(int(datetime.fromisoformat(request.parameters["from"]).timestamp()))
        begin = int(request.parameters.get("cursor", 0))
        page = [
            {"ts": iso(at), "open": p, "high": p + 1, "low": 0 if p == 105 else p - 1, "close": p, "volume": 5}
            for at, p in rows[begin : begin + 7]
        ]
        left = len(rows) > begin + 7
        return self.reply(page, {"data": {"bars": page}, "next": str(begin + 7) if left else None})

    def keyed(self, request: Request) -> Reply:
        """Texts by date, newest first; limits come with status 200."""
        assert request.parameters["apikey"] == KEY
        if self.rng.random() < 0.1:
            return Reply.json({"Note": f"{KEY}: our standard API rate limit is 25 requests per day"})
        numbered = ("1. open", "2. high", "3. low", "4. close", "5. volume")
        rows = {iso(at)[:10]: dict.fromkeys(numbered, f"{p}.0") for at, p in reversed(self.rows()[-100:])}
        return self.reply([*rows], {"Meta Data": {"1. Information": "Daily"}, "Time Series (Daily)": rows})

    def columns(self, request: Request) -> Reply:
        """Columns with seconds since 1970; a stretch of a few minutes is all that may be asked for at once."""
        since, until = int(request.parameters["from"]), int(request.parameters["to"])
        assert until - since <= 864 + 300
        rows = self.rows(since, until)
        if not rows:
            return Reply.json({"s": "no_data"})
        times, prices = zip(*rows, strict=True)
        return self.reply(rows, {"s": "ok", "t": times, **dict.fromkeys("ohlc", prices), "v": [9] * len(rows)})

    def pages(self, request: Request) -> Reply:
        """Trades with a key in a header, newest first, two of each time; too many questions are turned away."""
        assert request.headers["x-api-key"] == KEY
        if self.rng.random() < 0.2:
            return Reply.json({"error": f"too many of {KEY}"}, 429, Retry_After="3")
        newest_first = [(at, p, k) for at, p in self.rows(int(request.parameters["since"]) // 1000) for k in "ab"][::-1]
        stop = int(request.parameters["page"]) * 10
        some = newest_first[stop - 10 : stop]
        return self.reply(some, [{"t": at * 1000, "price": str(p), "qty": 1, "id": f"{at}{k}"} for at, p, k in some])


MINUTE: dict[str, Any] = {"first": OPEN, "step": 60}
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cursor": (MINUTE, {"url": "/v1/bars/{symbol}?from={since}&cursor={cursor}", "rows": "data.bars", "next": "next",
                        "headers": {"Authorization": "Bearer ${REST_KEY}"}}),
    "keyed": ({"first": FIRST_DAY, "step": 86_400}, {"url": "/query?symbol={symbol}&apikey=${REST_KEY}", "rows": "Time Series (Daily).*"}),
    "columns": (MINUTE, {"url": "/candle?symbol={symbol}&from={since:s}&to={until:s}", "span_days": 0.01}),
    "pages": ({"first": OPEN, "step": 7}, {"url": "/t?s={symbol}&since={since:ms}", "parameters": {"page": "{page}"}, "settle_s": 5,
                                           "page_rows": 10, "headers": {"X-Api-Key": "${REST_KEY}"}, "mapping": {"record": "trade"}}),
}  # fmt: skip


def opened(server: VendorServer, clock: ManualClock, folder: Path, name: str = "any", **given: Any) -> PolledSource:
    """`url` begins behind the server's address."""
    rates = {"requests_per_minute": None, "requests_per_second": 1_000}
    usual = {"symbols": ("AAPL", "BRK-B"), "history_days": 0.1, **rates}
    settings = RestSettings(**{**usual, **given, "url": server.url + given["url"]})
    return open_polled(Settings(data_dir=folder), settings, name, clock, lambda: None)


def counted(name: str) -> dict[str, int]:
    values = {e: REGISTRY.get_sample_value("marketpulse_rest_rows_total", {"source": name, "end": e}) for e in ENDS}
    return {end: int(value or 0) for end, value in values.items()}


def first_rows(
    server: VendorServer, folder: Path, polls: int = 1, **given: Any
) -> tuple[list[dict[str, Any]], list[Polled]]:
    source = opened(server, ManualClock((OPEN + 86_400) * 10**9), folder, **given)
    source.start(None)
    answers = [source.poll(0.0) for _ in range(polls)]
    return [row for answer in answers for batch in answer.batches for row in batch.to_pylist()], answers


@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_of_a_vendor_comes_once_through_kills_and_each_row_that_was_sent_is_counted(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REST_KEY", KEY)
    monkeypatch.setattr("marketpulse.sources.rest.polled.ROWS_MAX", 5)  # answers go in parts
    how, given = SHAPES[shape]
    step = how["step"]
    clock = ManualClock((how["first"] + 50 * step) * 10**9)
    fake = Fake(clock, **how)
    found: list[dict[str, Any]] = []
    letters: list[Any] = []
    position = None
    with vendor(getattr(fake, shape)) as server:
        for kill_after in (3, 11, 30, 1_000):
            begun, before, kept = counted(shape), fake.sent, len(found)
            source = opened(server, clock, tmp_path, shape, **given)
            source.start(position)
            until_ns = clock.now_ns() + 8 * step * 10**9
            for _ in range(kill_after):
                if clock.now_ns() >= until_ns:
                    break
                try:
                    polled = source.poll(step / 12)
                except Retryable:
                    clock.sleep(1.0)
                    continue
                found += [row for batch in polled.batches for row in batch.to_pylist()]
                letters += polled.rejected
                position = polled.position or position
            source.close()
    ends = {end: value - begun[end] for end, value in counted(shape).items()}
    assert sum(ends.values()) == fake.sent - before, (
        "rows sent = accepted + repeated + waiting + refused + not asked for"
    )
    assert ends["accepted"] == len(found) - kept
    assert {letter.reason for letter in letters} == ({"bad_price"} if shape == "cursor" else set())
    assert KEY not in repr((found, letters, position))
    price_of = dict(fake.rows())
    for symbol in ("AAPL", "BRK.B"):
        own = [row for row in found if row["symbol"] == symbol]
        keys = [row["event_time_ns"] // 10**9 if shape == "pages" else row["open_time_ns"] // 10**9 for row in own]
        times = [at for at in price_of if at <= keys[-1] and not (shape == "cursor" and price_of[at] == 105)]
        assert keys == [at for at in times for _ in range(2 if shape == "pages" else 1)]
        assert len(times) > 50
        assert [row["price" if shape == "pages" else "close"] for row in own] == [price_of[at] for at in keys]
        assert {row.get("timeframe") for row in own} == {{60: "1m", 7: None, 86_400: "1d"}[step]}


BAR = {"t": "2026-03-02", "o": 1, "h": 3, "l": 1, "c": 2}


@pytest.mark.parametrize(("body", "path", "columns", "rows"), [
    ([BAR], "", (), [BAR]),
    ({"bars": {"A": [BAR], "B": []}}, "bars.*", (), [{"symbol": "A", **BAR}]),
    ({"bars": {"A": [BAR], "B": [BAR]}}, "bars.{symbol}", (), [BAR]),
    ({"bars": {}}, "bars.{symbol}", (), []),
    ({"bars": None}, "bars", (), []),
    ({"s": "no_data"}, "", (), []),
    ({"A": {"2026-03-02": {"1. open": "1"}}}, "{symbol}.*", (), [{"time": "2026-03-02", "1. open": "1"}]),
    ({"A": {"2026-03-02": [1, 2]}}, "*.*", ("open", "close"), [{"symbol": "A", "time": "2026-03-02", "open": 1, "close": 2}]),
    ({"result": {"XXBT": [[1_700_000_000, "2", "3", 4]], "last": 5}}, "result.XXBT", ("time", "open", "high"),
     [{"time": 1_700_000_000, "open": "2", "high": "3", "4": 4}]),
    ({"r": [{"timestamp": [7, 8], "quote": [{"open": [1, 2], "close": [3, 4]}], "meta": {"n": 1}}]}, "r.0", (),
     [{"timestamp": 7, "open": 1, "close": 3}, {"timestamp": 8, "open": 2, "close": 4}]),
    ([{"s": "A", "quote": {"USD": {"price": 5}, "EUR": {"price": 6}}}], "", (), [{"s": "A", "quote.USD.price": 5, "quote.EUR.price": 6}]),
    ({"rates": {"2026-03-02": 1.08}}, "rates.*", (), [{"time": "2026-03-02", "value": 1.08}]),
])  # fmt: skip
def test_rows_are_found_where_the_settings_say(body: Any, path: str, columns: tuple[str, ...], rows: list[Any]) -> None:
    assert find_rows(body, [step for step in path.split(".") if step], columns, "A", {"A", "B"}) == rows


def test_page_urls_are_the_vendors_and_a_question_asks_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REST_KEY", KEY)
    bars = [
        {"S": s, "timestamp": iso(OPEN + 60 * m), **dict.fromkeys(("open", "high", "low", "close"), 9)}
        for m in range(3)
        for s in ("AAPL", "BRK-B", "X")
    ]
    given = {"url": "/b?s={symbols}&key=${REST_KEY}", "rows": "bars", "mapping": {"columns": {"symbol": "S"}}}
    pages = {"1": "?page=2", "2": "https://elsewhere.example/?page=3"}

    def answer(request: Request) -> Reply:
        assert request.parameters["key"] == KEY, "vendors leave it out of the next page's URL"
        page = request.parameters.get("page", "1")
        some = bars[:5] if page == "1" else bars[5:]
        if "linked" in request.path:
            return Reply.json({"bars": some}, Link=f'<{server.url}/linked?page=2>; rel="next"' if page == "1" else "")
        return Reply.json({"bars": some, "next": pages[page]})

    with vendor(answer) as server:
        for polls, more in ((2, {"next": "next"}), (2, {"url": "/linked?s={symbols}&key=${REST_KEY}"})):
            rows, answers = first_rows(server, tmp_path, polls, **{**given, **more})
            assert [(r["symbol"], (r["open_time_ns"] // 10**9 - OPEN) // 60) for r in rows] == [
                (symbol, m) for m in range(3) for symbol in ("AAPL", "BRK.B")
            ]
            details = [letter.detail for letter in answers[-1].rejected]
            assert ["elsewhere.example" in detail for detail in details] == [True] * ("next" in more)
    assert [r.parameters.get("s") for r in server.requests if "page" not in r.parameters] == ["AAPL,BRK-B"] * 2


def test_a_table_is_an_answer_too_and_a_full_one_is_followed_by_what_is_behind_it(tmp_path: Path) -> None:
    fake = Fake(ManualClock((OPEN + 86_400) * 10**9))

    def answer(request: Request) -> Reply:
        rows = fake.rows(
            int(datetime.strptime(request.parameters["from"], "%Y%m%d%H%M").replace(tzinfo=UTC).timestamp())
        )
        lines = [f"{iso(at)},{p},{p},{p},{p},1" for at, p in rows[:400]]
        return Reply(200, "\n".join(["Date,Open,High,Low,Close,Volume", *lines]).encode())

    given = {"url": "/csv?from={since:%Y%m%d%H%M}", "answer": "csv", "page_rows": 400, "symbols": ("AAPL",)}
    with vendor(answer) as server:
        rows, _ = first_rows(server, tmp_path, 5, **given, history_days=2)
    assert [row["close"] for row in rows] == [100 + m for m in range(1_439)], "the last has not settled"


@pytest.mark.parametrize(("given", "environment", "said"), [
    ({"headers": {"X-Key": "${REST_KEY}"}}, "", r"any needs the variable REST_KEY.*set it in the env"),
    ({"headers": {"X-Key": "${REST_KEY}"}}, "abc", "less than 4 characters"),
    ({"headers": {"X-Key": "abc"}}, KEY, r"X-Key is a secret: write \$\{NAME\}"),
    ({"url": "/{symbol}?apikey=abc"}, KEY, "apikey is a secret"),
    ({"url": "/{symbol}?from={start}"}, KEY, r"\{start\} is unknown: there is \{symbol\}"),
    ({"url": "/{symbol}?from={since:seconds}"}, KEY, "times are written as iso, date, s"),
    ({"url": "/{symbol}?c={cursor}"}, KEY, "needs next"),
    ({"mapping": {"timeframe": "2m"}}, KEY, "add 2m to it"),
], ids=str)  # fmt: skip
def test_a_wrong_setting_is_said_at_once_without_its_value(
    given: dict[str, Any], environment: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REST_KEY", environment)
    with (
        vendor(scripted(Reply.json([]))) as server,
        pytest.raises((SettingsError, ValidationError), match=said) as raised,
    ):
        opened(server, ManualClock(0), tmp_path, **{"url": "/{symbol}", **given})
    error = raised.value
    shown = error.errors(include_input=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
    assert "abc" not in shown


@pytest.mark.parametrize(("body", "raised", "said"), [
    ({"error": "rate limit"}, Retryable, "a limit"),
    ({"message": "apikey is invalid or missing"}, WrongKey, "does not accept the key"),
    ({"bars": [{"t": "2026-03-02", "x": 1}]}, SettingsError, r"Header: t, x.*mapping\.columns"),
    ({"error": {"text": f"no such symbol, {KEY}"}}, None, r"no such symbol, \*\*\*"),
    ({"candles": [], "n": 0}, None, "no 'bars' where .* leads to: candles, n"),
    ({"bars": {"t": [1, 2], "o": [1]}}, None, "one length"),
], ids=str)  # fmt: skip
def test_an_answer_without_rows_says_why(
    body: Any, raised: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REST_KEY", KEY)
    given: dict[str, Any] = {"url": "/{symbol}", "rows": "bars", "parameters": {"key": "${REST_KEY}"}}
    with vendor(scripted(Reply.json(body))) as server:
        if raised is not None:
            with pytest.raises(raised, match=said):
                first_rows(server, tmp_path, **given)
            return
        _, (answer,) = first_rows(server, tmp_path, **given)
    (letter,) = answer.rejected
    assert (letter.reason, KEY in repr(letter)) == ("bad_answer", False)
    assert re.search(said, letter.detail)
