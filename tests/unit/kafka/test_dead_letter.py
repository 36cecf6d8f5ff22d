import base64
import hashlib
import json

import pytest

from marketpulse.kafka.codec import decode_rows
from marketpulse.kafka.dead_letter import DEAD_LETTER_BYTES_MAX, encode_dead_letter
from marketpulse.model.market import ABSENT, DeadLetter
from marketpulse.model.rows import DEAD_LETTER


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


def test_bytes_that_are_no_text_come_back_from_base64() -> None:
    key, value = encode_dead_letter(letter(b"\xff\x00\xfe", key=b"\xff"))
    row = json.loads(value)
    assert key == b"\xff"
    assert (row["value"], base64.b64decode(row["value_base64"]), row["key"]) == (None, b"\xff\x00\xfe", "\\xff")
    assert row["row"] is None


def test_a_tombstone_has_neither_value_nor_key() -> None:
    key, value = encode_dead_letter(letter(None, key=None))
    row = json.loads(value)
    assert key is None
    assert (row["value"], row["value_base64"], row["key"]) == (None, None, None)


@pytest.mark.parametrize("byte", [b"x", b"\xff", b"\x00"])
def test_what_does_not_fit_is_cut_and_says_so(byte: bytes) -> None:
    whole = byte * 16_000_000
    _, value = encode_dead_letter(letter(whole, key=byte * 5_000_000))
    assert len(value) <= DEAD_LETTER_BYTES_MAX
    detail = json.loads(value)["detail"]
    assert hashlib.sha256(whole).hexdigest() in detail
    assert "16,000,000 bytes" in detail


def test_five_megabytes_stay_whole() -> None:
    _, value = encode_dead_letter(letter(b"x" * 5_000_000))
    assert len(json.loads(value)["value"]) == 5_000_000
