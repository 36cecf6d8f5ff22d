"""The splits of some symbols as the lake tells them, for those who compute indicators from stored bars themselves."""

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.app.receipts.lake_splits import SplitWord, waiting_splits
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.late_splits import ratio_of
from marketpulse.engine.splits import Splits, no_splits
from marketpulse.indicators.declaration import Floats
from marketpulse.model.late import position_keys, timeframes_behind
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How

TABLES = ("events", "dead_letters")
_AT_ONCE = 500  # names in one query
# What was loaded lies before the log. Of a rebuild, its last record counts; where it stands between the parts is the same.
_QUERY = """
    SELECT e.symbol AS symbol, e.type AS type, CASE WHEN e.type <> 'rebuild' THEN e.body END AS body,
        e."offset" AS "offset", e.row AS row, e.topic LIKE '%market' AS is_logged, d.reason AS reason, d.timeframes AS missed
    FROM (SELECT * FROM events WHERE type IN ('split', 'rebuild', 'late') AND symbol IN ({symbols})) AS e
    LEFT JOIN (SELECT topic, partition, "offset", row, reason, timeframes FROM dead_letters WHERE symbol IN ({symbols})) AS d
    ON e.topic = d.topic AND e.partition = d.partition AND e."offset" = d."offset" AND e.row = coalesce(d.row, 0)
    ORDER BY CASE WHEN e.topic LIKE '%market' THEN 1 ELSE 0 END, e."offset", e.row"""


def stored_splits(query: LakeQuery, how: How, symbols: Sequence[str], config: EngineConfig) -> Splits:
    """Those of these symbols, whose place is their number. Raises what LakeQuery.run does."""
    words: list[SplitWord] = []
    for begin in range(0, len(symbols), _AT_ONCE):
        names = ", ".join("'" + symbol.replace("'", "''") + "'" for symbol in symbols[begin : begin + _AT_ONCE])
        rows = query.run(_QUERY.format(symbols=names), how)
        late = [orjson.loads(body) for body in rows.filter(pc.equal(rows["type"], "late"))["body"].to_pylist()]
        others = rows.filter(pc.not_equal(rows["type"], "late"))
        keys = position_keys(others["offset"].to_numpy(), others["row"].to_numpy())
        behind = timeframes_behind(late, others["symbol"], keys)
        for index, row in enumerate(others.to_pylist()):
            if row["reason"] is not None and not row["missed"]:
                continue  # refused whole
            if row["type"] == "split":
                record = orjson.loads(row["body"])
                missed = frozenset(row["missed"] or (behind.get(index, ()) if row["is_logged"] else ()))
                words.append(SplitWord(row["symbol"], int(record["ex_time_ns"]), ratio_of(record), missed))
            else:
                words.append(SplitWord(row["symbol"]))
    found = no_splits(len(config.frames))
    found.waiting = waiting_splits(words, config)
    for number, symbol in enumerate(symbols):
        found.adopt(symbol, number)
    return found


class SeriesUnits:
    """Of one series: the factors of its bars (engine.splits), whose opens are known to the millisecond and better."""

    def __init__(self, splits: Splits, frame: int) -> None:
        """`splits` of this symbol alone."""
        self._ex_ms = splits.rows["ex_ns"] / 1e6
        self._used = splits.used[:, frame]

    @classmethod
    def none(cls) -> "SeriesUnits":
        return cls(no_splits(1), 0)

    def factors(self, first_ms: float, before_ms: float, open_ms: Floats) -> tuple[Floats, NDArray[np.bool_]] | None:
        """(n,) factors and changes of bars that open then, in a series whose first bar opened at `first_ms`, behind one that
        opened at `before_ms`. None: all factors are 1 and none changes."""
        ahead = self._ex_ms > first_ms
        if not ahead.any() or not len(open_ms):
            return None
        steps = np.multiply.accumulate([1.0, *self._used[ahead]])
        times = np.concatenate([[before_ms], open_ms])
        factor = steps[np.maximum.accumulate(np.searchsorted(self._ex_ms[ahead], times, side="right"))]
        begins = np.diff(factor) != 0.0
        if not begins.any() and np.all(factor == 1.0):
            return None
        return factor[1:], begins
