"""The named queries: one `.sql` file each, in Athena's dialect, which also runs here (query/dialect.py).

    -- Title
    -- One sentence: what it tells.
    -- name (kind) = default: what the parameter means
    SELECT … :name … FROM :rows …

A kind is `count` (a whole number of 1 or more), `number` (above or at 0), `text`, `pattern` (text for LIKE) or `time`,
which is given as ISO text or as nanoseconds. `:rows` are those of the last `days`: up to `until` or, where that is not given,
up to each symbol's own newest row, whatever the clock says and however new other symbols are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import resources
from types import MappingProxyType
from typing import Literal, cast, get_args

from marketpulse.errors import ParameterError

Kind = Literal["count", "number", "text", "pattern", "time"]

COUNT_MAX = 1_000_000
TEXT_MAX = 200  # characters of a text parameter
_HEADER = re.compile(r"-- (\w+) \((\w+)\) = (.+?): (.+)")
_PLACE = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_UNTIL = """(
    SELECT * FROM {table} WHERE {chosen} AND {time} > {until} - {days} * 86400000000000 AND {time} <= {until}
)"""
# Each SELECT has one table in FROM and plain conditions: so files are left out by them.
_ROWS_UP_TO_THE_NEWEST = """(
    SELECT own.* FROM (SELECT * FROM {table} WHERE {chosen}{since}) AS own
    JOIN (SELECT symbol, max({time}) AS newest_ns FROM {table} WHERE {chosen}{from_end} GROUP BY symbol) AS ends
        ON own.symbol = ends.symbol
    WHERE own.{time} > ends.newest_ns - {days} * 86400000000000
)"""
_ENDS = """
SELECT count(*) AS symbols, min(oldest_ns) AS oldest_ns, min(newest_ns) AS earliest_end_ns, max(newest_ns) AS latest_end_ns
FROM (
    SELECT symbol, min({time}) AS oldest_ns, max({time}) AS newest_ns FROM {table} WHERE {chosen} GROUP BY symbol
) AS ends"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What may be chosen. `default` is SQL: a literal, for a time what is taken of each symbol's rows."""

    name: str
    kind: Kind
    default: str
    meaning: str

    def literal(self, value: str) -> str:
        """A value that a person gave, as SQL that is nothing but a literal. Raises ParameterError."""
        if self.kind in ("text", "pattern"):
            if len(value) > TEXT_MAX or not value.isprintable():
                raise ParameterError(f"{self.name}: at most {TEXT_MAX} printable characters, found {value[:40]!r}")
            return "'" + value.replace("'", "''") + "'"
        if self.kind == "time":
            return str(_nanoseconds(self.name, value))
        if self.kind == "count":
            if not re.fullmatch(r"[0-9]{1,7}", value) or not 1 <= int(value) <= COUNT_MAX:
                raise ParameterError(f"{self.name} is a whole number from 1 to {COUNT_MAX:,}, found {value[:40]!r}")
            return str(int(value))
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            raise ParameterError(f"{self.name} is a number such as 2 or 0.5, found {value[:40]!r}")
        return value


@dataclass(frozen=True)
class NamedQuery:
    """One query. `sql` runs as it stands, in Athena and here: its parameters have their defaults."""

    name: str
    title: str
    meaning: str
    template: str
    parameters: tuple[Parameter, ...]

    @cached_property
    def sql(self) -> str:
        return self.bound({})

    @property
    def table(self) -> str:
        return "bars" if any(parameter.name == "timeframe" for parameter in self.parameters) else "trades"

    def bound(self, values: Mapping[str, str], earliest_end_ns: int | None = None) -> str:
        """The text with these values, as literals, and the defaults of all others. Raises ParameterError.

        `earliest_end_ns` is a time that no chosen symbol's newest row is older than: a number lets a reader leave out older files.
        """
        literals = self._literals(values)
        if ":rows" in self.template:
            about = self._about(literals) | {"days": literals["days"], "since": "", "from_end": ""}
            if earliest_end_ns is not None:
                about["since"] = f" AND {about['time']} > {earliest_end_ns} - {literals['days']} * 86400000000000"
                about["from_end"] = f" AND {about['time']} >= {earliest_end_ns}"
            rows = _ROWS_UNTIL if "until" in values else _ROWS_UP_TO_THE_NEWEST
            literals["rows"] = rows.format(**about, until=literals.get("until"))
        return _filled(self.template, literals)

    def ends(self, values: Mapping[str, str]) -> str:
        """The SELECT that finds between which times the chosen symbols have rows, whatever `until` and `days` say: `symbols`,
        `oldest_ns`, and of their newest rows the first and the last, `earliest_end_ns` and `latest_end_ns`."""
        return _ENDS.format(**self._about(self._literals(values)))

    def timeframes(self, values: Mapping[str, str]) -> str:
        """The SELECT that finds which timeframes the chosen symbols' bars have, the smallest first."""
        chosen = self._chosen(self._literals(values))
        return (
            f"SELECT timeframe FROM bars WHERE {chosen} GROUP BY timeframe ORDER BY min(close_time_ns - open_time_ns)"  # noqa: S608  (literals)
        )

    def literal(self, name: str, value: str) -> str:
        """A value that a person gave for one of the parameters, as SQL. Raises ParameterError."""
        return self._literals({name: value})[name]

    def _about(self, literals: Mapping[str, str]) -> dict[str, str]:
        """The table, its time, and the condition on the rows of the chosen symbols."""
        chosen = self._chosen(literals)
        if self.table == "bars":
            return {
                "table": "bars",
                "time": "open_time_ns",
                "chosen": f"timeframe = {literals['timeframe']} AND {chosen}",
            }
        return {"table": "trades", "time": "event_time_ns", "chosen": chosen}

    def _chosen(self, literals: Mapping[str, str]) -> str:
        patterns = [f"symbol LIKE {literals[p.name]}" for p in self.parameters if p.kind == "pattern"]
        return patterns[0] if len(patterns) == 1 else f"({' OR '.join(patterns)})"

    def _literals(self, values: Mapping[str, str]) -> dict[str, str]:
        known = {parameter.name: parameter for parameter in self.parameters}
        if unknown := sorted(set(values) - set(known)):
            raise ParameterError(f"{self.name} has no parameter {unknown[0]!r}: it has {', '.join(known)}")
        literals = {p.name: p.default for p in self.parameters if p.kind != "time"}
        return literals | {name: known[name].literal(value) for name, value in values.items()}


def _filled(text: str, literals: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: literals[place[1]], text)


def _nanoseconds(name: str, value: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,19}", value):
        return max(-(2**63), min(int(value), 2**63 - 1))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ParameterError(
            f"{name} is a time such as 2024-05-01 or 2024-05-01T09:30:00Z, or nanoseconds since 1970, "
            f"found {value[:40]!r}"
        ) from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    found = since // timedelta(microseconds=1) * 1_000
    if not -(2**63) <= found < 2**63:
        raise ParameterError(f"{name} is outside the years 1678 to 2261")
    return found


def parse(name: str, text: str) -> NamedQuery:
    """One file of the library."""
    lines = text.strip().splitlines()
    head = [line for line in lines if line.startswith("--")]
    parameters = []
    for line in head[2:]:
        match = _HEADER.fullmatch(line)
        if match is None or match[2] not in get_args(Kind):
            raise ValueError(f"{name}.sql: {line!r} is not `-- name (kind) = default: meaning`")
        parameters.append(Parameter(match[1], cast(Kind, match[2]), match[3], match[4]))
    body = "\n".join(line for line in lines if not line.startswith("--"))
    asked = set(_PLACE.findall(body))
    if "rows" in asked:
        asked = asked - {"rows"} | {"symbol", "days", "until"} | ({"timeframe"} if "timeframe (" in text else set())
    if asked != {parameter.name for parameter in parameters}:
        raise ValueError(f"{name}.sql: its header and its text name other parameters")
    title, meaning = (line.removeprefix("-- ") for line in head[:2])
    return NamedQuery(name, title, meaning, body + "\n", tuple(parameters))


def _files() -> Iterator[NamedQuery]:
    folder = resources.files("marketpulse.query.named")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            yield parse(file.name.removesuffix(".sql"), file.read_text("utf-8"))


NAMED: Mapping[str, NamedQuery] = MappingProxyType({query.name: query for query in _files()})
"""The library, by name."""


def named(name: str) -> NamedQuery:
    """Raises ParameterError for a name that the library does not have."""
    if name not in NAMED:
        raise ParameterError(f"there is no query named {name[:40]!r}: choose one of {', '.join(NAMED)}")
    return NAMED[name]
