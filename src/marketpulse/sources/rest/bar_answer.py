"""A vendor's answer with bars -> finished rows; every row of it becomes a bar or a dead letter."""

from collections.abc import Mapping as Fields
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.mapping import Plan
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.raw import RawRows
from marketpulse.sources.rest.question import Question

COLUMNS = ("time", "open", "high", "low", "close", "volume")
_VALUE_BYTES = 64_000  # of an answer that is set aside whole
_PLAN = Plan(("bar",), {name: name for name in COLUMNS})


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer held: `rows` are finished bars in order of time (sources/bars.py), None when there is none.

    `reached_ns` is a time that the vendor's own data have come to, beside the rows; `busy` whether it says that the
    venue trades now. None: it does not say.

    Where a vendor brings more than bars: `ticks` are trades and quotes by kind, `events` the dividends and splits of the
    bars; `following` asks for the next page; `is_full` says that rows behind the newest may be left, `is_cut` that some
    before the oldest are; `count` is how many rows came, `not_asked` of them of other symbols.
    """

    rows: Rows | None = None
    rejected: Sequence[RejectedInput] = ()
    reached_ns: int | None = None
    busy: bool | None = None
    ticks: Fields[str, Rows] = field(default_factory=dict)
    events: Rows | None = None
    following: Question | None = None
    is_full: bool = False
    is_cut: bool = False
    count: int | None = None
    not_asked: int = 0

    def total(self) -> int:
        """How many rows came, those that were set aside included."""
        return len(self.rows or ()) + len(self.rejected) if self.count is None else self.count


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
    return Reading(newest_words(bars.finish(block.rows["bar"], mapping, origin)), block.rejected)


def newest_words(rows: Rows) -> Rows:
    """Finished bars in order of time, each as it came last."""
    keys = rows.frame.select("symbol", "open_time_ns").with_row_index("at")
    newest = keys.unique(["symbol", "open_time_ns"], keep="last").sort("open_time_ns", "at")
    return rows.take(newest["at"].cast(pl.Int64).to_numpy())


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
