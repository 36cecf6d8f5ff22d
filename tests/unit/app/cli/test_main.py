"""Help, wrong usage, faults, what a start imports, and `marketpulse sql` in its dialects."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from athena_service import athena_service
from marketpulse import __version__
from waiting import wait_until

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


def test_a_process_tells_its_version_or_where_a_fault_was_and_help_imports_nothing_heavy(own_place: Path) -> None:
    assert child("--version").stdout == f"marketpulse {__version__}\n"
    debugged = child("--debug", "topics")
    assert (debugged.returncode, "Traceback" in debugged.stderr) == (1, True)
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


@pytest.mark.usefixtures("beside_the_lake")
def test_a_named_query_runs_with_its_parameters_and_explain_tells_what_is_read(marketpulse: Run) -> None:
    words = ["--named", "most_active", "--param", "days=5", "--param", "limit=2", "--format", "json"]
    done = marketpulse("sql", *words)
    assert (done.code, [row["symbol"] for row in json.loads(done.out)]) == (0, ["AAPL", "MSFT"])
    assert "Covers 2014-12-27 to 2014-12-31, 5 days, up to each symbol's newest 1d bar.\n" in done.err
    nothing = marketpulse("sql", "--named", "gainers", "--param", "until=2020-01-01")
    assert (nothing.code, nothing.err.splitlines()[0]) == (
        0, "Covers 2019-12-03 to 2020-01-01, 30 days. No 1d bars newer than 2014-12-31; try days=1857, or no until.",
    )  # fmt: skip
    done = marketpulse("sql", "--explain", "SELECT count(*) FROM bars WHERE symbol = 'KO'")
    assert done.code == 0
    assert all(words in done.out for words in ("bars: ", "files, ", "where (symbol = 'KO')"))


def test_the_list_names_every_query_and_athenas_dialect_is_taken_when_asked_or_fit_and_shown(marketpulse: Run) -> None:
    done = marketpulse("sql", "--list")
    assert done.code == 0
    assert "intraday_seasonality\n  What a day looks like" in done.out
    assert "--param days=30" in done.out
    exact = marketpulse("sql", "SELECT 7/2 AS x", "--dialect", "athena", "--format", "csv")
    assert (exact.code, exact.out) == (0, "x\n3\n")
    guessed = marketpulse("sql", "SELECT date_parse('2024', '%Y') AS d", "--format", "csv")
    assert (guessed.code, guessed.out) == (0, "d\n2024-01-01 00:00:00\n")
    sent = marketpulse("sql", "SELECT symbol AS s FROM trades GROUP BY ALL", "--engine", "athena", "--explain")
    assert (sent.code, " ".join(sent.out.split())) == (0, "SELECT symbol AS s FROM trades GROUP BY 1")


@pytest.mark.parametrize(
    "words",
    [[], ["SELECT 1", "--named", "gainers"], ["--named", "nothing"], ["--named", "gainers", "--param", "days"],
     ["--named", "gainers", "--param", "days=x"], ["SELECT 1", "--param", "days=5"]],
)  # fmt: skip
def test_wrong_words_are_wrong_usage(words: list[str], marketpulse: Run) -> None:
    done = marketpulse("sql", *words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err


def test_a_mistake_is_shown_in_place_and_athenas_cost_said(marketpulse: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = marketpulse("sql", "SELECT date_parse('a', 'b'),\n  prize FROM trades")
    assert done.code == 1
    assert done.err.endswith("LINE 2:   prize FROM trades\n          ^\n")
    login = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1"}
    with athena_service() as service:
        service.columns, service.pages, service.scanned = ([{"Name": "n", "Type": "bigint"}], [[["7"]]], 50_000_000)
        for name, value in {"MARKETPULSE_ATHENA__ENDPOINT_URL": service.url, **login}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        done = marketpulse("sql", "SELECT count(*) AS n FROM trades", "--engine", "athena", "--format", "csv")
    assert (done.code, done.out) == (0, "n\n7\n"), done.err
    assert done.err == "Athena read 50.0 MB in 1.5 s: about 0.000250 USD at 5 USD per TB (10 MB at least)\n"


def test_ctrl_c_stops_the_query_and_the_command(own_place: Path) -> None:
    endless = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
    command = [sys.executable, "-m", "marketpulse", "sql", endless]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )  # fmt: skip

    def opened() -> list[Path]:
        return list((own_place / "data").glob("sql-*"))

    wait_until(opened)
    (process,) = psutil.Process(running.pid).children()
    opened_at_s = process.cpu_times().user
    wait_until(lambda: process.cpu_times().user > opened_at_s + 0.5, "that the query runs")
    os.kill(running.pid, signal.SIGINT)
    running.communicate(timeout=120)
    assert (running.returncode, opened()) == (130, [])  # it has tidied up
