"""Polygon's events, and anything that looks a little like one."""

from typing import Any

import orjson
from hypothesis import given
from pydantic import SecretStr

from marketpulse.model.market import REASONS
from marketpulse.settings import PolygonSettings
from marketpulse.sources.streaming.parsed import Bar, Heard, Print, Quote, Refusal, Unusable
from marketpulse.sources.streaming.polygon import Polygon
from marketpulse.sources.streaming.vendor import Credentials
from vendor_messages import POLYGON, spoilt

SECOND = 1_772_636_767 * 10**9
KEYS = Credentials(SecretStr("word"))
SETTINGS = PolygonSettings(symbols=("AAPL",))


def said(name: str) -> list[Any]:
    return Polygon().parse(orjson.dumps([POLYGON[name]]))


def test_a_trade_has_its_venue_by_mic_and_off_the_exchanges_an_id_of_its_facility() -> None:
    assert said("trade") == [Print("AAPL", "20516-11-5096", SECOND + 123_000_000, 161.87, 300.0, "ARCX", ("14", "41"))]
    assert said("off the exchanges") == [Print("AAPL", "20516-4-202-799", SECOND + 124_000_000, 161.88, 1.0, "FINR")]
    assert said("pair") == [
        Print("BTC-USD", "20516-3-14272084", SECOND + 126_000_000, 33021.9, 0.01616617, None, ("2",))
    ]


def test_quotes_and_bars_are_read() -> None:
    assert said("quote") == [Quote("AAPL", SECOND + 125_000_000, 161.8, 100.0, 161.9, 160.0)]
    begin = SECOND - 7 * 10**9
    values = (161.8, 161.95, 161.75, 161.9, 4110.0, 161.85)
    assert said("minute") == [Bar("AAPL", "1m", begin, begin + 60 * 10**9, *values, None)]
    page = Polygon().parse_page("AAPL", orjson.dumps(POLYGON["aggregates"]))
    assert page.rows == [Bar("AAPL", "1m", begin, begin + 60 * 10**9, *values, 62)]


def test_history_gives_a_trade_the_same_id_as_the_feed_and_leaves_what_was_cancelled() -> None:
    page = Polygon().parse_page("AAPL", orjson.dumps(POLYGON["history"]))
    live = [said(name)[0].trade_id for name in ("trade", "off the exchanges")]
    assert [t.trade_id for t in page.rows if isinstance(t, Print)] == live
    assert page.next_page == "YXA9Mg=="
    assert Polygon().parse_page("AAPL", b'{"status":"OK","request_id":"r"}') == ([], None)
    [fault] = Polygon().parse_page("AAPL", b'{"status":"ERROR"}').rows
    assert isinstance(fault, Unusable)


def test_a_wrong_key_is_told_from_a_plan_without_the_feed() -> None:
    assert said("connected") == [Heard("connected")]
    assert said("auth_failed") == [Refusal("auth_failed: authentication failed", for_good=False, key=True)]
    status = {"ev": "status", "status": "auth_failed", "message": "Your plan doesn't include websocket access."}
    [refusal] = Polygon().parse(orjson.dumps([status]))
    assert isinstance(refusal, Refusal)
    assert (refusal.for_good, refusal.key) == (True, False)


def test_it_answers_in_the_order_of_the_conversation() -> None:
    def replies(status: str) -> Any:
        message = orjson.dumps([{"ev": "status", "status": status, "message": ""}])
        return Polygon().replies(SETTINGS, ("AAPL", "BRK.B"), KEYS, message)

    assert [orjson.loads(m) for m in replies("connected")] == [{"action": "auth", "params": "word"}]
    assert [orjson.loads(m) for m in replies("auth_success")] == [
        {"action": "subscribe", "params": "T.AAPL,T.BRK.B,Q.AAPL,Q.BRK.B"}
    ]
    assert replies("success") is None
    assert replies("auth_failed") == []


def test_it_is_asked_page_by_page_for_trades_or_for_bars() -> None:
    vendor = Polygon()
    first = vendor.history_request(SETTINGS, "AAPL", 5, 6, None)
    assert first.path == "/v3/trades/AAPL"
    assert first.params["timestamp.gte"] == 5
    assert vendor.history_request(SETTINGS, "AAPL", 5, 6, "x").params == {"cursor": "x"}
    bars = PolygonSettings(symbols=("BTC-USD",), market="crypto", trades=False, bars=True)
    request = vendor.history_request(bars, "BTC-USD", 5_000_000, 6_000_000, None)
    assert request.path == "/v2/aggs/ticker/X%3ABTCUSD/range/1/minute/5/6"
    assert (vendor.to_vendor("brk-b"), vendor.to_vendor("BTC/USD"), vendor.calendar(bars)) == (
        "BRK.B",
        "BTC-USD",
        "24x7",
    )


@given(spoilt())
def test_no_message_crashes_it_and_everything_is_said(message: bytes) -> None:
    vendor = Polygon()
    for item in [*vendor.parse(message), *vendor.parse_page("AAPL", message).rows]:
        if isinstance(item, Unusable):
            assert item.reason in REASONS
        if isinstance(item, Print):
            assert item.price > 0
    vendor.replies(SETTINGS, ("AAPL",), KEYS, message)
