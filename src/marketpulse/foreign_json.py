"""JSON that others wrote: parsed as deep as our own code can walk and write it again."""

from functools import reduce
from typing import Any

import orjson

NESTED_MAX = 100
"""Levels of lists and objects inside each other. Market data has about five; Polars ends the process at some 600."""

_WRITTEN_MAX = 254  # what orjson writes; it reads 1,024


class NestedTooDeep(orjson.JSONDecodeError):
    """JSON that is valid, but nests deeper than NESTED_MAX."""

    def __str__(self) -> str:
        return f"nested deeper than {NESTED_MAX} levels"


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text. Raises orjson.JSONDecodeError, NestedTooDeep among them."""
    value = orjson.loads(text)
    if may_nest_deeply(text.encode() if isinstance(text, str) else text):
        refuse_deep(value)
    return value


def refuse_deep(value: Any) -> None:
    """Raises NestedTooDeep for a value of lists and objects that nests deeper than NESTED_MAX."""
    try:  # orjson itself counts, at the speed of C: with so many levels around it, it writes NESTED_MAX more
        orjson.dumps(reduce(lambda inner, _: [inner], range(_WRITTEN_MAX - NESTED_MAX), value), default=str)
    except TypeError:
        raise NestedTooDeep("", "", 0) from None


def may_nest_deeply(text: bytes) -> bool:
    """Whether a text has as many brackets as deep nesting takes."""
    return text.count(b"[") + text.count(b"{") > NESTED_MAX
