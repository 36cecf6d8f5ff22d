"""A symbol's trades of the lake on two sides: as the engine knows them, and as they should be.

trades, corrections, cancels, in order of the log  ->  known | those that came too late, and changes that did, as well
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.app.healing import REASONS
from marketpulse.app.receipts.healed import Place
from marketpulse.app.receipts.lake_trades import (
    NO_ID,
    LakeInputs,
    id_numbers,
    indexes_of,
    keys_of,
    trade_of,
    without_doubles,
)
from marketpulse.model.history import ALWAYS, HEALED, PAST_TRADE, REPLACED
from marketpulse.model.market import Ints


@dataclass(frozen=True, slots=True)
class PastTrades:
    """Rows of PAST_TRADE without their lateness, in order of the log, and the names that they name. `late` trades
    came in too late and were not in yet, of which `doubles` are others again by their id; `changed` ones were corrected
    or cancelled too late."""

    rows: np.ndarray
    sources: tuple[str, ...]
    venues: tuple[str, ...]
    late: int
    doubles: int
    changed: int

    @property
    def begins_ns(self) -> int:
        """The event time of the first trade that comes in or changes. There is one."""
        return int(self.rows["event_time_ns"][self.rows["side"] == HEALED].min())


@dataclass(slots=True)
class _Version:
    """What a trade is after the changes that count on one side."""

    price: float
    size: float
    cancelled: bool = False
    changed: Place = (-1, 0)

    def take(self, change: Mapping[str, Any], place: Place) -> None:
        if self.cancelled:
            return
        if change["type"] == "cancel":
            self.cancelled = True
        else:
            self.price, self.size = float(change["price"]), float(change["size"])
        self.changed = place


def past_trades(inputs: LakeInputs, window_ns: int, begins: int) -> PastTrades:
    """`inputs` hold one symbol's trades and its events. Late changes count that came before the offset `begins`."""
    trades = without_doubles(inputs, window_ns)
    late = trades["late"].to_numpy(zero_copy_only=False)
    doubles = _doubles(id_numbers(trades), late)
    rows, healed = _rows(trades), inputs.healed.match(keys_of(trades))
    touched = healed >= 0
    brought = inputs.healed.rows[healed[touched]]
    for name in ("changed_offset", "changed_row"):
        rows[name][touched] = brought[name]
    changes = _changes(inputs, begins)
    singles = np.flatnonzero(~doubles)
    indexes = indexes_of(trades.take(pa.array(singles)), [change for _, _, change in changes])
    mine: dict[int, list[tuple[Place, bool, Mapping[str, Any]]]] = {}
    for place, accepted, change in changes:
        if (index := indexes.get(trade_of(change))) is not None:
            mine.setdefault(int(singles[index]), []).append((place, accepted, change))
    replaced: list[int] = []
    after: list[_Version] = []
    for at, own in sorted(mine.items()):
        known = _version(rows[at], [change for change in own if change[1]])
        if touched[at]:
            known = _Version(*inputs.healed.at(int(healed[at])))
        should = _version(rows[at], own)
        _write(rows, at, should if late[at] else known)
        if not late[at] and _values(known) != _values(should):
            replaced.append(at)
            after.append(should)
    rows["side"][late] = HEALED
    rows["side"][replaced] = REPLACED
    more = rows[replaced].copy()
    for at, version in enumerate(after):
        _write(more, at, version)
    more["side"] = HEALED
    found = np.concatenate([rows[singles], more])
    sources, venues = (tuple(_names(trades, name)) for name in ("source", "venue"))
    count = int(np.count_nonzero(late))
    return PastTrades(found, sources, venues, count, int(np.count_nonzero(doubles)), len(replaced))


def _changes(inputs: LakeInputs, begins: int) -> list[tuple[Place, bool, Mapping[str, Any]]]:
    """Corrections and cancels in order of the log: their places, whether the engine took them, and what they say. Left out
    are those that no rebuild can bring in."""
    found: list[tuple[Place, bool, Mapping[str, Any]]] = []
    if not inputs.events.num_rows:
        return found
    events = inputs.events.filter(pc.is_in(inputs.events["type"], pa.array(["correction", "cancel"])))
    for event in events.select(["offset", "row", "body"]).to_pylist():
        place = int(event["offset"]), int(event["row"] or 0)
        reason = inputs.refused.get(place)
        if reason is None or (reason in REASONS and place[0] < begins):
            found.append((place, reason is None, orjson.loads(event["body"])))
    return sorted(found, key=lambda change: change[0])


def _version(trade: np.void, changes: list[tuple[Place, bool, Mapping[str, Any]]]) -> _Version:
    version = _Version(float(trade["price"]), float(trade["size"]))
    for place, _, change in changes:
        version.take(change, place)
    return version


def _values(version: _Version) -> tuple[float, float, bool]:
    return version.price, version.size, version.cancelled


def _write(rows: np.ndarray, at: int, version: _Version) -> None:
    rows["price"][at], rows["size"][at], rows["cancelled"][at] = _values(version)
    rows["changed_offset"][at], rows["changed_row"][at] = version.changed


def _rows(trades: pa.Table) -> np.ndarray:
    rows = np.zeros(trades.num_rows, PAST_TRADE)
    for name in ("event_time_ns", "price", "size", "offset", "row"):
        rows[name] = trades[name].to_numpy()
    for name in ("source", "venue"):
        names = _names(trades, name)
        rows[name] = pc.fill_null(pc.index_in(trades[name], pa.array(names, pa.string())), -1).to_numpy()
    rows["side"], rows["changed_offset"] = ALWAYS, -1
    return rows


def _names(trades: pa.Table, column: str) -> list[str]:
    return sorted(set(trades[column].unique().to_pylist()) - {None})


def _doubles(ids: Ints, late: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) which of the late trades are, by their id, in already, or come in before."""
    named = np.flatnonzero(late & (ids != NO_ID))
    mask = np.zeros(len(ids), np.bool_)
    _, first = np.unique(ids[named], return_index=True)
    mask[named] = True
    mask[named[first]] = np.isin(ids[named[first]], ids[~late])
    return mask
