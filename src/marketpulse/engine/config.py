"""What the engine computes and by which rules: fixed for the life of a worker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.engine.layout import ORIGIN_BARS, ORIGIN_NONE, ORIGIN_TRADES, Plan
from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import Spec, all_columns
from marketpulse.model.quality import DEFAULT_LIMITS, DEFAULT_SEVERITY, NEVER_DROPPED, RULES, SEVERITIES
from marketpulse.model.session import SessionTable, around_the_clock
from marketpulse.model.timeframe import Cut, Timeframe

ORIGINS = {"first": ORIGIN_NONE, "trades": ORIGIN_TRADES, "source": ORIGIN_BARS}
FRAMES_MAX = 32


def no_other_calendar(name: str) -> SessionTable | None:
    """The calendars of an engine that only knows venues which never close."""
    return around_the_clock() if name == "24x7" else None


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Durations in nanoseconds. `sessions_of` gives a calendar's sessions by name (a MIC or `24x7`),
    None when there is no such calendar; the same name must give the same sessions always."""

    frames: tuple[Timeframe, ...]  # as model.timeframe.parse_timeframes orders them
    indicators: tuple[Spec, ...] = ()
    sessions_of: Callable[[str], SessionTable | None] = no_other_calendar
    session_rules: str = ""  # what else decides the sessions that `sessions_of` gives
    calendar: str = "24x7"
    venue_calendars: Mapping[str, str] = field(default_factory=dict)
    lateness_ns: int = 2_000_000_000
    source_timeout_ns: int = 30_000_000_000
    max_age_ns: int = 86_400_000_000_000
    max_skew_ns: int = 5_000_000_000
    grace_ns: int = 300_000_000_000
    fill: bool = False
    bars_from: str = "first"
    larger_bars: str = "built"  # or "given": what a row is where a source gives a bar over smaller ones
    symbols_max: int = 20_000
    window_ns: int = 900_000_000_000
    window_trades: int = 100_000
    kept_bars: int = 200_000  # of sources that only have bars, in a partition (20 MB)
    revise_each: bool = False
    quality: Mapping[str, str] = field(default_factory=dict)  # severity by rule, where not the default
    quality_limits: Mapping[str, float] = field(default_factory=dict)
    alerts: tuple[Rule, ...] = ()  # those that run before a control record changes them

    def __post_init__(self) -> None:
        if len(self.frames) > FRAMES_MAX:
            raise ParameterError(f"timeframes: at most {FRAMES_MAX}, found {len(self.frames)}")
        if self.sessions_of(self.calendar) is None:
            raise ParameterError(f"calendar {self.calendar!r} is unknown: use a MIC such as XNYS, or 24x7")
        self.alert_rules()
        self.severities()

    @property
    def ticks(self) -> int:
        """How many of the timeframes are cut by count; they stand first."""
        return sum(frame.cut == Cut.TICKS for frame in self.frames)

    @property
    def reads_quotes(self) -> bool:
        """Whether an indicator needs the quote at the bar's close; else none is kept for that."""
        return any(spec.reads_quotes for spec in self.indicators)

    def frame_index(self, name: str) -> int:
        """The number of the timeframe of this name, by which rows of the engine name it. Raises ValueError."""
        return [frame.name for frame in self.frames].index(name)

    def columns(self) -> list[str]:
        """The names of all indicator values, in order."""
        return all_columns(self.indicators)

    def degrees(self) -> tuple[int, ...]:
        """Of the columns, their degrees (indicators.declaration); 0 where an indicator has none."""
        return tuple(
            degree for spec in self.indicators for degree in (spec.indicator.price_degrees or (0,) * len(spec.columns))
        )

    def severities(self) -> dict[str, str]:
        """What becomes of the rows that each rule of data quality finds. Raises ParameterError for what cannot be."""
        for rule, severity in self.quality.items():
            if rule not in RULES:
                raise ParameterError(f"quality: there is no rule {rule!r}; they are {', '.join(RULES)}")
            if severity not in SEVERITIES or (severity == "drop" and rule in NEVER_DROPPED):
                known = [s for s in SEVERITIES if s != "drop" or rule not in NEVER_DROPPED]
                raise ParameterError(f"quality: {rule} can be {', '.join(known)}, found {severity!r}")
        return {**DEFAULT_SEVERITY, **self.quality}

    def alert_rules(self) -> RuleSet:
        """The configured alert rules, read. Raises ParameterError for one that cannot be."""
        return rule_set(inputs_of(self.columns(), self.frames, self.degrees()), self.alerts)

    def calendar_of_venue(self, venue: str | None) -> str | None:
        """The calendar that a venue trades by, None when nothing is known of it."""
        name = self.venue_calendars.get(venue, venue) if venue else None
        return name if name is not None and self.sessions_of(name) is not None else None

    def plan(self) -> Plan:
        """The same for the kernels."""
        return Plan(
            length=np.array([frame.length for frame in self.frames], np.int64),
            is_session=np.array([frame.cut == Cut.SESSION for frame in self.frames], np.int8),
            parent=_parents(self.frames),
            ticks=self.ticks,
            source_timeout_ns=self.source_timeout_ns,
            max_age_ns=self.max_age_ns,
            max_skew_ns=self.max_skew_ns,
            grace_ns=self.grace_ns,
            fill=int(self.fill),
            origin=ORIGINS[self.bars_from],
            given=int(self.larger_bars == "given"),
            lateness_ns=self.lateness_ns,
            window_ns=self.window_ns,
            window_trades=self.window_trades,
            kept_bars=self.kept_bars,
            revise_each=int(self.revise_each),
            quotes=int(self.reads_quotes),
            severity=np.array([SEVERITIES.index(s) for s in self.severities().values()], np.int8),
            limits=np.array([*{**DEFAULT_LIMITS, **self.quality_limits}.values()], np.float64),
        )


def _parents(frames: tuple[Timeframe, ...]) -> np.ndarray:
    """parent[o, f]: the largest timeframe below f that divides it, among those built when o is the smallest."""
    n = len(frames)
    parents = np.full((n, n), -1, np.int64)
    for base in range(n):
        if frames[base].cut == Cut.TICKS:
            continue
        built = [base]
        for f in range(base + 1, n):
            whole = [p for p in built if frames[f].cut == Cut.SESSION or frames[f].length % frames[p].length == 0]
            if whole:
                parents[base, f] = whole[-1]
                built.append(f)
    return parents
