"""Which days a named query covers and, where its answer is empty, why and what to try: sentences for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from marketpulse.model.timeframe import DAY_NS, SECOND_NS
from marketpulse.query.named.library import COUNT_MAX, NamedQuery


@dataclass(frozen=True, slots=True)
class Ends:
    """Between which times the chosen symbols have rows: the row of NamedQuery.ends. Without symbols the times are None."""

    symbols: int
    oldest_ns: int
    earliest_end_ns: int
    latest_end_ns: int


@dataclass(frozen=True, slots=True)
class Days:
    """The days of one call of a named query. `ends` is None where nobody has looked."""

    query: NamedQuery
    values: Mapping[str, str]
    ends: Ends | None = None

    def sql(self) -> str:
        """The query. Raises ParameterError."""
        ends = self.ends
        if ends is None or not ends.symbols:
            return self.query.bound(self.values)
        # Where all rows, or all ends, are the same for every symbol, one end does: without it each row is compared with its own.
        if ends.oldest_ns > ends.latest_end_ns - self._count * DAY_NS or ends.earliest_end_ns == ends.latest_end_ns:
            return self.query.bound({**self.values, "until": str(ends.latest_end_ns)})
        return self.query.bound(self.values, ends.earliest_end_ns)

    def covered(self) -> str:
        """The days, in UTC, first and last included."""
        if "until" in self.values:
            return f"Covers {self._span(self._until_ns)}."
        newest = f"each symbol's newest {self._row}"
        if self.ends is None:
            return f"Covers {self._count} day{'s' * (self._count > 1)} up to {newest}."
        if not self.ends.symbols:
            return ""
        first, last = _date(self.ends.earliest_end_ns), _date(self.ends.latest_end_ns)
        if first == last:
            return f"Covers {self._span(self.ends.latest_end_ns)}, up to {newest}."
        return f"Covers {self._count} days up to {newest}: the last is of {last}, the first of {first}."

    def why_empty(self, timeframes: Sequence[str]) -> str:
        """Why there are no rows. `timeframes` are those of the chosen symbols' bars."""
        ends, rows = self.ends, f"{self._row}s"
        if ends is None:
            return "No rows: try more days."
        if not ends.symbols:
            other = [timeframe for timeframe in timeframes if timeframe != self._value("timeframe")]
            hint = f"there are bars of {', '.join(other)}; try timeframe={other[0]}" if other else "try another symbol"
            return f"No {rows} of {self._value('symbol')}: {hint}."
        until_ns = self._until_ns if "until" in self.values else ends.latest_end_ns
        if ends.oldest_ns > until_ns:
            first, last = _date(ends.oldest_ns), _date(ends.latest_end_ns)
            return f"No {rows} as old as {_date(until_ns)}: the oldest are of {first}; try until={last}T23:59:59."
        if ends.latest_end_ns <= until_ns - self._count * DAY_NS:
            days = min(COUNT_MAX, (until_ns - ends.latest_end_ns) // DAY_NS + self._count)
            return f"No {rows} newer than {_date(ends.latest_end_ns)}; try days={days}, or no until."
        if ends.oldest_ns > until_ns - self._count * DAY_NS:
            finer = f"; try {'smaller bars, such as timeframe=1m' if self.query.table == 'bars' else 'another query'}"
            return f"These days have all {rows} that are stored, and none of them meets the query{finer}."
        return f"None of the {rows} in these days meets the query; try days={min(COUNT_MAX, 10 * self._count)}."

    @property
    def _row(self) -> str:
        return f"{self._value('timeframe')} bar" if self.query.table == "bars" else "trade"

    @property
    def _count(self) -> int:
        return int(self._value("days"))

    @property
    def _until_ns(self) -> int:
        return int(self.query.literal("until", self.values["until"]))

    def _value(self, name: str) -> str:
        default = next(parameter.default for parameter in self.query.parameters if parameter.name == name)
        return self.values.get(name, default.strip("'"))

    def _span(self, end_ns: int) -> str:
        first, last = _date(end_ns - (self._count - 1) * DAY_NS), _date(end_ns)
        return f"{last}, one day" if self._count == 1 else f"{first} to {last}, {self._count} days"


def _date(ns: int) -> str:
    first, last = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
    return f"{datetime.fromtimestamp(min(max(ns // SECOND_NS, first), last), UTC):%Y-%m-%d}"
