"""From the settings to a keeper that hears the log, and to a card of what it has heard."""

from collections.abc import Callable, Iterable
from functools import cache

from marketpulse.app.calendars import sessions_by, sessions_of
from marketpulse.app.scoring.card import Card, Hours
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.clock import Clock
from marketpulse.kafka.log_follower import HeardLetter, HeardRows, LogFollower
from marketpulse.settings import EngineSettings, Settings

ROWS_OF = ("market",)  # and `feeds`, where sources that compete for a symbol write
LETTERS = "dead-letters"
FEEDS = "feeds"

_HOUR_MS = 3_600_000


class Hearing:
    """A keeper and what it hears; the last `hours` hours of the log to begin with. Raises Retryable without a broker."""

    def __init__(self, settings: Settings, hours: int, clock: Clock) -> None:
        chosen = settings.scorecard
        self.keeper = ScoreKeeper(hours, chosen.series_max)
        self.follower = LogFollower(
            settings,
            (*ROWS_OF, FEEDS, LETTERS),
            clock.now_ns() // 1_000_000 - hours * _HOUR_MS,
            chosen.catch_up_records,
        )
        self._hours = hours_of(settings)

    def hear(self, told: Iterable[HeardRows | HeardLetter]) -> None:
        for one in told:
            if isinstance(one, HeardRows):
                self.keeper.hear(one.batch, one.appended_ns)
            else:
                self.keeper.hear_letter(one.value, one.appended_ns)

    def card(self) -> Card:
        return Card(self.keeper, self._hours)

    def close(self) -> None:
        self.follower.close()


def hours_of(settings: Settings) -> Hours:
    """Calendars as the engine finds them: a venue's own, else its source's, else the configured one."""
    engine = settings.engine
    hours = engine.parsed_extended_hours() if engine.sessions == "extended" else {}
    return Hours(
        sessions_by(engine.sessions, hours),
        calendar_finder(engine),
        round(engine.source_timeout_s * 1e9),
        settings.topic(FEEDS),
    )


def calendar_finder(engine: EngineSettings) -> Callable[[str | None, str | None], str]:
    """(venue, the source's calendar) -> the name of the calendar that counts."""

    @cache
    def known(name: str) -> bool:
        return sessions_of(name) is not None

    def find(venue: str | None, of_source: str | None) -> str:
        named = engine.venue_calendars.get(venue, venue) if venue else None
        return next((name for name in (named, of_source) if name and known(name)), engine.calendar)

    return find
