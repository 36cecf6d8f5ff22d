"""Fields of a vendor's JSON, each read strictly. What is no number, id or time raises Unfit."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from marketpulse.errors import RejectedRecord
from marketpulse.foreign_json import parse_json
from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS, PRICE_MAX, SIZE_MAX
from marketpulse.sources.streaming.parsed import Parsed, Unusable

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?")
_WORDS_MAX = 64
_DIGITS = re.compile(r"[0-9]{1,18}")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[-+]\d\d:\d\d)", re.ASCII)
_UNITS = ((10**17, 1), (10**14, 1_000), (10**11, 1_000_000))  # from 1973 on told apart by size: ns, µs, ms


class Unfit(RejectedRecord):
    """A field that cannot be used; `reason` is a key of model.market.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


Fields = Mapping[str, Any]


def each_object(message: bytes | str, parse: Callable[[Fields], Iterator[Parsed]]) -> list[Parsed]:
    """What every object of a message says; a message may be an array of them. Nothing is raised."""
    try:
        value = parse_json(message)
    except orjson.JSONDecodeError as error:
        return [Unusable("not_json", f"not JSON: {error}")]
    if isinstance(value, dict):
        return one_object(value, parse, None)
    if not isinstance(value, list):
        return [Unusable("not_json", f"a message must be a JSON object, found {type(value).__name__}")]
    return each(value, parse)


def each(values: list[Any], parse: Callable[[Fields], Iterator[Parsed]]) -> list[Parsed]:
    """What each object of a list says: one that cannot be used does not spoil the others."""
    found: list[Parsed] = []
    for element in values:
        own = orjson.dumps(element)
        if isinstance(element, dict):
            found += one_object(element, parse, own)
        else:
            found.append(Unusable("not_json", f"an object is needed, found {type(element).__name__}", own))
    return found


def one_object(value: Fields, parse: Callable[[Fields], Iterator[Parsed]], own: bytes | None) -> list[Parsed]:
    """What it says, up to where it cannot be used. `own`: its bytes, where it is a part of a message."""
    found: list[Parsed] = []
    try:
        found.extend(parse(value))
    except Unfit as fault:
        found.append(Unusable(fault.reason, str(fault), own))
    return found


def text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if value is None or value == "":
        raise Unfit("missing_field", f"the field {name} is missing")
    if not isinstance(value, str) or len(value) > 64 or not value.isprintable():
        raise Unfit("wrong_type", f"{name} must be text, found {_shown(value)}")
    return value


def texts(fields: Fields, name: str) -> tuple[str, ...]:
    """A short list of words or numbers, as texts; what is missing is an empty one."""
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _WORDS_MAX:
        raise Unfit("wrong_type", f"{name} must be a short list, found {_shown(value)}")
    if not all(isinstance(word, str | int) and len(str(word)) <= _WORDS_MAX for word in value):
        raise Unfit("wrong_type", f"{name} must hold texts, found {_shown(value)}")
    return tuple(str(word) for word in value)


def _number(fields: Fields, name: str) -> float:
    value = fields.get(name)
    if value is None or value == "":
        raise Unfit("missing_field", f"the field {name} is missing")
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise Unfit("wrong_type", f"{name} must be a number, found {_shown(value)}")


def price(fields: Fields, name: str) -> float:
    value = _number(fields, name)
    if not 0 < value <= PRICE_MAX:
        raise Unfit("bad_price", f"{name} must be above 0 and at most {PRICE_MAX:g}, found {value:g}")
    return value


def size(fields: Fields, name: str) -> float:
    value = _number(fields, name)
    if not 0 <= value <= SIZE_MAX:
        raise Unfit("bad_size", f"{name} must be 0 or more and at most {SIZE_MAX:g}, found {value:g}")
    return value


def trade_id(fields: Fields, name: str) -> int:
    """An id that counts: a whole number of at most 18 digits, as one or as text."""
    value = fields.get(name)
    if value is None or value == "":
        raise Unfit("missing_field", f"the field {name} is missing")
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        return value
    raise Unfit("wrong_type", f"{name} must be a whole number, found {_shown(value)}")


def iso_time_ns(fields: Fields, name: str) -> int:
    """ISO 8601 with its zone, up to nanoseconds."""
    value = text(fields, name)
    match = _ISO.fullmatch(value)
    try:
        if match is None:
            raise ValueError(value)
        zone = "+00:00" if match[4] == "Z" else match[4]
        whole = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unfit("bad_time", f"{name} {_shown(value)} is not a time with its zone") from None
    return possible(int(whole.timestamp()) * 10**9 + int((match[3] or "").ljust(9, "0")), name)


def epoch_time_ns(fields: Fields, name: str) -> int:
    """Milliseconds, microseconds or nanoseconds since 1970, told apart by their size."""
    value = fields.get(name)
    if value is None:
        raise Unfit("missing_field", f"the field {name} is missing")
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit("wrong_type", f"{name} must be a whole number, found {_shown(value)}")
    for least, factor in _UNITS:
        if value >= least:
            return possible(value * factor, name)
    raise Unfit("bad_time", f"{name} {value} is not a time in ms, µs or ns")


def possible(time_ns: int, name: str) -> int:
    """The time, if it can be. Raises Unfit."""
    if not EARLIEST_TIME_NS <= time_ns <= LATEST_TIME_NS:
        raise Unfit("bad_time", f"{name} cannot be: {time_ns} ns since 1970")
    return time_ns


def objects(fields: Fields, name: str) -> list[Any]:
    """A list, for who looks at its elements one by one."""
    value = fields.get(name)
    if value is None:
        raise Unfit("missing_field", f"the field {name} is missing")
    if not isinstance(value, list):
        raise Unfit("wrong_type", f"{name} must be a list, found {_shown(value)}")
    return value


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…"
