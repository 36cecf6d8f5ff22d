"""From messages to rows where ids do not count: corrections, gaps in time, and what a position holds."""

import json
from typing import Any

import orjson

from marketpulse.sources.streaming.parsed import Print
from marketpulse.sources.streaming.timed_intake import POSITION_BYTES, Lost, TimedIntake
from marketpulse.sources.streaming.vendors import TIMED
from vendor_messages import ALPACA

SECOND = 1_772_636_767 * 10**9
AT = SECOND + 10**9


def intake(*messages: dict[str, Any], **more: Any) -> TimedIntake:
    """One that has taken these messages of Alpaca's, each alone."""
    taking = TimedIntake(TIMED["alpaca"], "alpaca", "wss://x", {"AAPL": "AAPL"}, **more)
    for message in messages:
        taking.message(orjson.dumps([message]), AT)
    return taking


def restarted(taking: TimedIntake) -> TimedIntake:
    again = intake()
    again.restore(json.loads(json.dumps(taking.position())))
    return again


def rows_of(taking: TimedIntake) -> list[dict[str, Any]]:
    return [row for batch in taking.drain()[0] for row in batch.to_pylist()]


def bodies(taking: TimedIntake) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in rows_of(taking) if "body" in row]


def trade(number: int, time_ns: int) -> Print:
    return Print("AAPL", f"id-{number}", time_ns, 10.0, 1.0)


def test_trades_and_bars_are_rows_as_they_are_asked_for_and_the_same_again_is_none() -> None:
    [row] = rows_of(intake(ALPACA["trade"], ALPACA["trade"]))
    expected = ("AAPL", "IEXG", ["@", "I"], AT)
    assert (row["symbol"], row["venue"], row["conditions"], row["ingest_time_ns"]) == expected
    message = orjson.dumps([ALPACA["trade"], ALPACA["bar"], ALPACA["quote"], {**ALPACA["bar"], "S": "ZZZ"}])
    taking = intake(trades=False, quotes=False)
    taking.message(message, AT)
    [bar] = rows_of(taking)
    assert (bar["type"], bar["timeframe"], bar["final"], bar["volume"]) == ("bar", "1m", True, 8547.0)
    assert bar["event_time_ns"] == bar["close_time_ns"] == SECOND + 53 * 10**9


def test_whatever_a_correction_calls_a_trade_the_log_knows_it_by_its_first_id() -> None:
    again = {**ALPACA["trade"], "i": ALPACA["correction"]["ci"]}
    rows = rows_of(
        intake(ALPACA["trade"], ALPACA["correction"], ALPACA["cancel"], again)
    )  # the cancel has the second id
    assert [row["type"] for row in rows] == ["trade", "correction", "cancel"]
    correction, cancel = (json.loads(row["body"]) for row in rows[1:])
    assert correction["trade_id"] == cancel["trade_id"] == rows[0]["trade_id"]
    assert (correction["price"], correction["size"]) == (177.8, 80.0)


def test_what_a_connection_did_not_bring_is_a_gap_until_it_came() -> None:
    taking = intake(ALPACA["trade"])
    taking.connected()
    taking.message(orjson.dumps([ALPACA["subscription"]]), AT + 10**9)
    [(symbol, lost)] = taking.declared
    assert (symbol, lost.from_ns, lost.to_ns) == ("AAPL", SECOND + 123_456_789, AT + 10**9)
    taking.refilled("AAPL", lost, [trade(1, AT + 5), trade(2, AT + 6)], AT + 2 * 10**9, last=False)
    taking.refilled("AAPL", lost, [trade(2, AT + 6), trade(3, AT + 7)], AT + 2 * 10**9, last=True)
    rows = rows_of(taking)
    assert [row["trade_id"] for row in rows if row["type"] == "trade"][1:] == ["id-1", "id-2", "id-3"]
    told = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    assert [(gap["state"], gap.get("trades")) for gap in told] == [("found", None), ("healed", 3)]
    assert taking.places["AAPL"].lost == []


def test_a_silence_while_the_venue_is_closed_is_no_gap_and_what_a_late_feed_had_not_brought_is_one() -> None:
    taking = intake(ALPACA["trade"], trading=lambda from_ns, to_ns: False)  # noqa: ARG005
    taking.back(AT + 10**13)
    assert (taking.declared, bodies(taking)) == ([], [])
    taking = intake()
    taking.message(orjson.dumps([ALPACA["trade"]]), AT + 40 * 10**9)  # it came 40 s late
    taking.back(AT + 50 * 10**9)
    [(_, lost)] = taking.declared
    assert lost.from_ns == SECOND + 123_456_789


def test_a_restart_takes_nothing_twice_and_asks_again_for_what_is_still_missing() -> None:
    same = [{**ALPACA["trade"], "i": number} for number in (1, 2)]
    taking = intake(*same)
    taking.back(AT + 10**9)
    again = restarted(taking)
    [(_, lost)] = again.declared
    again.message(orjson.dumps([*same, {**ALPACA["trade"], "i": 3}]), AT)
    assert [row["trade_id"] for row in rows_of(again)] == ["20516-V-3"]
    assert isinstance(lost, Lost)
    again.given_up("AAPL", lost, "nobody has it")
    assert [body["state"] for body in bodies(again)] == ["open"]


def test_a_position_stays_within_its_bytes() -> None:
    names = {f"SYM{i:02d}": f"SYM{i:02d}" for i in range(50)}
    taking = TimedIntake(TIMED["alpaca"], "alpaca", "", names)
    for round_ in range(6):
        at = AT + round_ * 10**10
        for name in names:
            some = [{**ALPACA["trade"], "S": name, "i": i, "t": f"2026-03-04T15:0{round_}:07Z"} for i in range(5)]
            taking.message(orjson.dumps(some), at)
        taking.back(at + 600 * 10**9)
    assert len(json.dumps(taking.position(), separators=(",", ":"))) <= POSITION_BYTES
    states = [body["state"] for body in bodies(taking)]
    assert states.count("found") - states.count("open") == sum(len(place.lost) for place in taking.places.values())
    assert states.count("open") > 0


def test_a_symbol_that_seldom_trades_misses_only_the_time_in_which_the_feed_was_away() -> None:
    taking = intake(ALPACA["trade"])
    hour = 3_600 * 10**9
    taking.message(orjson.dumps([{**ALPACA["quote"], "t": "2026-03-04T16:06:08Z"}]), AT + hour)
    taking.message(orjson.dumps([ALPACA["success"]]), AT + hour + 9 * 10**9)  # the next connection greets
    taking.connected()
    taking.message(orjson.dumps([ALPACA["subscription"]]), AT + hour + 10**10)
    [(_, lost)] = taking.declared
    assert (lost.from_ns, lost.to_ns) == (AT + hour - 10**9, AT + hour + 10**10)


def test_what_a_question_brings_from_before_a_restart_came_already() -> None:
    taking = intake()
    taking.restore({"AAPL": [[AT + 100 * 10**6, 1], [AT, AT + 50 * 10**6, 0]]})
    [(_, lost)] = taking.declared
    ms = 10**6
    some = [trade(1, AT - ms), trade(2, AT + 5 * ms), trade(3, AT + 60 * ms), trade(4, AT + 101 * ms)]
    taking.refilled("AAPL", lost, some, AT + 10**10, last=True)
    assert [row["trade_id"] for row in rows_of(taking) if row["type"] == "trade"] == ["id-2", "id-4"]


def test_a_gap_ends_where_the_feed_goes_on_though_its_first_message_came_late() -> None:
    taking = intake(ALPACA["trade"])
    taking.back(AT + 10**9)
    taking.message(orjson.dumps([{**ALPACA["trade"], "i": 7, "t": "2026-03-04T15:06:08.5Z"}]), AT + 10**9)
    again = restarted(taking)
    [(_, lost)] = again.declared
    assert lost.to_ns == AT + 5 * 10**8 - 1
    again.refilled("AAPL", lost, [Print("AAPL", "20516-V-7", AT + 5 * 10**8, 10.0, 1.0)], AT, last=True)
    assert [row["type"] for row in rows_of(again)] == ["gap"]


def test_connections_that_end_before_a_symbol_trades_leave_no_time_in_two_gaps() -> None:
    taking = intake(ALPACA["trade"])
    for seconds in (3, 3.5, 4):
        taking.back(AT + int(seconds * 10**9))
    again = restarted(taking)
    again.back(AT + 9 * 10**9)
    gaps = again.places["AAPL"].lost
    assert [gap.to_ns for gap in gaps] == [AT + int(s * 10**9) for s in (3, 3.5, 4, 9)]
    assert [later.from_ns for later in gaps[1:]] == [gap.to_ns + 1 for gap in gaps[:-1]]
    edge = gaps[1].to_ns
    asked = [trade(1, edge - 3), trade(2, edge), trade(3, edge + 1), trade(4, edge + 2_000_000)]
    taken = []
    for _ in range(4):  # each question overlaps the ones beside it, and each time a kill forgets the ids
        again.refilled("AAPL", again.places["AAPL"].lost[0], asked, AT + 10**10, last=True)
        taken += [row["trade_id"] for row in rows_of(again) if row["type"] == "trade"]
        again = restarted(again)
    assert taken == ["id-1", "id-2", "id-3", "id-4"]
