"""A source that asks again and again: every closed bar once, through faults, restarts and nights; and its position."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from string import ascii_uppercase
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, integers, text

from marketpulse.app.trading_hours import venue_is_open
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.source_position import POSITION_BYTES_MAX
from marketpulse.ports import Polled, RejectedInput
from marketpulse.settings import AlphaVantageSettings, EngineSettings, YahooSettings
from marketpulse.sources import alpha_vantage, yahoo
from marketpulse.sources.actions.vendors import YahooActions
from marketpulse.sources.news.vendors import AlphaVantageNews
from marketpulse.sources.rest import Backoff, Rate, RestClient, WrongKey
from marketpulse.sources.rest.answer import by_the_status
from marketpulse.sources.rest.place import read_place, write_place
from marketpulse.sources.rest.polled import PolledSource
from marketpulse.telemetry import REGISTRY
from refused import assert_raises
from vendor_server import NEW_YORK, Reply, Request, VendorServer, ns, vendor, yahoo_chart

OPEN = ns(2026, 3, 2, 9, 30, zone=NEW_YORK) // 10**9
CLOSE = OPEN + 23_400


class Market:
    """A vendor whose minutes of every symbol are known; it answers as of the clock."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.faults, self.stands_at = clock, list[Reply](), CLOSE

    def __call__(self, request: Request) -> Reply:
        if self.faults:
            return self.faults.pop(0)
        if request.path.rpartition("/")[2] == "NONE":
            return Reply.json({"chart": {"result": None, "error": {"code": "Not Found"}}}, 404)
        now = min(self.clock.now_ns() // 10**9, self.stands_at)
        begin = max(OPEN, int(request.parameters.get("period1", OPEN)) // 60 * 60)
        times = list(range(begin, min(now, CLOSE - 1) + 1, 60)) if now >= OPEN else []
        closes = [100.0 + (at - OPEN) // 60 for at in times]
        return Reply.json(yahoo_chart(times, closes, regular=(OPEN, CLOSE), market_time=now))


def client_of(server: VendorServer, clock: ManualClock, judge: Any, **more: Any) -> RestClient:
    return RestClient("vendor", server.url, Rate(1_000, 1.0, burst=500), judge=judge, clock=clock, **more)


def opened(
    server: VendorServer, clock: ManualClock, symbols: Sequence[str], position: str | None = None, **given: Any
) -> PolledSource:
    settings = YahooSettings(symbols=tuple(symbols), base_url=server.url, **{"every_s": 60, "settle_s": 0, **given})
    client = client_of(server, clock, yahoo.judge, backoff=Backoff(rng=random.Random(4)))
    is_open = venue_is_open(EngineSettings())
    source = PolledSource(yahoo.Yahoo(settings), client, settings, "yahoo", clock=clock, is_open=is_open)
    hello = source.start(position)
    assert hello.mode == "historical", "only heartbeats move the watermark"
    assert hello.lateness_ns > 10**18
    return source


@contextmanager
def asking(
    *symbols: str, at: int = OPEN + 600, change: Callable[[dict[str, Any]], None] | None = None
) -> Iterator[tuple[PolledSource, ManualClock, VendorServer]]:
    """A source that asks a market from that second on; `change` has its way with the columns of each answer."""
    clock = ManualClock(at * 10**9)
    market = Market(clock)

    def answer(request: Request) -> Reply:
        reply = market(request)
        if change is None:
            return reply
        body = orjson.loads(reply.body)
        change(body["chart"]["result"][0]["indicators"]["quote"][0])
        return Reply.json(body)

    with vendor(answer) as server:
        yield opened(server, clock, symbols), clock, server


def pump(source: PolledSource, clock: ManualClock, until_s: int, saw: Callable[[Polled], object]) -> None:
    while clock.now_ns() < until_s * 10**9:
        try:
            saw(source.poll(5.0))
        except Retryable:
            clock.sleep(1.0)


def rows(polled: Polled) -> list[dict[str, Any]]:
    return [row for batch in polled.batches for row in batch.to_pylist()]


def bars(polled: Polled) -> list[tuple[str, int]]:
    """(symbol, how many minutes after the session opened) of each bar."""
    return [(r["symbol"], (r["open_time_ns"] // 10**9 - OPEN) // 60) for r in rows(polled) if r["type"] == "bar"]


def test_every_closed_minute_of_every_symbol_comes_once_through_faults_and_restarts() -> None:
    rng = random.Random(11)
    clock = ManualClock((OPEN + 30) * 10**9)
    market, symbols = Market(clock), ["AAPL", "MSFT", "BRK.B"]
    kinds = [
        Reply(429, headers={"Retry-After": "7"}), Reply(500), Reply(200, b"<html></html>"), Reply(200, b'{"chart": [', cut=3),
        Reply.json({"chart": {"result": None}}), Reply(403, b"<html></html>"),
    ]  # fmt: skip
    found: list[tuple[str, int]] = []
    position: str | None = None
    last_promise = 0

    def saw(polled: Polled) -> None:
        nonlocal position, last_promise
        promise = source.watermark_ns()
        new = bars(polled)
        assert all(OPEN + 60 * (m + 1) > last_promise // 10**9 for _, m in new), "behind what was promised"
        found.extend(new)
        position = polled.position or position
        last_promise = promise if promise is not None else last_promise
        if rng.random() < 0.05:
            market.faults.append(rng.choice(kinds))

    with vendor(market) as server:
        for until_s in (900, 1_800, 2_700, 3_600, 4_900):
            if until_s == 4_900:
                market.faults.clear()
            source, last_promise = opened(server, clock, symbols, position), 0
            pump(source, clock, OPEN + until_s, saw)
            source.close()
    for symbol in symbols:
        got = [m for name, m in found if name == symbol]
        assert got == list(range(max(60, len(got))))


def test_where_nothing_new_comes_from_a_vendor_its_silence_is_told_once_its_market_was_open_for_long_enough() -> None:
    """20 minutes that the vendor may be behind, ten beside them, and the bar's own: 31 minutes."""
    clock = ManualClock((OPEN + 3_600) * 10**9)
    market = Market(clock)

    def silent_s(until_s: int) -> float | None:
        pump(source, clock, until_s, list[Polled]().append)
        return REGISTRY.get_sample_value("marketpulse_rest_silent_seconds", {"source": "yahoo"})

    with vendor(market) as server:
        source = opened(server, clock, ["AAPL", "MSFT"])
        market.stands_at = OPEN + 3_600
        assert silent_s(OPEN + 3_600 + 1_800) == 0.0
        assert silent_s(OPEN + 3_600 + 2_400) == pytest.approx(2_400, abs=180)
        market.stands_at = CLOSE
        assert silent_s(OPEN + 3_600 + 2_700) == 0.0, "it speaks again"
        assert silent_s(CLOSE + 40_000) == 0.0, "after the close, and through the night"
        assert silent_s(OPEN + 86_400 + 1_200) == 0.0, "the next day has begun 20 minutes ago"
        assert silent_s(OPEN + 86_400 + 4_000) == pytest.approx(86_400 + 4_000 - 23_400, abs=900)


def test_the_watermark_waits_for_the_slowest_symbol_and_one_that_is_left_out_goes_on_where_it_was() -> None:
    with asking("A", "B") as (both, clock, server):
        assert bars(both.poll(1.0))
        assert both.watermark_ns() is None, "nothing is known of the other symbol"
        second = both.poll(1.0)
        assert bars(second)
        assert both.watermark_ns() == (OPEN + 600) * 10**9
        one = opened(server, clock, ["A"], second.position)
        clock.sleep(60)
        position = one.poll(1.0).position
    assert read_place(position) == {"A": (OPEN + 660) * 10**9, "B": (OPEN + 600) * 10**9}


def test_a_symbol_that_is_unknown_or_a_row_that_stays_bad_is_one_dead_letter_and_holds_up_nobody() -> None:
    letters: list[RejectedInput] = []
    with asking("NONE", "A") as (source, clock, server):
        pump(source, clock, OPEN + 1_800, lambda polled: letters.extend(polled.rejected))
        asked = [r.path.rpartition("/")[2] for r in server.requests]
        assert source.watermark_ns() is not None
    assert [letter.reason for letter in letters] == ["bad_answer"]
    assert b"Not Found" in letters[0].value
    assert asked.count("NONE") == 1
    assert asked.count("A") > 10

    def spoil(columns: dict[str, Any]) -> None:
        columns["low"][:1] = [-5] * len(columns["low"][:1])

    letters = list[RejectedInput]()
    with asking("A", change=spoil) as (source, clock, _):
        pump(source, clock, OPEN + 840, lambda polled: letters.extend(polled.rejected))
    assert [letter.reason for letter in letters][:1] == ["bad_price"]
    assert len({letter.value for letter in letters}) == len(letters)


def test_a_bar_that_the_vendor_changes_goes_into_the_log_again_and_is_counted() -> None:
    shift = 0.0

    def restate(columns: dict[str, Any]) -> None:
        columns["close"] = [None if c is None else c + shift for c in columns["close"]]

    def counted() -> float:
        return REGISTRY.get_sample_value("marketpulse_bars_changed_total", {"source": "yahoo"}) or 0

    before, again = counted(), list[tuple[str, int]]()
    with asking("A", change=restate) as (source, clock, _):
        assert len(bars(source.poll(1.0))) == 10
        shift = 0.5
        pump(source, clock, OPEN + 720, lambda polled: again.extend(bars(polled)))
    assert again == [("A", m) for m in (5, 6, 7, 8, 9, 10)], "the overlap that it asks for again, and the new one"
    assert counted() == before + 5


def test_a_restart_between_parts_of_an_answer_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.rest.polled.ROWS_MAX", 7)
    with asking("A", at=OPEN + 3_000) as (source, clock, server):
        first, second = source.poll(1.0), source.poll(1.0)
        assert source.watermark_ns() is None, "there is more of this answer"
        assert bars(first) + bars(second) == [("A", m) for m in range(14)]
        assert read_place(second.position) == {"A": (OPEN + 14 * 60) * 10**9}
        again, rest = opened(server, clock, ["A"], second.position), list[tuple[str, int]]()
        pump(again, clock, OPEN + 3_010, lambda polled: rest.extend(bars(polled)))
    assert rest == [("A", m) for m in range(14, 50)]


def test_at_night_it_asks_seldom_and_a_days_bar_is_asked_for_when_the_day_is_over() -> None:
    with asking("A", at=CLOSE + 6 * 3_600) as (source, clock, server):
        pump(source, clock, CLOSE + 8 * 3_600, lambda _: None)
        assert len(server.requests) == 8
    clock = ManualClock(ns(2026, 3, 3, 12, 0))

    def answer(_: Request) -> Reply:
        days = [ns(2026, 3, day, 14, 30) // 10**9 for day in range(2, 7)]
        times = [at for at in days if at <= clock.now_ns() // 10**9]
        return Reply.json(yahoo_chart(times, [10.0 + i for i in range(len(times))], granularity="1d"))

    found: list[int] = []
    with vendor(answer) as server:
        source = opened(server, clock, ["A"], interval="1d", every_s=3_600)
        while clock.now_ns() < ns(2026, 3, 6, 12, 0):  # a Friday morning; its own bar is not among them
            found += [row["session_date"].day for row in rows(source.poll(1_800.0))]
        assert len(server.requests) == 4
    assert found == [2, 3, 4, 5]


def test_a_wrong_key_ends_the_source_the_most_symbols_fit_into_one_commit_and_two_spellings_are_one() -> None:
    clock = ManualClock((OPEN + 600) * 10**9)
    with vendor(lambda _: Reply.json({}, 401)) as server:
        settings = YahooSettings(symbols=("A", "B"))
        client = client_of(server, clock, by_the_status)
        source = PolledSource(yahoo.Yahoo(settings), client, settings, "yahoo", clock=clock)
        source.start(None)
        for _ in range(3):
            assert_raises(WrongKey, "", source.poll, 1.0)
        assert len(server.requests) == 1
    rng = random.Random(5)
    names = {"".join(rng.choices(ascii_uppercase, k=5)) for _ in range(1_000)}
    until = {name: (1_790_000_000 + rng.randrange(10_000) * 60) * 10**9 for name in sorted(names)[:400]}
    assert len(until) == 400
    ticks = {name: end + rng.randrange(10**9) for name, end in [*until.items()][:200]}  # the most of a source of trades
    assert max(len(write_place(ends).encode()) for ends in (until, ticks)) <= POSITION_BYTES_MAX
    with asking("BRK-B", "BRK.B") as (source, _, server):
        assert {symbol for symbol, _ in bars(source.poll(1.0))} == {"BRK.B"}
        source.poll(1.0)
        assert [r.path.rpartition("/")[2] for r in server.requests] == ["BRK-B"]


def over_restarts(
    server: VendorServer, clock: ManualClock, module: Any, asked: Any, settings: Any, hours: Sequence[int], **beside: Any
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of three runs, each of which ends so many hours after the session opened."""
    found: list[dict[str, Any]] = []
    position: str | None = None

    def saw(polled: Polled) -> None:
        nonlocal position
        found.extend(rows(polled))
        position = polled.position or position

    for hour in hours:
        client = client_of(server, clock, module.judge)
        source = PolledSource(asked, client, settings, "vendor", clock=clock, **beside)
        source.start(position)
        pump(source, clock, OPEN + 3_600 * hour, saw)
        source.close()
    return found


def test_splits_and_dividends_come_once_before_the_bars_over_restarts() -> None:
    clock = ManualClock((OPEN + 600) * 10**9)
    market = Market(clock)
    splits = {"1": {"date": OPEN - 86_400 * 3, "numerator": 2, "denominator": 1}}
    dividends = {"2": {"date": OPEN - 86_400 * 200, "amount": 0.5}, "3": {"date": OPEN, "amount": 0.25}}

    def answer(request: Request) -> Reply:
        if request.parameters.get("events") != "div,splits":
            return market(request)
        if request.path.endswith("MSFT"):
            return Reply.json({"chart": {"result": None, "error": {"code": "Not Found"}}}, 404)
        chart = yahoo_chart([], [])
        chart["chart"]["result"][0]["events"] = {"splits": splits, "dividends": dividends}
        return Reply.json(chart)

    with vendor(answer) as server:
        settings = YahooSettings(symbols=("AAPL", "MSFT"), base_url=server.url, every_s=3_600, settle_s=0)
        hours, actions = (1, 25, 49), YahooActions()
        found = over_restarts(server, clock, yahoo, yahoo.Yahoo(settings), settings, hours, actions=actions)
        asked = [r for r in server.requests if r.parameters.get("events") == "div,splits"]
    told = [orjson.loads(row["body"]) for row in found if row["type"] in ("split", "dividend")]
    assert [(t["symbol"], t["type"], t.get("ratio", t.get("amount"))) for t in told] == [
        ("AAPL", "dividend", 1.0), ("AAPL", "split", 2.0), ("AAPL", "dividend", 0.25),
    ]  # fmt: skip
    assert all(t["event_time_ns"] == t["ex_time_ns"] for t in told)
    assert found[0]["type"] == "dividend", "before the bars"
    assert {row["symbol"] for row in found if row["type"] == "bar"} == {"AAPL", "MSFT"}
    assert 3 <= sum(request.path.endswith("AAPL") for request in asked) <= 5, "once a day, and a run"


def test_news_are_asked_for_behind_the_bars_and_written_once_over_restarts() -> None:
    clock = ManualClock(OPEN * 10**9)
    feed = [{"title": f"Piece {i}", "url": f"https://example.com/{i}", "time_published": f"20260302T15{i:02d}00",
             "ticker_sentiment": [{"ticker": "MSFT"}]} for i in range(3)]  # fmt: skip

    def answer(request: Request) -> Reply:
        if request.parameters["function"] == "NEWS_SENTIMENT":
            return Reply.json({"items": "3", "feed": feed})
        return Reply.json({"Meta Data": {}, "Time Series (Daily)": {}})

    with vendor(answer) as server:
        settings = AlphaVantageSettings(symbols=("MSFT",), base_url=server.url, requests_per_day=None)
        asks, news = alpha_vantage.AlphaVantage(settings), AlphaVantageNews()
        hours = (2, 3, 4)
        found = over_restarts(server, clock, alpha_vantage, asks, settings, hours, news=news, news_every_s=600)
        asked = [r.parameters["function"] for r in server.requests]
    assert asked[0] == "TIME_SERIES_DAILY"
    assert asked.count("NEWS_SENTIMENT") >= 6
    told = [orjson.loads(row["body"]) for row in found if row["type"] == "news"]
    assert sorted(t["headline"] for t in told) == ["Piece 0", "Piece 1", "Piece 2"]


@given(until=dictionaries(
    text(alphabet=[chr(c) for c in range(33, 127)], min_size=1, max_size=32), integers(1, 4 * 10**18), max_size=50,
))  # fmt: skip
def test_a_place_is_read_as_it_was_written(until: dict[str, int]) -> None:
    assert read_place(write_place(until)) == until
    assert read_place(None) == {}, "before the first row"


@pytest.mark.parametrize("other", ['{"files": "x", "row": 3}', "1:", "1:zzzz", "2:abc", ""])
def test_another_sources_position_is_refused(other: str) -> None:
    assert_raises(Fatal, "not one of a polled source", read_place, other)
    clock = ManualClock((OPEN + 600) * 10**9)
    with vendor(Market(clock)) as server, pytest.raises(Fatal, match="a name of its own"):
        opened(server, clock, ["A"], other)
