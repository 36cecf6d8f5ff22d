"""Large tables in pieces of time: native partitions, or TimescaleDB's where the server has that extension.

A piece is made before its first rows come, and dropped whole when it is older than the table's retention.
Rows of long ago, sparse as history is, lie in the default partition.
"""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from marketpulse.sinks.postgres_client import Session
from marketpulse.sinks.postgres_faults import identifier, text
from marketpulse.sinks.postgres_tables import ALL, Table

Length = Literal["day", "week", "month"]
AHEAD = 2  # pieces made beyond the present one
BEHIND = dt.timedelta(days=400)  # rows that are older than this go to the default partition
_BOUNDS = r"FROM \('(.*)'\) TO \('(.*)'\)"


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to `end`, UTC."""

    start: dt.datetime
    end: dt.datetime

    def name(self, table: str) -> str:
        return f"{table}_p{self.start:%Y%m%d}"

    def overlaps(self, other: "Period") -> bool:
        return self.start < other.end and other.start < self.end


def period_of(time: dt.datetime, length: Length) -> Period:
    """The day, the week (from Monday) or the month that the time lies in."""
    day = time.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if length == "day":
        return Period(day, day + dt.timedelta(days=1))
    if length == "week":
        monday = day - dt.timedelta(days=day.weekday())
        return Period(monday, monday + dt.timedelta(days=7))
    first = day.replace(day=1)
    return Period(first, (first + dt.timedelta(days=32)).replace(day=1))


def following(period: Period, length: Length) -> Iterator[Period]:
    """The period, and those after it."""
    while True:
        yield period
        period = period_of(period.end, length)


def wanted(times: Iterable[dt.datetime], now: dt.datetime, length: Length, keep: dt.timedelta) -> list[Period]:
    """The periods to have for rows of these times, and for those that are due to come."""
    oldest = now - min(keep, BEHIND)
    ahead = list(itertools.islice(following(period_of(now, length), length), 1 + AHEAD))
    within = {period_of(time, length) for time in times if oldest <= time < ahead[-1].end}
    return sorted(within | set(ahead), key=lambda period: period.start)


class Layout(Protocol):
    """How a table that is cut into pieces is made, kept ready and made shorter. `schema` is quoted."""

    def clause(self, table: Table) -> str:
        """What stands behind the columns in CREATE TABLE."""
        ...

    def created(self, session: Session, schema: str, table: Table) -> None:
        """Called once, in the transaction that creates the table."""
        ...

    def make_ready(self, session: Session, schema: str, table: Table, periods: Iterable[Period]) -> None: ...

    def drop_old(self, session: Session, schema: str, table: Table, before: dt.datetime) -> None: ...


class NativePartitions:
    """PostgreSQL's own range partitions."""

    def clause(self, table: Table) -> str:
        return f' PARTITION BY RANGE ("{table.time}")'

    def created(self, session: Session, schema: str, table: Table) -> None:
        session.run(f"CREATE TABLE {schema}.{table.name}_default PARTITION OF {schema}.{table.name} DEFAULT")

    def make_ready(self, session: Session, schema: str, table: Table, periods: Iterable[Period]) -> None:
        """Periods that overlap one that is there, as after a change of the setting, are left out."""
        there = self.existing(session, schema, table)
        for period in periods:
            if any(period.overlaps(one) for one in there):
                continue
            self._make(session, schema, table, period)
            there[period] = period.name(table.name)

    def drop_old(self, session: Session, schema: str, table: Table, before: dt.datetime) -> None:
        for period, name in self.existing(session, schema, table).items():
            if period.end <= before:
                session.run(f"DROP TABLE {schema}.{identifier(name)}")
        session.run(f"DELETE FROM {schema}.{table.name}_default WHERE \"{table.time}\" < '{before.isoformat()}'")

    def existing(self, session: Session, schema: str, table: Table) -> dict[Period, str]:
        """Its partitions' names by what they cover; the default one covers nothing."""
        found = session.rows(
            f"""SELECT p.relname::text, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz
            FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid,
            LATERAL regexp_match(pg_get_expr(p.relpartbound, p.oid), $re${_BOUNDS}$re$) b(bounds)
            WHERE i.inhparent = '{schema}.{table.name}'::regclass AND b.bounds IS NOT NULL"""
        )
        return {Period(start, end): name for name, start, end in found}

    def _make(self, session: Session, schema: str, table: Table, period: Period) -> None:
        """A partition, with the rows that the default one holds of its time: those lie where they belong then."""
        parent, own = f"{schema}.{table.name}", f"{schema}.{period.name(table.name)}"
        start, end = period.start.isoformat(), period.end.isoformat()
        session.run(f"CREATE TABLE {own} (LIKE {parent} INCLUDING DEFAULTS)")
        session.run(
            f"WITH moved AS (DELETE FROM {parent}_default WHERE \"{table.time}\" >= '{start}' AND \"{table.time}\" < '{end}'"
            f" RETURNING *) INSERT INTO {own} SELECT * FROM moved"
        )
        session.run(f"ALTER TABLE {parent} ATTACH PARTITION {own} FOR VALUES FROM ('{start}') TO ('{end}')")


class Hypertables:
    """TimescaleDB's: it makes the pieces by itself."""

    def __init__(self, length: Length) -> None:
        self._length = length

    def clause(self, table: Table) -> str:  # noqa: ARG002
        return ""

    def created(self, session: Session, schema: str, table: Table) -> None:
        session.rows(
            f"SELECT create_hypertable('{schema}.{table.name}', '{table.time}', "
            f"chunk_time_interval => INTERVAL '1 {self._length}', create_default_indexes => false)::text"
        )

    def make_ready(self, session: Session, schema: str, table: Table, periods: Iterable[Period]) -> None:
        """Nothing to do."""

    def drop_old(self, session: Session, schema: str, table: Table, before: dt.datetime) -> None:
        session.rows(f"SELECT drop_chunks('{schema}.{table.name}', TIMESTAMPTZ '{before.isoformat()}')::text")


def choose_layout(session: Session, name: str, length: Length) -> Layout:
    """As the tables were made; for new ones TimescaleDB, where it may be had.

    The extension is made here when the server has it and this user may; else an administrator does, with
    CREATE EXTENSION timescaledb, before the first start.
    """
    made = session.rows(
        "SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {text(name)} AND c.relname = 'trades'"
    )
    if made:
        return NativePartitions() if made[0][0] == "p" else Hypertables(length)
    found = session.rows(
        "SELECT e.installed_version IS NOT NULL, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) "
        "FROM pg_available_extensions e WHERE e.name = 'timescaledb'"
    )
    if not found or not any(found[0]):
        return NativePartitions()
    session.run("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return Hypertables(length)


PARTITIONED = tuple(table for table in ALL.values() if table.partitioned)
