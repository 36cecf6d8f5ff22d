"""What a record of `control` states, and what none states; and what a dead letter keeps of its record."""

import base64
import hashlib
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Message

from marketpulse.kafka.codec import decode_rows
from marketpulse.kafka.control_record import ControlRecord, control_record, control_value, offsets_headers
from marketpulse.kafka.dead_letter import DEAD_LETTER_BYTES_MAX, encode_dead_letter
from marketpulse.model.market import ABSENT, DeadLetter
from marketpulse.model.rows import DEAD_LETTER

REMOVE = {"action": "remove_rule", "name": "high"}


def read(content: bytes | None, marks: Any = None) -> ControlRecord | None:
    """What a record states, as the client hands it over."""
    answers = {"key": b"rule/high", "value": content, "timestamp": (1, 1_700), "headers": marks}
    held = SimpleNamespace(**{name: lambda answer=answer: answer for name, answer in answers.items()})
    return control_record(cast(Message, held))


def test_what_is_written_is_read_again_with_its_places_and_where_what_goes_on_began() -> None:
    value = control_value(REMOVE)
    assert value == b'{"type":"control","change":{"action":"remove_rule","name":"high"}}', "what the engine takes"
    assert read(value, offsets_headers([12, 7])) == ControlRecord("rule/high", REMOVE, (12, 7), (), 1_700)
    assert read(value, offsets_headers([12, 7], [3, 1])) == ControlRecord("rule/high", REMOVE, (12, 7), (3, 1), 1_700)


def test_a_change_is_behind_a_state_that_does_not_cover_its_place_and_may_be_behind_any_if_it_says_none() -> None:
    placed = ControlRecord("rule/high", REMOVE, (12, 7))
    assert [placed.is_behind(*place) for place in ((0, 12), (0, 13), (1, 7), (1, 12))] == [True, False, True, False]
    unplaced = read(control_value(REMOVE))
    assert unplaced is not None
    assert unplaced.is_behind(0, 1_000)


@pytest.mark.parametrize(("content", "mark"), [
    *((content, b"[1]") for content in (None, b"no json", b"[]", b'{"type":"clock"}', b'{"type":"control","change":"remove"}')),
    *((control_value(REMOVE), mark) for mark in (b"one", b'["1"]')),
])  # fmt: skip
def test_what_states_no_change_is_passed_over(content: bytes | None, mark: bytes) -> None:
    assert read(content, [("market-offsets", mark)]) is None


def letter(value: bytes | None, key: bytes | None = b"k", symbol: str | None = None, row: int = ABSENT) -> DeadLetter:
    return DeadLetter("bad_price", "price must be above 0", "market", 3, 77, row, key, value, symbol, ("1s", "1m"))


def test_a_dead_letter_is_a_row_of_its_table_with_the_record_as_text() -> None:
    key, value = encode_dead_letter(letter(b'{"price":0}', symbol="AAA", row=4))
    assert key == b"AAA"
    rows = decode_rows("dead-letters", [value])
    assert rows.schema.equals(DEAD_LETTER)
    assert rows.to_pylist() == [{
        "reason": "bad_price", "detail": "price must be above 0", "topic": "market", "partition": 3, "offset": 77,
        "row": 4, "symbol": "AAA", "timeframes": ["1s", "1m"], "key": "k", "value": '{"price":0}', "value_base64": None,
    }]  # fmt: skip


def test_bytes_that_are_no_text_come_back_from_base64_and_a_tombstone_has_neither_value_nor_key() -> None:
    key, value = encode_dead_letter(letter(b"\xff\x00\xfe", key=b"\xff"))
    row = json.loads(value)
    assert (key, row["key"], row["row"]) == (b"\xff", "\\xff", None)
    assert (row["value"], base64.b64decode(row["value_base64"])) == (None, b"\xff\x00\xfe")
    key, value = encode_dead_letter(letter(None, key=None))
    row = json.loads(value)
    assert (key, row["value"], row["value_base64"], row["key"]) == (None, None, None, None)


@pytest.mark.parametrize("byte", [b"x", b"\xff", b"\x00"])
def test_what_does_not_fit_is_cut_and_says_so(byte: bytes) -> None:
    whole = byte * 16_000_000
    _, value = encode_dead_letter(letter(whole, key=byte * 5_000_000))
    assert len(value) <= DEAD_LETTER_BYTES_MAX
    detail = json.loads(value)["detail"]
    assert hashlib.sha256(whole).hexdigest() in detail
    assert "16,000,000 bytes" in detail
    _, value = encode_dead_letter(letter(b"x" * 5_000_000))
    assert len(json.loads(value)["value"]) == 5_000_000, "five megabytes stay whole"
