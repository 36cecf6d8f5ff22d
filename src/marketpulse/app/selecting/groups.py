"""The configured groups, by the names that rows carry."""

from marketpulse.app.feeds import configured_sources
from marketpulse.errors import SettingsError
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.model.timeframe import DAY_NS
from marketpulse.settings import Settings

_STEPS = 4  # heartbeats that may be missing before a silence counts as one of all sources


def failover_config(settings: Settings) -> FailoverConfig:
    """What `[failover]` asks for. Raises SettingsError for a source that is not configured, ParameterError."""
    from marketpulse.sources.defaults import source_name

    known, chosen, engine = configured_sources(settings), settings.failover, settings.engine
    groups = []
    for name, group in chosen.groups.items():
        if missing := [source for source in group.sources if source not in known]:
            raise SettingsError(
                f"failover.groups.{name}: there is no source {missing[0]!r}: the configuration has {', '.join(known)}"
            )
        carried = tuple(source_name(known[source].kind, source) for source in group.sources)
        groups.append(Group(carried, frozenset(group.symbols)))
    after_ns, lost_ns = round(chosen.after_s * 1e9), round(chosen.lost_after_s * 1e9)
    return FailoverConfig(
        tuple(groups), after_ns, round(chosen.back_after_s * 1e9), lost_ns,
        step_ns=max(1_000, _STEPS * settings.process.clock_ms) * 1_000_000,
        keep_ns=round(engine.correction_window_s * 1e9) + DAY_NS,
        hold_ns=2 * max(after_ns, lost_ns) + 60 * 10**9,
        hold_rows=chosen.hold_rows,
    )  # fmt: skip


def topic_of(settings: Settings, source: str) -> str:
    """Where the source called so in the configuration writes: `market`, or `feeds` where others can stand in for it."""
    grouped = any(source in group.sources for group in settings.failover.groups.values())
    return "feeds" if grouped else "market"
