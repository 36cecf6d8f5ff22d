"""What rebuilds have made of trades, as the lake's events tell: `heal` has brought these in, or changed them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.trace import Input
from marketpulse.model.history import HEALED, PAST_TRADE, begins_rebuild, read_part
from marketpulse.model.late import position_key, position_keys
from marketpulse.model.market import Ints

Place = tuple[int, int]  # (offset, row) in a partition of `market`


class Healed(NamedTuple):
    """A trade since its rebuild, whose last record stands at `by`."""

    price: float
    size: float
    cancelled: bool
    by: Place


@dataclass(frozen=True, slots=True)
class HealedTrades:
    """Trades that rebuilds have brought in or changed, by position: the newest word on each. `rows` (PAST_TRADE) are in the
    order of `keys`, and name as their change the last record of their rebuild. `begun` says of each symbol at which offset its
    last rebuild began: what came before has been brought in."""

    keys: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, PAST_TRADE))
    begun: Mapping[str, int] = field(default_factory=dict)

    def match(self, keys: Ints) -> Ints:
        """(n,) by position, the index of its row; -1: no rebuild has touched it."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def at(self, index: int) -> Healed:
        row = self.rows[index]
        by = int(row["changed_offset"]), int(row["changed_row"])
        return Healed(float(row["price"]), float(row["size"]), bool(row["cancelled"]), by)


def healed_trades(events: pa.Table, refused: Collection[Place]) -> HealedTrades:
    """The trades that came in by the rebuilds among the lake's events."""
    if not events.num_rows:
        return HealedTrades()
    rebuilds = events.filter(pc.equal(events["type"], "rebuild"))
    rebuilds = rebuilds.sort_by([("offset", "ascending"), ("row", "ascending")])
    columns = (rebuilds[name].to_pylist() for name in ("offset", "row", "body"))
    return healed_by((((o, r), orjson.loads(body)) for o, r, body in zip(*columns, strict=True)), refused)


def healed_by(rebuilds: Iterable[tuple[Place, Mapping[str, Any]]], refused: Collection[Place]) -> HealedTrades:
    """The trades that came in by these `rebuild` records, in order of the log. One whose last record was `refused`, or is
    not there, has brought nothing."""
    found, begun = [np.empty(0, PAST_TRADE)], {}
    waiting: dict[str, list[np.ndarray]] = {}
    begins: dict[str, int] = {}
    for place, record in rebuilds:
        if begins_rebuild(record):
            begins[str(record.get("id"))] = place[0]
            continue
        part = read_part(record)
        trades = waiting.setdefault(part.id, [])
        trades.append(part.history.tables["trades"][part.history.tables["trades"]["side"] == HEALED])
        if part.is_last and place not in refused:
            rows = np.concatenate(trades)
            rows["changed_offset"], rows["changed_row"] = place
            found.append(rows)
            begun[part.history.symbol] = begins.get(part.id, -1)
        if part.is_last:
            del waiting[part.id]
    rows = np.concatenate(found)[::-1]  # of each trade, the newest comes first
    keys, first = np.unique(position_keys(rows["offset"], rows["row"]), return_index=True)
    return HealedTrades(keys, rows[first], begun)


def apply_heal(inputs: Iterable[Input], healed: HealedTrades) -> None:
    """Mark the trades that a rebuild has brought in, or changed: they count as it says."""
    for record in inputs:
        index = int(healed.match(np.array([position_key(record.offset, record.row)]))[0])
        if index < 0:
            continue
        after = healed.at(index)
        if not record.counts:
            record.marks[:] = ["late"]
        elif not after.cancelled and (record.price, record.size) != (after.price, after.size):
            record.marks.append(f"was {record.price!r} x {record.size!r}")
        what = "cancelled" if after.cancelled else "healed"
        record.marks.append(f"{what} by the rebuild at {after.by[0]}, after it had closed")
        record.price, record.size, record.counts = after.price, after.size, not after.cancelled
