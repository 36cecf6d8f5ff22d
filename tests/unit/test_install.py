"""requirements/install.py: what is set up again, and when."""

import importlib
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "requirements"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, looking at an empty checkout of its own."""
    monkeypatch.syspath_prepend(SCRIPTS)
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
