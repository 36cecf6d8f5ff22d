"""The splits of a partition as the lake's events tell them, and by which ratio each timeframe went over them.

    split records, dead letters, rebuilds, in order of the log -> what an engine knows before its first record

In the end a row is what it would be had each split been announced ahead of time; but for the timeframes that its dead
letter names, which missed it until a rebuild of the symbol.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.late_splits import ratio_of
from marketpulse.model.history import begins_rebuild

Place = tuple[int, int]  # (offset, row) in a partition of `market`


class SplitWord(NamedTuple):
    """A split record by its ratio, and the timeframes that missed it; or (`ratio` None) the end of a rebuild."""

    symbol: str
    ex_ns: int = 0
    ratio: float | None = None
    missed: frozenset[str] = frozenset()


def split_words(events: pa.Table, missed: Mapping[Place, Collection[str]]) -> list[SplitWord]:
    """In order of the log. `missed`: by the place of a refused record, the timeframes that its dead letter names."""
    if not events.num_rows:
        return []
    own = events.filter(pc.is_in(events["type"], pa.array(["split", "rebuild"])))
    own = own.sort_by([("offset", "ascending"), ("row", "ascending")])
    found = []
    for event in own.select(["body", "offset", "row"]).to_pylist():
        record, place = orjson.loads(event["body"]), (event["offset"], event["row"] or 0)
        symbol = str(record["symbol"])
        if record["type"] == "split":
            if place not in missed or missed[place]:  # without a timeframe it was refused whole
                ex_ns, frames = int(record["ex_time_ns"]), frozenset(missed.get(place, ()))
                found.append(SplitWord(symbol, ex_ns, ratio_of(record), frames))
        elif not begins_rebuild(record) and record["part"] + 1 == record["parts"] and place not in missed:
            found.append(SplitWord(symbol))
    return found


def waiting_splits(words: Sequence[SplitWord], config: EngineConfig) -> dict[str, dict[int, list[float]]]:
    """As engine.splits.Splits.waiting."""
    names = [frame.name for frame in config.frames]
    found: dict[str, dict[int, list[float]]] = {}
    for word in words:
        known: dict[int, list[Any]] = found.setdefault(word.symbol, {})
        if word.ratio is None:
            for used in known.values():
                used[config.ticks : -1] = [used[-1]] * (len(names) - config.ticks)
        else:
            used = known.setdefault(word.ex_ns, [1.0] * (len(names) + 1))
            known[word.ex_ns] = [
                before if name in word.missed else word.ratio for name, before in zip(names, used, strict=False)
            ] + [word.ratio]
    return {symbol: known for symbol, known in found.items() if known}


def missed_splits(words: Sequence[SplitWord], config: EngineConfig) -> list[int]:
    """The ex times of those that a timeframe which can be built again went over by another ratio."""
    return sorted(
        ex_ns
        for known in waiting_splits(words, config).values()
        for ex_ns, (*used, ratio) in known.items()
        if any(one != ratio for one in used[config.ticks :])
    )
