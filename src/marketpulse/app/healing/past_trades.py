"""A symbol's trades of the lake on two sides: as the engine knows them, and as they should be.

trades, corrections, cancels, in order of the log  ->  known | those that came too late, and changes that did, as well
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.app.healing import REASONS
from marketpulse.app.receipts.healed import Healed, Place
from marketpulse.app.receipts.lake_trades import LakeInputs, changes_of, without_doubles
from marketpulse.model.history import ALWAYS, HEALED, PAST_TRADE, REPLACED


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the dead letters hold: why, and what it said."""

    place: Place
    reason: str
    record: Mapping[str, Any]


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


def past_trades(inputs: LakeInputs, refused: list[Refused], window_ns: int) -> PastTrades:
    """`inputs` hold one symbol's trades and its events; `refused` its dead letters."""
    trades = without_doubles(inputs, window_ns)
    late = trades["late"].to_numpy()
    doubles = late & _doubles(trades, late)
    changes = _changes(inputs, refused)
    rows = _rows(trades)
    places = list(zip(rows["offset"].tolist(), rows["row"].tolist(), strict=True))
    of_id = _by_id(trades, doubles)
    mine: dict[int, list[tuple[Place, bool, Mapping[str, Any]]]] = {}
    for place, accepted, change in changes:
        key = (str(change["source"]), str(change["trade_id"]))
        if (at := of_id.get(key)) is not None:
            mine.setdefault(at, []).append((place, accepted, change))
    replaced: list[int] = []
    after: list[_Version] = []
    for at in sorted(mine.keys() | {i for i, place in enumerate(places) if place in inputs.healed}):
        known = _version(rows[at], [c for c in mine.get(at, ()) if c[1]], inputs.healed.get(places[at]))
        should = _version(rows[at], mine.get(at, []), None)
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
    stays = ~doubles
    found = np.concatenate([rows[stays], more])
    sources, venues = (tuple(_names(trades, name)) for name in ("source", "venue"))
    count = int(np.count_nonzero(late))
    return PastTrades(found, sources, venues, count, int(np.count_nonzero(doubles)), len(replaced))


def _changes(inputs: LakeInputs, refused: list[Refused]) -> list[tuple[Place, bool, Mapping[str, Any]]]:
    """Corrections and cancels in order of the log: their places, whether the engine took them, and what they say."""
    found: list[tuple[Place, bool, Mapping[str, Any]]] = [
        ((int(change["offset"]), int(change["row"])), True, change)  # type: ignore[call-overload]
        for change in changes_of(inputs)
    ]
    found += [
        (letter.place, False, letter.record)
        for letter in refused
        if letter.reason in REASONS and letter.record.get("type") in ("correction", "cancel")
    ]
    return sorted(found, key=lambda change: change[0])


def _version(trade: np.void, changes: list[tuple[Place, bool, Mapping[str, Any]]], healed: Healed | None) -> _Version:
    if healed is not None:
        return _Version(healed.price, healed.size, healed.cancelled, healed.by)
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


def _by_id(trades: pa.Table, doubles: NDArray[np.bool_]) -> dict[tuple[str, str], int]:
    """The place of each trade that has an id."""
    ids = trades.select(["source", "trade_id"]).to_pylist()
    return {
        (row["source"], row["trade_id"]): place
        for place, row in enumerate(ids)
        if row["trade_id"] is not None and not doubles[place]
    }


def _doubles(trades: pa.Table, late: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) which of the late trades are, by their source and id, in already, or come in before."""
    mask = np.zeros(trades.num_rows, np.bool_)
    rows = trades.select(["source", "trade_id"]).to_pylist()
    known = {(r["source"], r["trade_id"]) for r, is_late in zip(rows, late, strict=True) if not is_late}
    for place in np.flatnonzero(late).tolist():
        if rows[place]["trade_id"] is None:
            continue
        key = (rows[place]["source"], rows[place]["trade_id"])
        mask[place] = key in known
        known.add(key)
    return mask
