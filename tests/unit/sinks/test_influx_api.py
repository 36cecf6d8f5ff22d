"""The APIs of 2.x and 3.x, on servers that hold to their public documentation. 1.x: integration/test_influx.py."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from influx_contract import TOKEN, Contract, serving
from log_of_rows import START_NS
from marketpulse.errors import Fatal, MarketPulseError, Retryable, SettingsError
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx_api import Api, TooLarge, connect
from marketpulse.sinks.influx_http import Connection
from marketpulse.telemetry import REGISTRY

LINE = b"bars,symbol=A,timeframe=1m close=1.5,revision=0i 1714521600000000000\n"


@pytest.fixture(params=[2, 3])
def server(request: pytest.FixtureRequest) -> Iterator[Contract]:
    with serving(Contract(request.param)) as contract:
        yield contract


@pytest.fixture
def v2() -> Iterator[Contract]:
    with serving(Contract(2)) as contract:
        yield contract


def api(server: Contract, **given: Any) -> Api:
    settings = InfluxSettings(**{"url": server.url, "token": TOKEN, "org": "trading", **given})
    return connect(settings, Connection(settings))


def refused_points(reason: str, registry: CollectorRegistry = REGISTRY) -> float:
    labels = {"sink": "influx", "reason": reason}
    return registry.get_sample_value("marketpulse_points_refused_total", labels) or 0


def test_the_version_is_asked_for_and_the_database_made(server: Contract) -> None:
    found = api(server, retention="30d")
    found.prepare()
    kept = [{"type": "expire", "everySeconds": 2_592_000}] if server.version == 2 else "30d"
    assert server.databases == {"marketpulse": kept}
    found.prepare()
    found.write(LINE)
    assert server.fields("bars") == [{"symbol": "A", "timeframe": "1m", "close": 1.5, "revision": 0, "time": START_NS}]


def test_a_database_without_retention_keeps_for_ever(server: Contract) -> None:
    api(server).prepare()
    assert server.databases == {"marketpulse": [] if server.version == 2 else None}


def test_a_named_version_is_not_asked_for(server: Contract) -> None:
    api(server, api=f"v{server.version}").prepare()
    assert "/ping" not in {path for _, path, _, _ in server.asked}


def test_a_wrong_token_is_said_without_it(server: Contract) -> None:
    with pytest.raises(Fatal, match="MARKETPULSE_SINKS__INFLUX__TOKEN") as caught:
        api(server, token="another-secret").prepare()
    assert "another-secret" not in str(caught.value)


def test_a_login_that_may_only_write_is_enough(server: Contract) -> None:
    server.databases["marketpulse"] = []
    server.refusals["/api/v2/buckets"] = server.refusals["/api/v3/configure/database"] = (
        403, {"code": "forbidden", "message": "insufficient permissions"}, {},
    )  # fmt: skip
    found = api(server)
    found.prepare()
    found.write(LINE)
    assert len(server.points) == 1


def test_a_database_that_is_not_there_is_said(server: Contract) -> None:
    with pytest.raises(Fatal, match=r"no such database .*; nothing is lost"):
        api(server).write(LINE)


def test_another_retention_than_the_settings_say_is_refused(v2: Contract) -> None:
    v2.databases["marketpulse"] = [{"type": "expire", "everySeconds": 604_800}]
    with pytest.raises(SettingsError, match=r"keeps 'marketpulse' for 604,800 s, sinks.influx.retention says 30d"):
        api(v2, retention="30d").prepare()
    api(v2).prepare()


def test_an_organization_that_there_is_not_is_said(v2: Contract) -> None:
    with pytest.raises(Fatal, match=r"sinks\.influx\.org"):
        api(v2, org="nobody").prepare()


CONFLICT = 'partial write: field type conflict: input field "close" on measurement "bars" is type float, already exists as type integer dropped=1'
V3_CONFLICT = {
    "error": "parsing failed for write_lp endpoint",
    "data": {
        "original_line": "bars,symbol=A c", "line_number": 1,
        "error_message": "invalid column type for column 'close', expected iox::column_type::field::integer, got iox::column_type::field::float",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((422, {"code": "unprocessable entity", "message": f"failure writing points to database: {CONFLICT}"}, {}),
         Fatal, "holds a field of another type .* another name"),
        ((400, V3_CONFLICT, {}), Fatal, "holds a field of another type .* another name"),
        ((400, {"code": "invalid", "message": "unable to parse 'x'"}, {}), Fatal, "did not take the rows"),
        ((400, {"error": "partial write: max-values-per-tag limit exceeded (100000/100000)"}, {}), Fatal, "trade_slots"),
        ((429, {"message": "too many requests"}, {"Retry-After": "0"}), Retryable, "is busy"),
        ((503, {"message": "unavailable"}, {}), Retryable, "is busy"),
        ((500, {"message": "write failed: no space left on device"}, {}), Retryable, "disk .* is full"),
        ((507, {"message": "quota"}, {}), Retryable, "disk .* is full"),
        ((403, {"code": "forbidden", "message": "insufficient permissions for write"}, {}), Fatal, "INFLUX__TOKEN"),
    ],
)  # fmt: skip
def test_every_refusal_of_a_write_says_what_to_do(
    server: Contract, answer: tuple[int, dict[str, Any], dict[str, str]], kind: type[MarketPulseError], words: str
) -> None:
    found = api(server)
    found.prepare()
    server.orders.append(answer)
    with pytest.raises(kind, match=words) as caught:
        found.write(LINE)
    assert "nothing is lost" in str(caught.value)
    assert server.points == {}
    found.write(LINE)
    assert len(server.points) == 1


def test_a_refused_write_is_counted(v2: Contract) -> None:
    found = api(v2)
    found.prepare()
    before = refused_points("refused")
    v2.orders.append((422, {"code": "unprocessable entity", "message": CONFLICT}, {}))
    with pytest.raises(Fatal):
        found.write(LINE)
    assert refused_points("refused") == before + 1


def test_points_beyond_the_retention_are_counted_and_no_fault(v2: Contract) -> None:
    found = api(v2)
    found.prepare()
    before = refused_points("beyond_retention")
    said = "failure writing points to database: partial write: points beyond retention policy dropped=3"
    v2.orders.append((422, {"code": "unprocessable entity", "message": said}, {}))
    found.write(LINE)
    assert refused_points("beyond_retention") == before + 3


def test_a_body_that_is_too_large_is_told_apart(server: Contract) -> None:
    found = api(server)
    found.prepare()
    server.orders.append((413, {"code": "request too large", "message": "too large"}, {}))
    with pytest.raises(TooLarge):
        found.write(LINE)


def test_a_point_is_removed_where_the_version_can(server: Contract) -> None:
    found = api(server)
    found.prepare()
    found.write(LINE + LINE.replace(b"symbol=A", b"symbol=B") + LINE.replace(b"000\n", b"001\n"))
    found.remove("bars", [({"symbol": "A", "timeframe": "1m"}, START_NS)])
    left = {(row["symbol"], row["time"] - START_NS) for row in server.fields("bars")}
    assert left == {("B", 0), ("A", 1)} | (set() if server.version == 2 else {("A", 0)})
