"""InfluxDB 1.x and VictoriaMetrics as real servers: on free loopback ports, in directories of their own, killed at the end."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

_BIN = Path(__file__).parents[1] / ".venv" / "bin"
USER, PASSWORD = "marketpulse", "only-in-tests"


def program(name: str) -> str:
    """Where `make dev` has put it; the machine's own otherwise."""
    own = _BIN / name
    found = str(own) if own.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine, and no apt to fetch it with")
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A process that answers on `url`."""

    def __init__(self, arguments: list[str], directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._arguments, self._directory = arguments, directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory
            )
        for _ in range(600):
            assert self._process.poll() is None, (self._directory / "server.log").read_text()[-2_000:]
            try:
                urllib.request.urlopen(f"{self.url}/ping", timeout=1)
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"{self._arguments[0]} does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(
        self, path: str, parameters: dict[str, str], login: str | None = None, body: bytes | None = None
    ) -> bytes:
        headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
        request = urllib.request.Request(
            f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", body, headers
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())


def victoria_metrics(directory: Path) -> Server:
    port = free_port()
    return Server(
        [
            program("victoria-metrics"), f"-storageDataPath={directory / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
            "-loggerLevel=ERROR", "-search.latencyOffset=0s", "-retentionPeriod=50y",
        ],
        directory, port,
    )  # fmt: skip


class InfluxServer(Server):
    """InfluxDB 1.x that asks for a login; USER may do everything."""

    def __init__(self, directory: Path, limits: str = "", http: str = "") -> None:
        port = free_port()
        (directory / "influx.conf").write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
  dir = "{directory / "meta"}"
[data]
  dir = "{directory / "data"}"
  wal-dir = "{directory / "wal"}"
  query-log-enabled = false
  {limits}
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = true
  log-enabled = false
  {http}
""")
        super().__init__([program("influxd"), "-config", str(directory / "influx.conf")], directory, port)

    def start(self) -> None:
        super().start()
        self.query(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES", login=None)

    def query(
        self, text: str, database: str = "", login: str | None = f"{USER}:{PASSWORD}"
    ) -> list[dict[str, Any]]:
        """The series of the first statement, each value as JSON has it, times in nanoseconds."""
        fields = urllib.parse.urlencode({"q": text, "db": database, "epoch": "ns"}).encode()
        try:
            answer = json.loads(self.ask("/query", {}, login, fields))
        except urllib.error.HTTPError as error:
            assert "authorization" in error.read().decode() or error.code == 401, error  # noqa: PT017
            return []  # the user is there since an earlier start
        (result, *_) = answer["results"]
        assert "error" not in result, result["error"]
        return list(result.get("series", []))

    def rows(self, measurement: str, database: str) -> list[dict[str, Any]]:
        """Every point, by column; what it does not have is None."""
        series = self.query(f'SELECT * FROM "{measurement}"', database)
        return [dict(zip(one["columns"], values, strict=True)) for one in series for values in one["values"]]
