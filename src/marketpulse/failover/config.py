"""Which sources stand in for each other, and after what another one takes over."""

from dataclasses import dataclass

from marketpulse.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Group:
    """Sources that can bring the same symbols, the preferred one first. Without `symbols`: all that they bring."""

    sources: tuple[str, ...]
    symbols: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FailoverConfig:
    """All durations are of attended time: the log's own, in which a silence of all sources together counts `step_ns`
    at most.

    `after_ns`: an owner that brought nothing of a symbol for as long, while another did, makes way. `lost_after_ns`:
    one that wrote nothing at all makes way at once. `back_after_ns`: how long a preferred one must have been sound.
    `keep_ns` (event time): stretches that ended so long before the newest one began are forgotten. Held rows are let
    go after `hold_ns`, or beyond `hold_rows` of a partition.
    """

    groups: tuple[Group, ...]
    after_ns: int = 30 * 10**9
    back_after_ns: int = 300 * 10**9
    lost_after_ns: int = 5 * 10**9
    step_ns: int = 10**9
    keep_ns: int = 86_400 * 10**9
    hold_ns: int = 120 * 10**9
    hold_rows: int = 100_000

    def __post_init__(self) -> None:
        named: set[str] = set()
        whole: set[str] = set()
        for group in self.groups:
            if len(group.sources) < 2 or len(set(group.sources)) < len(group.sources):
                raise ParameterError(
                    f"failover: a group needs two or more sources, each once, found {list(group.sources)}"
                )
            if twice := named & group.symbols:
                raise ParameterError(f"failover: {sorted(twice)[0]} is a symbol of two groups: keep one")
            if not group.symbols and (shared := whole & set(group.sources)):
                raise ParameterError(
                    f"failover: {sorted(shared)[0]} is in two groups that name no symbols: name them in one"
                )
            named |= group.symbols
            whole |= set() if group.symbols else set(group.sources)

    def sources(self) -> list[str]:
        """All sources of all groups, each once."""
        return list(dict.fromkeys(source for group in self.groups for source in group.sources))

    def group_of(self, symbol: str, source: str) -> Group | None:
        """The group that decides on this symbol, which this source was the first to bring: the one that names it, else
        one of this source, else the first that names no symbols. None: all stand alone for it."""
        whole = [group for group in self.groups if not group.symbols]
        named = (group for group in self.groups if symbol in group.symbols)
        return next(named, None) or next((g for g in whole if source in g.sources), whole[0] if whole else None)
