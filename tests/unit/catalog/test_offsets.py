"""What a snapshot's summary says of the topics."""

import pytest

from marketpulse.catalog.offsets import Offsets, held_up_to, positions
from marketpulse.errors import Fatal


def test_what_is_written_reads_back_whatever_a_topic_is_called() -> None:
    told = Offsets({("market", 3): 120, ("/data/a b.csv", 0): 7}, {("market", 3): 118})
    assert Offsets.decode(told.encode(), "here") == told
    assert Offsets.decode(Offsets().encode(), "here") == Offsets()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"next": {}}', '{"next": {"a": {"x": 1}}, "held": {}}', '{"next": 3, "held": {}}']
)
def test_a_damaged_text_is_fatal(text: str) -> None:
    with pytest.raises(Fatal, match=r"trades: the property marketpulse\.offsets is damaged"):
        Offsets.decode(text, "trades")


def test_moving_some_partitions_leaves_those_of_others() -> None:
    before = Offsets({("market", 0): 5, ("market", 1): 9}, {("market", 1): 9})
    assert before.moved({("market", 0): 8}, {("market", 0): 7}) == Offsets(
        {("market", 0): 8, ("market", 1): 9}, {("market", 1): 9, ("market", 0): 7}
    )


def test_a_table_without_rows_stands_where_the_others_say_that_all_is_held() -> None:
    key = ("market", 0)
    told = positions(
        {"trades": Offsets({key: 50}, {key: 48}), "quotes": Offsets({key: 20}), "bars": Offsets({("bars", 0): 3})}
    )
    assert told[key] == {"trades": 50, "quotes": 48, "events": 48}
    assert told["bars", 0] == {"bars": 3}
    assert held_up_to(told[key]) == 48


def test_nothing_is_held_of_a_topic_of_which_a_table_says_nothing() -> None:
    assert held_up_to({"trades": 50, "quotes": 48}) == 0
    assert held_up_to({"bars": 3}) == 3
    assert held_up_to({}) == 0
