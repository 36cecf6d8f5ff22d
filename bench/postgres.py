"""How fast rows come to rest in PostgreSQL, beside a bare COPY of the same rows by the same client.

    python bench/postgres.py [--rows 200000] [--symbols 100] [--flush 100000] [--rounds 3]

A server of its own, with its durable defaults. `copy` is COPY of columns that are arranged already into a table without key or index, a
transaction for each flush; `copy_keyed` the same into a table with the sink's keys, indexes and partitions; `sink` is
everything that the sink does: arranging the contract's rows, its offsets, and COPY. `sink_revised` gives every row again
with the next revision. The rounds take turns, each with tables of its own; the median round counts.
"""

# ruff: noqa: S608  (SQL of our own)

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from results import report

from marketpulse.clock import ManualClock
from marketpulse.model.rows import BAR, RECEIPT, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import PostgresSettings
from marketpulse.sinks.postgres import PostgresSink, open_postgres
from marketpulse.sinks.postgres_client import Client
from marketpulse.sinks.postgres_faults import Address
from marketpulse.sinks.postgres_tables import ALL

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from postgres_store import PASSWORD, PostgresPlace, PostgresServer

NAMES = ("sma_20", "ema_12", "ema_26", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist",
         "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "vwap", "atr_14")  # fmt: skip
BEGIN_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
Batches = list[SinkBatch]


def market(given: argparse.Namespace) -> dict[str, Batches]:
    """The same market as trades, 1s bars and their indicators, each cut into flushes; one row of each symbol in turn."""
    n = given.rows
    random = np.random.default_rng(1)
    i = np.arange(n)
    symbols = pa.array([f"SYM{k:05d}" for k in range(given.symbols)]).take(pa.array(i % given.symbols))
    times = BEGIN_NS + i // given.symbols * 10**9
    price = np.round(100 + random.standard_normal(n).cumsum() * 0.01, 2)

    def column(field: pa.Field, special: dict[str, Any]) -> Any:
        known: dict[str, Any] = {
            "symbol": symbols, "event_time_ns": times, "ingest_time_ns": times, "open_time_ns": times,
            "close_time_ns": times + 10**9, "price": price, "offset": i, "trade_id": pa.array(i).cast(pa.string()),
            **special,
        }  # fmt: skip
        if field.name in known:
            return pa.array(known[field.name], field.type)
        if field.type == pa.float64():
            return pa.array(price + random.random(n))
        if field.type in (pa.int64(), pa.int32()):
            return pa.array(np.zeros(n), field.type)
        if field.type == pa.string():
            return pa.repeat("3", n).cast(pa.string())
        return pa.nulls(n, field.type)

    receipts = pa.StructArray.from_arrays(
        [column(f, {"topic": ["market"] * n, "first_offset": i, "last_offset": i}) for f in RECEIPT],
        fields=list(RECEIPT),
    )
    special = {"receipt": receipts, "timeframe": ["1s"] * n, "topic": ["market"] * n}
    schemas = {"trades": TABLES["trades"][1], "bars": BAR, "indicators": indicators_schema(NAMES)}
    found = {}
    for table, schema in schemas.items():
        rows = pa.record_batch([column(f, special) for f in schema], schema=schema)
        found[table] = [
            SinkBatch(table, TABLES[table][0], 0, first, min(first + given.flush, n), rows.slice(first, given.flush))
            for first in range(0, n, given.flush)
        ]
    return found


def revised(batches: Batches) -> Batches:
    """Each row again, with revision 1, at the offsets behind."""
    end = batches[-1].next_offset
    again = []
    for one in batches:
        rows = pa.Table.from_batches([one.rows])
        place = rows.schema.get_field_index("revision")
        rows = rows.set_column(place, rows.schema.field(place), pa.array(np.ones(len(rows)), pa.int64()))
        (batch,) = rows.combine_chunks().to_batches()
        again.append(SinkBatch(one.table, one.topic, 0, one.first_offset + end, one.next_offset + end, batch))
    return again


@contextmanager
def opened(server: PostgresServer) -> Iterator[tuple[PostgresSink, Client]]:
    """The sink, with its tables made, in a database of its own; and a bare client there."""
    place = PostgresPlace(server)
    section = place.section()
    sink = open_postgres(PostgresSettings(**section), ManualClock(BEGIN_NS))
    sink.resume()
    client = Client(Address.of(section["url"], PASSWORD), 600)
    yield sink, client
    sink.close()
    client.close()
    server.sql(f"DROP DATABASE {place.database} WITH (FORCE)")


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def store(sink: PostgresSink, batches: Batches) -> None:
    for one in batches:
        sink.write(one)
        sink.flush()


def copy(client: Client, place: str, prepared: list[pa.Table]) -> None:
    for rows in prepared:
        with client.transaction() as session:
            session.copy(place, rows, "marketpulse")


def one_round(server: PostgresServer, table: str, batches: Batches) -> dict[str, float]:
    """Seconds by way."""
    took = {}
    columns = [*ALL[table].columns(), *(NAMES if table == "indicators" else ())]
    with opened(server) as (sink, client):
        store(
            sink, [SinkBatch(table, batches[0].topic, 1, 0, 1, batches[0].rows.slice(0, 1))]
        )  # partitions and columns
        with client.transaction() as session:
            session.run(f"TRUNCATE marketpulse.{table}")
            session.run(f"CREATE TABLE marketpulse.plain AS SELECT * FROM marketpulse.{table}")
        prepared = []
        for one in batches:
            arranged = ALL[table].arrange(pa.Table.from_batches([one.rows]))
            prepared.append(arranged.select([name for name in columns if name in arranged.column_names]))
        took["copy"] = timed(lambda: copy(client, "plain", prepared))
        took["copy_keyed"] = timed(lambda: copy(client, table, prepared))
        with client.transaction() as session:
            session.run(f"TRUNCATE marketpulse.{table}")
        took["sink"] = timed(lambda: store(sink, batches))
        if "revision" in batches[0].rows.schema.names:
            again = revised(batches)
            took["sink_revised"] = timed(lambda: store(sink, again))
        with client.transaction() as session:
            assert session.rows(f"SELECT count(*) FROM marketpulse.{table}")[0][0] == batches[-1].next_offset
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000, help="of each table")
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--flush", type=int, default=100_000, help="rows of a flush")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    feeds = market(given)
    server = PostgresServer()
    rounds: dict[str, list[dict[str, float]]] = {table: [] for table in feeds}
    try:
        for _ in range(given.rounds):
            for table, batches in feeds.items():
                rounds[table].append(one_round(server, table, batches))
    finally:
        server.close()
    ways = ("copy", "copy_keyed", "sink", "sink_revised")
    total = dict.fromkeys(ways[:3], 0.0)
    for table, found in rounds.items():
        seconds = {way: statistics.median(one[way] for one in found) for way in ways if way in found[0]}
        for way, took in seconds.items():
            total[way] = total.get(way, 0.0) + took
            tell(
                f"{way}_{table}", given.rows / took, None if way == "copy" else seconds["copy"] / took, f"copy_{table}"
            )
    for way in ways[:3]:
        tell(
            f"{way}_all",
            given.rows * len(feeds) / total[way],
            None if way == "copy" else total["copy"] / total[way],
            "copy_all",
        )


def tell(name: str, rows_s: float, ratio: float | None, to: str) -> None:
    report({
        "name": f"postgres_{name}", "value": round(rows_s), "unit": "rows/s",
        "ratio": None if ratio is None else round(ratio, 2), "ratio_to": None if ratio is None else f"postgres_{to}",
    })  # fmt: skip


if __name__ == "__main__":
    main()
