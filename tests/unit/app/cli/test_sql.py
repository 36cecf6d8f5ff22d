import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from athena_service import athena_service
from marketpulse.app.cli.main import app
from real_rows import store_real_rows

ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "data"))


def test_a_named_query_runs_with_its_parameters(tmp_path: Path) -> None:
    store_real_rows(tmp_path / "data")
    words = ["sql", "--named", "most_active", "--param", "days=5", "--param", "limit=2", "--format", "json"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, [row["symbol"] for row in json.loads(done.stdout)]) == (0, ["AAPL", "MSFT"])


def test_the_list_names_every_query_and_parameter() -> None:
    done = CliRunner().invoke(app, ["sql", "--list"])
    assert done.exit_code == 0
    assert "intraday_seasonality\n  What a day looks like" in done.stdout
    assert "--param days=30" in done.stdout


def test_athenas_dialect_is_taken_when_asked_and_when_it_is_no_other() -> None:
    exact = CliRunner().invoke(app, ["sql", "SELECT 7/2 AS x", "--dialect", "athena", "--format", "csv"])
    assert (exact.exit_code, exact.stdout) == (0, "x\n3\n")
    guessed = CliRunner().invoke(app, ["sql", "SELECT date_parse('2024', '%Y') AS d", "--format", "csv"])
    assert (guessed.exit_code, guessed.stdout) == (0, "d\n2024-01-01 00:00:00\n")


def test_explain_tells_what_is_read(tmp_path: Path) -> None:
    store_real_rows(tmp_path / "data")
    done = CliRunner().invoke(app, ["sql", "--explain", "SELECT count(*) FROM bars WHERE symbol = 'KO'"])
    assert done.exit_code == 0
    assert "bars: " in done.stdout
    assert "files, " in done.stdout
    assert "where (symbol = 'KO')" in done.stdout


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "marketpulse", "sql", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "words",
    [[], ["SELECT 1", "--named", "gainers"], ["--named", "nothing"], ["--named", "gainers", "--param", "days"],
     ["--named", "gainers", "--param", "days=x"], ["SELECT 1", "--param", "days=5"]],
)  # fmt: skip
def test_wrong_words_are_wrong_usage(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1


def test_a_mistake_is_shown_where_it_is_in_what_was_typed() -> None:
    done = run("SELECT date_parse('a', 'b'),\n  prize FROM trades")
    assert done.returncode == 1
    assert done.stderr.endswith("LINE 2:   prize FROM trades\n          ^\n")


def test_ctrl_c_stops_the_query_and_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marketpulse", "sql", ENDLESS]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "data").glob("sql-*")):  # the lake is open: the query runs now, or nearly
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == 130
    assert not list((tmp_path / "data").glob("sql-*"))  # and it has tidied up


def test_athena_is_asked_and_the_cost_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with athena_service() as service:
        service.columns, service.pages, service.scanned = ([{"Name": "n", "Type": "bigint"}], [[["7"]]], 50_000_000)
        monkeypatch.setenv("MARKETPULSE_ATHENA__ENDPOINT_URL", service.url)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        done = run("SELECT count(*) AS n FROM trades", "--engine", "athena", "--format", "csv")
    assert (done.returncode, done.stdout) == (0, "n\n7\n"), done.stderr
    assert done.stderr == "Athena read 50.0 MB in 1.5 s: about 0.000250 USD at 5 USD per TB (10 MB at least)\n"


def test_what_would_be_sent_costs_nothing_to_see() -> None:
    done = CliRunner().invoke(
        app, ["sql", "SELECT symbol AS s FROM trades GROUP BY ALL", "--engine", "athena", "--explain"]
    )
    assert (done.exit_code, " ".join(done.stdout.split())) == (0, "SELECT symbol AS s FROM trades GROUP BY 1")
