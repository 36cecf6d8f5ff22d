"""The sink on a real InfluxDB 1.x and a real VictoriaMetrics: limits, logins and keys."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from influx_store import InfluxStore, refused_points
from log_of_rows import HOUR_NS, START_NS, batch
from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.model.rows import ALERT, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx import InfluxSink, open_influx
from refused import assert_raises
from time_series_servers import PASSWORD, USER, InfluxServer, Server, victoria_metrics


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
        with pytest.raises(Fatal, match=r"at a limit of its own.*max-values-per-tag.*docs/influx.md"):
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
