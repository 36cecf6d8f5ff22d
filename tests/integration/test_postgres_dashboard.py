"""The Grafana dashboard over PostgreSQL: what `make docs` writes, with queries that the reading role gets rows for."""

import importlib.util
import json
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard
from pydantic import SecretStr

import marketpulse
from marketpulse.clock import SystemClock
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import DEFAULT_INDICATORS, PostgresSettings
from marketpulse.sinks.postgres import open_postgres
from postgres_store import USER, PostgresPlace, postgres_server, postgres_store  # noqa: F401

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "marketpulse" / "data"
SECRET = "look only"  # noqa: S105
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "postgres_dashboard_writer", ROOT / "docs" / "write_postgres_dashboard.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_dashboard_is_what_its_writer_says_and_grafanas_own_model_reads_it(writer: ModuleType) -> None:
    text = writer.FILE.read_text()
    assert text == writer.text(), "run `make docs`: the dashboard is out of date"
    read = Dashboard.from_json(json.loads(text))
    assert [panel.title for panel in read.panels or []] == [p["title"] for p in json.loads(text)["panels"]]


def test_every_panel_says_what_it_shows_and_asks_our_data_source(writer: ModuleType) -> None:
    sources = (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "stores.yaml").read_text()
    for panel in json.loads(writer.text())["panels"]:
        assert panel["description"], panel["title"]
        for asked in (panel["datasource"], panel["targets"][0]["datasource"]):
            assert f"uid: {asked['uid']}" in sources
            assert f"type: {asked['type']}" in sources


def as_grafana_asks(sql: str, first_ns: int, last_ns: int) -> str:
    """The query with Grafana's own words filled in, as its PostgreSQL data source does."""
    sql = sql.replace("${symbol:sqlstring}", "'SPY'").replace("${timeframe:sqlstring}", "'1m'")
    sql = re.sub(
        r"\$__timeFilter\((\w+)\)",
        rf"\1 BETWEEN to_timestamp({first_ns / 1e9:.3f}) AND to_timestamp({last_ns / 1e9:.3f})",
        sql,
    )
    sql = re.sub(r"\$__timeGroupAlias\((\w+), \$__interval\)", r'floor(extract(epoch from \1)/300)*300 AS "time"', sql)
    assert "$" not in sql
    return sql


def computed(file: Path, symbol: str, timeframe: str, rows: int) -> pa.Table:
    return marketpulse.compute(
        pl.read_csv(file).head(rows), DEFAULT_INDICATORS, symbol=symbol, timeframe=timeframe
    ).to_arrow()


def test_every_query_brings_rows_to_the_role_that_only_reads(
    writer: ModuleType,
    postgres_store: PostgresPlace,  # noqa: F811
) -> None:
    place, reader = postgres_store, f"r_{postgres_store.database}"
    minutes = computed(DATA / "minutes" / "SPY.csv", "SPY", "1m", 300)
    days = computed(DATA / "daily" / "KO.csv", "KO", "1d", 30)
    names = [name for name in minutes.column_names if name not in BAR.names]
    times = minutes["open_time_ns"].to_pylist()
    bars = [{**row, "revision": int(i == 0)} for i, row in enumerate(minutes.to_pylist() + days.to_pylist())]
    trade = {"type": "trade", "symbol": "SPY", "source": "test", "event_time_ns": times[3], "price": 1.5, "size": 1.0,
             "topic": "market", "partition": 0, "offset": 0, "row": 0}  # fmt: skip
    alert = {
        "symbol": "SPY", "rule": "dip", "severity": "info", "timeframe": "1m", "open_time_ns": times[5], "event_time_ns": times[6],
        "state": "raised", "late": False, "value": 29.5, "message": "rsi_14 < 30", "revision": 0,
    }  # fmt: skip
    batches: dict[str, tuple[Rows, pa.Schema]] = {
        "trades": ([trade], TABLES["trades"][1]), "bars": (bars, BAR), "indicators": (bars, indicators_schema(names)),
        "alerts": ([alert], ALERT), "dead_letters": ([{"reason": "not_json", "value": "{"}], TABLES["dead_letters"][1]),
    }  # fmt: skip
    settings = {**place.section(), "reader_role": reader, "reader_password": SecretStr(SECRET)}
    place.sql(f"ALTER ROLE {USER} CREATEROLE")
    sink = open_postgres(PostgresSettings(**settings), SystemClock())
    try:
        for table, (rows, schema) in batches.items():
            whole = [{name: row.get(name) for name in schema.names} for row in rows]
            told = pa.RecordBatch.from_pylist(whole, schema=schema)
            sink.write(SinkBatch(table, TABLES[table][0], 0, 0, len(rows), told))
        sink.flush()
    finally:
        sink.close()
        place.sql(f"ALTER ROLE {USER} NOCREATEROLE")

    dashboard = json.loads(writer.text())
    asked = {panel["title"]: panel["targets"][0]["rawSql"] for panel in dashboard["panels"]}
    asked |= {one["name"]: one["query"] for one in dashboard["templating"]["list"]}
    assert len(asked) == 13
    for title, sql in asked.items():
        last = time.time_ns() if title == "Dead letters" else times[-1]
        found = place.sql(as_grafana_asks(sql, times[0], last), reader, SECRET)
        assert found, title
        if "FROM marketpulse.indicators" in sql:
            assert len(found) == 300
            assert all(found[-1].split("|")), f"{title}: a value is missing at the end"
