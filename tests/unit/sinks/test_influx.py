"""InfluxDB 2.x and 3.x as their documentation has them: the sink, its API, its answers. 1.x: integration/test_influx.py."""

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pydantic import SecretStr

from influx_store import TOKEN, Contract, refused_points, serving
from log_of_rows import START_NS, batch, stretch
from marketpulse.errors import Fatal, MarketPulseError, Retryable, SettingsError
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx import InfluxSink, open_influx
from marketpulse.sinks.influx_api import Api, TooLarge, connect
from marketpulse.sinks.influx_http import Answer, Connection
from marketpulse.sinks.influx_points import keys, points
from marketpulse.sinks.line_protocol import bodies, escaped, lines
from refused import assert_raises


@pytest.fixture(params=[2, 3])
def server(request: pytest.FixtureRequest) -> Iterator[Contract]:
    with serving(Contract(request.param)) as contract:
        yield contract


BARS = batch("bars", 0, 0, 100)
TOO_LARGE: tuple[int, dict[str, str], dict[str, str]] = (413, {"code": "request too large", "message": "too large"}, {})


def opened(server: Contract, **given: Any) -> InfluxSink:
    tables = ("trades", "quotes", "bars", "indicators", "alerts")
    settings = {"url": server.url, "token": TOKEN, "org": "trading", "tables": tables, **given}
    return open_influx(InfluxSettings(**settings))


def closes(server: Contract) -> list[float]:
    return sorted(row["close"] for row in server.fields("bars"))


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
    assert (closes(server), len(server.fields("trades"))) == ([0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0], 4)
    assert open_influx(InfluxSettings()).tables == ("bars", "indicators", "alerts"), "bars and what follows from them"


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
    before = refused_points("same_key")
    sink = opened(server, trade_slots=1)
    some = batch("trades", 0, 0, 2)
    same = some.rows.set_column(3, "event_time_ns", some.rows.column("event_time_ns").take([0, 0]))
    same = same.set_column(1, "symbol", some.rows.column("symbol").take([0, 0]))
    sink.write(SinkBatch("trades", "market", 0, 0, 2, same))
    sink.flush()
    assert refused_points("same_key") == before + 1


@pytest.mark.parametrize(("given", "refusals", "writes"), [
    pytest.param({"body_bytes_max": 1_000, "gzip": False}, 0, 11, id="bodies stay below their size"),
    pytest.param({}, 2, 4, id="a body that is too large is sent in halves"),
])  # fmt: skip
def test_bodies_shrink_to_what_is_taken(server: Contract, given: dict[str, Any], refusals: int, writes: int) -> None:
    sink = opened(server, **given)
    sink.write(BARS)
    server.orders += [TOO_LARGE] * refusals
    sink.flush()
    assert server.writes >= writes
    assert len(closes(server)) == 80


def test_one_row_that_is_too_large_is_said_and_after_a_fault_everything_is_written_again(server: Contract) -> None:
    sink = opened(server)
    sink.write(batch("bars", 0, 0, 1))
    server.orders.append(TOO_LARGE)
    assert_raises(Fatal, "which is one row: raise the server's limit; nothing is lost", sink.flush)
    sink = opened(server, body_bytes_max=1_000)
    sink.write(batch("bars", 0, 0, 50))
    server.orders.append((503, {"message": "busy"}, {}))
    assert_raises(Retryable, "nothing is lost", sink.flush)
    assert sink.waiting_rows == 40
    sink.flush()
    assert len(closes(server)) == 40


LINE = b"bars,symbol=A,timeframe=1m close=1.5,revision=0i 1714521600000000000\n"


@pytest.fixture
def v2() -> Iterator[Contract]:
    with serving(Contract(2)) as contract:
        yield contract


def api(server: Contract, *, prepared: bool = True, **given: Any) -> Api:
    settings = InfluxSettings(**{"url": server.url, "token": TOKEN, "org": "trading", **given})
    found = connect(settings, Connection(settings))
    if prepared:
        found.prepare()
    return found


def test_the_version_is_asked_for_and_the_database_keeps_for_ever_or_as_the_settings_say(server: Contract) -> None:
    found = api(server, retention="30d")
    kept = [{"type": "expire", "everySeconds": 2_592_000}] if server.version == 2 else "30d"
    assert server.databases == {"marketpulse": kept}
    found.prepare()
    found.write(LINE)
    assert server.fields("bars") == [{"symbol": "A", "timeframe": "1m", "close": 1.5, "revision": 0, "time": START_NS}]
    with serving(Contract(server.version)) as other:
        assert_raises(Fatal, r"no such database .*; nothing is lost", api(other, prepared=False).write, LINE)
        other.asked.clear()
        api(other, api=f"v{server.version}")
        assert other.databases == {"marketpulse": [] if server.version == 2 else None}
        assert "/ping" not in {path for _, path, _, _ in other.asked}, "a named version is not asked for"


def test_a_wrong_token_is_said_without_it_and_a_login_that_may_only_write_is_enough(server: Contract) -> None:
    with pytest.raises(Fatal, match="MARKETPULSE_SINKS__INFLUX__TOKEN") as caught:
        api(server, token="another-secret")
    assert "another-secret" not in str(caught.value)
    server.databases["marketpulse"] = []
    forbidden: Any = (403, {"code": "forbidden", "message": "insufficient permissions"}, {})
    server.refusals["/api/v2/buckets"] = server.refusals["/api/v3/configure/database"] = forbidden
    api(server).write(LINE)
    assert len(server.points) == 1


def test_another_retention_or_organization_than_the_settings_say_is_refused(v2: Contract) -> None:
    v2.databases["marketpulse"] = [{"type": "expire", "everySeconds": 604_800}]
    with pytest.raises(SettingsError, match=r"keeps 'marketpulse' for 604,800 s, sinks.influx.retention says 30d"):
        api(v2, retention="30d")
    api(v2)
    v2.databases.clear()
    assert_raises(Fatal, r"sinks\.influx\.org", api, v2, org="nobody")


CONFLICT = 'partial write: field type conflict: input field "close" on measurement "bars" is type float, already exists as type integer dropped=1'
V3_CONFLICT = {
    "error": "parsing failed for write_lp endpoint",
    "data": {
        "original_line": "bars,symbol=A c", "line_number": 1,
        "error_message": "invalid column type for column 'close', expected iox::column_type::field::integer, got iox::column_type::field::float",
    },
}  # fmt: skip


@pytest.mark.parametrize(("answer", "kind", "words"), [
    ((422, {"code": "unprocessable entity", "message": f"failure writing points to database: {CONFLICT}"}, {}),
     Fatal, "holds a field of another type .* another name"),
    ((400, V3_CONFLICT, {}), Fatal, "holds a field of another type .* another name"),
    ((400, {"code": "invalid", "message": "unable to parse 'x'"}, {}), Fatal, "did not take the rows"),
    ((400, {"error": "partial write: max-values-per-tag limit exceeded (100000/100000)"}, {}), Fatal, "trade_slots"),
    ((429, {"message": "too many requests"}, {"Retry-After": "0"}), Retryable, "is busy"),
    ((503, {"message": "unavailable"}, {}), Retryable, "is busy"),
    ((500, {"message": "write failed: no space left on device"}, {}), Retryable, "disk .* is full"),
    ((507, {"message": "quota"}, {}), Retryable, "disk .* is full"),
    ((400, {"error": "disk full"}, {}), Retryable, "disk .* is full"),
    ((500, {"error": "write /var/lib/influxdb/wal: no space left on device"}, {}), Retryable, "disk .* is full"),
    *(((status, {"error": "timeout"}, {}), Retryable, "") for status in (500, 502, 504)),
    *(((status, {"message": f"token {TOKEN} is not known"}, {}), Fatal, "INFLUX__TOKEN") for status in (401, 403)),
])  # fmt: skip
def test_every_refusal_of_a_write_says_what_to_do(
    server: Contract, answer: tuple[int, dict[str, Any], dict[str, str]], kind: type[MarketPulseError], words: str
) -> None:
    found = api(server)
    server.orders.append(answer)
    with pytest.raises(kind, match=words) as caught:
        found.write(LINE)
    said = str(caught.value)
    assert ("nothing is lost" in said, TOKEN in said, server.points) == (True, False, {})
    found.write(LINE)
    assert len(server.points) == 1


@pytest.mark.parametrize(("said", "reason", "points"), [
    (CONFLICT, "refused", 1),
    ("partial write: points beyond retention policy dropped=3", "beyond_retention", 3),  # and no fault
])  # fmt: skip
def test_a_refused_write_is_counted(v2: Contract, said: str, reason: str, points: int) -> None:
    found, before = api(v2), refused_points(reason)
    message = f"failure writing points to database: {said}"
    v2.orders.append((422, {"code": "unprocessable entity", "message": message}, {}))
    with pytest.raises(Fatal) if reason == "refused" else nullcontext():
        found.write(LINE)
    assert refused_points(reason) == before + points


def test_a_body_that_is_too_large_is_told_apart_and_a_point_is_removed_where_the_version_can(server: Contract) -> None:
    found = api(server)
    server.orders.append(TOO_LARGE)
    assert_raises(TooLarge, "", found.write, LINE)
    found = api(server)
    found.write(LINE + LINE.replace(b"symbol=A", b"symbol=B") + LINE.replace(b"000\n", b"001\n"))
    found.remove("bars", [({"symbol": "A", "timeframe": "1m"}, START_NS)])
    left = {(row["symbol"], row["time"] - START_NS) for row in server.fields("bars")}
    assert left == {("B", 0), ("A", 1)} | (set() if server.version == 2 else {("A", 0)})


@pytest.mark.parametrize(("body", "message"), [
    ({"error": "timeout"}, "timeout"), ({"code": "invalid", "message": "unable to parse"}, "unable to parse"),
    ({"error": "parsing failed", "data": {"line_number": 2}}, 'parsing failed: {"line_number": 2}'),
    ("plain words\n", "plain words"), ("", ""),
])  # fmt: skip
def test_the_message_is_found_under_each_versions_name(body: Any, message: str) -> None:
    assert Answer(400, body if isinstance(body, str) else json.dumps(body), {}).message == message


def test_a_server_is_left_alone_as_it_asks_and_no_answer_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Contract(2)) as server, monkeypatch.context() as clock:
        connection = Connection(InfluxSettings(url=server.url, token=SecretStr(TOKEN)))
        now = time.monotonic()
        clock.setattr("marketpulse.sinks.influx_http.time.monotonic", lambda: now)
        assert "it asks for 7 s" in str(connection.guarded(Answer(503, "", {"Retry-After": "7"}), "a write"))
        assert_raises(Retryable, "left alone for 7 s more; nothing is lost", connection.get, "/ping")
        assert server.asked == []
        now += 7
        assert connection.get("/ping").status == 204
    with serving(Contract(2)) as server:
        pass
    with pytest.raises(Retryable, match=r"does not answer .*; nothing is lost"):
        Connection(InfluxSettings(url=server.url)).get("/ping")
    assert connection.guarded(Answer(400, json.dumps({"error": "unable to parse"}), {}), "a write") is None


def test_a_line_has_tags_typed_fields_escaped_signs_and_nanoseconds_or_is_refused() -> None:
    minute = {"symbol": ["A"], "timeframe": ["1m"], "open_time_ns": [1_714_521_600_000_000_000]}
    rows = pl.DataFrame({**minute, "close": [10.5], "trade_count": [3], "source": ["x"], "late": [True]})
    assert lines("bars", rows, ("symbol", "timeframe"), "open_time_ns").to_list() == [
        'bars,symbol=A,timeframe=1m close=10.5,trade_count=3i,source="x",late=true 1714521600000000000'
    ]
    odd = {"venue": [None, "", "X"], "a": [None, float("nan"), float("inf")]}
    rows = pl.DataFrame({"t": [1, 2, 3], **odd, "n": [1, 2, 3]})
    assert lines("m", rows, ("venue",), "t").to_list() == ["m n=1i 1", "m n=2i 2", "m,venue=X n=3i 3"]
    rows = pl.DataFrame({"t": [1, 2, 3, 4], "x": [0.1, 1 / 3, 5e-324, -0.0]})
    texts = ["m x=0.1 1", "m x=0.3333333333333333 2", "m x=5e-324 3", "m x=-0.0 4"]
    assert lines("m", rows, (), "t").to_list() == texts
    assert (escaped("a,b c=d"), escaped("a\\b\n")) == (r"a\,b\ c\=d", "a\u29f5b\u240a")
    rows = pl.DataFrame({"t": [1], "body": ['a "b" \\ c,d=e\n']})  # of a text only quotes and backslashes
    assert lines("m", rows, (), "t").to_list() == ['m body="a \\"b\\" \\\\ c,d=e\n" 1']
    assert_raises(TypeError, "a field cannot be List", lines, "m", pl.DataFrame({"t": [1], "x": [[1]]}), (), "t")


def trades(*rows: tuple[int, int, int]) -> pa.Table:
    """Trades of one symbol from (time, offset, row)."""
    head = {"type": "trade", "symbol": "A", "source": "s", "price": 1.0, "size": 1.0, "topic": "market", "partition": 0}
    some = [{**head, "event_time_ns": time, "offset": offset, "row": row} for time, offset, row in rows]
    return pa.Table.from_pylist(some, schema=TABLES["trades"][1])


def slots(*rows: tuple[int, int, int], trade_slots: int = 4) -> list[str]:
    return points("trades", trades(*rows), trade_slots).rows["slot"].to_list()


def test_of_one_nanosecond_trades_have_slots_however_cut_the_last_quote_stays_and_bodies_hold_whole_lines() -> None:
    assert slots((7, 100, 0), (7, 101, 0), (7, 103, 0)) == ["0", "1", "3"]
    assert slots((7, 101, 0), (7, 101, 1), (8, 101, 2), (7, 101, 3), (7, 102, 0)) == ["1", "5", "1", "9", "2"]
    for trade_slots, shared in ((4, 1), (64, 0)):
        assert points("trades", trades((7, 100, 0), (7, 104, 0)), trade_slots).shared == shared
    stream = [(7, offset, row) for offset in range(100, 106) for row in range(3)]
    whole = slots(*stream)
    for cut in range(3, len(stream), 3):  # whole records always come together
        assert slots(*stream[:cut]) + slots(*stream[cut:]) == whole
    assert len(set(whole[:12])) == 12
    head = {"type": "quote", "symbol": "A", "source": "s", "event_time_ns": 7, "topic": "market"}
    some = [{**head, "partition": 0, "row": 0, "bid": float(n), "offset": n} for n in range(3)]
    assert points("quotes", pa.Table.from_pylist(some, TABLES["quotes"][1]), 4).rows["bid"].to_list() == [2.0]
    written = pl.Series(["aaa", "bb", "c", "dddddddddd"])
    assert bodies(written, 7) == [(b"aaa\nbb\n", 2), (b"c\n", 1), (b"dddddddddd\n", 1)]
    assert bodies(pl.Series([], dtype=pl.String), 7) == []


def bars(*rows: dict[str, Any]) -> pa.Table:
    head = {"symbol": "A", "timeframe": "1m", "open_time_ns": 60, "close_time_ns": 120, "volume": 1.0, "vwap": 1.0,
            "open": 1.0, "high": 1.0, "low": 1.0}  # fmt: skip
    return pa.Table.from_pylist([{**head, **row} for row in rows], schema=BAR)


def test_of_a_bars_revisions_the_last_is_written_or_empties_its_point_and_an_alert_is_plain_fields() -> None:
    found = points("bars", bars({"revision": 0, "close": 1.0}, {"revision": 1, "close": 2.0}), 4)
    assert (found.rows.select("close", "revision", "withdrawn").rows(), found.emptied.height) == ([(2.0, 1, False)], 0)
    found = points("bars", bars({"revision": 1, "close": None, "open": None}), 4)
    assert found.rows["withdrawn"].to_list() == [True]
    assert keys(found.emptied) == [({"symbol": "A", "timeframe": "1m"}, 60)]
    head = {"symbol": "A", "timeframe": "1m", "close_time_ns": 120, "close": 1.0, "ema_12": 1.0}
    told = ((60, 0, None), (120, 1, None), (180, 1, 2.0))
    some = [{**head, "open_time_ns": time, "revision": revision, "sma_20": value} for time, revision, value in told]
    found = points("indicators", pa.Table.from_pylist(some, schema=indicators_schema(["sma_20", "ema_12"])), 4)
    assert [time for _, time in keys(found.emptied)] == [120]
    head = {"symbol": "A", "rule": "dip", "event_time_ns": 7, "severity": "info", "value": 1.0}
    some = [{**head, "state": "raised", "revision": 0}, {**head, "state": "withdrawn", "revision": 1}]
    found = points("alerts", pa.Table.from_pylist(some, schema=ALERT), 4)
    assert (found.tags, found.rows.select("state", "withdrawn").rows()) == (("symbol", "rule"), [("withdrawn", True)])
    assert keys(found.emptied) == [({"symbol": "A", "rule": "dip"}, 7)]
    rows = points("bars", pa.Table.from_batches([batch("bars", 0, 0, 5).rows]), 4).rows
    assert (rows["receipt_last_offset"].to_list(), "receipt" not in rows.columns) == ([0, 1, 2, 3], True)
    with_conditions = trades((7, 100, 0)).to_pylist()[0] | {"conditions": ["@", "T"]}
    table = pa.Table.from_pylist([with_conditions], schema=TABLES["trades"][1])
    assert points("trades", table, 4).rows["conditions"].to_list() == ["@,T"]
