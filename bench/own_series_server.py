"""A time-series server for one benchmark alone: InfluxDB 1.x or VictoriaMetrics, as `make dev` has fetched them."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx

_BIN = Path(__file__).parents[1] / ".venv" / "bin"


@contextmanager
def own_series_server(which: Literal["influxd", "victoria-metrics"]) -> Iterator[str]:
    """Its address on loopback; it goes with all that it holds."""
    home = Path(tempfile.mkdtemp(prefix="marketpulse-bench-"))
    port, other = _free_port(), _free_port()
    if which == "influxd":
        (home / "conf").write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{other}"\n[meta]\ndir = "{home}/meta"\n[data]\n'
            f'dir = "{home}/data"\nwal-dir = "{home}/wal"\n[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
        )
        arguments = ["-config", str(home / "conf")]
    else:
        arguments = [f"-storageDataPath={home}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=50y"]
    own = _BIN / which
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([str(own) if own.exists() else which, *arguments], stdout=log, stderr=log, cwd=home)
    try:
        _await(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(f"{url}/ping", timeout=1)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(f"{url} does not answer")
