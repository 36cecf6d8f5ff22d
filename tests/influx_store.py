"""A real InfluxDB 1.x as a store of the suite over all sinks: one server per test process, one database per test."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.model.rows import RECEIPT
from marketpulse.model.tables import TABLES
from marketpulse.telemetry import REGISTRY
from sink_stores import OnServer, Row
from time_series_servers import PASSWORD, USER, InfluxServer

ALL_TABLES = ["trades", "quotes", "bars", "indicators", "alerts"]
_numbers = itertools.count()


class InfluxStore(OnServer):
    """One database of the server."""

    name = "influx"
    keeps_offsets = False

    server: InfluxServer

    def __init__(self, server: InfluxServer) -> None:
        self.server = server
        self.database = f"suite {next(_numbers)}"

    def section(self) -> Mapping[str, Any]:
        login = {"user": USER, "password": PASSWORD}
        return {"url": self.server.url, "database": self.database, **login, "tables": ALL_TABLES, "timeout_s": 20}

    def refused(self) -> Mapping[str, Any]:
        return {**self.section(), "password": "another-secret"}

    def rows(self, table: str) -> list[Row]:
        return [row for point in self.server.rows(table, self.database) if (row := as_row(table, point)) is not None]

    def kept(self, table: str, row: Row) -> Row | None:
        """Everything but `events` and `dead_letters`, which are texts for people and no series."""
        return row if table in ALL_TABLES else None


def as_row(table: str, point: Mapping[str, Any]) -> Row | None:
    """A point under the contract's names; None for one that a revision took back."""
    if point.get("withdrawn"):
        return None
    schema = TABLES[table][1]
    time = {"bars": "open_time_ns", "indicators": "open_time_ns"}.get(table, "event_time_ns")
    row: Row = {}
    for field in schema:
        value = point.get("time" if field.name == time else field.name)
        if field.name == "type":
            value = table.removesuffix("s")
        elif field.name == "conditions" and value is not None:
            value = value.split(",")
        elif pa.types.is_struct(field.type):
            value = {part.name: point.get(f"{field.name}_{part.name}") for part in field.type}
        row[field.name] = float(value) if pa.types.is_floating(field.type) and value is not None else value
    if table == "indicators":
        known = {"time", "withdrawn", *schema.names}
        row |= {name: value for name, value in point.items() if name not in known and not name.startswith("receipt_")}
        row["receipt"] = {part.name: point.get(f"receipt_{part.name}") for part in RECEIPT}
    return row


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def influx_store(influx_server: InfluxServer) -> InfluxStore:
    return InfluxStore(influx_server)


def refused_points(reason: str) -> float:
    labels = {"sink": "influx", "reason": reason}
    return REGISTRY.get_sample_value("marketpulse_points_refused_total", labels) or 0
