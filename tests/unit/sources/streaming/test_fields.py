"""Each field is read strictly: what is no number, id, time or text says why."""

from typing import Any

import pytest

from marketpulse.sources.streaming import fields as read
from marketpulse.sources.streaming.fields import Unfit

SECOND = 1_772_600_767 * 10**9


@pytest.mark.parametrize(
    ("value", "time_ns"),
    [
        (1_772_600_767_123, SECOND + 123_000_000), (1_772_600_767_123_456, SECOND + 123_456_000),
        (1_772_600_767_123_456_789, SECOND + 123_456_789),
    ],
)  # fmt: skip
def test_a_time_in_ms_us_or_ns_is_told_by_its_size(value: int, time_ns: int) -> None:
    assert read.epoch_time_ns({"t": value}, "t") == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2026-03-04T05:06:07Z", SECOND), ("2026-03-04T05:06:07.5Z", SECOND + 500_000_000),
        ("2026-03-04 05:06:07.123456789+00:00", SECOND + 123_456_789), ("2026-03-04T00:06:07-05:00", SECOND),
        ("2026-03-04T10:36:07+05:30", SECOND),
    ],
)  # fmt: skip
def test_an_iso_time_has_its_zone_and_up_to_nine_digits(text: str, time_ns: int) -> None:
    assert read.iso_time_ns({"t": text}, "t") == time_ns


@pytest.mark.parametrize(
    ("call", "value", "reason"),
    [
        (read.epoch_time_ns, None, "missing_field"), (read.epoch_time_ns, "1772600767123", "wrong_type"),
        (read.epoch_time_ns, True, "wrong_type"), (read.epoch_time_ns, 1_772_600_767, "bad_time"),
        (read.iso_time_ns, "2026-03-04T05:06:07", "bad_time"), (read.iso_time_ns, "2026-02-30T05:06:07Z", "bad_time"),
        (read.iso_time_ns, "0001-01-01T00:00:00+14:00", "bad_time"), (read.iso_time_ns, 5, "wrong_type"),
        (read.price, "0", "bad_price"), (read.price, -1, "bad_price"), (read.price, "1e999", "bad_price"),
        (read.price, "1_000", "wrong_type"), (read.price, "", "missing_field"), (read.price, True, "wrong_type"),
        (read.size, -1, "bad_size"), (read.size, "NaN", "wrong_type"), (read.size, None, "missing_field"),
        (read.trade_id, -1, "wrong_type"), (read.trade_id, "1.5", "wrong_type"), (read.trade_id, 10**18, "wrong_type"),
        (read.text, "", "missing_field"), (read.text, "x" * 65, "wrong_type"), (read.text, "\x00", "wrong_type"),
        (read.texts, "words", "wrong_type"), (read.texts, [[1]], "wrong_type"), (read.texts, [1] * 65, "wrong_type"),
        (read.objects, None, "missing_field"), (read.objects, {}, "wrong_type"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_says_why(call: Any, value: Any, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        call({"f": value}, "f")
    assert raised.value.reason == reason
    assert "f" in str(raised.value)


def test_numbers_ids_and_words_are_read_as_numbers_and_as_text() -> None:
    assert [read.price({"p": p}, "p") for p in ("61230.01000000", 5, 0.5)] == [61230.01, 5.0, 0.5]
    assert [read.trade_id({"i": i}, "i") for i in ("73", 73)] == [73, 73]
    assert read.size({"s": 0}, "s") == 0.0
    assert [read.texts({"c": c}, "c") for c in (None, [], ["@", "I"], [14, 41])] == [
        (), (), ("@", "I"), ("14", "41"),
    ]  # fmt: skip


def test_one_element_that_cannot_be_used_does_not_spoil_the_others() -> None:
    def parse(fields: Any) -> Any:
        yield read.text(fields, "a")

    found: list[Any] = [*read.each_object(b'[{"a":"x"},{"a":1},7]', parse)]
    good, bad, other = found
    assert good == "x"
    assert (bad.reason, bad.value) == ("wrong_type", b'{"a":1}')
    assert (other.reason, other.value) == ("not_json", b"7")
