"""Partitions made before their rows come, and old rows dropped.

Both need a table for themselves for a moment. Neither is worth making readers or the sink wait: who cannot have
the table soon lets it be, rows go to the default partition meanwhile, and it is tried again later.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.clock import Clock
from marketpulse.errors import Retryable
from marketpulse.model.timeframe import DAY_NS
from marketpulse.settings import PostgresSettings
from marketpulse.sinks.postgres_client import Client, Session
from marketpulse.sinks.postgres_faults import identifier
from marketpulse.sinks.postgres_periods import PARTITIONED, Layout, Period, wanted
from marketpulse.sinks.postgres_schema import lock
from marketpulse.sinks.postgres_tables import ALL, Table
from marketpulse.telemetry import SINK_ERRORS, get_logger

TIDY_EVERY_S = 3_600.0
AGAIN_AFTER_S = 60.0
_LOCK_S = 2.0  # readers queue behind us for that long at most
_FOREVER = dt.timedelta(days=100_000)


class Upkeep:
    """What is due, and when it was done last. `layout` is how this schema is cut into pieces."""

    def __init__(self, settings: PostgresSettings, client: Client, clock: Clock, layout: Layout) -> None:
        self._settings, self._client, self._clock, self._layout = settings, client, clock, layout
        self._name, self._schema = settings.schema_name, identifier(settings.schema_name)
        self._ready: dict[str, set[Period]] = {table.name: set() for table in PARTITIONED}
        self._not_before = dict.fromkeys(self._ready, float("-inf"))
        self._tidied = float("-inf")

    def make_ready(self, rows: Mapping[str, pa.Table]) -> None:
        """Partitions for these rows (arranged, by table) and for those to come."""
        for table in PARTITIONED:
            if table.name not in rows or self._clock.monotonic() < self._not_before[table.name]:
                continue
            ns = rows[table.name].column(table.times[table.time])
            days = pc.unique(pc.divide(ns, DAY_NS)).to_pylist()
            times = [dt.datetime.fromtimestamp(day * DAY_NS // 10**9, dt.UTC) for day in days]
            periods = wanted(times, self._now(), self._settings.partition, self._keep(table) or _FOREVER)
            if self._ready[table.name].issuperset(periods):
                continue
            if self._alone(table, partial(self._layout.make_ready, schema=self._schema, table=table, periods=periods)):
                self._ready[table.name].update(periods)
            else:
                self._not_before[table.name] = self._clock.monotonic() + AGAIN_AFTER_S

    def tidy(self) -> None:
        """Once an hour: drop what is older than its table keeps."""
        if not self._settings.retention_days or self._clock.monotonic() - self._tidied < TIDY_EVERY_S:
            return
        self._tidied = self._clock.monotonic()
        for table in ALL.values():
            keep = self._keep(table)
            if keep is not None:
                self._alone(table, partial(self._drop_old, table=table, before=self._now() - keep))

    def _alone(self, table: Table, work: Callable[[Session], None]) -> bool:
        """Whether it could be done: nobody else changed the schema, and no reader was in the way."""
        try:
            with self._client.transaction() as session:
                session.run(f"SET LOCAL lock_timeout = {round(_LOCK_S * 1000)}")
                lock(session, self._name)
                work(session)
        except Retryable as fault:
            SINK_ERRORS.labels("postgres").inc()
            get_logger().warning("upkeep_waits", sink="postgres", table=table.name, fault=str(fault))
            return False
        return True

    def _drop_old(self, session: Session, table: Table, before: dt.datetime) -> None:
        if table.partitioned:
            self._layout.drop_old(session, self._schema, table, before)
        else:
            session.run(f"DELETE FROM {self._schema}.{table.name} WHERE \"{table.time}\" < '{before.isoformat()}'")

    def _keep(self, table: Table) -> dt.timedelta | None:
        days = self._settings.retention_days.get(table.name)  # type: ignore[call-overload]  # its keys are our tables
        return None if days is None else dt.timedelta(days=days)

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock.now_ns() / 1e9, dt.UTC)
