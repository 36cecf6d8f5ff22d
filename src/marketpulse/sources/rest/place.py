"""A polled source's position: how far every symbol is, short enough for one commit."""

import base64
import json
import zlib
from collections.abc import Mapping

from marketpulse.errors import Fatal

_VERSION = "1:"


def write_place(until_ns: Mapping[str, int]) -> str:
    """Symbols by the close of their newest bar. Most share it, so it is written once for all of them."""
    by_time: dict[int, list[str]] = {}
    for symbol, at in sorted(until_ns.items()):
        by_time.setdefault(at, []).append(symbol)
    first = min(by_time, default=0)
    # Differences in seconds: small numbers, which compress.
    rows = [[(at - first) // 10**9, " ".join(names)] for at, names in sorted(by_time.items())]
    packed = zlib.compress(json.dumps([first, rows], separators=(",", ":")).encode(), 9)
    return _VERSION + base64.b85encode(packed).decode()


def read_place(text: str | None) -> dict[str, int]:
    """The close of the newest bar by symbol. Raises Fatal for a position of another kind of source."""
    if text is None:
        return {}
    try:
        if not text.startswith(_VERSION):
            raise ValueError(text[:10])
        first, rows = json.loads(zlib.decompress(base64.b85decode(text[len(_VERSION) :])))
        return {name: first + seconds * 10**9 for seconds, names in rows for name in names.split(" ")}
    except (ValueError, TypeError, zlib.error):
        raise Fatal(
            "the position that is stored for this source is not one of a polled source: was another kind of source "
            "called so before? Give this one a name of its own"
        ) from None
