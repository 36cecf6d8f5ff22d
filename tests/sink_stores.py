"""The real services that sinks write to, as the suite over all of them needs them (conformance/test_every_sink.py); and
the servers of time series.

Each store has a module `<name>_store.py` beside this one, with a fixture that starts its server on a free loopback
port, once per test process, and gives each test a database (or bucket, or prefix) of its own.
"""

import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import httpx
import pytest

from marketpulse.settings import Settings
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


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, each another one."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def free_port() -> int:
    return free_ports(1)[0]


class ServerProcess:
    """A process that answers on a port of the loopback; its output goes to a file in its directory. `how` it is run, for
    Popen."""

    def __init__(self, arguments: Sequence[str | Path], directory: Path, port: int, **how: Any) -> None:
        self.port, self._arguments = port, arguments
        self._directory, self._log = directory, directory / "server.log"
        self._how = {"stdin": subprocess.DEVNULL, "cwd": directory, **how}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def launch(self, *options: str) -> None:
        """Start, and wait for nothing."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*self._arguments, *options], stdout=log, stderr=log, **self._how)

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch()
        wait_until(self._answers, f"{self._arguments[0]} answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.end_of_log()
        return self.is_up()

    def is_up(self) -> bool:
        raise NotImplementedError

    def end_of_log(self) -> str:
        return self._log.read_text(errors="replace")[-3_000:]

    def signal(self, number: int) -> None:
        """SIGSTOP makes it hang, SIGCONT go on."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing, until `thaw`."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """With -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Server(ServerProcess):
    """One that is asked by HTTP."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_up(self) -> bool:
        with suppress(httpx.TransportError):
            httpx.get(f"{self.url}/ping", timeout=1)
            return True
        return False


def victoria_metrics(directory: Path) -> Server:
    port = free_port()
    where = (f"-storageDataPath={directory / 'data'}", f"-httpListenAddr=127.0.0.1:{port}")
    how = ("-loggerLevel=ERROR", "-search.latencyOffset=0s", "-retentionPeriod=50y")
    return Server([program("victoria-metrics"), *where, *how], directory, port)


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
        asked, login = {"q": text, "db": database, "epoch": "ns"}, (USER, PASSWORD)
        (result, *_) = httpx.post(f"{self.url}/query", data=asked, auth=login, timeout=30).json()["results"]
        wrong = result.get("error", "")
        assert not wrong or wrong.startswith("database not found"), wrong  # not yet made: nothing in it
        return list(result.get("series", []))

    def rows(self, measurement: str, database: str, columns: str = "*") -> list[dict[str, Any]]:
        """Every point, by column; what it does not have is None."""
        series = self.query(f'SELECT {columns} FROM "{measurement}"', database)  # noqa: S608
        return [dict(zip(one["columns"], values, strict=True)) for one in series for values in one["values"]]


Row = dict[str, Any]


class Store(Protocol):
    """One sink's place on its service, empty at first."""

    name: str
    """The sink's section of `sinks` in the settings."""
    keeps_offsets: bool = True
    """Whether `resume` says where the store stands; else the same rows may be written again."""

    def section(self) -> Mapping[str, Any]:
        """What stands in that section, to reach this place; JSON values only."""
        ...

    def refused(self) -> Mapping[str, Any] | None:
        """The same with a login that the service refuses; None where there is none."""
        return None

    def rows(self, table: str) -> list[Row]:
        """The table's current rows as the service's own client reads them, under the contract's names."""
        ...

    def kept(self, table: str, row: Row) -> Row | None:  # noqa: ARG002
        """What of a row of the contract `rows` shows once it is stored; None when this sink does not keep it."""
        return row

    def stop(self) -> None:
        """The service goes away (kill -9); what it has acknowledged stays."""
        ...

    def start(self) -> None:
        """It is back, at the same address."""
        ...


class OnServer(Store):
    """One whose service is a process of its own."""

    server: ServerProcess

    def stop(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


@runtime_checkable
class KeepsNewest(Protocol):
    """A Store that shows some of its rows only, such as the newest of each symbol."""

    def expected(self, table: str, rows: Sequence[Row]) -> list[Row]:
        """Those of all rows stored that it shows."""
        ...


def settings_for(store_name: str, section: Mapping[str, Any], data_dir: Path) -> Settings:
    """Settings with this sink on."""
    return Settings(data_dir=data_dir, sinks={store_name: {**section, "enabled": True}})
