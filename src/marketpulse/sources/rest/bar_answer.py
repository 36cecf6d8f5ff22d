"""A vendor's answer with bars -> finished rows; every row of it becomes a bar or a dead letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.mapping import Plan
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.raw import RawRows

COLUMNS = ("time", "open", "high", "low", "close", "volume")
_VALUE_BYTES = 64_000  # of an answer that is set aside whole
_PLAN = Plan(("bar",), {name: name for name in COLUMNS})


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer held: `rows` are finished bars in order of time (sources/bars.py), None when there is none.

    `reached_ns` is a time that the vendor's own data have come to, beside the rows; `busy` whether it says that the
    venue trades now. None: it does not say.
    """

    rows: Rows | None = None
    rejected: Sequence[RejectedInput] = ()
    reached_ns: int | None = None
    busy: bool | None = None


def bar_rows(cells: Sequence[Sequence[Any]], mapping: Mapping, origin: str, symbol: str) -> Reading:
    """`cells`: one `[time, open, high, low, close, volume]` a bar, as texts or numbers, in any order of time.

    `mapping` says zone, venue and timeframe. Of a bar that stands in it twice the last word holds. Raises
    SettingsError for a zone that nobody knows.
    """
    if not cells:
        return Reading()
    frame = pl.DataFrame(
        {name: [_text(cell[i]) for cell in cells] for i, name in enumerate(COLUMNS)},
        schema=dict.fromkeys(COLUMNS, pl.String),
    )
    raw = RawRows(
        frame, origin, lambda i: (i + 1, orjson.dumps(dict(zip(COLUMNS, cells[i], strict=True)), default=str))
    )
    block = Reader(_PLAN, mapping, symbol).read(raw)
    if "bar" not in block.rows:
        return Reading(None, block.rejected)
    done = bars.finish(block.rows["bar"], mapping, origin)
    newest = done.frame.select("open_time_ns").with_row_index("at").unique("open_time_ns", keep="last")
    order = newest.sort("open_time_ns")["at"].cast(pl.Int64).to_numpy()
    return Reading(done.take(order), block.rejected)


def unusable(detail: str, origin: str, raw: bytes) -> Reading:
    """The whole answer is set aside."""
    return Reading(None, [RejectedInput("bad_answer", detail, origin, 1, raw[:_VALUE_BYTES])])


def _text(value: Any) -> str | None:
    """A cell as text: whole numbers of any size, no exponent lost. What is no scalar is no number either."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"not a number: {type(value).__name__}"
    return repr(value)
