"""The sink over a server that holds to the documentation of 2.x and 3.x; the suite over all sinks runs on a real 1.x."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from influx_contract import TOKEN, Contract, serving
from log_of_rows import batch, stretch
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx import InfluxSink, open_influx
from marketpulse.telemetry import REGISTRY


@pytest.fixture(params=[2, 3])
def server(request: pytest.FixtureRequest) -> Iterator[Contract]:
    with serving(Contract(request.param)) as contract:
        yield contract


def opened(server: Contract, **given: Any) -> InfluxSink:
    tables = ("trades", "quotes", "bars", "indicators", "alerts")
    return open_influx(
        InfluxSettings(**{"url": server.url, "token": TOKEN, "org": "trading", "tables": tables, **given})
    )


def closes(server: Contract) -> list[float]:
    return sorted(row["close"] for row in server.fields("bars"))


def test_bars_alone_are_written_by_default_with_what_follows_from_them() -> None:
    assert open_influx(InfluxSettings()).tables == ("bars", "indicators", "alerts")


def test_rows_are_written_once_by_their_keys(server: Contract) -> None:
    sink = opened(server)
    assert sink.resume() is None  # type: ignore[func-returns-value]
    for _ in range(2):
        for one in stretch("bars", 0, 0, 10) + stretch("market", 0, 0, 10):
            if one.table in sink.tables:
                sink.write(one)
        sink.flush()
        assert (sink.waiting_rows, sink.waiting_bytes) == (0, 0)
        sink.resume()
    assert closes(server) == [0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0]
    assert len(server.fields("trades")) == 4


def test_bodies_stay_below_their_size(server: Contract) -> None:
    sink = opened(server, body_bytes_max=1_000, gzip=False)
    sink.write(batch("bars", 0, 0, 100))
    sink.flush()
    assert server.writes > 10
    assert len(closes(server)) == 80


def test_a_body_that_is_too_large_is_sent_in_halves(server: Contract) -> None:
    sink = opened(server)
    sink.write(batch("bars", 0, 0, 100))
    server.orders += [(413, {"message": "too large"}, {})] * 2
    sink.flush()
    assert server.writes >= 4
    assert len(closes(server)) == 80


def test_one_row_that_is_too_large_is_said(server: Contract) -> None:
    sink = opened(server)
    sink.write(batch("bars", 0, 0, 1))
    server.orders.append((413, {"message": "too large"}, {}))
    with pytest.raises(Fatal, match="which is one row: raise the server's limit; nothing is lost"):
        sink.flush()


def test_after_a_fault_everything_is_written_again(server: Contract) -> None:
    sink = opened(server, body_bytes_max=1_000)
    sink.write(batch("bars", 0, 0, 50))
    server.orders.append((503, {"message": "busy"}, {}))
    with pytest.raises(Retryable, match="nothing is lost"):
        sink.flush()
    assert sink.waiting_rows == 40
    sink.flush()
    assert len(closes(server)) == 40


def test_a_withdrawn_bar_has_no_prices_or_says_so(server: Contract) -> None:
    sink = opened(server)
    head = {"symbol": "A", "timeframe": "1m", "open_time_ns": 60, "close_time_ns": 120}
    for offset, (revision, close) in enumerate([(0, 1.5), (1, None)]):
        rows = [{**head, "revision": revision, "close": close}]
        schema = TABLES["bars"][1]
        sink.write(SinkBatch("bars", "bars", 0, offset, offset + 1, pa.RecordBatch.from_pylist(rows, schema=schema)))
        sink.flush()
    (point,) = server.fields("bars")
    assert point["withdrawn"] is True
    assert ("close" in point) == (server.version == 3)  # 3.x removes no points


def test_trades_that_share_a_point_are_counted(server: Contract) -> None:
    labels = {"sink": "influx", "reason": "same_key"}
    before = REGISTRY.get_sample_value("marketpulse_points_refused_total", labels) or 0
    sink = opened(server, trade_slots=1)
    some = batch("trades", 0, 0, 2)
    same = some.rows.set_column(3, "event_time_ns", some.rows.column("event_time_ns").take([0, 0]))
    same = same.set_column(1, "symbol", some.rows.column("symbol").take([0, 0]))
    sink.write(SinkBatch("trades", "market", 0, 0, 2, same))
    sink.flush()
    assert (REGISTRY.get_sample_value("marketpulse_points_refused_total", labels) or 0) == before + 1
