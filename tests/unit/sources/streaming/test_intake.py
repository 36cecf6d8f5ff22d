"""From messages to rows where ids count: each is new once, what is missing is known, and what a position holds."""

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.market import QUOTE, TRADE
from marketpulse.sources.streaming.continuity import GRACE_NS, JUMP_MAX, Came, Series
from marketpulse.sources.streaming.intake import POSITION_BYTES, Intake
from marketpulse.sources.streaming.vendors import VENDORS
from vendor_messages import BINANCE, COINBASE

S = 10**9
AT = 1_772_600_768_000_000_000


def test_a_gap_is_declared_after_a_while_and_healed_by_its_last_id() -> None:
    series = Series()
    assert series.take(10, 5 * S, 100 * S) is Came.NEW
    assert series.take(14, 6 * S, 101 * S) is Came.NEW
    assert series.settle(101 * S) == ([], [])
    declared, healed = series.settle(101 * S + GRACE_NS)
    assert [(g.first, g.last, g.left(), g.from_ns, g.to_ns) for g in declared] == [(11, 13, 3, 5 * S, 6 * S)]
    assert healed == []
    assert [series.take(n, 5 * S, 103 * S) for n in (12, 13, 12, 11)] == [Came.NEW, Came.NEW, Came.AGAIN, Came.NEW]
    assert [g.first for g in series.settle(103 * S)[1]] == [11]
    assert series.gaps == []


def test_order_restored_at_once_is_no_gap_one_spoilt_id_moves_nothing_and_ids_that_begin_anew_are_followed() -> None:
    series = Series()
    for number in (1, 3, 2, 5, 4):
        assert series.take(number, S, S) is Came.NEW
    assert series.settle(100 * S) == ([], [])
    series = Series()
    ids = (100, 100 + 2 * JUMP_MAX, 101, 5 * JUMP_MAX, 5 * JUMP_MAX + 1)
    assert [series.take(n, S, S) for n in ids] == [Came.NEW, Came.STRANGE, Came.NEW, Came.STRANGE, Came.NEW]
    assert series.gaps == []


def test_the_vendor_s_newest_id_shows_what_was_lost_before_a_silence() -> None:
    series = Series()
    series.take(7, S, S)
    series.claim(9, 2 * S)
    assert series.settle(2 * S) == ([], [])
    series.settle(2 * S + GRACE_NS)
    declared, _ = series.settle(2 * S + GRACE_NS)
    assert [(g.first, g.last) for g in (declared or series.gaps)] == [(8, 9)]
    assert series.take(9, S, 4 * S) is Came.NEW


@given(st.lists(st.integers(0, 60), max_size=120), st.lists(st.integers(0, 119), max_size=5))
def test_each_id_is_new_once_however_they_come_and_whenever_it_is_restored(ids: list[int], cuts: list[int]) -> None:
    series = Series()
    new: list[int] = []
    for i, number in enumerate(ids):
        if i in cuts and series.last is not None and series.begins == min(new):
            series.settle(i * S)
            begins, series = series.begins, Series.restored(json.loads(json.dumps(series.kept())))
            series.begins = begins
        if series.take(number, S, i * S) is Came.NEW:
            new.append(number)
        series.settle(i * S)
    assert sorted(new) == sorted(set(ids))
    missing = {n for gap in series.gaps for a, b in gap.missing for n in range(a, b + 1)}
    assert missing == (set(range(min(ids), max(ids) + 1)) - set(ids) if ids else set())


def intake(*messages: object, **more: Any) -> Intake:
    """One that has taken these messages."""
    taking = Intake(VENDORS["coinbase"], "coinbase", "wss://x", {"BTC-USD": "BTC-USD"}, **more)
    for message in messages:
        taking.message(message if isinstance(message, bytes) else orjson.dumps(message), AT)
    return taking


def test_rows_have_the_log_s_schemas_and_carry_their_venue_where_two_sources_bring_the_pair() -> None:
    [trades, quotes], rejected = intake(COINBASE["match"], COINBASE["ticker"]).drain()
    assert (trades.schema, quotes.schema, rejected) == (TRADE, QUOTE, [])
    assert trades.to_pylist()[0] | {"conditions": None} == {
        "type": "trade", "symbol": "BTC-USD", "source": "coinbase", "event_time_ns": 1_772_600_767_123_456_000,
        "venue": "COINBASE", "price": 61234.56, "size": 0.25, "trade_id": "71", "conditions": None, "ingest_time_ns": AT,
    }  # fmt: skip
    taking = Intake(VENDORS["binance"], "binance", "", None, with_venue=True)
    taking.message(orjson.dumps(BINANCE["trade"]), AT)
    assert taking.drain()[0][0].column("symbol").to_pylist() == ["BTC-USDT.BINANCE"]


def test_what_was_not_asked_for_is_no_row_and_what_cannot_be_used_is_kept_whole_with_its_place() -> None:
    taking = intake(COINBASE["ticker"], {**COINBASE["match"], "product_id": "XRP-USD"}, quotes=False)
    assert (taking.drain(), list(taking.series)) == (([], []), [])
    [letter] = intake(COINBASE["match"], b'{"type":"match"').drain()[1]
    assert (letter.reason, letter.row, letter.value, letter.origin) == ("not_json", 2, b'{"type":"match"', "wss://x")


def test_a_position_stays_within_its_bytes_and_what_it_cannot_hold_is_said() -> None:
    names = {f"COIN{i:02d}-USD": f"COIN{i:02d}-USD" for i in range(80)}
    taking = Intake(VENDORS["coinbase"], "coinbase", "", names)
    for name in names:
        for number in range(10**9, 10**9 + 12, 3):
            taking.message(orjson.dumps({**COINBASE["match"], "product_id": name, "trade_id": number}), AT)
    taking.settle(AT + 2 * 10**9)
    position = taking.position()
    assert len(json.dumps(position, separators=(",", ":"))) <= POSITION_BYTES
    assert len(position) == 80
    states = [json.loads(r["body"])["state"] for b in taking.drain()[0] for r in b.to_pylist() if r["type"] == "gap"]
    assert states.count("found") == 240
    assert states.count("open") == 240 - sum(len(series.gaps) for series in taking.series.values()) > 0
