"""From messages to rows: what was not asked for, what has no time, and what a position holds."""

import json

import orjson

from marketpulse.model.market import QUOTE, TRADE
from marketpulse.sources.streaming.intake import POSITION_BYTES, Intake
from marketpulse.sources.streaming.vendors import VENDORS
from vendor_messages import BINANCE, COINBASE

AT = 1_772_600_768_000_000_000


def intake(**more: object) -> Intake:
    return Intake(VENDORS["coinbase"], "coinbase", "wss://x", {"BTC-USD": "BTC-USD"}, **more)  # type: ignore[arg-type]


def test_rows_have_the_log_s_schemas_and_the_time_of_their_arrival() -> None:
    taking = intake()
    taking.message(orjson.dumps(COINBASE["match"]), AT)
    taking.message(orjson.dumps(COINBASE["ticker"]), AT + 1)
    [trades, quotes], rejected = taking.drain()
    assert (trades.schema, quotes.schema, rejected) == (TRADE, QUOTE, [])
    assert trades.to_pylist()[0] | {"conditions": None} == {
        "type": "trade", "symbol": "BTC-USD", "source": "coinbase", "event_time_ns": 1_772_600_767_123_456_000,
        "venue": "COINBASE", "price": 61234.56, "size": 0.25, "trade_id": "71", "conditions": None, "ingest_time_ns": AT,
    }  # fmt: skip


def test_what_was_not_asked_for_is_no_row_and_no_dead_letter() -> None:
    taking = intake(quotes=False)
    taking.message(orjson.dumps(COINBASE["ticker"]), AT)
    taking.message(orjson.dumps({**COINBASE["match"], "product_id": "XRP-USD"}), AT)
    assert taking.drain() == ([], [])
    assert list(taking.series) == []


def test_a_symbol_carries_its_venue_where_two_sources_bring_the_pair() -> None:
    taking = Intake(VENDORS["binance"], "binance", "", None, with_venue=True)
    taking.message(orjson.dumps(BINANCE["trade"]), AT)
    assert taking.drain()[0][0].column("symbol").to_pylist() == ["BTC-USDT.BINANCE"]


def test_a_message_that_cannot_be_used_is_kept_whole_with_its_place() -> None:
    taking = intake()
    taking.message(orjson.dumps(COINBASE["match"]), AT)
    taking.message(b'{"type":"match"', AT)
    [letter] = taking.drain()[1]
    assert (letter.reason, letter.row, letter.value, letter.origin) == ("not_json", 2, b'{"type":"match"', "wss://x")


def test_a_position_stays_within_its_bytes_and_what_it_cannot_hold_is_said() -> None:
    names = {f"COIN{i:02d}-USD": f"COIN{i:02d}-USD" for i in range(80)}
    taking = Intake(VENDORS["coinbase"], "coinbase", "", names)
    for name in names:
        for number in range(10**9, 10**9 + 12, 3):
            message = {**COINBASE["match"], "product_id": name, "trade_id": number}
            taking.message(orjson.dumps(message), AT)
    taking.settle(AT + 2 * 10**9)
    position = taking.position()
    assert len(json.dumps(position, separators=(",", ":"))) <= POSITION_BYTES
    assert len(position) == 80
    states = [json.loads(r["body"])["state"] for b in taking.drain()[0] for r in b.to_pylist() if r["type"] == "gap"]
    assert states.count("found") == 240
    assert states.count("open") == 240 - sum(len(series.gaps) for series in taking.series.values()) > 0
