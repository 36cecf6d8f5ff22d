import numpy as np
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from marketpulse.kafka.frame_writer import FRAME_CONTENT_TYPE
from marketpulse.kafka.records import Records, records_of, records_of_messages


def seen(records: Records) -> list[tuple[int, bytes | None, bytes | None, bool, int]]:
    return [
        (int(records.offsets[i]), records.key(i), records.value(i), records.is_frame(i), int(records.appended_ms[i]))
        for i in range(len(records))
    ]  # fmt: skip


def test_values_keys_and_what_is_missing_come_back() -> None:
    records = records_of(
        [b"one", None, b"", b"four"], 7, np.array([3, 5, 6, 9]), keys=[b"a", b"", None, b"bc"],
        appended_ms=np.array([10, 20, 30, 40]), frames=[False, False, False, True],
    )  # fmt: skip
    assert records.partition == 7
    assert seen(records) == [
        (3, b"a", b"one", False, 10),
        (5, b"", None, False, 20),
        (6, None, b"", False, 30),
        (9, b"bc", b"four", True, 40),
    ]
    assert [records.at(offset) for offset in (3, 5, 6, 9)] == [0, 1, 2, 3]


def test_a_part_is_the_same_records_in_the_same_memory() -> None:
    records = records_of([b"one", b"two", None, b"four"], keys=[b"a", None, b"c", b"d"])
    assert seen(records.part(1, 3)) == seen(records)[1:3]
    assert seen(records.part(1, 3).part(1, 2)) == seen(records)[2:3]
    assert records.part(1, 3).data is records.data


def test_messages_of_the_client_become_the_same_records() -> None:
    kinds: list[list[tuple[str, str | bytes | None]]] = [[("content-type", FRAME_CONTENT_TYPE)], []]
    messages = [
        Message(
            topic="t", partition=2, offset=5 + i, key=key, value=value, headers=kinds[i],
            timestamp=(TIMESTAMP_LOG_APPEND_TIME, 100 + i),
        )
        for i, (key, value) in enumerate([(b"k", b"frame"), (None, None)])
    ]  # fmt: skip
    records = records_of_messages(2, messages)
    assert records.partition == 2
    assert seen(records) == [(5, b"k", b"frame", True, 100), (6, None, None, False, 101)]
