"""Messages in the shapes that the vendors' public documentation gives, with values of our own."""

from typing import Any

import orjson
from hypothesis import strategies as st

COINBASE: dict[str, Any] = {
    "match": {
        "type": "match", "trade_id": 71, "sequence": 5001, "maker_order_id": "a-1", "taker_order_id": "b-2",
        "time": "2026-03-04T05:06:07.123456Z", "product_id": "BTC-USD", "size": "0.25", "price": "61234.56",
        "side": "sell",
    },
    "last_match": {
        "type": "last_match", "trade_id": 70, "sequence": 5000, "maker_order_id": "a-0", "taker_order_id": "b-0",
        "time": "2026-03-04T05:06:06.5Z", "product_id": "BTC-USD", "size": "1", "price": "61234.00", "side": "buy",
    },
    "ticker": {
        "type": "ticker", "sequence": 5002, "product_id": "BTC-USD", "price": "61234.56", "open_24h": "60000",
        "volume_24h": "10.5", "best_bid": "61234.55", "best_bid_size": "0.5", "best_ask": "61234.57",
        "best_ask_size": "0.75", "side": "buy", "time": "2026-03-04T05:06:07.2Z", "trade_id": 71, "last_size": "0.25",
    },
    "heartbeat": {
        "type": "heartbeat", "sequence": 5003, "last_trade_id": 71, "product_id": "BTC-USD",
        "time": "2026-03-04T05:06:08.000000Z",
    },
    "subscriptions": {"type": "subscriptions", "channels": [{"name": "matches", "product_ids": ["BTC-USD"]}]},
    "error": {"type": "error", "message": "Failed to subscribe", "reason": "FOO-USD is not a valid product"},
    "market_trades": {
        "channel": "market_trades", "client_id": "", "timestamp": "2026-03-04T05:06:09Z", "sequence_num": 3,
        "events": [{"type": "update", "trades": [
            {"trade_id": "73", "product_id": "BTC-USD", "price": "61236.1", "size": "0.002", "side": "BUY",
             "time": "2026-03-04T05:06:08.9Z"},
            {"trade_id": "72", "product_id": "BTC-USD", "price": "61236", "size": "0.001", "side": "SELL",
             "time": "2026-03-04T05:06:08.8Z"},
        ]}],
    },
    "tickers": {
        "channel": "ticker", "client_id": "", "timestamp": "2026-03-04T05:06:10Z", "sequence_num": 4,
        "events": [{"type": "update", "tickers": [
            {"type": "ticker", "product_id": "BTC-USD", "price": "61236", "best_bid": "61235", "best_bid_quantity": "2",
             "best_ask": "61237", "best_ask_quantity": "3"},
        ]}],
    },
}  # fmt: skip

BINANCE: dict[str, Any] = {
    "trade": {
        "stream": "btcusdt@trade",
        "data": {"e": "trade", "E": 1772600767200, "s": "BTCUSDT", "t": 900, "p": "61230.01000000",
                 "q": "0.01500000", "T": 1772600767123, "m": True, "M": True},
    },
    "bookTicker": {
        "stream": "btcusdt@bookTicker",
        "data": {"u": 44, "s": "BTCUSDT", "b": "61230.00000000", "B": "1.50000000", "a": "61230.01000000",
                 "A": "2.25000000"},
    },
    "in µs": {"e": "trade", "E": 1772600767200123, "s": "BTCUSDT", "t": 901, "p": "61230.02", "q": "2",
              "T": 1772600767124456, "m": False, "M": True},
    "aggTrade": {"e": "aggTrade", "E": 1772600767200, "s": "BTCUSDT", "a": 7, "p": "61230.01", "q": "3", "f": 900,
                 "l": 901, "T": 1772600767124, "m": True, "M": True},
    "answer": {"result": None, "id": 1},
    "error": {"error": {"code": 2, "msg": "Invalid request: unknown method"}, "id": 1},
}  # fmt: skip

_AT = "2026-03-04T15:06:07.123456789Z"
ALPACA: dict[str, Any] = {
    "trade": {"T": "t", "S": "AAPL", "i": 6142, "x": "V", "p": 177.79, "s": 90, "c": ["@", "I"], "z": "C", "t": _AT},
    "quote": {"T": "q", "S": "AAPL", "bx": "V", "bp": 177.41, "bs": 35, "ax": "Q", "ap": 177.43, "as": 30, "c": ["R"],
              "z": "C", "t": _AT},
    "bar": {"T": "b", "S": "AAPL", "o": 177.94, "h": 178.005, "l": 177.9, "c": 178.0, "v": 8547,
            "t": "2026-03-04T15:06:00Z", "n": 66, "vw": 177.987562},
    "correction": {"T": "c", "S": "AAPL", "x": "V", "oi": 6142, "op": 177.79, "os": 90, "oc": ["@"], "ci": 6150,
                   "cp": 177.8, "cs": 80, "cc": ["@"], "z": "C", "t": _AT},
    "cancel": {"T": "x", "S": "AAPL", "i": 6150, "x": "V", "p": 177.8, "s": 80, "a": "C", "z": "C", "t": _AT},
    "halt": {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "", "t": _AT, "z": "C"},
    "news": {"T": "n", "id": 24918784, "headline": "A headline", "symbols": ["AAPL"], "created_at": _AT},
    "error": {"T": "error", "code": 402, "msg": "auth failed"},
    "success": {"T": "success", "msg": "authenticated"},
    "subscription": {"T": "subscription", "trades": ["AAPL"], "quotes": [], "bars": []},
    "history": {"trades": {"AAPL": [
        {"t": "2026-03-04T15:06:05Z", "x": "D", "p": 159.07, "s": 1, "c": ["@", "T"], "i": 151, "z": "C"},
        {"t": "2026-03-04T15:06:06.91Z", "x": "D", "p": 159.08, "s": 2, "c": ["@"], "i": 168, "z": "C", "u": "canceled"},
        {"t": "2026-03-04T15:06:06.92Z", "x": "Q", "p": 159.09, "s": 3, "c": ["@"], "i": 168, "z": "C"},
    ]}, "next_page_token": "QUFQTA=="},
}  # fmt: skip

POLYGON: dict[str, Any] = {
    "trade": {"ev": "T", "sym": "AAPL", "i": "5096", "x": 11, "p": 161.87, "s": 300, "c": [14, 41], "t": 1772636767123,
              "q": 4009402, "z": 3},
    "off the exchanges": {"ev": "T", "sym": "AAPL", "i": "799", "x": 4, "trfi": 202, "trft": 1772636767100, "p": 161.88,
                          "s": 1, "t": 1772636767124, "q": 4009403, "z": 3},
    "quote": {"ev": "Q", "sym": "AAPL", "bx": 4, "bp": 161.8, "bs": 100, "ax": 7, "ap": 161.9, "as": 160, "c": 0,
              "i": [604], "t": 1772636767125, "q": 50385480, "z": 3},
    "minute": {"ev": "AM", "sym": "AAPL", "v": 4110, "av": 9470157, "op": 160.4, "vw": 161.85, "o": 161.8, "c": 161.9,
               "h": 161.95, "l": 161.75, "a": 160.9, "z": 68, "s": 1772636760000, "e": 1772636820000},
    "pair": {"ev": "XT", "pair": "BTC-USD", "p": 33021.9, "t": 1772636767126, "s": 0.01616617, "c": [2], "i": "14272084",
             "x": 3, "r": 1772636767130},
    "connected": {"ev": "status", "status": "connected", "message": "Connected Successfully"},
    "auth_failed": {"ev": "status", "status": "auth_failed", "message": "authentication failed"},
    "history": {"results": [
        {"conditions": [12, 37], "exchange": 11, "id": "5096", "participant_timestamp": 1772636767123400001, "price": 161.87,
         "sequence_number": 4009402, "sip_timestamp": 1772636767123456789, "size": 300, "tape": 3},
        {"conditions": [12], "correction": 8, "exchange": 12, "id": "5097", "participant_timestamp": 1772636767223400001,
         "price": 1.0, "sequence_number": 4009404, "sip_timestamp": 1772636767223456789, "size": 1, "tape": 3},
        {"exchange": 4, "trf_id": 202, "id": "799", "participant_timestamp": 1772636767124000000, "price": 161.88,
         "sequence_number": 4009403, "sip_timestamp": 1772636767124000001, "size": 1, "tape": 3},
    ], "status": "OK", "request_id": "r", "next_url": "https://api.massive.com/v3/trades/AAPL?cursor=YXA9Mg%3D%3D"},
    "aggregates": {"ticker": "AAPL", "status": "OK", "results": [
        {"v": 4110, "vw": 161.85, "o": 161.8, "c": 161.9, "h": 161.95, "l": 161.75, "t": 1772636760000, "n": 62}]},
}  # fmt: skip

FINNHUB: dict[str, Any] = {
    "trade": {"type": "trade", "data": [
        {"s": "AAPL", "p": 161.87, "t": 1772636767123, "v": 300, "c": ["1", "12"]},
        {"s": "BINANCE:BTCUSDT", "p": 7296.89, "t": 1772636767124, "v": 0.011467, "c": None},
    ]},
    "ping": {"type": "ping"},
    "error": {"type": "error", "msg": "Invalid API key"},
}  # fmt: skip

VENDORS_SAY = [*COINBASE.values(), *BINANCE.values(), *ALPACA.values(), *POLYGON.values(), *FINNHUB.values()]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20), st.sampled_from(["1e999", "-1", "0", "1_000", "٣", "2026-02-30T00:00:00Z", "NaN", ""]),
)  # fmt: skip
names = st.text(max_size=8)
values = st.recursive(scalars, lambda of: st.lists(of, max_size=3) | st.dictionaries(names, of, max_size=3))


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A real message with fields changed, taken away or nested, cut short, or several of them in an array."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            changed = {k: change(v) for k, v in value.items() if draw(st.integers(0, 9))}
            if draw(st.integers(0, 5)) == 0 and changed:
                changed[draw(st.sampled_from(sorted(changed)))] = draw(values)
            return changed
        if isinstance(value, list):
            return [change(v) for v in value]
        return value if draw(st.integers(0, 11)) else draw(values)

    value = change(draw(st.sampled_from(VENDORS_SAY)))
    if draw(st.integers(0, 4)) == 0:
        value = [value, draw(values), draw(st.sampled_from(VENDORS_SAY))]
    try:
        raw = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a whole number above 64 bits
        raw = b'{"type":'
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 6)) == 0 else raw
