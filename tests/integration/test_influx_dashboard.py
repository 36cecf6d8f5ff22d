"""The Grafana dashboard over InfluxDB: what `make docs` writes, with queries that a real InfluxDB 1.x answers with rows."""

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard

import marketpulse
from influx_store import InfluxStore
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import DEFAULT_INDICATORS, InfluxSettings
from marketpulse.sinks.influx import open_influx

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MINUTES = ROOT / "src" / "marketpulse" / "data" / "minutes" / "SPY.csv"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboard_writer", ROOT / "docs" / "write_influx_dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def panels(writer: ModuleType) -> dict[str, Any]:
    """Each panel's query by its title."""
    dashboard = json.loads(writer.text())
    return {panel["title"]: panel["targets"][0] for panel in dashboard["panels"]}


def test_the_dashboard_is_what_its_writer_says_and_grafanas_own_model_reads_it(writer: ModuleType) -> None:
    text = writer.FILE.read_text()
    assert text == writer.text(), "run `make docs`: the dashboard is out of date"
    read = Dashboard.from_json(json.loads(text))
    assert [panel.title for panel in read.panels or []] == [p["title"] for p in json.loads(text)["panels"]]


def as_grafana_asks(query: str, first_ns: int, last_ns: int) -> str:
    """The query with Grafana's own words filled in."""
    words = {
        "$timeFilter": f"time >= {first_ns} AND time <= {last_ns}", "$__interval": "5m", "$symbol": "SPY", "$timeframe": "1m",
    }  # fmt: skip
    for word, value in words.items():
        query = query.replace(word, value)
    assert "$" not in query
    return query


@pytest.fixture
def stored(influx_store: InfluxStore) -> tuple[InfluxStore, int, int]:
    """A day of real minutes with the engine's own default indicators, one of them revised, and an alert."""
    rows = marketpulse.compute(
        pl.read_csv(MINUTES).head(300), DEFAULT_INDICATORS, symbol="SPY", timeframe="1m"
    ).to_arrow()
    names = [name for name in rows.column_names if name not in BAR.names]
    revised = rows.append_column("revision", pa.array([1, *[0] * (rows.num_rows - 1)]))
    times = rows["open_time_ns"].to_pylist()
    alert = {
        "symbol": "SPY", "rule": "dip", "severity": "info", "timeframe": "1m", "open_time_ns": times[5], "event_time_ns": times[6],
        "state": "raised", "late": False, "value": 29.5, "message": "rsi_14 < 30", "revision": 0,
    }  # fmt: skip
    sink = open_influx(InfluxSettings(**influx_store.section()))
    batches: Mapping[str, tuple[list[dict[str, Any]], pa.Schema]] = {
        "bars": (revised.to_pylist(), BAR),
        "indicators": (revised.to_pylist(), indicators_schema(names)),
        "alerts": ([alert], ALERT),
    }
    for table, (some, schema) in batches.items():
        whole = [{name: row.get(name) for name in schema.names} for row in some]
        sink.write(
            SinkBatch(table, TABLES[table][0], 0, 0, len(some), pa.RecordBatch.from_pylist(whole, schema=schema))
        )
    sink.flush()
    return influx_store, times[0], times[-1]


def test_every_panels_query_gives_rows(panels: dict[str, Any], stored: tuple[InfluxStore, int, int]) -> None:
    store, first_ns, last_ns = stored
    assert len(panels) == 8
    for title, target in panels.items():
        found = store.server.query(as_grafana_asks(target["query"], first_ns, last_ns), store.database)
        assert found, title
        values = list(zip(*found[0]["values"], strict=True))
        columns = dict(zip(found[0]["columns"], values, strict=True))
        empty = [name for name, column in columns.items() if all(value is None for value in column)]
        assert empty == [], f"{title}: nothing in {empty}"


def test_the_bars_of_an_interval_are_what_the_smaller_ones_say(
    panels: dict[str, Any], stored: tuple[InfluxStore, int, int]
) -> None:
    store, first_ns, last_ns = stored
    title = "$symbol, bars of $timeframe"
    (found,) = store.server.query(as_grafana_asks(panels[title]["query"], first_ns, last_ns), store.database)
    small = pl.DataFrame(store.rows("bars")).sort("open_time_ns")
    five = 5 * 60 * 10**9
    wanted = (
        small.group_by(pl.col("open_time_ns") // five * five, maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .rows()
    )
    assert [tuple(row) for row in found["values"]] == wanted


def test_the_choices_are_the_symbols_and_their_timeframes(
    writer: ModuleType, stored: tuple[InfluxStore, int, int]
) -> None:
    store, _, _ = stored
    variables = json.loads(writer.text())["templating"]["list"]
    found = [store.server.query(v["query"].replace("$symbol", "SPY"), store.database)[0]["values"] for v in variables]
    assert found == [[["symbol", "SPY"]], [["timeframe", "1m"]]]
