"""The rare records that steer: a source's hello and goodbye. They come once a run, so plain Python does."""

from typing import Any

import numpy as np

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.late_bars import release_at_once
from marketpulse.engine.layout import MODE_HISTORICAL, MODE_LIVE
from marketpulse.engine.registry import add_calendar, groups_of
from marketpulse.engine.state import PartitionState
from marketpulse.engine.watermark import hear_source, move_group, move_source
from marketpulse.model.market import ABSENT, COMPLETE

_MODES = {"live": MODE_LIVE, "historical": MODE_HISTORICAL}


def is_history(state: PartitionState, source: str) -> bool:
    """Whether the source has said that its own times are its clock."""
    number = state.sources.find(source)
    return number != ABSENT and bool(state.tables.sources["mode"][number] == MODE_HISTORICAL)


def hear_hello(state: PartitionState, config: EngineConfig, source: int, record: dict[str, Any]) -> None:
    """How the source means its times: live or historical, how late, by which calendar."""
    row = state.tables.sources[source]
    row["mode"] = _MODES[record["mode"]]
    lateness = record.get("lateness_ns")
    row["lateness_ns"] = config.lateness_ns if lateness is None else lateness
    if (calendar := record.get("calendar")) is not None:
        row["calendar"] = add_calendar(state, config, calendar)
    hear_source(state.tables, source)


def hear_goodbye(state: PartitionState, config: EngineConfig, source: int, record: dict[str, Any]) -> None:
    """The source leaves the minimum, after its final watermark.

    COMPLETE says that its data is whole: the bars that only it feeds close, and its symbols'
    watermarks stop at the last of them, so that what follows in time is still welcome.
    """
    plan, tables = config.plan(), state.tables
    hear_source(tables, source)
    final = record.get("watermark_ns")
    if final is not None and final != COMPLETE:
        move_source(tables, plan, source, final)
    tables.sources[source]["live"] = 0
    release_at_once(state, source)
    for g in groups_of(state, source):
        if final == COMPLETE and not _others_live(state, g):
            _finish_group(state, g)
        move_group(tables, plan, g)


def _others_live(state: PartitionState, g: int) -> bool:
    feeds = int(state.tables.groups[g]["feeds"])
    live = state.tables.sources["live"]
    return any(live[s] for s in range(len(state.sources)) if feeds >> s & 1)


def _finish_group(state: PartitionState, g: int) -> None:
    """Move the group's watermark to the last close of its open bars that hold something."""
    tables = state.tables
    waiting = tables.bars[tables.heaps[g, : tables.groups[g]["size"]]]
    due = waiting["due_ns"][waiting["parts"] > 0]
    above = _over_open_ones(waiting)
    if due.size or above.size:
        last = int(max(due.max(initial=0), above.max(initial=0)))
        tables.groups[g]["watermark_ns"] = max(int(tables.groups[g]["watermark_ns"]), last)


def _over_open_ones(waiting: np.ndarray) -> np.ndarray:
    """Due times of the larger bars over an open smaller one: they will hold it once it has closed."""
    holding = waiting[waiting["parts"] > 0]
    found = [
        bar["due_ns"]
        for bar in waiting[waiting["parts"] == 0]
        if np.any(
            (holding["symbol"] == bar["symbol"])
            & (holding["open_ns"] >= bar["open_ns"])
            & (holding["close_ns"] <= bar["close_ns"])
        )
    ]
    return np.array(found, np.int64)
