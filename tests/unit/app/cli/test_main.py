import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = (
    "up", "broker", "produce", "process", "sink", "serve", "compute", "sql", "tail", "topics", "indicators", "doctor", "alerts", "aws",
)  # fmt: skip


def marketpulse(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marketpulse", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples_and_takes_config(command: str, tmp_path: Path) -> None:
    done = marketpulse(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  marketpulse {command}" in done.stdout
    if command not in ("produce", "indicators", "alerts", "aws"):
        assert "--config" in done.stdout


@pytest.mark.parametrize("kind", ["replay", "simulate", "kafka"])
def test_every_kind_of_source_shows_examples(kind: str, tmp_path: Path) -> None:
    done = marketpulse("produce", kind, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  marketpulse produce {kind}" in done.stdout


@pytest.mark.parametrize("change", ["list", "put", "remove"])
def test_every_change_of_the_alert_rules_shows_examples_and_takes_config(change: str, tmp_path: Path) -> None:
    done = marketpulse("alerts", change, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  marketpulse alerts {change}" in done.stdout
    assert "--config" in done.stdout


@pytest.mark.parametrize("what", ["plan", "apply", "destroy", "policy"])
def test_every_command_about_aws_shows_examples_and_takes_config(what: str, tmp_path: Path) -> None:
    done = marketpulse("aws", what, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  marketpulse aws {what}" in done.stdout
    assert "--config" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("up", "--loud"),
        ("nonsense",),
        ("sql",),
        ("sink", "attic"),
        ("up", "--for", "soon"),
        ("produce", "no-such-source"),
        ("alerts", "put"),
        ("alerts", "put", "no-such-file"),
        ("alerts", "put", "--name", "x", "--expression", "close > 1", "--timeframe", "7m"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_so_without_a_traceback(args: tuple[str, ...], tmp_path: Path) -> None:
    done = marketpulse(*args, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_that_does_not_exist_is_one_line_and_2(tmp_path: Path) -> None:
    done = marketpulse("topics", "--config", "none.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "none.toml does not exist" in done.stderr


def test_a_failure_exits_with_1_in_one_line_and_with_debug_shows_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    done = marketpulse("topics", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "marketpulse up" in done.stderr
    debugged = marketpulse("--debug", "topics", cwd=tmp_path)
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr


def test_the_alert_rules_of_a_broker_that_is_away_are_one_line_and_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = marketpulse("alerts", "list", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "the broker is away" in done.stderr


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    from marketpulse import __version__

    assert marketpulse("--version", cwd=tmp_path).stdout == f"marketpulse {__version__}\n"


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("numba", "pyarrow", "confluent_kafka", "duckdb", "polars", "pydantic_settings", "uvicorn", "rich")
    script = (
        "import sys\nfrom marketpulse.app.cli import main\nsys.argv = ['marketpulse', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    pass\nprint([m for m in {heavy!r} if m in sys.modules])\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - began < 5


def test_a_wrong_alert_rule_ends_the_engine_before_it_looks_for_a_broker(tmp_path: Path) -> None:
    config = tmp_path / "marketpulse.toml"
    config.write_text(
        f'data_dir = "{tmp_path}"\n[[engine.alerts]]\nname = "dip"\nexpression = "rsi_15 < 30"\n'
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n'
    )
    done = marketpulse("process", cwd=tmp_path)
    assert done.returncode == 2
    assert "engine: rule 'dip': unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^" in done.stderr
    assert "broker" not in done.stderr
