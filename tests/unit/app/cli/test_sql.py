"""`marketpulse sql`: named queries, two dialects, Athena, mistakes, and Ctrl-C."""

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
from waiting import wait_until

Run = Callable[..., Any]


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


def test_the_list_names_every_query_and_parameter(marketpulse: Run) -> None:
    done = marketpulse("sql", "--list")
    assert done.code == 0
    assert "intraday_seasonality\n  What a day looks like" in done.out
    assert "--param days=30" in done.out


def test_athenas_dialect_is_taken_when_asked_or_no_other_fits_and_what_is_sent_can_be_seen(marketpulse: Run) -> None:
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


def test_a_mistake_is_shown_where_it_is_in_what_was_typed(marketpulse: Run) -> None:
    done = marketpulse("sql", "SELECT date_parse('a', 'b'),\n  prize FROM trades")
    assert done.code == 1
    assert done.err.endswith("LINE 2:   prize FROM trades\n          ^\n")


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
    process = psutil.Process(running.pid)
    opened_at_s = process.cpu_times().user
    wait_until(lambda: process.cpu_times().user > opened_at_s + 0.5, "that the query runs")
    os.kill(running.pid, signal.SIGINT)
    running.communicate(timeout=120)
    assert (running.returncode, opened()) == (130, [])  # it has tidied up


def test_athena_is_asked_and_the_cost_is_said(marketpulse: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    login = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1"}
    with athena_service() as service:
        service.columns, service.pages, service.scanned = ([{"Name": "n", "Type": "bigint"}], [[["7"]]], 50_000_000)
        for name, value in {"MARKETPULSE_ATHENA__ENDPOINT_URL": service.url, **login}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        done = marketpulse("sql", "SELECT count(*) AS n FROM trades", "--engine", "athena", "--format", "csv")
    assert (done.code, done.out) == (0, "n\n7\n"), done.err
    assert done.err == "Athena read 50.0 MB in 1.5 s: about 0.000250 USD at 5 USD per TB (10 MB at least)\n"
