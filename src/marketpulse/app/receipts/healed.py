"""What rebuilds have made of trades, as the lake's events tell: `heal` has brought these in, or changed them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.trace import Input
from marketpulse.model.history import HEALED, begins_rebuild, read_part

Place = tuple[int, int]  # (offset, row) in a partition of `market`


class Healed(NamedTuple):
    """A trade since its rebuild, whose last record stands at `by`."""

    price: float
    size: float
    cancelled: bool
    by: Place


def healed_trades(events: pa.Table, refused: Collection[Place]) -> dict[Place, Healed]:
    """The trades that came in by the rebuilds among the lake's events."""
    if not events.num_rows:
        return {}
    rebuilds = events.filter(pc.equal(events["type"], "rebuild"))
    rebuilds = rebuilds.sort_by([("offset", "ascending"), ("row", "ascending")])
    return healed_by(
        (((event["offset"], event["row"]), orjson.loads(event["body"])) for event in rebuilds.to_pylist()), refused
    )


def healed_by(rebuilds: Iterable[tuple[Place, Mapping[str, Any]]], refused: Collection[Place]) -> dict[Place, Healed]:
    """By place, the trades that came in by these `rebuild` records, in order of the log; the newest word on each. One
    whose last record was `refused`, or is not there, has brought nothing."""
    found: dict[Place, Healed] = {}
    waiting: dict[str, list[np.ndarray]] = {}
    for place, record in rebuilds:
        if begins_rebuild(record):
            continue
        part = read_part(record)
        trades = waiting.setdefault(part.id, [])
        trades.append(part.history.tables["trades"][part.history.tables["trades"]["side"] == HEALED])
        if not part.is_last:
            continue
        del waiting[part.id]
        if place not in refused:
            for trade in np.concatenate(trades):
                found[int(trade["offset"]), int(trade["row"])] = Healed(
                    float(trade["price"]), float(trade["size"]), bool(trade["cancelled"]), place
                )
    return found


def apply_heal(inputs: Iterable[Input], healed: Mapping[Place, Healed]) -> None:
    """Mark the trades that a rebuild has brought in, or changed: they count as it says."""
    for record in inputs:
        if (after := healed.get((record.offset, record.row))) is None:
            continue
        if not record.counts:
            record.marks[:] = ["late"]
        elif not after.cancelled and (record.price, record.size) != (after.price, after.size):
            record.marks.append(f"was {record.price!r} x {record.size!r}")
        what = "cancelled" if after.cancelled else "healed"
        record.marks.append(f"{what} by the rebuild at {after.by[0]}, after it had closed")
        record.price, record.size, record.counts = after.price, after.size, not after.cancelled
