"""Where the pipeline stands before a load: the states that history is put under, and what it knows already.

no broker                  nothing: --lake-only
the engine has not begun   fresh states, or those that an earlier load has left
it has, and rests          its states as of its last commit
it works                   refused: two would write the same state
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from marketpulse.app.lock import only_one
from marketpulse.engine.checkpoint import ForeignState, state_from_bytes
from marketpulse.engine.closing import closed_up_to
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEVER
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to, resolve_bootstrap
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.seat import engine_runs
from marketpulse.kafka.snapshot import Pointer, SnapshotGone
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import Kind
from marketpulse.settings import Settings

_LEAVES_S = 8.0  # a killed engine is a member of its group for so long
_LOOK_EVERY_S = 0.5
_PATIENCE_S = 15.0


@dataclass(slots=True)
class Base:
    """By partition: the state, and the offset up to which the engine had committed (missing: it has not begun).
    `loads` are those whose end some partition holds. `first_live_ns`: by symbol, the first event time in the part of
    the log that the engine has not taken yet. `loaded_only`: partitions whose state holds nothing but loads."""

    partitions: int
    states: dict[int, PartitionState] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)
    loads: set[str] = field(default_factory=set)
    first_live_ns: dict[str, int] = field(default_factory=dict)
    loaded_only: set[int] = field(default_factory=set)

    def knows(self, symbol: str, partition: int) -> bool:
        state = self.states.get(partition)
        return state is not None and state.symbols.find(symbol) >= 0

    def goes_on_with(self, partition: int, firsts: Iterable[tuple[str, int]], source: str) -> bool:
        """Whether rows of this source that begin there, by symbol, come behind all that the partition's state has of them."""
        state = self.states[partition]
        number = state.sources.find(source)
        reached = NEVER if number < 0 else int(state.tables.sources["watermark_ns"][number])
        for symbol, first_ns in firsts:
            known = state.symbols.find(symbol)
            if first_ns < reached or (known >= 0 and first_ns < closed_up_to(state.tables, known)):
                return False
        return True


@contextlib.contextmanager
def at_the_log(settings: Settings) -> Iterator[Settings]:
    """Settings that lead to the broker: the configured one, the embedded one that runs, or one that runs for the block.

    Nobody else starts a pipeline on this data directory meanwhile. Raises what EmbeddedBroker.start and ensure_topics do.
    """
    with contextlib.ExitStack() as stack:
        try:
            servers = resolve_bootstrap(settings)
        except EnvironmentProblem:
            stack.enter_context(only_one(settings.data_dir))
            servers = stack.enter_context(EmbeddedBroker(settings)).bootstrap
        connected = connected_to(settings, servers)
        ensure_topics(connected)
        yield connected


def base_of(settings: Settings, config: EngineConfig) -> Base:
    """Where the pipeline stands. Raises Fatal while an engine works or where its state cannot be gone on with,
    Retryable while the broker is away."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:  # a broker that began a moment ago does not know its groups yet, new topics have no leader
        try:
            _wait_for_rest(settings)
            return _look(settings, config)
        except Retryable:
            if time.monotonic() > give_up:
                raise
            time.sleep(_LOOK_EVERY_S)


def _look(settings: Settings, config: EngineConfig) -> Base:
    log = LogReader(settings)
    try:
        base = Base(log.partitions())
        committed = log.committed()
        for partition in range(base.partitions):
            base.loads |= {load for _, load in log.loads(partition)}
            offset = 0
            if partition in committed:
                offset, pointer = committed[partition]
                base.committed[partition] = offset
                base.states[partition] = _state(log, config, partition, offset, pointer)
                if base.loads and _has_no_rows(log, partition, offset):
                    base.loaded_only.add(partition)
            _note_unread(log, partition, offset, base)
        return base
    finally:
        log.close()


def _wait_for_rest(settings: Settings) -> None:
    give_up = time.monotonic() + _LEAVES_S
    while engine_runs(settings):
        if time.monotonic() > give_up:
            raise Fatal(
                "the pipeline's engine is running, and holds the state that history belongs in: stop it (Ctrl-C in `marketpulse "
                "up`, or `process`), load, and start it again; or load into the lake alone with --lake-only; or feed the file "
                "through the running pipeline with `marketpulse produce`"
            )
        time.sleep(_LOOK_EVERY_S)


def _state(
    log: LogReader, config: EngineConfig, partition: int, offset: int, pointer: Pointer | None
) -> PartitionState:
    """The partition's state at its last commit: the newest snapshot, and the log from there."""
    state, begin = new_state(config), 0
    if pointer is not None:
        try:
            state, begin = (state_from_bytes(log.read_snapshot(partition, pointer), config), pointer.covered)
        except (ForeignState, SnapshotGone) as error:
            raise Fatal(
                f"the engine's state of partition {partition} cannot be gone on with ({error}): load with the settings that it "
                "was made with, or start the pipeline once with the new ones, stop it, and load then"
            ) from None
    elif offset and log.span(partition).first > 0:
        raise Fatal(
            f"the engine's state of partition {partition} is not in the log any more: start the pipeline once, stop it with "
            "Ctrl-C, and load then"
        )
    stepper = Stepper(config)
    for decoded in log.read(partition, begin, offset):
        for after, _ in stepper.steps(state, decoded.batch):
            state = after
    return state


def _has_no_rows(log: LogReader, partition: int, end: int) -> bool:
    """Whether nothing but heartbeats and clocks has ever stood before `end`."""
    if end and log.span(partition).first:
        return False
    quiet = (Kind.HEARTBEAT, Kind.CLOCK)
    return all(np.isin(decoded.batch.kind, quiet).all() for decoded in log.read(partition, 0, end))


def _note_unread(log: LogReader, partition: int, begin: int, base: Base) -> None:
    """The first event time of each symbol's rows that the engine has not taken yet."""
    span = log.span(partition)
    for decoded in log.read(partition, max(begin, span.first), span.end) if span.end > begin else ():
        batch = decoded.batch
        rows = np.flatnonzero(batch.kind <= Kind.BAR)
        if not rows.size:
            continue
        first = np.full(len(batch.strings), 2**63 - 1)
        np.minimum.at(first, batch.symbol[rows], batch.event_time_ns[rows])
        for name in np.unique(batch.symbol[rows]).tolist():
            text, at = batch.strings[name], int(first[name])
            base.first_live_ns[text] = min(at, base.first_live_ns.get(text, at))
