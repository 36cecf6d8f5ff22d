"""A symbol's history for a rebuild, from what the lake holds of it."""

from dataclasses import dataclass
from math import gcd

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.healing.past_rows import Stored, alert_revisions_of, mark_late, revisions_of
from marketpulse.app.healing.past_trades import PastTrades, Refused, past_trades
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.engine.config import EngineConfig
from marketpulse.model.history import PAST_QUOTE, History
from marketpulse.model.timeframe import Cut

_SECOND_NS = 10**9  # sessions open at whole seconds, and so bars do where their length is whole seconds


@dataclass(frozen=True, slots=True)
class Past:
    """The history up to a record of the log, and what is in it."""

    history: History
    trades: PastTrades


def past_of(
    symbol: str,
    config: EngineConfig,
    inputs: LakeInputs,
    refused: list[Refused],
    stored: Stored,
    quotes: pa.Table,
    covers_offset: int,
) -> Past:
    """`inputs`, `refused`, `stored` (flat) and `quotes` are the symbol's own; nothing in them lies behind
    `covers_offset` but rows."""
    frames = tuple(frame.name for frame in config.frames if frame.cut != Cut.TICKS)
    trades = past_trades(inputs, refused, config.window_ns)
    mark_late(trades.rows, stored["bars"], frames, config.grace_ns)
    alerts, rules = alert_revisions_of(stored, frames)
    names = {"timeframes": frames, "sources": trades.sources, "venues": trades.venues, "rules": rules}
    tables = {
        "trades": trades.rows, "quotes": _quotes(config, quotes), "revisions": revisions_of(stored, frames),
        "alerts": alerts,
    }  # fmt: skip
    return Past(History(symbol, covers_offset, names, tables), trades)


def _quotes(config: EngineConfig, quotes: pa.Table) -> np.ndarray:
    """PAST_QUOTE rows of the quotes that may prevail when a bar closes: the last one of each piece of time in
    which no bar does; none where no indicator reads them."""
    lengths = [frame.length for frame in config.frames if frame.cut == Cut.TIME]
    if not (quotes.num_rows and config.reads_quotes):
        return np.empty(0, PAST_QUOTE)
    order = [("event_time_ns", "ascending"), ("offset", "ascending"), ("row", "ascending")]
    quotes = quotes.sort_by(order)
    piece = gcd(_SECOND_NS, *lengths)
    number = quotes["event_time_ns"].to_numpy() // piece
    last = np.append(number[1:] != number[:-1], True)
    rows = np.zeros(int(np.count_nonzero(last)), PAST_QUOTE)
    for name in PAST_QUOTE.names or ():
        rows[name] = quotes[name].to_numpy()[last]
    return rows


def own_rows(rows: pa.Table, symbol: str) -> pa.Table:
    """Those of the symbol."""
    return rows.filter(pc.equal(rows["symbol"], symbol)) if rows.num_rows else rows
