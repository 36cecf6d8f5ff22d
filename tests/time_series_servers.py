"""InfluxDB 1.x and VictoriaMetrics as real servers: on free loopback ports, in directories of their own, killed at the end."""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from waiting import wait_until

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
        wait_until(self._answers, f"{self._arguments[0]} answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "server.log").read_text()[-2_000:]
        try:
            httpx.get(f"{self.url}/ping", timeout=1)
        except httpx.TransportError:
            return False
        return True

    def signal(self, number: int) -> None:
        """SIGSTOP makes it hang, SIGCONT go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


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
        login = f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES"
        httpx.post(f"{self.url}/query", data={"q": login})  # refused where it is there since an earlier start

    def query(self, text: str, database: str = "") -> list[dict[str, Any]]:
        """The series of the first statement, each value as JSON has it, times in nanoseconds."""
        answer = httpx.post(
            f"{self.url}/query", data={"q": text, "db": database, "epoch": "ns"}, auth=(USER, PASSWORD), timeout=30
        ).json()
        (result, *_) = answer["results"]
        wrong = result.get("error", "")
        assert not wrong or wrong.startswith("database not found"), wrong  # not yet made: nothing in it
        return list(result.get("series", []))

    def rows(self, measurement: str, database: str, columns: str = "*") -> list[dict[str, Any]]:
        """Every point, by column; what it does not have is None."""
        series = self.query(f'SELECT {columns} FROM "{measurement}"', database)  # noqa: S608
        return [dict(zip(one["columns"], values, strict=True)) for one in series for values in one["values"]]
