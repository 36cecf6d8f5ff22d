"""What a record of `market` must hold, by kind: the one authority over what is let in.

The compiled scanner and the Arrow reader take only what is plainly right by this table; whatever
looks odd to them comes here, one record at a time, and is let in or refused with its reason.
"""

import re
from collections.abc import Callable
from datetime import date
from enum import IntEnum
from typing import Any

from marketpulse.errors import RejectedRecord
from marketpulse.model.history import begins_rebuild, read_id, read_part
from marketpulse.model.market import (
    COMPLETE,
    EARLIEST_TIME_NS,
    KIND_OF_TYPE,
    LATEST_TIME_NS,
    PRICE_MAX,
    SIZE_MAX,
    SYMBOL_BYTES_MAX,
    WITHOUT_SYMBOL,
    Kind,
)

NAME_BYTES_MAX = SYMBOL_BYTES_MAX  # sources, venues and timeframes are names as well
_LONG_MAX = 2**63 - 1
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class Rule(IntEnum):
    """What a field's value must be."""

    SYMBOL = 0  # 1 to 64 bytes of printable text
    NAME = 1  # as a symbol; an empty one is missing
    PRICE = 2  # a number above 0, at most PRICE_MAX
    SIZE = 3  # a number, 0 or more, at most SIZE_MAX
    TIME = 4  # whole nanoseconds that can be
    COUNT = 5  # a whole number, 0 or more
    FLAG = 6
    DATE = 7  # "YYYY-MM-DD"
    ID = 8  # text or a whole number; an empty one is missing
    TEXTS = 9  # a list of texts
    TEXT = 10
    MODE = 11  # live or historical
    DURATION = 12  # whole nanoseconds, 0 or more
    WATERMARK = 13  # a time, or COMPLETE


class Refused(RejectedRecord):
    """A record that is not market data, with its reason (a key of REASONS) and its symbol if it has one."""

    def __init__(self, reason: str, detail: str, symbol: str | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.symbol = reason, detail, symbol


_REQUIRED, _OPTIONAL = True, False
Fields = dict[str, tuple[Rule, bool]]
_HEAD: Fields = {
    "symbol": (Rule.SYMBOL, _REQUIRED),
    "source": (Rule.NAME, _REQUIRED),
    "event_time_ns": (Rule.TIME, _REQUIRED),
}
_SOURCE_ONLY: Fields = {"source": (Rule.NAME, _REQUIRED), "event_time_ns": (Rule.TIME, _OPTIONAL)}
_NOBODY: Fields = {"source": (Rule.NAME, _OPTIONAL), "event_time_ns": (Rule.TIME, _OPTIONAL)}
_WIRE: Fields = {"venue": (Rule.NAME, _OPTIONAL), "ingest_time_ns": (Rule.TIME, _OPTIONAL)}
_PRICE, _SIZE = (Rule.PRICE, _REQUIRED), (Rule.SIZE, _REQUIRED)
_INTERRUPTION: Fields = {
    "from_ns": (Rule.TIME, _OPTIONAL), "to_ns": (Rule.TIME, _OPTIONAL), "reason": (Rule.TEXT, _OPTIONAL),
}  # fmt: skip

CONTRACT: dict[Kind, Fields] = {
    Kind.TRADE: {
        **_HEAD, "price": _PRICE, "size": _SIZE, "trade_id": (Rule.ID, _OPTIONAL),
        "conditions": (Rule.TEXTS, _OPTIONAL), **_WIRE,
    },
    Kind.QUOTE: {**_HEAD, "bid": _PRICE, "bid_size": _SIZE, "ask": _PRICE, "ask_size": _SIZE, **_WIRE},
    Kind.BAR: {
        **_HEAD, "timeframe": (Rule.NAME, _REQUIRED), "open": _PRICE, "high": _PRICE, "low": _PRICE,
        "close": _PRICE, "volume": (Rule.SIZE, _OPTIONAL), "vwap": (Rule.PRICE, _OPTIONAL), "trade_count": (Rule.COUNT, _OPTIONAL),
        "session_date": (Rule.DATE, _OPTIONAL), "open_time_ns": (Rule.TIME, _OPTIONAL),
        "close_time_ns": (Rule.TIME, _OPTIONAL), "final": (Rule.FLAG, _OPTIONAL), **_WIRE,
    },
    Kind.HEARTBEAT: {"source": (Rule.NAME, _REQUIRED), "event_time_ns": (Rule.TIME, _REQUIRED)},
    Kind.CLOCK: _NOBODY,
    Kind.CORRECTION: {**_HEAD, "trade_id": (Rule.ID, _REQUIRED), "price": _PRICE, "size": _SIZE, **_WIRE},
    Kind.CANCEL: {**_HEAD, "trade_id": (Rule.ID, _REQUIRED), **_WIRE},
    Kind.SPLIT: {
        **_HEAD, "ratio": _PRICE, "ex_time_ns": (Rule.TIME, _REQUIRED),
        "adjusted": (Rule.FLAG, _OPTIONAL),  # the source's prices are adjusted for it already
    },
    Kind.DIVIDEND: {**_HEAD, "amount": _SIZE, "ex_time_ns": (Rule.TIME, _REQUIRED)},
    Kind.GAP: {
        **_HEAD, "from_ns": (Rule.TIME, _REQUIRED), "to_ns": (Rule.TIME, _REQUIRED), "reason": (Rule.TEXT, _OPTIONAL),
    },
    Kind.HALT: {**_HEAD, **_INTERRUPTION},
    Kind.RESUME: {**_HEAD, **_INTERRUPTION},
    Kind.HELLO: {
        **_SOURCE_ONLY, "mode": (Rule.MODE, _REQUIRED), "run_id": (Rule.NAME, _REQUIRED),
        "lateness_ns": (Rule.DURATION, _OPTIONAL), "calendar": (Rule.NAME, _OPTIONAL),
        "simulated": (Rule.FLAG, _OPTIONAL),
    },
    Kind.GOODBYE: {**_SOURCE_ONLY, "watermark_ns": (Rule.WATERMARK, _OPTIONAL)},
    Kind.REBUILD: {"symbol": (Rule.SYMBOL, _REQUIRED), **_NOBODY},
    Kind.CONTROL: _NOBODY,
    Kind.SWITCH: {**_HEAD, "from": (Rule.NAME, _OPTIONAL), "reason": (Rule.TEXT, _OPTIONAL)},
    Kind.QUALITY: {
        **_HEAD, "rule": (Rule.NAME, _REQUIRED), "offset": (Rule.COUNT, _REQUIRED), "row": (Rule.COUNT, _REQUIRED),
        "detail": (Rule.TEXT, _OPTIONAL),
    },
    Kind.LATE: {
        "symbol": (Rule.SYMBOL, _REQUIRED), **_NOBODY, "to_ns": (Rule.TIME, _REQUIRED), "rows": (Rule.COUNT, _REQUIRED),
        "timeframes": (Rule.TEXTS, _REQUIRED), "spans": (Rule.TEXT, _REQUIRED),
    },
    Kind.NEWS: {
        **_HEAD, "id": (Rule.ID, _REQUIRED), "headline": (Rule.TEXT, _REQUIRED), "url": (Rule.TEXT, _OPTIONAL),
        "publisher": (Rule.TEXT, _OPTIONAL), "summary": (Rule.TEXT, _OPTIONAL), "symbols": (Rule.TEXTS, _OPTIONAL),
    },
}  # fmt: skip
"""Kind -> field -> (rule, required). Fields that are not named here are ignored. A bar needs its two
times unless it has a session_date."""


def checked(record: dict[str, Any]) -> Kind:
    """The kind of a record that keeps the contract. Raises Refused."""
    type_name = record.get("type")
    kind = KIND_OF_TYPE.get(type_name) if isinstance(type_name, str) else None
    if kind is None:
        shown = "is missing" if type_name is None else f"is {_shown(type_name)}"
        raise Refused("unknown_type", f"type {shown}: write one of {', '.join(KIND_OF_TYPE)}", symbol_of(record))
    try:
        for name, (rule, required) in CONTRACT[kind].items():
            value = record.get(name)
            if value is None or (value == "" and rule in _EMPTY_IS_MISSING):
                if required:
                    raise Refused("missing_field", f"a {type_name} needs the field {name}")
            else:
                _CHECKS[rule](name, value)
        _FURTHER.get(kind, _nothing)(record)
    except Refused as refusal:
        refusal.symbol = None if kind in WITHOUT_SYMBOL else symbol_of(record)
        raise
    return kind


def symbol_of(record: dict[str, Any]) -> str | None:
    """The record's symbol, if it has one that can be."""
    symbol = record.get("symbol")
    return symbol if isinstance(symbol, str) and is_name(symbol) else None


def is_name(text: str) -> bool:
    """Whether the text can name a symbol, source, venue or timeframe: 1 to 64 bytes, printable."""
    return 0 < len(text) <= NAME_BYTES_MAX and text.isprintable() and len(text.encode()) <= NAME_BYTES_MAX


def days_of(text: str) -> int:
    """Days since 1970-01-01 of "YYYY-MM-DD". Raises ValueError."""
    if _DATE.fullmatch(text) is None:
        raise ValueError(text)
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _wrong_type(name: str, wanted: str, value: object) -> Refused:
    return Refused("wrong_type", f"{name} must be {wanted}, found {_shown(value)}")


def _check_symbol(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong_type(name, "text", value)
    if not is_name(value):
        raise Refused(
            "bad_symbol", f"{name} must be 1 to {NAME_BYTES_MAX} bytes of printable text, found {_shown(value)}"
        )


def _check_name(name: str, value: object) -> None:
    if not isinstance(value, str) or not is_name(value):
        raise _wrong_type(name, f"at most {NAME_BYTES_MAX} bytes of printable text", value)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(name, "a number", value)
    return float(value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "a whole number", value)
    return value


def _check_price(name: str, value: object) -> None:
    if not 0 < _number(name, value) <= PRICE_MAX:
        raise Refused("bad_price", f"{name} must be above 0 and at most {PRICE_MAX:g}, found {_shown(value)}")


def _check_size(name: str, value: object) -> None:
    if not 0 <= _number(name, value) <= SIZE_MAX:
        raise Refused("bad_size", f"{name} must be 0 or more and at most {SIZE_MAX:g}, found {_shown(value)}")


def _check_time(name: str, value: object) -> None:
    if not EARLIEST_TIME_NS <= _whole(name, value) <= LATEST_TIME_NS:
        raise Refused("bad_time", f"{name} must be nanoseconds since 1970 (UTC), before 2200, found {_shown(value)}")


def _check_count(name: str, value: object) -> None:
    if not 0 <= _whole(name, value) <= _LONG_MAX:
        raise Refused("bad_size", f"{name} must be 0 or more, found {_shown(value)}")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong_type(name, "true or false", value)


def _check_date(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong_type(name, 'a date such as "2026-01-16"', value)
    try:
        days = days_of(value)
    except ValueError:
        raise Refused("bad_time", f'{name} must be a date such as "2026-01-16", found {_shown(value)}') from None
    if not EARLIEST_TIME_NS <= days * 86_400 * 10**9 < LATEST_TIME_NS:
        raise Refused("bad_time", f"{name} must lie between 1970-01-02 and 2199-12-31, found {value}")


def _check_id(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong_type(name, "text or a whole number", value)


def _check_texts(name: str, value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong_type(name, "a list of texts", value)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong_type(name, "text", value)


def _check_mode(name: str, value: object) -> None:
    if value not in ("live", "historical"):
        raise _wrong_type(name, "`live` or `historical`", value)


def _check_duration(name: str, value: object) -> None:
    if not 0 <= _whole(name, value) <= LATEST_TIME_NS:
        raise Refused("bad_time", f"{name} must be nanoseconds, 0 or more, found {_shown(value)}")


def _check_watermark(name: str, value: object) -> None:
    if value != COMPLETE:
        _check_time(name, value)


def _nothing(record: dict[str, Any]) -> None:
    """Most kinds have no rule across fields."""


def _check_bar(bar: dict[str, Any]) -> None:
    opened, closed = bar.get("open_time_ns"), bar.get("close_time_ns")
    if bar.get("session_date") is None or opened is not None or closed is not None:
        for name, value in (("open_time_ns", opened), ("close_time_ns", closed)):
            if value is None:
                raise Refused("missing_field", f"a bar needs the field {name}, or only a session_date")
        if not opened < closed:  # type: ignore[operator]
            raise Refused("bad_bar", f"open_time_ns {opened} must be before close_time_ns {closed}")
    if float(bar["low"]) > float(bar["high"]):
        raise Refused("bad_bar", f"low {bar['low']} is above high {bar['high']}")


def _check_interval(record: dict[str, Any]) -> None:
    begin, end = record.get("from_ns"), record.get("to_ns")
    if begin is not None and end is not None and begin > end:
        raise Refused("bad_time", f"from_ns {begin} must not be after to_ns {end}")


def _check_rebuild(record: dict[str, Any]) -> None:
    try:
        if begins_rebuild(record):
            read_id(record)
        else:
            read_part(record)
    except ValueError as error:
        raise Refused("bad_rebuild", str(error)) from None


_EMPTY_IS_MISSING = frozenset({Rule.NAME, Rule.ID})
_CHECKS: dict[Rule, Callable[[str, object], None]] = {
    Rule.SYMBOL: _check_symbol, Rule.NAME: _check_name, Rule.PRICE: _check_price, Rule.SIZE: _check_size,
    Rule.TIME: _check_time, Rule.COUNT: _check_count, Rule.FLAG: _check_flag, Rule.DATE: _check_date,
    Rule.ID: _check_id, Rule.TEXTS: _check_texts, Rule.TEXT: _check_text, Rule.MODE: _check_mode,
    Rule.DURATION: _check_duration, Rule.WATERMARK: _check_watermark,
}  # fmt: skip
_FURTHER: dict[Kind, Callable[[dict[str, Any]], None]] = {
    Kind.BAR: _check_bar, Kind.GAP: _check_interval, Kind.HALT: _check_interval, Kind.RESUME: _check_interval,
    Kind.REBUILD: _check_rebuild,
}  # fmt: skip
