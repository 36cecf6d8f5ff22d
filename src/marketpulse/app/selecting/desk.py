"""Who feeds which symbol, and choosing another source by hand.

the states that `select` saved last -> who feeds what
a choice: one record in `control` and in every partition of `feeds`, where `select` meets it
"""

from collections.abc import Sequence
from dataclasses import dataclass

from marketpulse.app.selecting.groups import failover_config
from marketpulse.errors import ParameterError
from marketpulse.failover.config import FailoverConfig
from marketpulse.failover.owners import NEVER
from marketpulse.failover.state import ForeignSelection, SelectionState, state_from_bytes, stretches_of
from marketpulse.kafka.control_writer import write_change
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.snapshot import SnapshotGone
from marketpulse.settings import Settings


@dataclass(frozen=True, slots=True)
class Feeding:
    """One symbol: whose it is, since which event time (None: from its beginning), whether a person has chosen, and who
    else has brought it, the preferred one first."""

    symbol: str
    source: str
    since_ns: int | None
    by_hand: bool
    standby: tuple[str, ...]


def feedings(settings: Settings) -> list[Feeding]:
    """All symbols that `select` has met, by name. Raises Retryable while the broker is away."""
    config = failover_config(settings)
    log = LogReader(settings, "feeds", settings.failover.group)
    try:
        found = [
            feeding
            for partition, (_, pointer) in log.committed().items()
            if pointer is not None
            for feeding in _of_state(_state(log.read_snapshot(partition, pointer), config))
        ]
    except SnapshotGone:
        return []
    finally:
        log.close()
    return sorted(found, key=lambda feeding: feeding.symbol)


def _state(data: bytes, config: FailoverConfig) -> SelectionState | None:
    try:
        return state_from_bytes(data, config)
    except ForeignSelection:
        return None


def _of_state(state: SelectionState | None) -> list[Feeding]:
    if state is None:
        return []
    found = []
    owners, sources = state.owners, state.sources
    for symbol, name in enumerate(state.symbols.texts()):
        begins, source = stretches_of(owners, symbol, sources)[-1]
        ranked = sorted(
            (int(rank), place)
            for place, rank in enumerate(owners.rank[symbol].tolist())
            if rank >= 0 and owners.last_ns[symbol, place] != NEVER
        )
        standby = tuple(sources[place] for _, place in ranked if sources[place] != source)
        since = None if begins == NEVER else begins
        found.append(Feeding(name, source, since, bool(owners.pinned[symbol]), standby))
    return found


def choose(settings: Settings, symbol: str, to: str | None) -> Sequence[int]:
    """Have a source feed the symbol from now on, whatever it does (None: leave it to the rules again). `to`: its name in
    the configuration, or the one that its rows carry. Returns the change's offsets in `feeds`, by partition.

    Raises ParameterError for a symbol that has not come, or a source that is no candidate for it; Retryable while the
    broker is away.
    """
    known = {feeding.symbol: feeding for feeding in feedings(settings)}
    if symbol not in known:
        raise ParameterError(f"`select` has not met the symbol {symbol}: `marketpulse switch` lists those that it has")
    carried = None if to is None else _carried(settings, symbol, to, known[symbol])
    change = {"action": "switch", "symbol": symbol, "to": carried}
    return write_change(settings, f"switch/{symbol}", change, topic="feeds")


def _carried(settings: Settings, symbol: str, to: str, feeding: Feeding) -> str:
    from marketpulse.app.feeds import configured_sources
    from marketpulse.sources.defaults import source_name

    candidates = (feeding.source, *feeding.standby)
    found = configured_sources(settings).get(to)
    carried = to if found is None else source_name(found.kind, to)
    if carried not in candidates:
        raise ParameterError(f"{to} has brought nothing of {symbol}: choose one of {', '.join(candidates)}")
    return carried
