"""What a server's answer means for whoever asked."""

import json
import time
from typing import Any

import pytest
from pydantic import SecretStr

from influx_contract import TOKEN, Contract, serving
from marketpulse.errors import Fatal, MarketPulseError, Retryable
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx_http import Answer, Connection


def fault(status: int, body: Any, **headers: str) -> MarketPulseError | None:
    connection = Connection(InfluxSettings(token=SecretStr(TOKEN)))
    text = body if isinstance(body, str) else json.dumps(body)
    return connection.guarded(Answer(status, text, headers), "a write")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "timeout"}, "timeout"),
        ({"code": "invalid", "message": "unable to parse"}, "unable to parse"),
        ({"error": "parsing failed", "data": {"line_number": 2}}, 'parsing failed: {"line_number": 2}'),
        ("plain words\n", "plain words"),
        ("", ""),
    ],
)
def test_the_message_is_found_under_each_versions_name(body: Any, message: str) -> None:
    assert Answer(400, body if isinstance(body, str) else json.dumps(body), {}).message == message


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_names_the_settings_and_no_secret(status: int) -> None:
    found = fault(status, {"message": f"token {TOKEN} is not known"})
    assert isinstance(found, Fatal)
    assert "MARKETPULSE_SINKS__INFLUX__TOKEN" in str(found)
    assert "nothing is lost" in str(found)
    assert TOKEN not in str(found)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (507, "x"),
        (500, {"error": "write /var/lib/influxdb/wal: no space left on device"}),
        (400, {"error": "disk full"}),
    ],
)
def test_a_full_disk_is_waited_for(status: int, body: Any) -> None:
    found = fault(status, body)
    assert isinstance(found, Retryable)
    assert "the disk" in str(found)
    assert "nothing is lost" in str(found)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_waited_for(status: int) -> None:
    assert isinstance(fault(status, {"error": "timeout"}), Retryable)


def test_a_fault_of_the_rows_is_left_to_whoever_wrote_them() -> None:
    assert fault(400, {"error": "unable to parse"}) is None


def test_a_server_is_left_alone_for_as_long_as_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Contract(2)) as server, monkeypatch.context() as clock:
        connection = Connection(InfluxSettings(url=server.url, token=SecretStr(TOKEN)))
        now = time.monotonic()
        clock.setattr("marketpulse.sinks.influx_http.time.monotonic", lambda: now)
        busy = Answer(503, "", {"Retry-After": "7"})
        assert "it asks for 7 s" in str(connection.guarded(busy, "a write"))
        with pytest.raises(Retryable, match="left alone for 7 s more; nothing is lost"):
            connection.get("/ping")
        assert server.asked == []
        now += 7
        assert connection.get("/ping").status == 204


def test_no_answer_is_waited_for() -> None:
    with serving(Contract(2)) as server:
        pass
    with pytest.raises(Retryable, match=r"does not answer .*; nothing is lost"):
        Connection(InfluxSettings(url=server.url)).get("/ping")
