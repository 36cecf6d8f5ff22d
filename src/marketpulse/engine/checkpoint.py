"""A partition's state as bytes and back, so that another worker can go on where this one stood.

The bytes name the engine version and the computation (timeframes, indicators, rules of time). A state made
by another version or computation is refused: it would not continue the same stream. Alert rules may differ: those
that were put in the configuration since begin there, and those that were taken out of it end.
"""

import hashlib
import json
import struct
from typing import Any

import numpy as np

from marketpulse.alerts.events import EVENT
from marketpulse.alerts.life import LIFE
from marketpulse.alerts.rule_json import rule_from_json, rule_to_json, rules_from_json, rules_to_json
from marketpulse.alerts.state import AlertState
from marketpulse.engine.alerting import RETOLD, Alerting
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.control import reconfigure
from marketpulse.engine.layout import (
    BAR,
    CLOSED,
    GROUP,
    KEPT,
    KEPT_BAR,
    N_KEPT,
    N_KEPT_BARS,
    QUALITY,
    QUOTE,
    SOURCE,
    SYMBOL,
    Tables,
)
from marketpulse.engine.records import copied, put
from marketpulse.engine.registry import rebuild_sessions
from marketpulse.engine.sessions import join_sessions
from marketpulse.engine.splits import BASIS, SPLIT, read_splits, shown_splits
from marketpulse.engine.state import ANCHORED, REVISED, Anchor, PartitionState, Revised, Told, WaitingRebuild
from marketpulse.engine.trade_ids import index_ids, no_ids
from marketpulse.model.history import COLUMNS, History, Part
from marketpulse.model.market import StringTable
from marketpulse.model.rows import ENGINE_VERSION

_MAGIC = b"MPSA"
_LENGTH = struct.Struct("<I")
_DTYPES: dict[str, np.dtype[Any]] = {
    "registers": np.dtype("i8"),
    "sources": SOURCE,
    "symbols": SYMBOL,
    "groups": GROUP,
    "heaps": np.dtype("i4"),
    "bars": BAR,
    "volume": np.dtype("i8"),
    "notional": np.dtype("i8"),
    "heads": np.dtype("i4"),
    "closed_until": np.dtype("i8"),
    "last_close": np.dtype("f8"),
    "window": KEPT,
    "kept_bars": KEPT_BAR,
    "ids": np.dtype("i8"),
    "quotes": QUOTE,
    "last_quotes": QUOTE,
    "quality": QUALITY,
}


class ForeignState(Exception):
    """The bytes belong to another engine version or computation: rebuild the state from the log."""


def computation(config: EngineConfig) -> str:
    """A short name of everything in the configuration that decides what the state means."""
    rules = {
        "engine": ENGINE_VERSION,
        "frames": [frame.name for frame in config.frames],
        "indicators": [spec.text for spec in config.indicators],
        "own": [spec.indicator.source for spec in config.indicators if spec.indicator.group == "own"],
        "calendar": [config.session_rules, config.calendar, sorted(config.venue_calendars.items())],
        "times": [config.source_timeout_ns, config.max_age_ns, config.max_skew_ns, config.grace_ns],
        "bars": [config.fill, config.bars_from, config.larger_bars, config.lateness_ns],
        "window": [config.window_ns, config.window_trades, config.kept_bars, config.revise_each],
        "quality": [config.severities(), sorted(config.quality_limits.items())],
    }
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]


def state_to_bytes(state: PartitionState, config: EngineConfig) -> bytes:
    """Everything that `state_from_bytes` needs."""
    arrays = _arrays(state, config)
    head = json.dumps({
        "computation": computation(config),
        "symbols": state.symbols.texts(),
        "sources": state.sources.texts(),
        "venues": state.venues.texts(),
        "calendars": state.calendars,
        "alerts": {
            "rules": rules_to_json(state.alerts.rules),
            "configured": [rule_to_json(rule) for rule in config.alerts],
            "symbols": [state.alerts.live.symbols, state.alerts.anchor.symbols],
        },
        "splits": shown_splits(state.splits),
        "rebuilds": [_rebuild_head(symbol, waiting) for symbol, waiting in state.rebuilds.items()],
        "shapes": [array.shape for array in arrays],
    }).encode()  # fmt: skip
    return b"".join([_MAGIC, _LENGTH.pack(len(head)), head, *(np.ascontiguousarray(a).tobytes() for a in arrays)])


def state_from_bytes(data: bytes, config: EngineConfig) -> PartitionState:
    """The state that was written. Raises ForeignState when it does not continue this computation."""
    start = len(_MAGIC) + _LENGTH.size
    if data[: len(_MAGIC)] != _MAGIC:
        raise ForeignState("not a state of this engine")
    (length,) = _LENGTH.unpack(data[len(_MAGIC) : start])
    head = json.loads(data[start : start + length])
    if head["computation"] != computation(config):
        raise ForeignState("made by another engine version, or with other timeframes, indicators or rules")
    at = start + length
    arrays = []
    for dtype, shape in zip(_dtypes(config), head["shapes"], strict=True):
        count = int(np.prod(shape))
        arrays.append(copied(np.frombuffer(data, dtype, count, at)).reshape(shape))
        at += count * dtype.itemsize
    n, specs = len(Tables._fields), len(config.indicators)
    tables, indicators = arrays[:n], arrays[n : n + specs]
    anchored, rest = arrays[n + specs : n + specs + len(ANCHORED)], arrays[n + specs + len(ANCHORED) :]
    basis, anchor_basis, splits, used, revised, events = rest[-6:]
    told, alerts, history = rest[specs : specs + 5], rest[specs + 5 : specs + 12], rest[specs + 12 : -6]
    state = PartitionState(
        tables=Tables(*tables),
        symbols=StringTable(head["symbols"]),
        sources=StringTable(head["sources"]),
        venues=StringTable(head["venues"]),
        calendars=head["calendars"],
        sessions=join_sessions([]),
        indicators=indicators,
        basis=basis,
        splits=read_splits(splits, used, head["splits"]),
        anchor=Anchor(**dict(zip(ANCHORED, anchored, strict=True)), indicators=rest[:specs], basis=anchor_basis),
        alerts=_alerting(head["alerts"], alerts, config),
        told=Told([(told[0], told[1], told[2])], [(told[3], told[4])]),
        alphabet=sorted(head["symbols"]),
        rebuilds=_rebuilds(head["rebuilds"], history),
        revised=Revised(revised, events),
    )
    rebuild_sessions(state, config)
    _make_room_for_ids(state)
    reconfigure(state, config, [rule_from_json(rule) for rule in head["alerts"]["configured"]])
    return state


def _alerting(head: dict[str, Any], arrays: list[np.ndarray], config: EngineConfig) -> Alerting:
    """The rules of the state, which are not always those of the configuration, and what they remember."""
    rules = rules_from_json(head["rules"], config.alert_rules().inputs)
    live, anchor = (
        AlertState(life, memory, symbols)
        for life, memory, symbols in zip(arrays[0:4:2], arrays[1:4:2], head["symbols"], strict=True)
    )
    return Alerting(rules, live, anchor, [arrays[4]], arrays[5], [arrays[6]])


def _arrays(state: PartitionState, config: EngineConfig) -> list[np.ndarray]:
    """In the order of `_dtypes`. Of the window and its ids, only what is used."""
    kept = int(state.tables.registers[N_KEPT])
    bars = state.tables.kept_bars[: state.tables.registers[N_KEPT_BARS] + 2]  # room for one more, and one that is free
    tables = state.tables._replace(window=state.tables.window[:kept], ids=no_ids(0), kept_bars=bars)
    anchor = [getattr(state.anchor, name) for name in ANCHORED]
    columns = len(config.columns())
    told, passed = state.told.rows(columns), state.told.passed_rows(columns)
    alerts = state.alerts
    memory = [alerts.live.life, alerts.live.memory, alerts.anchor.life, alerts.anchor.memory]
    events = [alerts.known_events(), alerts.retold, alerts.passed_events()]
    parts = [part.history.tables for waiting in state.rebuilds.values() for part in waiting.parts]
    history = [
        np.concatenate([np.empty(0, dtype), *(tables[name] for tables in parts)]) for name, dtype in COLUMNS.items()
    ]
    return [
        *tables, *state.indicators, *anchor, *state.anchor.indicators, *told, *passed, *memory, *events, *history,
        state.basis, state.anchor.basis, state.splits.rows, state.splits.used,
        state.revised.rows, state.revised.events,
    ]  # fmt: skip


def _dtypes(config: EngineConfig) -> list[np.dtype[Any]]:
    floats = [np.dtype("f8") for _ in config.indicators]
    return [
        *(_DTYPES[name] for name in Tables._fields), *floats, *(_DTYPES[name] for name in ANCHORED), *floats,
        CLOSED, np.dtype("f8"), np.dtype("i8"), CLOSED, np.dtype("f8"),
        LIFE, np.dtype("f8"), LIFE, np.dtype("f8"), EVENT, RETOLD, EVENT, *COLUMNS.values(),
        BASIS, BASIS, SPLIT, np.dtype("f8"), REVISED, RETOLD,
    ]  # fmt: skip


def _rebuild_head(symbol: str, waiting: WaitingRebuild) -> dict[str, Any]:
    """A rebuild without the rows of its parts, of which it says how many there are."""
    return {
        "symbol": symbol, "place": waiting.symbol, "id": waiting.id, "offset": waiting.offset, "log_ns": waiting.log_ns,
        "parts": [
            {
                "part": part.part, "parts": part.parts, "covers_offset": part.history.covers_offset,
                "names": part.history.names, "rows": {n: len(rows) for n, rows in part.history.tables.items()},
            }
            for part in waiting.parts
        ],
    }  # fmt: skip


def _rebuilds(heads: list[dict[str, Any]], arrays: list[np.ndarray]) -> dict[str, WaitingRebuild]:
    """The inverse; `arrays` are the rows of all parts, one part behind the other."""
    found: dict[str, WaitingRebuild] = {}
    at = dict.fromkeys(COLUMNS, 0)
    for head in heads:
        waiting = WaitingRebuild(head["place"], head["id"], head["offset"], head["log_ns"])
        for part in head["parts"]:
            tables = {}
            for name, rows in zip(COLUMNS, arrays, strict=True):
                tables[name] = rows[at[name] : at[name] + part["rows"][name]]
                at[name] += part["rows"][name]
            names = {name: tuple(texts) for name, texts in part["names"].items()}
            history = History(head["symbol"], part["covers_offset"], names, tables)
            waiting.parts.append(Part(head["id"], part["part"], part["parts"], history))
        found[head["symbol"]] = waiting
    return found


def _make_room_for_ids(state: PartitionState) -> None:
    """The window at the size of its next power of two, and its ids found again."""
    kept = state.tables.window
    size = max(1_024, 1 << int(kept.size).bit_length())
    window = np.empty(size, KEPT)
    put(kept, window)
    state.tables = state.tables._replace(window=window, ids=no_ids(2 * size))
    index_ids(state.tables)
