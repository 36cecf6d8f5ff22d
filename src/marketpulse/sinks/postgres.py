"""PostgreSQL: typed tables, each row exactly once, the newest revision of it.

The steps of a flush, in one transaction, and why none of them can double or lose a row:

    1. offsets move     only where this process still owns the partition; the others wait for its end
    2. new rows         COPY straight into the table: behind the stored offset nothing can be there yet
    3. revised rows     COPY aside, then INSERT … ON CONFLICT, and DELETE of what was withdrawn
    4. commit

A row that is there in spite of 2 (the offsets were removed by hand) takes all that waits the way of 3, once.
"""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from marketpulse.clock import Clock
from marketpulse.errors import MarketPulseError, Retryable
from marketpulse.model.commit_log import partition_name
from marketpulse.model.tables import TABLES
from marketpulse.settings import PostgresSettings
from marketpulse.sinks.held import HeldSink, Key, from_offset
from marketpulse.sinks.postgres_client import Client, Session
from marketpulse.sinks.postgres_faults import Address, Conflict, NotText, identifier
from marketpulse.sinks.postgres_schema import add_indicators, indicator_columns, open_to_reader, prepare
from marketpulse.sinks.postgres_tables import ALL, without_nul
from marketpulse.sinks.postgres_upkeep import Upkeep
from marketpulse.sinks.postgres_upsert import put
from marketpulse.telemetry import ROWS_STORED, get_logger


def open_postgres(settings: PostgresSettings, clock: Clock) -> "PostgresSink":
    """The sink for this section of the settings. Raises ParameterError when its url is none."""
    password = settings.password.get_secret_value() if settings.password else None
    return PostgresSink(settings, Client(Address.of(settings.url, password), settings.timeout_s), clock)


class PostgresSink(HeldSink):
    """ports.Sink over one schema. One process owns a partition at a time; one that was replaced stores nothing."""

    def __init__(self, settings: PostgresSettings, client: Client, clock: Clock) -> None:
        super().__init__("postgres", f"{client.address.where} (schema {settings.schema_name})", TABLES)
        self._settings, self._client, self._clock = settings, client, clock
        self._schema_name = settings.schema_name
        self._schema = identifier(settings.schema_name)
        self._upkeep: Upkeep | None = None  # None: the schema is to be looked at before the next statement
        self._indicators: frozenset[str] = frozenset()
        self._series: set[tuple[str, str]] = set()  # (symbol, timeframe) of bars that this process has listed
        self._owner = ""
        self._claimed: dict[Key, dict[str, int]] = {}  # next offsets of the partitions that are ours

    def resume(self) -> dict[Key, int]:
        """The next offset wanted by (topic, partition). Rows that were not flushed are forgotten."""
        self.close()
        with self._looking_anew(), self._counting_faults():
            self._prepare()
            known: dict[Key, dict[str, int]] = {}
            with self._client.transaction() as session:
                found = session.rows(f'SELECT topic, "partition", table_name, next_offset FROM {self._schema}.offsets')
            for topic, partition, table, offset in found:
                if offset is not None:
                    known.setdefault((topic, partition), {})[table] = offset
            return self._held.begin(known)

    def flush(self) -> None:
        """Make all that waits durable, in one transaction: all of it or nothing."""
        keys = self._held.keys()
        if not keys:
            self._held.check_whole()
            return
        with self._looking_anew(), self._flushing():
            self._prepare()
            self._claim([key for key in keys if key not in self._claimed])
            self._store(keys)
            assert self._upkeep is not None  # noqa: S101  (as above)
            self._upkeep.tidy()
            self._held.check_whole()

    def close(self) -> None:
        super().close()
        self._claimed.clear()
        self._client.close()

    @contextmanager
    def _looking_anew(self) -> Iterator[None]:
        """After a fault the next flush looks anew at who owns what, and at how far it was stored."""
        try:
            yield
        except MarketPulseError:
            self._claimed.clear()
            self._upkeep = None
            raise

    def _prepare(self) -> None:
        if self._upkeep is not None:
            return
        self._series.clear()
        settings = self._settings
        layout = prepare(self._client, self._schema_name, settings.partition)
        if settings.reader_role is not None:
            password = settings.reader_password
            secret = password.get_secret_value() if password else None
            by_hand = open_to_reader(self._client, self._schema_name, settings.reader_role, secret)
            self.todo = (
                (f"may not make the role {settings.reader_role}: a user with CREATEROLE runs", by_hand)
                if by_hand
                else ("", "")
            )
        with self._client.transaction() as session:
            self._indicators = indicator_columns(session, self._schema_name)
        self._upkeep = Upkeep(settings, self._client, self._clock, layout)

    # Who owns a partition.

    def _claim(self, keys: list[Key]) -> None:
        """Take partitions over: from here on whoever held them before stores nothing more."""
        if not keys:
            return
        self._owner = self._owner or uuid.uuid4().hex
        places = [
            (*key, table) for key in keys for table in self.tables if TABLES[table][0] in _topics(self._held.of(key))
        ]
        claimed: dict[Key, dict[str, int]] = {key: {} for key in keys}
        with self._client.transaction() as session:
            found = session.rows(
                f"""INSERT INTO {self._schema}.offsets AS o (topic, "partition", table_name, owner)
                SELECT t, p, n, w FROM unnest($1, $2, $3, $4) AS mine(t, p, n, w) ORDER BY t, p, n
                ON CONFLICT (topic, "partition", table_name) DO UPDATE SET owner = excluded.owner, epoch = o.epoch + 1
                RETURNING topic, "partition", table_name, next_offset""",
                [*_columns(places), ([self._owner] * len(places), pa.string())],
            )
        for topic, partition, table, offset in found:
            if offset is not None:
                claimed[topic, partition][table] = offset
        for key, stored in claimed.items():
            if any(stored.get(table, -1) < offset for table, offset in self._held.known(key).items()):
                self._held.drop(key)
                raise Retryable(
                    f"{self.name}: the store has lost rows of {partition_name(*key)} that it held before: reading them again"
                )
        self._claimed |= claimed

    def _move_offsets(self, session: Session, moved: dict[Key, dict[str, int]]) -> None:
        """Raises Retryable when another process has taken one of the partitions over."""
        places = [(*key, table) for key, offsets in moved.items() for table in offsets]
        ends = [offset for offsets in moved.values() for offset in offsets.values()]
        found = session.rows(
            f"""UPDATE {self._schema}.offsets o SET next_offset = mine.e
            FROM unnest($1, $2, $3, $4, $5) AS mine(t, p, n, e, w)
            WHERE (o.topic, o."partition", o.table_name, o.owner) = (mine.t, mine.p, mine.n, mine.w)
            RETURNING o.topic, o."partition", o.table_name""",
            [*_columns(places), (ends, pa.int64()), ([self._owner] * len(places), pa.string())],
        )
        lost = {place[:2] for place in set(places) - set(found)}
        for key in lost:
            self._held.drop(key)
        if lost:
            names = ", ".join(sorted(partition_name(*key) for key in lost))
            raise Retryable(f"another process took {names} over: reading again from where it stands")

    # Rows.

    def _store(self, keys: list[Key]) -> None:
        moved, rows, counts = self._fresh(keys)
        if moved:
            tables = {name: ALL[name].arrange(one) for name, one in rows.items()}
            self._make_room(tables)
            self._commit(moved, tables)
            for name, count in counts.items():
                ROWS_STORED.labels(self.name, name).inc(count)
        for key in keys:
            self._claimed[key] |= moved.get(key, {})
            self._held.stored(key, dict(self._claimed[key]))

    def _fresh(self, keys: list[Key]) -> tuple[dict[Key, dict[str, int]], dict[str, pa.Table], dict[str, int]]:
        """What waits and is not stored yet: where each table's offsets move to, the rows of each, and their number."""
        moved: dict[Key, dict[str, int]] = {}
        waiting: dict[str, list[pa.RecordBatch]] = {}
        for key in keys:
            for table, batches in self._held.of(key).items():
                try:
                    fresh = [b for one in batches if (b := from_offset(one, self._claimed[key].get(table)))]
                except Retryable:
                    self._held.drop(key)
                    raise
                if fresh:
                    moved.setdefault(key, {})[table] = fresh[-1].next_offset
                    waiting.setdefault(table, []).extend(b.rows for b in fresh if b.rows.num_rows)
        rows = {
            table: pa.concat_tables([pa.Table.from_batches([b]) for b in batches], promote_options="default")
            for table, batches in waiting.items()
            if batches
        }
        return moved, rows, {table: one.num_rows for table, one in rows.items()}

    def _commit(self, moved: dict[Key, dict[str, int]], tables: dict[str, pa.Table]) -> None:
        aside = clean = False
        while True:
            try:
                with self._client.transaction() as session:
                    self._move_offsets(session, moved)
                    stored = {name: without_nul(rows) if clean else rows for name, rows in tables.items()}
                    for name, rows in stored.items():
                        put(session, self._schema_name, ALL[name], rows, aside=aside)
                    series = self._list_series(session, stored["bars"]) if "bars" in stored else set()
                self._series |= series
                return
            except Conflict as fault:
                if aside:
                    raise
                get_logger().warning("rows_were_stored_before", sink=self.name, fault=str(fault))
                aside = True
            except NotText as fault:
                if clean:
                    raise
                get_logger().warning("nul_in_text_replaced", sink=self.name, fault=str(fault))
                clean = True

    def _list_series(self, session: Session, bars: pa.Table) -> set[tuple[str, str]]:
        """List the series of these bars that are new to this process: `stock_data` finds bars by this list."""
        rows = bars.select(["symbol", "timeframe"]).group_by(["symbol", "timeframe"]).aggregate([]).to_pylist()
        # In one order everywhere: processes that list the same series never wait for each other in a ring.
        series = sorted({(row["symbol"], row["timeframe"]) for row in rows} - self._series)
        if series:
            session.rows(
                f"INSERT INTO {self._schema}.bar_series SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING RETURNING symbol",
                [([one[i] for one in series], pa.string()) for i in (0, 1)],
            )
        return set(series)

    # Room for them, and the end of old ones.

    def _make_room(self, tables: dict[str, pa.Table]) -> None:
        """Columns of new indicators, and the partitions that these rows fall into."""
        assert self._upkeep is not None  # noqa: S101  (`_prepare` has run)
        if "indicators" in tables:
            new = [n for n in tables["indicators"].column_names if n not in self._indicators]
            if new:
                with self._client.transaction() as session:
                    add_indicators(session, self._schema_name, new)
                    self._indicators = indicator_columns(session, self._schema_name)
        self._upkeep.make_ready(tables)


def _topics(tables: Iterable[str]) -> set[str]:
    return {TABLES[table][0] for table in tables}


def _columns(places: list[tuple[str, int, str]]) -> list[tuple[list[Any], pa.DataType]]:
    """Places (topic, partition, table) as three arrays."""
    kinds = (pa.string(), pa.int32(), pa.string())
    return [([place[i] for place in places], kind) for i, kind in enumerate(kinds)]
