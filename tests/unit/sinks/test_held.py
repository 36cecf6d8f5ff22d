import pytest

from log_of_rows import batch, stretch
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.tables import TABLES
from marketpulse.sinks.held import HeldRows, position

KEY = ("market", 0)


def test_a_position_is_the_lowest_of_its_tables_and_what_stands_in_the_store_says_where_to_read_on() -> None:
    offsets = {"trades": 12, "quotes": 10}
    assert (position(offsets, ["trades", "quotes"]), position(offsets, ["trades"])) == (10, 12)
    assert position(offsets, ["trades", "quotes", "events"]) is None
    assert position({}, []) is None
    held = HeldRows("lake", TABLES)
    whole = {"trades": 12, "quotes": 10, "events": 11}
    assert (held.begin({KEY: whole, ("market", 1): {"trades": 4}}), held.known(KEY)) == ({KEY: 10}, whole)


def test_rows_are_held_once_and_counted_until_they_are_stored() -> None:
    held = HeldRows("lake", TABLES)
    for one in stretch("market", 0, 0, 10) * 2:
        held.take(one)
    assert held.rows == sum(one.rows.num_rows for one in stretch("market", 0, 0, 10)) > 0
    assert held.bytes > 0
    assert (held.keys(), [b.next_offset for b in held.of(KEY)["trades"]]) == ([KEY], [10])
    held.stored(KEY, {"trades": 10, "quotes": 10, "events": 10})
    assert (held.rows, held.bytes, held.keys()) == (0, 0, [])
    held.take(batch("trades", 0, 5, 12))  # cut where the store stands
    assert [(b.first_offset, b.rows["offset"][0].as_py()) for b in held.of(KEY)["trades"]] == [(10, 10)]


def test_a_gap_is_refused_as_is_all_after_rows_were_dropped_and_a_table_that_the_sink_does_not_store() -> None:
    held = HeldRows("lake", TABLES)
    held.take(batch("trades", 0, 0, 10))
    with pytest.raises(Retryable, match="rows before it are not stored"):
        held.take(batch("trades", 0, 11, 12))
    held.check_whole()
    held.drop(KEY)
    with pytest.raises(Retryable, match=r"in market/0: nothing is lost, reading again"):
        held.check_whole()  # however quiet the partition is now
    with pytest.raises(Retryable, match="rows before it are not stored"):
        held.take(batch("trades", 0, 10, 12))
    held.begin({})
    held.check_whole()
    held.take(batch("trades", 0, 10, 12))
    with pytest.raises(Fatal, match="redis does not store the table 'events', only trades, bars"):
        HeldRows("redis", ("trades", "bars")).take(batch("events", 0, 0, 4))
