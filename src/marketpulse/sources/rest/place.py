"""A polled source's position: how far every symbol is, short enough for one commit."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from marketpulse.errors import Fatal

_VERSION, _WITH_MORE = "1:", "2:"


def write_place(until_ns: Mapping[str, int], beside: Mapping[str, Any] | None = None) -> str:
    """Symbols by the close of their newest bar. Most share it, so it is written once for all of them. `beside`: what else
    the source has to remember."""
    by_time: dict[int, list[str]] = {}
    for symbol, at in sorted(until_ns.items()):
        by_time.setdefault(at, []).append(symbol)
    first = min(by_time, default=0)
    # Differences in seconds: small numbers, which compress. Nanoseconds stand behind where there are some.
    rows = [
        [(at - first) // 10**9, " ".join(names), *([ns] if (ns := (at - first) % 10**9) else [])]
        for at, names in sorted(by_time.items())
    ]
    content = [first, rows] if beside is None else [first, rows, beside]
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)
    return (_VERSION if beside is None else _WITH_MORE) + base64.b85encode(packed).decode()


def read_place(text: str | None) -> dict[str, int]:
    """The close of the newest bar by symbol. Raises Fatal for a position of another kind of source."""
    if text is None:
        return {}
    try:
        first, rows, *_ = _content(text)
        return {name: first + s * 10**9 + sum(ns) for s, names, *ns in rows for name in names.split(" ")}
    except (ValueError, TypeError, zlib.error):
        raise Fatal(
            "the position that is stored for this source is not one of a polled source: was another kind of source "
            "called so before? Give this one a name of its own"
        ) from None


def read_beside(text: str | None) -> dict[str, Any]:
    """What the source remembered beside; empty where it did not. `read_place` has found the position good."""
    content = [] if text is None else _content(text)
    return dict(content[2]) if len(content) > 2 else {}


def _content(text: str) -> list[Any]:
    if not text.startswith((_VERSION, _WITH_MORE)):
        raise ValueError(text[:10])
    found = json.loads(zlib.decompress(base64.b85decode(text[len(_VERSION) :])))
    if not isinstance(found, list):
        raise ValueError(text[:10])
    return found
