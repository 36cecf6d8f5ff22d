"""Help, wrong usage, faults, and what a start imports."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketpulse import __version__

COMMANDS = (
    "up", "broker", "process", "sink", "serve", "compute", "sql", "tail", "topics", "doctor", "alerts list", "alerts put",
    "alerts remove", "aws plan", "aws apply", "aws destroy", "aws policy", "topics list", "topics create",
    "topics describe", "topics delete",
)  # fmt: skip
WITHOUT_CONFIG = ("produce", "indicators", "alerts", "aws", "produce replay", "produce simulate", "produce kafka")
Run = Callable[..., Any]


@pytest.mark.parametrize("command", [*COMMANDS, *WITHOUT_CONFIG])
def test_every_command_shows_examples_and_takes_config(command: str, marketpulse: Run) -> None:
    done = marketpulse(*command.split(), "--help")
    assert (done.code, f"  marketpulse {command}" in done.out) == (0, True), done.out
    assert command in WITHOUT_CONFIG or "--config" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        "up --loud", "nonsense", "sql", "sink attic", "up --for soon", "produce no-such-source", "alerts put",
        "alerts put no-such-file", "alerts put --name x --expression close>1 --timeframe 7m", "topics create",
        "topics create a --config =x", "topics create a --config a.toml --config b.toml", "topics delete market",
        "topics create a --config none.toml", "topics --config none.toml list", "produce daily --create",
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_2_and_says_so(arguments: str, marketpulse: Run) -> None:
    done = marketpulse(*arguments.split())
    assert (done.code, done.err != "", "Traceback" in done.err) == (2, True, False), done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [("topics --config none.toml", 2, "none.toml does not exist"), ("topics", 1, "marketpulse up"),
     ("alerts list --json", 1, "the broker is away")],
)  # fmt: skip
def test_a_failure_is_one_line_and_a_code(
    arguments: str, code: int, said: str, marketpulse: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketpulse.kafka.log_reader._CALL_S", 0.5)  # no broker comes, however long it is waited for
    if "broker is away" in said:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = marketpulse(*arguments.split())
    assert (done.code, done.out, done.err.count("\n"), said in done.err) == (code, "", 1, True), done.err


def child(*arguments: str, script: tuple[str, ...] = ("-m", "marketpulse")) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_as_a_process_it_tells_its_version_and_with_debug_where_a_fault_was(own_place: Path) -> None:
    assert child("--version").stdout == f"marketpulse {__version__}\n"
    debugged = child("--debug", "topics")
    assert (debugged.returncode, "Traceback" in debugged.stderr) == (1, True)


def test_help_imports_nothing_heavy_and_little_else(own_place: Path) -> None:
    heavy = ("numba", "pyarrow", "confluent_kafka", "duckdb", "polars", "pydantic_settings", "uvicorn", "rich")
    script = (
        "import sys\nfrom marketpulse.app.cli import main\nsys.argv = ['marketpulse', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    pass\nprint([m for m in {heavy!r} if m in sys.modules])\n"
        "print(len(sys.modules))"
    )
    *_, loaded, count = child(script=("-c", script)).stdout.splitlines()
    assert loaded == "[]"
    assert int(count) < 300, "205 of them, 60 ms, when this was written"


def test_a_wrong_alert_rule_ends_the_engine_before_it_looks_for_a_broker(own_place: Path) -> None:
    (own_place / "marketpulse.toml").write_text(
        f'data_dir = "{own_place}"\n[[engine.alerts]]\nname = "dip"\nexpression = "rsi_15 < 30"\n'
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n'
    )
    done = child("process")
    said = "marketpulse.toml:2: engine.alerts.0: rule 'dip': unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^"
    assert (done.returncode, said in done.stderr, "broker" in done.stderr) == (2, True, False)
