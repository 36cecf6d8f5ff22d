"""InfluxDB as a sink, and whatever else speaks its line protocol: one measurement per table (influx_points.py).

The store keeps no offsets: after a restart rows come again from where the reader has told Kafka that it is, and
writing a point again replaces it. While a replay runs, an older revision may stand where a newer one stood; it ends with the newest.
"""

import polars as pl
import pyarrow as pa

from marketpulse.errors import Fatal, MarketPulseError
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.held import HeldSink
from marketpulse.sinks.influx_api import Api, TooLarge, connect
from marketpulse.sinks.influx_http import Connection
from marketpulse.sinks.influx_points import Points, keys, points
from marketpulse.sinks.line_protocol import bodies, lines
from marketpulse.telemetry import POINTS_REFUSED, ROWS_STORED, get_logger

_ROWS = 50_000  # made into text at a time


def open_influx(settings: InfluxSettings) -> "InfluxSink":
    return InfluxSink(settings)


class InfluxSink(HeldSink):
    """ports.Sink over one database (or bucket). The server is first asked for when there is something to do."""

    def __init__(self, settings: InfluxSettings) -> None:
        super().__init__("influx", f"{settings.url}/{settings.database}", settings.tables)
        self._settings = settings
        self._connection = Connection(settings)
        self._api: Api | None = None  # known and prepared
        self._body_bytes_max = settings.body_bytes_max

    def resume(self) -> None:
        """None: no offsets are kept. Rows that were not flushed are forgotten. Raises Retryable while the server is away."""
        self._held.begin({})
        self._api = None
        self._prepared()

    def flush(self) -> None:
        """Write all that waits. After a fault all of it waits still; what was written of it is written again."""
        try:
            with self._flushing():
                self._write_all()
        except MarketPulseError:
            self._api = None  # look anew: another server may answer next time
            raise

    def close(self) -> None:
        super().close()
        self._connection.close()

    def _write_all(self) -> None:
        api = self._prepared()
        for table in self.tables:
            if rows := self._waiting(table):
                some = pa.concat_tables(rows, promote_options="default")
                self._store(api, points(table, some, self._settings.trade_slots))
                ROWS_STORED.labels(self.name, table).inc(some.num_rows)
        for key in self._held.keys():  # noqa: SIM118  (not a mapping)
            new = {table: batches[-1].next_offset for table, batches in self._held.of(key).items()}
            self._held.stored(key, {**self._held.known(key), **new})

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
            get_logger().warning("trades_share_a_point", trades=wanted.shared, remedy="raise sinks.influx.trade_slots")
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
