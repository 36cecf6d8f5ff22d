"""Dead letters as records: the refused record whole, with its reason and its place."""

import base64
import hashlib

import orjson

from marketpulse.model.market import ABSENT, DeadLetter

DEAD_LETTER_BYTES_MAX = 15_000_000  # of the topic's 16 MiB; a larger record would abort for ever
_CUT_BYTES = 1_000_000  # what is kept of a record that does not fit


def encode_dead_letter(letter: DeadLetter) -> tuple[bytes | None, bytes]:
    """(key, value): the key is the symbol or else the record's own; the value is a row of DEAD_LETTER.

    The record stands in `value` as text, or in `value_base64` when it is not UTF-8. One that would
    not fit is cut, and `detail` says its length and SHA-256.
    """
    encoded = _encode(letter, letter.value, letter.detail)
    if len(encoded) > DEAD_LETTER_BYTES_MAX:
        whole, key = letter.value or b"", letter.key or b""
        detail = (
            f"{letter.detail[:1_000]} (cut to {min(len(whole), _CUT_BYTES):,} of {len(whole):,} bytes; "
            f"SHA-256 of all: {hashlib.sha256(whole).hexdigest()})"
        )
        encoded = _encode(letter, whole[:_CUT_BYTES], detail, key[:_CUT_BYTES] or None)
    key_out = letter.symbol.encode() if letter.symbol is not None else letter.key
    return key_out if key_out is None else key_out[:_CUT_BYTES], encoded


def _encode(letter: DeadLetter, value: bytes | None, detail: str, key: bytes | None = None) -> bytes:
    text = _text(value)
    return orjson.dumps(
        {
            "reason": letter.reason,
            "detail": detail,
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "row": None if letter.row == ABSENT else letter.row,
            "symbol": letter.symbol,
            "timeframes": list(letter.timeframes),
            "key": _printable(key or letter.key),
            "value": text,
            "value_base64": None if value is None or text is not None else base64.b64encode(value).decode(),
        }
    )


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _printable(key: bytes | None) -> str | None:
    """The key as text; bytes that are not UTF-8 as `\\xNN`."""
    return None if key is None else key.decode(errors="backslashreplace")
