"""What a snapshot's summary says of the topics."""

import pytest

from marketpulse.catalog.offsets import Offsets, held_up_to, positions
from marketpulse.errors import Fatal


def test_what_is_written_reads_back_whatever_a_topic_is_called_and_a_damaged_text_is_fatal() -> None:
    told = Offsets({("market", 3): 120, ("/data/a b.csv", 0): 7}, {("market", 3): 118})
    for offsets in (told, Offsets()):
        assert Offsets.decode(offsets.encode(), "here") == offsets
    for text in ("", "[]", '{"next": {}}', '{"next": {"a": {"x": 1}}, "held": {}}', '{"next": 3, "held": {}}'):
        with pytest.raises(Fatal, match=r"trades: the property marketpulse\.offsets is damaged"):
            Offsets.decode(text, "trades")


def test_moving_some_partitions_leaves_those_of_others() -> None:
    before = Offsets({("market", 0): 5, ("market", 1): 9}, {("market", 1): 9})
    after = Offsets({("market", 0): 8, ("market", 1): 9}, {("market", 1): 9, ("market", 0): 7})
    assert before.moved({("market", 0): 8}, {("market", 0): 7}) == after


def test_a_table_without_rows_stands_where_the_others_say_that_all_is_held() -> None:
    key = ("market", 0)
    tables = {"trades": Offsets({key: 50}, {key: 48}), "quotes": Offsets({key: 20}), "bars": Offsets({("bars", 0): 3})}
    told = positions(tables)
    assert told[key] == {"trades": 50, "quotes": 48, "events": 48}
    assert told["bars", 0] == {"bars": 3}
    assert held_up_to(told[key]) == 48
    assert [held_up_to(found) for found in ({"trades": 50, "quotes": 48}, {"bars": 3}, {})] == [0, 3, 0]
