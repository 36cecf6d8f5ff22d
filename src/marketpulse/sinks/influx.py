"""InfluxDB as a sink, and whatever else speaks its line protocol: one measurement per table (influx_points.py).

The store keeps no offsets: after a restart rows come again from where the reader has told Kafka that it is, and
writing a point again replaces it. While a replay runs, an older revision may stand where a newer one stood; it ends with the newest.
"""

import time

import polars as pl
import pyarrow as pa

from marketpulse.errors import Fatal, MarketPulseError
from marketpulse.ports import SinkBatch
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.held import HeldRows
from marketpulse.sinks.influx_api import Api, TooLarge, connect
from marketpulse.sinks.influx_http import Connection
from marketpulse.sinks.influx_points import Points, keys, points
from marketpulse.sinks.line_protocol import bodies, lines
from marketpulse.telemetry import FLUSH_SECONDS, POINTS_REFUSED, ROWS_STORED, SINK_ERRORS, get_logger

_ROWS = 50_000  # made into text at a time


def open_influx(settings: InfluxSettings) -> "InfluxSink":
    return InfluxSink(settings)


class InfluxSink:
    """ports.Sink over one database (or bucket). The server is first asked for when there is something to do."""

    name = "influx"

    def __init__(self, settings: InfluxSettings) -> None:
        self.where = f"{settings.url}/{settings.database}"
        self._settings = settings
        self._held = HeldRows(self.name, settings.tables)
        self._connection = Connection(settings)
        self._api: Api | None = None  # known and prepared
        self._body_bytes_max = settings.body_bytes_max

    @property
    def tables(self) -> tuple[str, ...]:
        return self._held.tables

    @property
    def waiting_rows(self) -> int:
        return self._held.rows

    @property
    def waiting_bytes(self) -> int:
        return self._held.bytes

    def resume(self) -> None:
        """None: no offsets are kept. Rows that were not flushed are forgotten. Raises Retryable while the server is away."""
        self._held.begin({})
        self._api = None
        self._prepared()

    def write(self, batch: SinkBatch) -> None:
        self._held.take(batch)

    def flush(self) -> None:
        """Write all that waits. After a fault all of it waits still; what was written of it is written again."""
        began = time.perf_counter()
        try:
            api = self._prepared()
            for table in self.tables:
                if rows := self._waiting(table):
                    self._store(
                        api,
                        points(
                            table,
                            pa.concat_tables(rows, promote_options="default"),
                            self._settings.trade_slots,
                        ),
                    )
                    ROWS_STORED.labels(self.name, table).inc(sum(some.num_rows for some in rows))
        except MarketPulseError:
            SINK_ERRORS.labels(self.name).inc()
            self._api = None  # look anew: another server may answer next time
            raise
        for key in self._held.keys():  # noqa: SIM118  (not a mapping)
            new = {table: batches[-1].next_offset for table, batches in self._held.of(key).items()}
            self._held.stored(key, {**self._held.known(key), **new})
        FLUSH_SECONDS.labels(self.name).observe(time.perf_counter() - began)

    def close(self) -> None:
        """Rows that were not flushed are forgotten, and will be read again."""
        self._held.forget()
        self._connection.close()

    def _prepared(self) -> Api:
        if self._api is None:
            api = connect(self._settings, self._connection)
            api.prepare()
            self._api = api
        return self._api

    def _waiting(self, table: str) -> list[pa.Table]:
        """A table's rows, each partition's in the order of the log: a symbol stands in one partition."""
        waiting = (self._held.of(key).get(table, ()) for key in self._held.keys())  # noqa: SIM118
        return [pa.Table.from_batches([b.rows]) for batches in waiting for b in batches if b.rows.num_rows]

    def _store(self, api: Api, wanted: Points) -> None:
        """1. what a revision emptied is removed; 2. the rows are written."""
        if wanted.shared:
            POINTS_REFUSED.labels(self.name, "same_key").inc(wanted.shared)
            get_logger().warning(
                "trades_share_a_point", trades=wanted.shared, remedy="raise sinks.influx.trade_slots"
            )
        if wanted.emptied.height:
            api.remove(wanted.table, keys(wanted.emptied))
        for some in wanted.rows.iter_slices(_ROWS):
            self._send(api, lines(wanted.table, some, wanted.tags, wanted.time))

    def _send(self, api: Api, written: pl.Series) -> None:
        """Write lines, in smaller bodies where the server says that one was too large; that size then stays."""
        for body, rows in bodies(written, self._body_bytes_max):
            try:
                api.write(body)
            except TooLarge:
                if rows == 1:
                    raise Fatal(
                        f"{self.where} takes no body of {len(body):,} bytes, which is one row: raise the server's limit; nothing is lost"
                    ) from None
                self._body_bytes_max = len(body) // 2
                get_logger().info("body_was_too_large", store=self.where, bytes=len(body))
                self._send(api, written)  # from the first line on: the same again changes nothing
                return
