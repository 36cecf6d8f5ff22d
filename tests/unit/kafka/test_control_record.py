"""What a record of `control` states, and what none states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from confluent_kafka import Message

from marketpulse.kafka.control_record import ControlRecord, control_record, control_value, offsets_headers

REMOVE = {"action": "remove_rule", "name": "high"}


@dataclass
class Held:
    """A record as the client hands it over."""

    content: bytes | None
    marks: Sequence[tuple[str, Any]] | None = None

    def key(self) -> bytes:
        return b"rule/high"

    def value(self) -> bytes | None:
        return self.content

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700

    def headers(self) -> Sequence[tuple[str, Any]] | None:
        return self.marks


def read(content: bytes | None, marks: Sequence[tuple[str, Any]] | None = None) -> ControlRecord | None:
    return control_record(cast(Message, Held(content, marks)))


def test_the_value_is_the_control_record_that_the_engine_takes() -> None:
    assert control_value(REMOVE) == b'{"type":"control","change":{"action":"remove_rule","name":"high"}}'


def test_what_is_written_is_read_again_with_its_places() -> None:
    found = read(control_value(REMOVE), offsets_headers([12, 7]))
    assert found == ControlRecord("rule/high", REMOVE, (12, 7), (), 1_700)


def test_a_change_of_what_goes_on_says_where_that_began() -> None:
    found = read(control_value(REMOVE), offsets_headers([12, 7], [3, 1]))
    assert found == ControlRecord("rule/high", REMOVE, (12, 7), (3, 1), 1_700)


def test_a_change_is_behind_a_state_that_does_not_cover_its_place() -> None:
    found = ControlRecord("rule/high", REMOVE, (12, 7))
    assert found.is_behind(0, 12)
    assert not found.is_behind(0, 13)
    assert found.is_behind(1, 7)
    assert not found.is_behind(1, 12)


def test_a_change_that_does_not_say_its_place_may_be_behind_any_state() -> None:
    found = read(control_value(REMOVE))
    assert found is not None
    assert found.is_behind(0, 1_000)


@pytest.mark.parametrize(
    ("content", "mark"),
    [
        (None, b"[1]"),
        (b"no json", b"[1]"),
        (b"[]", b"[1]"),
        (b'{"type":"clock"}', b"[1]"),
        (b'{"type":"control","change":"remove"}', b"[1]"),
        (control_value(REMOVE), b"one"),
        (control_value(REMOVE), b'["1"]'),
    ],
)
def test_what_states_no_change_is_passed_over(content: bytes | None, mark: bytes) -> None:
    assert read(content, [("market-offsets", mark)]) is None
