"""The scorecard: what a keeper has heard, as figures by source and by symbol. Times are milliseconds."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from marketpulse.app.scoring.coverage import SessionsOf, counted_minutes, covered_minutes, share, strip_text
from marketpulse.app.scoring.disagreement import Disagreement, disagreements, percentiles
from marketpulse.app.scoring.gaps import KnownGap
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.app.scoring.series import MINUTE_NS
from marketpulse.app.scoring.stream import BUCKETS, KINDS, PULSE_NS, PULSES, SLOT_NS, Stream, lag_at
from marketpulse.model.market import Ints

_DAY_NS = 86_400 * 10**9
_HOUR_NS = 3_600 * 10**9
_MS = 1_000_000
_LINE_MINUTES = 60
GAPS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Hours:
    """How the card judges time. `calendar_of`: a row's venue, and what its source says -> the calendar's name."""

    sessions_of: SessionsOf
    calendar_of: Callable[[str | None, str | None], str]
    silent_after_ns: int
    feeds_topic: str


class Card:
    """One look at a keeper, which must not hear meanwhile."""

    def __init__(self, keeper: ScoreKeeper, hours: Hours) -> None:
        self._keeper, self._hours = keeper, hours
        self._since_ns = keeper.now_ns - keeper.hours * _HOUR_NS
        own = {
            (topic, source) for topic, _, source in keeper.streams if topic == hours.feeds_topic
        }  # what is chosen of them stands in `market` once more
        self._chosen = own
        names = {source for _, _, source in keeper.streams}
        self._sources = {name: _Source(name, self._streams(name)) for name in sorted(names)}
        self._places: dict[str, Ints] = {
            name: np.array(
                [i for i, key in enumerate(keeper.series.keys) if key.source == name and self._counts(key.topic, name)],
                np.int64,
            )
            for name in self._sources
        }  # fmt: skip
        self._apart = self._disagreements()

    def sources(self) -> list[dict[str, Any]]:
        """A row for each source, by name."""
        return [self._row(source) for source in self._sources.values() if source.streams]

    def symbols(self, name: str, limit: int) -> dict[str, Any]:
        """The symbols of a source, the worst covered first, its newest gaps, and where it differs from others."""
        source = self._sources.get(name)
        if source is None:
            return {"from_ms": 0, "to_ms": 0, "symbols": [], "gaps": [], "disagreements": []}
        first, end = self._window(source)
        places, series = self._places[name], self._keeper.series
        calendars = [self._calendar(source, place) for place in places.tolist()]
        covered, counted = self._minutes(source, places, calendars)
        rows = [
            {
                "symbol": series.keys[place].symbol, "venue": series.venues[place], "calendar": calendars[i],
                "rows": int(series.rows[place]), "newest_event_ms": int(series.newest_ns[place]) // _MS,
                "coverage": share(covered[i], counted[i]), "minutes": strip_text(covered[i], counted[i]),
            }
            for i, place in enumerate(places.tolist())
        ]  # fmt: skip
        rows.sort(key=lambda row: (2.0 if row["coverage"] is None else row["coverage"], row["symbol"]))
        gaps = sorted(self._gaps(source), key=lambda gap: gap.told_ns, reverse=True)
        return {
            "from_ms": first * MINUTE_NS // _MS,
            "to_ms": end * MINUTE_NS // _MS,
            "symbols": rows[:limit],
            "gaps": [_gap(gap) for gap in gaps[:GAPS_SHOWN]],
            "disagreements": [self._apart_row(one, name) for one in self._apart_of(name)],
        }

    def _row(self, source: "_Source") -> dict[str, Any]:
        keeper, now = self._keeper, self._keeper.now_ns
        first_slot, end_slot = self._since_ns // SLOT_NS + 1, now // SLOT_NS + 1
        lags = source.sum(lambda s: s.lags.between(first_slot, end_slot), BUCKETS)
        counts = source.sum(lambda s: s.counts.between(first_slot, end_slot), KINDS)
        pulse = now // PULSE_NS
        recent = source.sum(lambda s: s.pulse.between(pulse - PULSES, pulse), 1)
        places = self._places[source.name]
        calendars = [self._calendar(source, place) for place in places.tolist()]
        covered, counted = self._minutes(source, places, calendars)
        historical = source.historical(now)
        median, most = percentiles(np.concatenate([one.sizes for one in self._apart_of(source.name)] or [np.empty(0)]))
        wrong = sum((stream.wrong.since(first_slot) for stream in source.every), Counter[str]())
        letters = keeper.letters.get(source.name)
        newest_event = max((s.newest_event_ns for s in source.streams), default=0)
        return {
            "source": source.name,
            "state": source.state(now, self._hours.silent_after_ns),
            "mode": "historical" if historical else "live",
            "simulated": any(stream.simulated for stream in source.streams),
            "symbols": len(places),
            "rows": {"trade": int(counts[0]), "quote": int(counts[1]), "bar": int(counts[2])},
            "rows_per_s": int(recent[0]) / (PULSES * PULSE_NS / 1e9),
            "lag_p50_ms": None if historical else lag_at(lags, 0.5),
            "lag_p99_ms": None if historical else lag_at(lags, 0.99),
            "newest_event_ms": newest_event // _MS or None,
            "behind_ms": None if historical or not newest_event else max(0, now - newest_event) / _MS,
            "coverage": share(covered, counted),
            "gaps": _counts_of(self._gaps(source)),
            "quality": dict(wrong),
            "dead_letters": dict(letters.since(first_slot)) if letters else {},
            "disagreement_p50_bps": median,
            "disagreement_p99_bps": most,
        }

    def unplaced_letters(self) -> dict[str, int]:
        """Dead letters whose source is not known, by reason."""
        letters = self._keeper.letters.get("")
        return dict(letters.since(self._since_ns // SLOT_NS + 1)) if letters else {}

    def _streams(self, name: str) -> list[tuple[Stream, bool]]:
        return [
            (stream, self._counts(topic, name))
            for (topic, _, source), stream in self._keeper.streams.items()
            if source == name
        ]

    def _counts(self, topic: str, source: str) -> bool:
        feeds = self._hours.feeds_topic
        return topic == feeds or (feeds, source) not in self._chosen

    def _window(self, source: "_Source") -> tuple[int, int]:
        """The minutes [first, end): up to the last whole one of now, or of what a historical source has told."""
        now = self._keeper.now_ns
        newest = max((s.newest_event_ns for s in source.streams), default=0)
        end = -(-newest // MINUTE_NS) if source.historical(now) else now // MINUTE_NS
        return max(0, end - 60 * self._keeper.hours), end

    def _minutes(self, source: "_Source", places: Ints, calendars: Sequence[str]) -> tuple[Any, Any]:
        first, end = self._window(source)
        series = self._keeper.series
        covered = covered_minutes(series, places, first, end)
        return covered, counted_minutes(series, places, calendars, self._hours.sessions_of, first, end)

    def _calendar(self, source: "_Source", place: int) -> str:
        return self._hours.calendar_of(self._keeper.series.venues[place], source.calendar)

    def _gaps(self, source: "_Source") -> list[KnownGap]:
        return list(chain.from_iterable(stream.gaps.since(self._since_ns) for stream in source.streams))

    def _disagreements(self) -> list[Disagreement]:
        """Live sources are compared over the last hours, historical ones over the hours of event time that they end with."""
        live = [s for s in self._sources.values() if s.streams and not s.historical(self._keeper.now_ns)]
        past = [s for s in self._sources.values() if s.streams and s.historical(self._keeper.now_ns)]
        found: list[Disagreement] = []
        for group in (live, past):
            if len(group) < 2:
                continue
            end = max(self._window(source)[1] for source in group)
            places = np.concatenate([self._places[source.name] for source in group])
            found += disagreements(self._keeper.series, places, max(0, end - 60 * self._keeper.hours), end)
        return found

    def _apart_of(self, name: str) -> list[Disagreement]:
        keys = self._keeper.series.keys
        return [one for one in self._apart if name in (keys[one.a].source, keys[one.b].source)]

    def _apart_row(self, one: Disagreement, name: str) -> dict[str, Any]:
        """As seen from one of the two: above 0 where its price is the higher one."""
        a, b = (self._keeper.series.keys[place] for place in (one.a, one.b))
        mine, other, bps = (a, b, one.bps) if a.source == name else (b, a, -one.bps)
        median, most = percentiles(one.sizes)
        line = [None if np.isnan(value) else round(float(value), 3) for value in bps[-_LINE_MINUTES:]]
        return {
            "instrument": one.instrument, "symbol": mine.symbol, "other_source": other.source, "other_symbol": other.symbol,
            "minutes": len(one.sizes), "p50_bps": median, "p99_bps": most, "line_bps": line,
        }  # fmt: skip


class _Source:
    """A source over its partitions. `every`: those streams too that stand in `market` once more."""

    def __init__(self, name: str, found: Sequence[tuple[Stream, bool]]) -> None:
        self.name = name
        self.every = [stream for stream, _ in found]
        self.streams = [stream for stream, counts in found if counts and stream.newest_ns]
        self.calendar = next((s.calendar for s in self.streams if s.calendar is not None), None)

    def sum(self, of: Callable[[Stream], Ints], width: int) -> Ints:
        return sum((of(stream) for stream in self.streams), np.zeros(width, np.int64))

    def historical(self, now_ns: int) -> bool:
        """As it said in its hello; where that was not heard, by the age of what it brings."""
        if modes := [stream.mode for stream in self.streams if stream.mode is not None]:
            return "historical" in modes
        newest = max((stream.newest_event_ns for stream in self.streams), default=0)
        return bool(newest) and newest < now_ns - _DAY_NS

    def state(self, now_ns: int, silent_after_ns: int) -> str:
        """`ended` after a goodbye, `silent` when nothing of it, not even a heartbeat, came of late, else `live`."""
        if all(stream.ended for stream in self.streams):
            return "ended"
        newest = max(stream.newest_ns for stream in self.streams)
        return "silent" if now_ns - newest > silent_after_ns else "live"


def _gap(gap: KnownGap) -> dict[str, Any]:
    return {
        "symbol": gap.symbol, "state": gap.state, "from_ms": gap.from_ns // _MS, "to_ms": gap.to_ns // _MS, "trades": gap.trades,
        "reason": gap.reason, "told_ms": gap.told_ns // _MS,
    }  # fmt: skip


def _counts_of(gaps: Sequence[KnownGap]) -> Mapping[str, Mapping[str, int]]:
    """By state: how many gaps there are, and the trades in them, as far as they are known."""
    return {
        state: {
            "gaps": sum(gap.state == state for gap in gaps),
            "trades": sum(gap.trades or 0 for gap in gaps if gap.state == state),
        }
        for state in ("found", "healed", "open")
    }
