"""The sink on a real InfluxDB 1.x and a real VictoriaMetrics: limits, logins and keys. And the Grafana dashboards: what
`make docs` writes, with queries that a real InfluxDB 1.x and a real PostgreSQL answer."""

import importlib
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import httpx
import polars as pl
import pyarrow as pa
import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard
from pydantic import SecretStr

import marketpulse
from influx_store import InfluxStore, refused_points
from log_of_rows import HOUR_NS, START_NS, batch
from marketpulse.app.frames import with_nanoseconds
from marketpulse.clock import SystemClock
from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink, SinkBatch
from marketpulse.settings import DEFAULT_INDICATORS, InfluxSettings, PostgresSettings
from marketpulse.sinks.influx import InfluxSink, open_influx
from marketpulse.sinks.postgres import open_postgres
from postgres_store import USER as POSTGRES_USER
from postgres_store import PostgresPlace
from refused import assert_raises
from sink_stores import PASSWORD, USER, InfluxServer, Server, victoria_metrics


def opened(store: InfluxStore, **given: Any) -> InfluxSink:
    return open_influx(InfluxSettings(**{**store.section(), **given}))


def written(sink: InfluxSink, table: str, some: list[dict[str, Any]], schema: pa.Schema | None = None) -> None:
    """These rows and no others wait no more."""
    topic = TABLES[table][0]
    sink.resume()
    sink.write(SinkBatch(table, topic, 0, 0, len(some), pa.RecordBatch.from_pylist(some, schema or TABLES[table][1])))
    sink.flush()


def trade(time_ns: int, offset: int, row: int) -> dict[str, Any]:
    place = {"topic": "market", "partition": 0, "offset": offset, "row": row}
    head = {"type": "trade", "symbol": "A", "source": "s", "event_time_ns": time_ns}
    return {**head, "price": float(offset), "size": 1.0, **place}


def bar(open_time_ns: int, **given: Any) -> dict[str, Any]:
    head = {"symbol": "A", "timeframe": "1m", "close_time_ns": open_time_ns + 60 * 10**9, "revision": 0, "close": 1.0}
    return {**head, "open_time_ns": open_time_ns, **given}


def test_trades_of_one_nanosecond_are_all_there_whatever_the_cut(influx_store: InfluxStore) -> None:
    burst = [trade(START_NS, offset, row) for offset in range(40) for row in range(2)]
    written(opened(influx_store), "trades", burst)
    sink = opened(influx_store)
    for cut in (burst[:6], burst[6:34], burst[34:]):
        written(sink, "trades", cut)
    found = sorted((row["offset"], row["row"], row["event_time_ns"]) for row in influx_store.rows("trades"))
    assert found == [(t["offset"], t["row"], START_NS) for t in burst]


@pytest.mark.parametrize("symbol", ["BTC-USD.COINBASE", "A B", "a,b=c", '"', "'", "Ünï", "a;b"])
def test_any_symbol_can_be_written_withdrawn_and_written_again(influx_store: InfluxStore, symbol: str) -> None:
    sink = opened(influx_store)
    for revision, close in enumerate([1.0, None, 3.0]):
        some = [bar(START_NS, symbol=symbol, revision=revision, close=close), bar(START_NS, symbol="other")]
        written(sink, "bars", some)
        found = {row["symbol"]: row["close"] for row in influx_store.rows("bars")}
        assert found == {"other": 1.0} | ({symbol: close} if close else {})


def test_what_a_revision_took_back_is_gone_and_alerts_keep_their_last_state(influx_store: InfluxStore) -> None:
    sink, schema = opened(influx_store), indicators_schema(["sma_20", "ema_12"])
    written(sink, "bars", [bar(START_NS, open=1.0), bar(START_NS + 1, close=2.0)])
    written(sink, "bars", [bar(START_NS, revision=1, close=None)])
    found = influx_store.server.rows("bars", influx_store.database, "open, close")
    assert [(row["time"], row["close"]) for row in found] == [(START_NS + 1, 2.0)]
    head = {"symbol": "A", "timeframe": "1m", "open_time_ns": START_NS, "close_time_ns": START_NS + 1, "close": 1.0}
    written(sink, "indicators", [{**head, "revision": 0, "sma_20": 1.0, "ema_12": 2.0}], schema)
    written(sink, "indicators", [{**head, "revision": 1, "sma_20": None, "ema_12": 3.0}], schema)
    (row,) = influx_store.rows("indicators")
    assert (row.get("sma_20"), row["ema_12"], row["revision"]) == (None, 3.0, 1)

    head = {"symbol": "A", "severity": "info", "timeframe": "1m", "open_time_ns": START_NS, "late": False,
            "event_time_ns": START_NS + 60, "message": 'rsi "low", \\ 30\n', "value": 29.5}  # fmt: skip
    states = (("dip, deep", "raised", None, 0), ("rise", "raised", None, 0), ("rise", "withdrawn", "raised", 1))
    some = [{**head, **dict(zip(("rule", "state", "was", "revision"), each, strict=True))} for each in states]
    written(sink, "alerts", some, ALERT)
    (row,) = influx_store.rows("alerts")
    assert (row["rule"], row["state"], row["message"], row["late"]) == ("dip, deep", "raised", head["message"], False)


def test_a_new_database_keeps_for_as_long_as_is_set_and_points_beyond_are_counted(influx_store: InfluxStore) -> None:
    opened(influx_store, retention="30d").resume()
    policies = influx_store.server.query(f'SHOW RETENTION POLICIES ON "{influx_store.database}"')
    assert policies[0]["values"][0][:2] == ["autogen", "720h0m0s"]
    opened(influx_store, retention="30d").resume()
    with pytest.raises(SettingsError, match=r'ALTER RETENTION POLICY "autogen" ON "suite [0-9]+" DURATION 4w'):
        opened(influx_store, retention="4w").resume()
    now_ns, before = time.time_ns(), refused_points("beyond_retention")
    some = [bar(now_ns - days * 24 * HOUR_NS) for days in (1, 2, 400, 401)]
    written(opened(influx_store, retention="30d"), "bars", some)
    assert len(influx_store.rows("bars")) == 2
    assert refused_points("beyond_retention") == before + 2


def test_a_field_of_another_type_stops_it_with_what_to_do(influx_store: InfluxStore) -> None:
    sink = opened(influx_store)
    sink.resume()
    db, login = {"db": influx_store.database}, (USER, PASSWORD)
    url, point = f"{influx_store.server.url}/write", f"bars,symbol=A close=1i {START_NS}"
    httpx.post(url, params=db, content=point, auth=login).raise_for_status()
    sink.write(batch("bars", 0, 0, 20))
    before = refused_points("refused")
    with pytest.raises(Fatal, match=r"field type conflict.*Give sinks.influx.database another name") as caught:
        sink.flush()
    assert "nothing is lost" in str(caught.value)
    assert refused_points("refused") == before + 1
    assert sink.waiting_rows == 16


def test_a_login_that_may_only_write_needs_its_database(influx_store: InfluxStore) -> None:
    server, name = influx_store.server, influx_store.database
    user = f"writer_{name.split()[1]}"
    server.query(f"CREATE USER {user} WITH PASSWORD 'w'")
    sink = opened(influx_store, user=user, password="w")
    sink.resume()
    sink.write(batch("bars", 0, 0, 20))
    assert_raises(Fatal, f"{name}.*nothing is lost", sink.flush)
    server.query(f'CREATE DATABASE "{name}"')
    server.query(f'GRANT WRITE ON "{name}" TO "{user}"')
    sink.flush()
    assert len(influx_store.rows("bars")) == 16


def test_a_hanging_server_is_waited_for_bodies_shrink_to_its_limit_and_too_many_series_are_said(tmp_path: Path) -> None:
    server = InfluxServer(tmp_path, limits="max-values-per-tag = 5", http="max-body-size = 4000")
    server.start()
    try:
        store = InfluxStore(server)
        sink = opened(store, timeout_s=1)
        sink.write(batch("bars", 0, 0, 20))
        server.signal(signal.SIGSTOP)
        assert_raises(Retryable, r"does not answer .*; nothing is lost", sink.flush)
        server.signal(signal.SIGCONT)
        sink.flush()
        assert len(store.rows("bars")) == 16
        sink = opened(store, gzip=False)
        sink.write(batch("bars", 0, 0, 200))
        sink.flush()
        assert len(store.rows("bars")) == 160
        written(sink, "bars", [bar(START_NS, symbol=f"T{n}") for n in range(5)])  # the server counts before a write
        with pytest.raises(Fatal, match=r"at a limit of its own.*max-values-per-tag.*docs/stores.md#influxdb"):
            written(sink, "bars", [bar(START_NS, symbol=f"U{n}") for n in range(5)])
    finally:
        server.kill()


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = victoria_metrics(tmp_path_factory.mktemp("victoria"))
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("version", ["auto", "v1", "v2"])
def test_victoriametrics_takes_the_numbers(metrics: Server, version: str) -> None:
    timeframe = f"1m{version}"
    some = [bar(START_NS + n * 60 * 10**9, timeframe=timeframe, close=0.1 + n, source="text") for n in range(50)]
    written(open_influx(InfluxSettings(url=metrics.url, api=version)), "bars", some)
    httpx.get(f"{metrics.url}/internal/force_flush").raise_for_status()
    wanted = {"match[]": f'bars_close{{symbol="A",timeframe="{timeframe}"}}'}
    (series,) = map(json.loads, httpx.get(f"{metrics.url}/api/v1/export", params=wanted).text.splitlines())
    found = dict(zip(series["timestamps"], series["values"], strict=True))
    assert found == {row["open_time_ns"] // 10**6: row["close"] for row in some}


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

    choices = [ask_influx(influx_store, one["query"], times)[0]["values"] for one in dashboard["templating"]["list"]]
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
    place.sql(f"ALTER ROLE {POSTGRES_USER} CREATEROLE")
    section = {**place.section(), "reader_role": reader, "reader_password": SecretStr(SECRET)}
    sink = open_postgres(PostgresSettings(**section), SystemClock())
    try:
        times = store(sink, minutes, days, trades=[trade], dead_letters=[letter])
    finally:
        sink.close()
        place.sql(f"ALTER ROLE {POSTGRES_USER} NOCREATEROLE")

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
