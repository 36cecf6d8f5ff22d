"""From messages to rows: what is new, what is missing, corrections, gaps of ids or in time, and what a position holds."""

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.market import QUOTE, TRADE
from marketpulse.sources.streaming import timed_intake
from marketpulse.sources.streaming.continuity import GRACE_NS, JUMP_MAX, Came, Series
from marketpulse.sources.streaming.intake import POSITION_BYTES, Intake
from marketpulse.sources.streaming.parsed import Print
from marketpulse.sources.streaming.timed_intake import Lost, TimedIntake
from marketpulse.sources.streaming.vendors import TIMED, VENDORS
from vendor_messages import ALPACA, BINANCE, COINBASE

S = 10**9
AT = 1_772_600_768_000_000_000
STOCKS = 1_772_636_767 * S
NOW = STOCKS + S


def test_a_gap_is_declared_after_a_while_also_by_the_vendor_s_newest_id_and_healed_by_its_last_id() -> None:
    series = Series()
    assert series.take(10, 5 * S, 100 * S) is Came.NEW
    assert series.take(14, 6 * S, 101 * S) is Came.NEW
    assert series.settle(101 * S) == ([], [])
    declared, healed = series.settle(101 * S + GRACE_NS)
    assert [(g.first, g.last, g.left(), g.from_ns, g.to_ns) for g in declared] == [(11, 13, 3, 5 * S, 6 * S)]
    assert healed == []
    assert [series.take(n, 5 * S, 103 * S) for n in (12, 13, 12, 11)] == [Came.NEW, Came.NEW, Came.AGAIN, Came.NEW]
    assert ([g.first for g in series.settle(103 * S)[1]], series.gaps) == ([11], [])
    series = Series()
    series.take(7, S, S)
    series.claim(9, 2 * S)
    assert series.settle(2 * S) == ([], [])
    series.settle(2 * S + GRACE_NS)
    declared, _ = series.settle(2 * S + GRACE_NS)
    assert [(g.first, g.last) for g in (declared or series.gaps)] == [(8, 9)]
    assert series.take(9, S, 4 * S) is Came.NEW


def test_order_restored_is_no_gap_nor_spoilt_or_new_ids_and_what_a_connection_lacked_is_until_it_came() -> None:
    series = Series()
    for number in (1, 3, 2, 5, 4):
        assert series.take(number, S, S) is Came.NEW
    assert series.settle(100 * S) == ([], [])
    series = Series()
    ids = (100, 100 + 2 * JUMP_MAX, 101, 5 * JUMP_MAX, 5 * JUMP_MAX + 1)
    assert [series.take(n, S, S) for n in ids] == [Came.NEW, Came.STRANGE, Came.NEW, Came.STRANGE, Came.NEW]
    assert series.gaps == []
    taking = timed(ALPACA["trade"])
    taking.connected()
    taking.message(orjson.dumps([ALPACA["subscription"]]), NOW + S)
    [(symbol, lost)] = taking.declared
    assert (symbol, lost.from_ns, lost.to_ns) == ("AAPL", STOCKS + 123_456_789, NOW + S)
    taking.refilled("AAPL", lost, [trade(1, NOW + 5), trade(2, NOW + 6)], NOW + 2 * S, last=False)
    taking.refilled("AAPL", lost, [trade(2, NOW + 6), trade(3, NOW + 7)], NOW + 2 * S, last=True)
    rows = rows_of(taking)
    assert [row["trade_id"] for row in rows if row["type"] == "trade"][1:] == ["id-1", "id-2", "id-3"]
    told = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    assert [(gap["state"], gap.get("trades")) for gap in told] == [("found", None), ("healed", 3)]
    assert taking.places["AAPL"].lost == []


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


def test_rows_have_the_log_s_schemas_and_a_venue_and_what_was_not_asked_for_or_cannot_be_used_is_none() -> None:
    [trades, quotes], rejected = intake(COINBASE["match"], COINBASE["ticker"]).drain()
    assert (trades.schema, quotes.schema, rejected) == (TRADE, QUOTE, [])
    assert trades.to_pylist()[0] | {"conditions": None} == {
        "type": "trade", "symbol": "BTC-USD", "source": "coinbase", "event_time_ns": 1_772_600_767_123_456_000,
        "venue": "COINBASE", "price": 61234.56, "size": 0.25, "trade_id": "71", "conditions": None, "ingest_time_ns": AT,
    }  # fmt: skip
    taking = Intake(VENDORS["binance"], "binance", "", None, with_venue=True)
    taking.message(orjson.dumps(BINANCE["trade"]), AT)
    assert taking.drain()[0][0].column("symbol").to_pylist() == ["BTC-USDT.BINANCE"]
    taking = intake(COINBASE["ticker"], {**COINBASE["match"], "product_id": "XRP-USD"}, quotes=False)
    assert (taking.drain(), list(taking.series)) == (([], []), [])
    [letter] = intake(COINBASE["match"], b'{"type":"match"').drain()[1]
    assert (letter.reason, letter.row, letter.value, letter.origin) == ("not_json", 2, b'{"type":"match"', "wss://x")


def test_a_position_of_ids_or_times_stays_within_its_bytes_and_what_it_cannot_hold_is_said() -> None:
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
    names = {name: name for name in (f"SYM{i:02d}" for i in range(50))}
    timed = TimedIntake(TIMED["alpaca"], "alpaca", "", names)
    for round_ in range(6):
        at = NOW + round_ * 10**10
        for name in names:
            some = [{**ALPACA["trade"], "S": name, "i": i, "t": f"2026-03-04T15:0{round_}:07Z"} for i in range(5)]
            timed.message(orjson.dumps(some), at)
        timed.back(at + 600 * S)
    assert len(json.dumps(timed.position(), separators=(",", ":"))) <= timed_intake.POSITION_BYTES
    states = [body["state"] for body in bodies(timed)]
    assert states.count("found") - states.count("open") == sum(len(place.lost) for place in timed.places.values())
    assert states.count("open") > 0


def timed(*messages: dict[str, Any], **more: Any) -> TimedIntake:
    """One that has taken these messages of Alpaca's, each alone."""
    taking = TimedIntake(TIMED["alpaca"], "alpaca", "wss://x", {"AAPL": "AAPL"}, **more)
    for message in messages:
        taking.message(orjson.dumps([message]), NOW)
    return taking


def restarted(taking: TimedIntake) -> TimedIntake:
    again = timed()
    again.restore(json.loads(json.dumps(taking.position())))
    return again


def rows_of(taking: TimedIntake) -> list[dict[str, Any]]:
    return [row for batch in taking.drain()[0] for row in batch.to_pylist()]


def bodies(taking: TimedIntake) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in rows_of(taking) if "body" in row]


def trade(number: int, time_ns: int) -> Print:
    return Print("AAPL", f"id-{number}", time_ns, 10.0, 1.0)


def test_trades_and_bars_are_rows_once_and_whatever_a_correction_calls_a_trade_it_has_its_first_id() -> None:
    [row] = rows_of(timed(ALPACA["trade"], ALPACA["trade"]))
    told = [row[name] for name in ("symbol", "venue", "conditions", "ingest_time_ns")]
    assert told == ["AAPL", "IEXG", ["@", "I"], NOW]
    message = orjson.dumps([ALPACA["trade"], ALPACA["bar"], ALPACA["quote"], {**ALPACA["bar"], "S": "ZZZ"}])
    taking = timed(trades=False, quotes=False)
    taking.message(message, NOW)
    [bar] = rows_of(taking)
    assert (bar["type"], bar["timeframe"], bar["final"], bar["volume"]) == ("bar", "1m", True, 8547.0)
    assert bar["event_time_ns"] == bar["close_time_ns"] == STOCKS + 53 * S
    again = {**ALPACA["trade"], "i": ALPACA["correction"]["ci"]}
    messages = [ALPACA[name] for name in ("trade", "correction", "cancel")]  # the cancel has the second id
    rows = rows_of(timed(*messages, again))
    assert [row["type"] for row in rows] == ["trade", "correction", "cancel"]
    correction, cancel = (json.loads(row["body"]) for row in rows[1:])
    assert correction["trade_id"] == cancel["trade_id"] == rows[0]["trade_id"]
    assert (correction["price"], correction["size"]) == (177.8, 80.0)


def test_a_closed_venue_is_no_gap_a_late_feed_is_one_and_a_symbol_that_seldom_trades_misses_no_more() -> None:
    taking = timed(ALPACA["trade"], trading=lambda from_ns, to_ns: False)  # noqa: ARG005
    taking.back(NOW + 10**13)
    assert (taking.declared, bodies(taking)) == ([], [])
    taking = timed()
    taking.message(orjson.dumps([ALPACA["trade"]]), NOW + 40 * S)  # it came 40 s late
    taking.back(NOW + 50 * S)
    [(_, lost)] = taking.declared
    assert lost.from_ns == STOCKS + 123_456_789
    taking, hour = timed(ALPACA["trade"]), 3_600 * S
    taking.message(orjson.dumps([{**ALPACA["quote"], "t": "2026-03-04T16:06:08Z"}]), NOW + hour)
    taking.message(orjson.dumps([ALPACA["success"]]), NOW + hour + 9 * S)  # the next connection greets
    taking.connected()
    taking.message(orjson.dumps([ALPACA["subscription"]]), NOW + hour + 10**10)
    [(_, lost)] = taking.declared
    assert (lost.from_ns, lost.to_ns) == (NOW + hour - S, NOW + hour + 10**10)


def test_a_restart_takes_nothing_twice_and_asks_again_for_what_is_still_missing() -> None:
    same = [{**ALPACA["trade"], "i": number} for number in (1, 2)]
    taking = timed(*same)
    taking.back(NOW + S)
    again = restarted(taking)
    [(_, lost)] = again.declared
    again.message(orjson.dumps([*same, {**ALPACA["trade"], "i": 3}]), NOW)
    assert [row["trade_id"] for row in rows_of(again)] == ["20516-V-3"]
    assert isinstance(lost, Lost)
    again.given_up("AAPL", lost, "nobody has it")
    assert [body["state"] for body in bodies(again)] == ["open"]


def test_what_came_before_a_restart_is_not_taken_again_and_a_gap_ends_where_the_feed_goes_on_though_late() -> None:
    taking, ms = timed(), 10**6
    taking.restore({"AAPL": [[NOW + 100 * ms, 1], [NOW, NOW + 50 * ms, 0]]})
    [(_, lost)] = taking.declared
    some = [trade(1, NOW - ms), trade(2, NOW + 5 * ms), trade(3, NOW + 60 * ms), trade(4, NOW + 101 * ms)]
    taking.refilled("AAPL", lost, some, NOW + 10**10, last=True)
    assert [row["trade_id"] for row in rows_of(taking) if row["type"] == "trade"] == ["id-2", "id-4"]
    taking = timed(ALPACA["trade"])
    taking.back(NOW + S)
    taking.message(orjson.dumps([{**ALPACA["trade"], "i": 7, "t": "2026-03-04T15:06:08.5Z"}]), NOW + S)
    again = restarted(taking)
    [(_, lost)] = again.declared
    assert lost.to_ns == NOW + 5 * 10**8 - 1
    again.refilled("AAPL", lost, [Print("AAPL", "20516-V-7", NOW + 5 * 10**8, 10.0, 1.0)], NOW, last=True)
    assert [row["type"] for row in rows_of(again)] == ["gap"]
    taking.back(NOW + 2 * S)  # the next gap begins where that trade was, not where the connection had begun
    assert taking.places["AAPL"].lost[-1].from_ns == NOW + 5 * 10**8


def test_connections_that_end_before_a_symbol_trades_leave_no_time_in_two_gaps() -> None:
    taking = timed(ALPACA["trade"])
    for seconds in (3, 3.5, 4):
        taking.back(NOW + int(seconds * S))
    again = restarted(taking)
    again.back(NOW + 9 * S)
    gaps = again.places["AAPL"].lost
    assert [gap.to_ns for gap in gaps] == [NOW + int(s * S) for s in (3, 3.5, 4, 9)]
    assert [later.from_ns for later in gaps[1:]] == [gap.to_ns + 1 for gap in gaps[:-1]]
    edge = gaps[1].to_ns
    asked = [trade(1, edge - 3), trade(2, edge), trade(3, edge + 1), trade(4, edge + 2_000_000)]
    taken = []
    for _ in range(4):  # each question overlaps the ones beside it, and each time a kill forgets the ids
        again.refilled("AAPL", again.places["AAPL"].lost[0], asked, NOW + 10**10, last=True)
        taken += [row["trade_id"] for row in rows_of(again) if row["type"] == "trade"]
        again = restarted(again)
    assert taken == ["id-1", "id-2", "id-3", "id-4"]
