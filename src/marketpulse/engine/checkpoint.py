"""A partition's state as bytes and back, so that another worker can go on where this one stood.

The bytes name the engine version and the computation (timeframes, indicators, rules). A state made
by another version or computation is refused: it would not continue the same stream.
"""

import hashlib
import json
import struct
from typing import Any

import numpy as np

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import BAR, GROUP, SOURCE, SYMBOL, Tables
from marketpulse.engine.sessions import join_sessions
from marketpulse.engine.state import PartitionState, rebuild_sessions
from marketpulse.model.market import StringTable
from marketpulse.model.rows import ENGINE_VERSION

_MAGIC = b"MPS1"
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
}


class ForeignState(Exception):
    """The bytes belong to another engine version or computation: rebuild the state from the log."""


def computation(config: EngineConfig) -> str:
    """A short name of everything in the configuration that decides what the state means."""
    rules = {
        "engine": ENGINE_VERSION,
        "frames": [frame.name for frame in config.frames],
        "indicators": [spec.text for spec in config.indicators],
        "calendar": [config.calendar, sorted(config.venue_calendars.items())],
        "times": [config.source_timeout_ns, config.max_age_ns, config.max_skew_ns, config.grace_ns],
        "bars": [config.fill, config.bars_from, config.lateness_ns],
    }
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]


def state_to_bytes(state: PartitionState, config: EngineConfig) -> bytes:
    """Everything that `state_from_bytes` needs."""
    arrays = [*state.tables, *state.indicators]
    head = json.dumps({
        "computation": computation(config),
        "symbols": state.symbols.texts(),
        "sources": state.sources.texts(),
        "venues": state.venues.texts(),
        "calendars": state.calendars,
        "shapes": [array.shape for array in arrays],
    }).encode()  # fmt: skip
    return b"".join(
        [_MAGIC, _LENGTH.pack(len(head)), head, *(np.ascontiguousarray(a).tobytes() for a in arrays)]
    )


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
    dtypes = [*(_DTYPES[name] for name in Tables._fields), *(np.dtype("f8") for _ in config.indicators)]
    for dtype, shape in zip(dtypes, head["shapes"], strict=True):
        count = int(np.prod(shape))
        arrays.append(np.frombuffer(data, dtype, count, at).reshape(shape).copy())
        at += count * dtype.itemsize
    n = len(Tables._fields)
    state = PartitionState(
        tables=Tables(*arrays[:n]),
        symbols=StringTable(head["symbols"]),
        sources=StringTable(head["sources"]),
        venues=StringTable(head["venues"]),
        calendars=head["calendars"],
        sessions=join_sessions([]),
        indicators=arrays[n:],
        alphabet=sorted(head["symbols"]),
    )
    rebuild_sessions(state, config)
    return state
