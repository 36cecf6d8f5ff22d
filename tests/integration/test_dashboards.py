"""The Grafana dashboards: what `make docs` writes, with queries that a real InfluxDB 1.x and a real PostgreSQL answer."""

import importlib
import json
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import polars as pl
import pyarrow as pa
from grafana_foundation_sdk.models.dashboard import Dashboard
from pydantic import SecretStr

import marketpulse
from influx_store import InfluxStore
from marketpulse.app.frames import with_nanoseconds
from marketpulse.clock import SystemClock
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink, SinkBatch
from marketpulse.settings import DEFAULT_INDICATORS, InfluxSettings, PostgresSettings
from marketpulse.sinks.influx import open_influx
from marketpulse.sinks.postgres import open_postgres
from postgres_store import USER, PostgresPlace

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "marketpulse" / "data"
SECRET = "look only"  # noqa: S105


def writer_of(store: str) -> ModuleType:
    """docs/write_STORE_dashboard.py"""
    name = f"write_{store}_dashboard"
    with patch.object(sys, "path", [str(ROOT / "docs"), *sys.path]):
        return importlib.import_module(name)


def dashboard_of(store: str) -> dict[str, Any]:
    return dict(json.loads(writer_of(store).text()))


def test_dashboards_are_what_their_writers_say_grafanas_model_reads_them_and_they_ask_our_data_source() -> None:
    for writer in map(writer_of, ("influx", "postgres")):
        text = writer.FILE.read_text()
        assert text == writer.text(), "run `make docs`: the dashboard is out of date"
        read = Dashboard.from_json(json.loads(text))
        assert [panel.title for panel in read.panels or []] == [p["title"] for p in json.loads(text)["panels"]]
    sources = (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "stores.yaml").read_text()
    for panel in dashboard_of("postgres")["panels"]:
        assert panel["description"], panel["title"]
        for asked in (panel["datasource"], panel["targets"][0]["datasource"]):
            assert f"uid: {asked['uid']}" in sources
            assert f"type: {asked['type']}" in sources


def computed(file: str, timeframe: str, rows: int) -> pa.Table:
    """A real file's first rows with the engine's own default indicators."""
    frame = pl.read_csv(DATA / file).head(rows)
    computed = marketpulse.compute(frame, DEFAULT_INDICATORS, symbol=Path(file).stem, timeframe=timeframe)
    return with_nanoseconds(computed).to_arrow()


def store(sink: Sink, *tables: pa.Table, **more: list[dict[str, Any]]) -> list[int]:
    """Bars and values of these, the first of them revised, an alert between them, and more; the times of the first."""
    names = [name for name in tables[0].column_names if name not in BAR.names]
    times: list[int] = tables[0]["open_time_ns"].to_pylist()
    bars = [row for table in tables for row in table.to_pylist()]
    bars[0] = {**bars[0], "revision": 1}
    bars[1:] = [{**bar, "revision": 0} for bar in bars[1:]]
    place = {"symbol": "SPY", "timeframe": "1m", "open_time_ns": times[5], "event_time_ns": times[6]}
    rule = {"rule": "dip", "severity": "info", "state": "raised", "message": "rsi_14 < 30"}
    alert = {**place, **rule, "late": False, "value": 29.5, "revision": 0}
    schemas = {"indicators": indicators_schema(names), "alerts": ALERT}
    for table, rows in {"bars": bars, "indicators": bars, "alerts": [alert], **more}.items():
        schema = schemas.get(table, TABLES[table][1])
        told = pa.RecordBatch.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
        sink.write(SinkBatch(table, TABLES[table][0], 0, 0, len(rows), told))
    sink.flush()
    return times


def ask_influx(place: InfluxStore, query: str, times: list[int]) -> list[dict[str, Any]]:
    """The query with Grafana's own words filled in."""
    words = {"$timeFilter": f"time >= {times[0]} AND time <= {times[-1]}", "$__interval": "5m"}
    for word, value in {**words, "$symbol": "SPY", "$timeframe": "1m"}.items():
        query = query.replace(word, value)
    assert "$" not in query
    return place.server.query(query, place.database)


def test_every_query_over_influx_gives_rows_and_longer_bars_sum_the_smaller_ones(influx_store: InfluxStore) -> None:
    times = store(open_influx(InfluxSettings(**influx_store.section())), computed("minutes/SPY.csv", "1m", 300))
    dashboard = dashboard_of("influx")
    panels = {panel["title"]: panel["targets"][0]["query"] for panel in dashboard["panels"]}
    assert len(panels) == 8
    for title, query in panels.items():
        found = ask_influx(influx_store, query, times)
        assert found, title
        columns = zip(found[0]["columns"], zip(*found[0]["values"], strict=True), strict=True)
        empty = [name for name, column in columns if all(value is None for value in column)]
        assert empty == [], f"{title}: nothing in {empty}"

    (bars,) = ask_influx(influx_store, panels["$symbol, bars of $timeframe"], times)
    small = pl.DataFrame(influx_store.rows("bars")).sort("open_time_ns")
    five, column = 5 * 60 * 10**9, pl.col
    ends = (column("open").first(), column("high").max(), column("low").min(), column("close").last())
    grouped = small.group_by(column("open_time_ns") // five * five, maintain_order=True).agg(
        *ends, column("volume").sum()
    )
    assert [tuple(row) for row in bars["values"]] == grouped.rows()

    variables = dashboard["templating"]["list"]
    choices = [ask_influx(influx_store, one["query"], times)[0]["values"] for one in variables]
    assert choices == [[["symbol", "SPY"]], [["timeframe", "1m"]]]


def for_postgres(sql: str, first_ns: int, last_ns: int) -> str:
    """The query with Grafana's own words filled in, as its PostgreSQL data source does."""
    sql = sql.replace("${symbol:sqlstring}", "'SPY'").replace("${timeframe:sqlstring}", "'1m'")
    between = rf"\1 BETWEEN to_timestamp({first_ns / 1e9:.3f}) AND to_timestamp({last_ns / 1e9:.3f})"
    sql = re.sub(r"\$__timeFilter\((\w+)\)", between, sql)
    sql = re.sub(r"\$__timeGroupAlias\((\w+), \$__interval\)", r'floor(extract(epoch from \1)/300)*300 AS "time"', sql)
    assert "$" not in sql
    return sql


def test_every_query_over_postgres_brings_rows_to_the_role_that_only_reads(place: PostgresPlace) -> None:
    reader = f"r_{place.database}"
    minutes, days = computed("minutes/SPY.csv", "1m", 300), computed("daily/KO.csv", "1d", 30)
    trade = {"type": "trade", "symbol": "SPY", "source": "test", "event_time_ns": minutes["open_time_ns"][3].as_py(),
             "price": 1.5, "size": 1.0, "topic": "market", "partition": 0, "offset": 0, "row": 0}  # fmt: skip
    letter = {"reason": "not_json", "value": "{"}
    place.sql(f"ALTER ROLE {USER} CREATEROLE")
    section = {**place.section(), "reader_role": reader, "reader_password": SecretStr(SECRET)}
    sink = open_postgres(PostgresSettings(**section), SystemClock())
    try:
        times = store(sink, minutes, days, trades=[trade], dead_letters=[letter])
    finally:
        sink.close()
        place.sql(f"ALTER ROLE {USER} NOCREATEROLE")

    dashboard = dashboard_of("postgres")
    asked = {panel["title"]: panel["targets"][0]["rawSql"] for panel in dashboard["panels"]}
    asked |= {one["name"]: one["query"] for one in dashboard["templating"]["list"]}
    assert len(asked) == 13
    for title, sql in asked.items():
        last = time.time_ns() if title == "Dead letters" else times[-1]
        found = place.sql(for_postgres(sql, times[0], last), reader, SECRET)
        assert found, title
        if "FROM marketpulse.indicators" in sql:
            assert len(found) == 300
            assert all(found[-1].split("|")), f"{title}: a value is missing at the end"
