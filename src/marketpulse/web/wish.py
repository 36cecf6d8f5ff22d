"""What a page says: what it wants to see, and where it stands when it comes back."""

from collections.abc import Collection
from typing import Any

import orjson

from marketpulse.errors import ParameterError
from marketpulse.foreign_json import parse_json
from marketpulse.model.market import SYMBOL_BYTES_MAX
from marketpulse.model.timeframe import Timeframe
from marketpulse.web.frames import Resume, Wish

RESUME_BYTES_MAX = 2_048


def read_wish(text: str, parts: Collection[str]) -> Wish:
    """`{"subscribe": {"chart": {"symbol": …, "timeframe": …} or null, "parts": […]}}`. Raises ParameterError.

    `parts`: the names that there are."""
    try:
        wish = parse_json(text)["subscribe"]
        return _wish(wish["chart"], wish["parts"], parts)
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        raise ParameterError(
            'send {"subscribe": {"chart": {"symbol": "AAPL", "timeframe": "1m"}, "parts": []}}'
        ) from None


def read_resume(text: str | None, parts: Collection[str]) -> Resume | None:
    """`{"run": …, "generation": …, "seq": …, "shown": {"chart": …, "parts": […]}}`, as the frames told them.

    None for what cannot be read: a page of another version gets the whole."""
    if text is None or len(text) > RESUME_BYTES_MAX:
        return None
    try:
        said = parse_json(text)
        run, generation, seq = said["run"], said["generation"], said["seq"]
        shown = _wish(said["shown"]["chart"], said["shown"]["parts"], parts)
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError, ParameterError):
        return None
    whole = isinstance(run, str) and all(type(number) is int for number in (generation, seq))
    return Resume(run, generation, seq, shown) if whole else None


def _wish(chart: Any, wanted: Any, parts: Collection[str]) -> Wish:
    place = None if chart is None else _place(chart["symbol"], chart["timeframe"])
    if not isinstance(wanted, list) or not all(isinstance(name, str) and name in parts for name in wanted):
        raise ParameterError(f"subscribe: parts is a list of some of {', '.join(sorted(parts)) or 'none'}")
    return Wish(place, frozenset(wanted))


def _place(symbol: Any, timeframe: Any) -> tuple[str, str]:
    if not isinstance(symbol, str) or not 0 < len(symbol.encode(errors="replace")) <= SYMBOL_BYTES_MAX:
        raise ParameterError(f"subscribe: a symbol is text of at most {SYMBOL_BYTES_MAX} bytes")
    if not isinstance(timeframe, str):
        raise ParameterError("subscribe: a timeframe is text such as 1m")
    return symbol, Timeframe.parse(timeframe).name
