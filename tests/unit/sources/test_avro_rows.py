"""Avro records become rows as JSON objects do, by schemas of a registry or of a file; what is none is set aside whole."""

import datetime as dt
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import pytest
from pydantic import SecretStr

from marketpulse.errors import Fatal, Retryable
from marketpulse.ports import ForeignRecords
from marketpulse.settings import KafkaSourceSettings, Mapping
from marketpulse.sources.avro_rows import avro_reader
from marketpulse.sources.kafka_window import TopicReader, Window

TICK = {
    "type": "record", "name": "Tick",
    "fields": [
        {"name": "sym", "type": "string"},
        {"name": "px", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}},
        {"name": "qty", "type": ["null", "double"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
    ],
}  # fmt: skip
LATER = {**TICK, "fields": [{"name": "venue", "type": "string"}, *TICK["fields"]]}  # the schema has moved on
T0 = dt.datetime(2026, 1, 2, 15, 30, 0, 123_456, tzinfo=dt.UTC)
T0_NS = 1_767_367_800_123_456_000


def bare(schema: dict[str, Any], **fields: Any) -> bytes:
    stream = io.BytesIO()
    row = {"sym": "AAPL", "px": Decimal("187.2501"), "qty": 3.0, "at": T0, "side": "BUY", **fields}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), row)
    return stream.getvalue()


def framed(number: int, value: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + value


class Registry:
    """Confluent's API, as far as a reader needs it, on loopback."""

    def __init__(self) -> None:
        self.schemas = {7: TICK, 300: LATER}
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        number = int(path.rpartition("/")[2])
        if self.status != 200:
            return self.status, {"error_code": self.status}
        if number == 9:
            return 200, {"schemaType": "PROTOBUF", "schema": "message"}
        if number not in self.schemas:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {"schema": json.dumps(self.schemas[number])}


@contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append((self.path, self.headers["Authorization"]))
            status, body = registry.answer(self.path)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    registry.url = f"http://127.0.0.1:{server.server_address[1]}/apis/ccompat/v7"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving(Registry()) as running:
        yield running


def rows(settings: KafkaSourceSettings, values: list[bytes]) -> tuple[list[dict[str, Any]], list[Any], list[int]]:
    reader = avro_reader(settings)
    assert reader is not None
    raw, of_record = reader.rows(values, settings.topic, list(range(50, 50 + len(values))))
    return raw.frame.to_dicts(), list(raw.broken), of_record


def of_registry(registry: Registry, **more: Any) -> KafkaSourceSettings:
    return KafkaSourceSettings(topic="ticks", schema_registry=registry.url, **more)


def test_each_record_is_read_by_its_own_schema_and_each_schema_asked_for_once(registry: Registry) -> None:
    values = [framed(7, bare(TICK)), framed(300, bare(LATER, venue="XNAS", qty=None)), framed(7, bare(TICK))]
    found, broken, of_record = rows(of_registry(registry), values)
    plain = {"sym": "AAPL", "px": "187.2501", "qty": 3.0, "at": T0_NS, "side": "BUY", "venue": None}
    assert found == [plain, {**plain, "venue": "XNAS", "qty": None}, plain]
    assert (broken, of_record) == ([], [0, 1, 2])
    assert registry.asked == [(f"/apis/ccompat/v7/schemas/ids/{n}", None) for n in (7, 300)]


def test_the_login_goes_to_the_registry_and_into_no_text(registry: Registry) -> None:
    settings = of_registry(registry, registry_user="me", registry_password=SecretStr("s3cret"))
    rows(settings, [framed(7, bare(TICK))])
    assert registry.asked[0][1] == "Basic bWU6czNjcmV0"  # base64 of me:s3cret, by `base64`
    registry.status = 401
    with pytest.raises(Fatal, match=r"refuses us .*registry_password") as refused:
        rows(settings, [framed(7, bare(TICK))])
    assert "s3cret" not in f"{refused.value}{settings!r}"


def test_a_registry_that_is_away_is_waited_for(registry: Registry) -> None:
    registry.status = 503
    with pytest.raises(Retryable, match="answered 503"):
        rows(of_registry(registry), [framed(7, bare(TICK))])
    gone = KafkaSourceSettings(topic="ticks", schema_registry="http://127.0.0.1:9")
    with pytest.raises(Retryable, match="does not answer"):
        rows(gone, [framed(7, bare(TICK))])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "zero byte"),
        (b'{"sym":"AAPL"}', "zero byte"),
        (framed(8, bare(TICK)), "has no schema 8"),
        (framed(9, b"\x0a"), "PROTOBUF"),
        (framed(7, bare(TICK)[:-1]), "not Avro of its schema"),
        (framed(7, bare(TICK) + b"\0"), "1 bytes are left over"),
        (framed(7, b"\xff" * 30), "not Avro of its schema"),
    ],
)
def test_a_value_that_is_no_avro_is_set_aside_whole_and_the_others_stand(
    registry: Registry, value: bytes, said: str
) -> None:
    found, (refused,), of_record = rows(of_registry(registry), [framed(7, bare(TICK)), value])
    assert (len(found), of_record) == (1, [0])
    assert (refused.reason, refused.row, refused.value) == ("not_avro", 51, value)
    assert said in refused.detail


@pytest.mark.parametrize("header", [True, False])
def test_a_file_may_hold_the_schema(tmp_path: Path, header: bool) -> None:
    file = tmp_path / "tick.avsc"
    file.write_text(json.dumps(TICK))
    settings = KafkaSourceSettings(topic="ticks", schema_file=file, schema_header=header)
    value = bare(TICK)
    ((row,), broken, _) = rows(settings, [framed(1, value) if header else value])
    assert (row["sym"], row["px"], broken) == ("AAPL", "187.2501", [])


def test_a_file_without_a_schema_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tick.avsc"
    settings = KafkaSourceSettings(topic="ticks", schema_file=file)
    with pytest.raises(Fatal, match=r"tick\.avsc cannot be read: No such file"):
        avro_reader(settings)
    for text in ("{", '{"type": "rekord"}'):
        file.write_text(text)
        with pytest.raises(Fatal, match=r"tick\.avsc holds no Avro schema"):
            avro_reader(settings)


def test_a_topic_with_neither_is_json() -> None:
    assert avro_reader(KafkaSourceSettings(topic="ticks")) is None


def test_avro_is_mapped_by_configuration_as_json_is(registry: Registry) -> None:
    """Price to the digit, time to the microsecond."""
    mapping = Mapping(record="trade", columns={"symbol": "sym", "price": "px", "size": "qty", "time": "at"})
    reader = avro_reader(of_registry(registry))
    assert reader is not None
    window = Window({0: 0})
    values = [framed(7, bare(TICK, px=Decimal(f"{price}.5"))) for price in (10, 11)]
    window.add([ForeignRecords("ticks", 0, [0, 1], [T0_NS // 10**6] * 2, values)])
    understood = TopicReader("ticks", mapping, decode=reader.rows).read(window, live=True)
    assert understood is not None
    (batch,) = understood.tape.batches(0, 2, "ticks", 0)
    assert batch.select(["symbol", "price", "size", "event_time_ns"]).to_pylist() == [
        {"symbol": "AAPL", "price": price, "size": 3.0, "event_time_ns": T0_NS} for price in (10.5, 11.5)
    ]
