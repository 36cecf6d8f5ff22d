"""A symbol's history for a rebuild, from what the lake holds of it."""

from dataclasses import dataclass
from math import gcd

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.healing.past_rows import Stored, alert_revisions_of, mark_late, revisions_of
from marketpulse.app.healing.past_trades import PastTrades, past_trades
from marketpulse.app.receipts.lake_trades import LakeInputs, keys_of
from marketpulse.engine.config import EngineConfig
from marketpulse.model.history import PAST_QUOTE, History
from marketpulse.model.late import rows_behind
from marketpulse.model.timeframe import Cut

_SECOND_NS = 10**9  # sessions open at whole seconds, and so bars do where their length is whole seconds


@dataclass(frozen=True, slots=True)
class Past:
    """The history up to a record of the log, and what is in it."""

    history: History
    trades: PastTrades

    @property
    def late_quotes(self) -> np.ndarray:
        return self.history.tables["late_quotes"]


def past_of(
    symbol: str,
    config: EngineConfig,
    inputs: LakeInputs,
    stored: Stored,
    quotes: pa.Table,
    begins: int,
    covers_offset: int,
) -> Past:
    """`inputs`, `stored` (flat) and `quotes` are the symbol's own; nothing in them lies behind `covers_offset` but rows. The
    rebuild begins at the offset `begins`."""
    frames = tuple(frame.name for frame in config.frames if frame.cut != Cut.TICKS)
    trades = past_trades(inputs, config.window_ns, begins)
    mark_late(trades.rows, stored["bars"], frames, config.grace_ns)
    alerts, rules = alert_revisions_of(stored, frames)
    names = {"timeframes": frames, "sources": trades.sources, "venues": trades.venues, "rules": rules}
    tables = {
        "trades": trades.rows, **_quotes(config, inputs, symbol, quotes, begins), "revisions": revisions_of(stored, frames),
        "alerts": alerts,
    }  # fmt: skip
    return Past(History(symbol, covers_offset, names, tables), trades)


def _quotes(
    config: EngineConfig, inputs: LakeInputs, symbol: str, quotes: pa.Table, begins: int
) -> dict[str, np.ndarray]:
    """PAST_QUOTE rows of the quotes that may prevail when a bar closes: the last one of each piece of time in which no bar
    does, of those that were known and of those that came too late before the rebuild begins. None where no indicator reads
    them."""
    lengths = [frame.length for frame in config.frames if frame.cut == Cut.TIME]
    if not (quotes.num_rows and config.reads_quotes):
        return {"quotes": np.empty(0, PAST_QUOTE), "late_quotes": np.empty(0, PAST_QUOTE)}
    offsets = quotes["offset"].to_numpy()
    late = rows_behind(inputs.behind, quotes["symbol"], keys_of(quotes)) & (
        offsets >= inputs.healed.begun.get(symbol, -1)
    )
    piece_ns = gcd(_SECOND_NS, *lengths)
    known, coming = quotes.filter(pa.array(~late)), quotes.filter(pa.array(late & (offsets < begins)))
    return {"quotes": _last_of_pieces(known, piece_ns), "late_quotes": _last_of_pieces(coming, piece_ns)}


def _last_of_pieces(quotes: pa.Table, piece_ns: int) -> np.ndarray:
    """PAST_QUOTE rows of the last quote in each piece of time."""
    order = [("event_time_ns", "ascending"), ("offset", "ascending"), ("row", "ascending")]
    quotes = quotes.sort_by(order)
    number = quotes["event_time_ns"].to_numpy() // piece_ns
    last = np.append(number[1:] != number[:-1], True)[: len(number)]
    rows = np.zeros(int(np.count_nonzero(last)), PAST_QUOTE)
    for name in PAST_QUOTE.names or ():
        rows[name] = quotes[name].to_numpy()[last]
    return rows


def own_rows(rows: pa.Table, symbol: str) -> pa.Table:
    """Those of the symbol."""
    return rows.filter(pc.equal(rows["symbol"], symbol)) if rows.num_rows else rows
