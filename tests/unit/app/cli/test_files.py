"""The command line: help, wrong usage, faults, what a start imports; the commands that need no broker, `compute`,
`check`, `chart`, `indicators`, `doctor`, and how arguments are read; and `marketpulse sql` in its dialects."""

import faulthandler
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from aws_server import athena_service
from lake_store import daily
from marketpulse import __version__
from marketpulse.app.cli.columns import Record, mapping_of, parse_columns
from marketpulse.app.cli.common import parse_duration, without_none
from marketpulse.app.cli.heal import _positional
from marketpulse.app.cli.local import write
from marketpulse.app.cli.main import main
from marketpulse.errors import ParameterError
from marketpulse.settings import Mapping
from marketpulse.sources.defaults import bundled
from refused import assert_raises
from waiting import wait_until

Run = Callable[..., Any]


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def marketpulse(own_place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`marketpulse ARGUMENTS…` from its first line to its exit, in a working directory of its own."""
    monkeypatch.setattr(faulthandler, "enable", lambda: None)  # the tests' own tells of crashes

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["marketpulse", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


KO = bundled("daily/KO.csv")


def test_compute_writes_a_row_per_bar_by_the_files_ending_and_names_what_it_set_aside(marketpulse: Run) -> None:
    closes = [10.0, 11.0, 12.0, 13.0]
    days = [f"2026-01-0{5 + i},{c},{c},{c},{c},100" for i, c in enumerate(closes)]
    Path("prices.csv").write_text("\n".join(["date,open,high,low,close,volume", *days, "2026-01-09,1,1,1,-1,1\n"]))
    done = marketpulse("compute", "prices.csv", "--timeframe", "1d", "--indicators", "sma(2)")
    assert done.code == 0, done.err
    table = pyarrow.csv.read_csv(io.BytesIO(done.out.encode()))
    assert table["close"].to_pylist() == closes
    assert table["sma_2"].to_pylist() == [None, 10.5, 11.5, 12.5]
    assert done.out.splitlines()[1].startswith("PRICES,1d,2026-01-05T00:00:00Z,2026-01-06T00:00:00Z,2026-01-05,10.0,")
    whole = marketpulse("compute", "prices.csv", "--time", "ns").out.splitlines()
    assert (whole[0].split(",")[2], whole[1].split(",")[2]) == ("open_time_ns", "1767571200000000000")
    assert "1 rows were set aside" in done.err
    assert "row 6" in done.err
    assert marketpulse("compute", "prices.csv", "--indicators", "sma(2)", "--out", "bars.parquet")[:2] == (0, "")
    assert pq.read_table("bars.parquet")["sma_2"].to_pylist() == [None, 10.5, 11.5, 12.5]


def test_sql_answers_in_the_asked_format_and_to_a_file_that_can_be_written(marketpulse: Run, tmp_path: Path) -> None:
    done = marketpulse("sql", "SELECT 1 + 1 AS two", "--format", "json")
    assert (done.code, json.loads(done.out)) == (0, [{"two": 2}])
    for ending, text in {".csv": "two\n2\n", ".JSON": '[{"two": 2}]\n', ".jsonl": '{"two": 2}\n'}.items():
        assert marketpulse("sql", "SELECT 1 + 1 AS two", "--out", f"two{ending}").code == 0
        assert (tmp_path / f"two{ending}").read_text() == text
    assert marketpulse("sql", "SELECT 1 + 1 AS two", "--out", "two.parquet").code == 0
    assert pq.read_table("two.parquet").to_pylist() == [{"two": 2}]
    for command in (("sql", "SELECT 1"), ("compute", str(KO))):
        refused = marketpulse(*command, "--out", "two.xlsx")
        assert (refused.code, "two.xlsx: end the name with one of .csv, .json, .jsonl" in refused.err) == (2, True)
    assert_raises(ParameterError, "cannot be written", write, b"text", tmp_path / "none" / "file.csv")


def test_the_catalogue_is_lines_and_a_chart_and_doctor_fail(marketpulse: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = marketpulse("indicators").out.splitlines()
    assert len(lines) == len(json.loads(marketpulse("indicators", "--json").out)) >= 9
    assert "macd_12_26_9_hist" in marketpulse("indicators", "macd").out
    done = marketpulse("chart", "AAPL", "--out", "c.png")
    assert (done.code, "marketpulse load FILE" in done.err) == (1, True)
    monkeypatch.setenv("MARKETPULSE_SERVE__PORT", "70000")
    done = marketpulse("doctor", "--json")
    assert (done.code, [f["level"] for f in json.loads(done.out)]) == (1, ["OK", "FAIL"])


def test_a_clean_file_ends_with_0_and_a_faulty_one_with_1_and_a_line_for_each_row(marketpulse: Run) -> None:
    clean = marketpulse("check", str(KO))
    assert (clean.code, clean.out, "nothing is suspect" in clean.err) == (0, "", True)
    lines = KO.read_text().splitlines()
    cells = lines[300].split(",")
    lines[300] = ",".join([cells[0], *(str(float(c) * 100) for c in cells[1:5]), *cells[5:]])
    Path("ko.csv").write_text("\n".join(lines) + "\n")
    done = marketpulse("check", "ko.csv")
    (line,) = done.out.splitlines()
    assert (done.code, line[:43]) == (1, "ko.csv line 301  2013-03-14  KO  price_unit")
    assert "is about the level" in line
    assert done.err.strip().endswith("price_unit 1")
    found = json.loads(marketpulse("check", "ko.csv", "--json").out)
    assert (found["rule"], found["severity"], found["symbol"]) == ("price_unit", "mark", "KO")
    Path("marketpulse.toml").write_text('[engine.quality]\nprice_unit = "count"\n')
    counted = marketpulse("check", "ko.csv")
    assert (counted.code, "price_unit" in counted.out) == (0, True)


def test_all_rows_are_counted_that_were_read_and_those_that_are_refused(marketpulse: Run, tmp_path: Path) -> None:
    lines = KO.read_text().splitlines()
    spoilt = lines[500].split(",")
    lines[500] = ",".join([*spoilt[:5], "-1", *spoilt[6:]])
    lines[400] = "2013-08-06,not,a,price,at,all"
    (tmp_path / "ko.csv").write_text("\n".join([*lines, lines[300]]) + "\n")  # a bar twice
    assert "767 rows, all accepted" in marketpulse("check", str(KO)).err  # with the dividends
    assert "768 rows, 765 accepted and 3 refused" in marketpulse("check", "ko.csv").err
    lines[600:606] = [lines[400]] * 6
    (tmp_path / "ko.csv").write_text("\n".join(lines) + "\n")
    (flooded,) = [line for line in marketpulse("check", "ko.csv").out.splitlines() if "the first of" in line]
    assert flooded.startswith("ko.csv line 401  ")
    assert flooded.endswith(" (the first of 7; --json names all)")


INSPECTED = """\
x.csv: 15m bars of 2 symbols (A, B)
time zone: America/New_York, for the times name none (--timezone, mapping.timezone)
column  becomes
sym     symbol
when    time
open    open
high    high
low     low
close   close
note    not used
first of 3 bars:
  opens                 symbol  timeframe  open  high  low  close
  2020-01-03 14:30:00Z  A       15m        1     3     1    2
  2020-01-03 14:45:00Z  A       15m        1     3     1    2.5
  2020-01-03 14:30:00Z  B       15m        1     3     1    2
refused: 2 of 5 rows
  line 4: bad_price: close must be above 0 and finite, found 0.0
  line 6: missing_field: the line has 3 fields where the others have 7
the engine would refuse bars of 15m: add this to engine.timeframes (1s, 1m, 5m, 1h, 1d)
to change it: --map FIELD=COLUMN and the other options here and at `produce`, or [sources.NAME.mapping], in the environment\
 MARKETPULSE_SOURCES__NAME__MAPPING__TIMEZONE and so on (docs/settings.md)
"""


def test_inspect_shows_what_was_understood_and_what_would_be_refused_or_else_what_to_set(marketpulse: Run) -> None:
    rows = "A,2020-01-03 09:30,1,3,1,2,x\nA,2020-01-03 09:45,1,3,1,2.5,x\nA,2020-01-03 10:00,1,3,1,0,x\nB,2020-01-03 09:30,1,3,1,2,x\nB,2,1\n"
    Path("x.csv").write_text(f"sym,when,open,high,low,close,note\n{rows}")
    done = marketpulse("inspect", "x.csv")
    assert (done.code, "--map time=COLUMN" in done.err, done.out) == (1, True, "")
    assert marketpulse("inspect", "x.csv", "--map", "time=when", "--timezone", "America/New_York") == (0, INSPECTED, "")
    Path("y.csv").write_text("date,open,high,low,close\n2020-01-03 09:30,1,3,1,2\n")
    done = marketpulse("inspect", "y.csv")
    assert (done.code, done.err) == (
        1, "y.csv: cannot tell the length of its bars from one label per symbol: set mapping.timeframe (--timeframe)\n",
    )  # fmt: skip
    for text, says in (
        ("", "y.csv is empty"),
        ("time,price\nnever,1\n", "no usable row: time 'never' cannot be read (line 2)"),
    ):
        Path("y.csv").write_text(text)
        done = marketpulse("inspect", "y.csv")
        assert (done.code, says in done.err) == (1, True)


@pytest.mark.usefixtures("beside_the_lake")
def test_a_chart_is_written_by_each_ending(marketpulse: Run, tmp_path: Path) -> None:
    shown = sum(day.isoformat() >= "2014-06-01" for day in daily("AAPL")["date"].to_list())
    for name, begins in {"c.png": b"\x89PNG", "c.svg": b"<svg", "c.HTML": b"<!doctype html>"}.items():
        done = marketpulse("chart", "AAPL", "--out", name, "--from", "2014-06-01", "--size", "600x400")
        assert done.code == 0, done.err
        assert (tmp_path / name).read_bytes().startswith(begins), name
        assert f"AAPL 1d, {shown} bars" in done.err


@pytest.mark.usefixtures("beside_the_lake")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("XXX --out c.png", 2, "no bars of 'XXX' are stored: there are AAPL, IBM, KO, MSFT, SPY"),
        ("AAPL --out c.gif", 2, "end the name with one of .png, .svg, .html"),
        ("AAPL --out none/c.png", 1, "none/c.png cannot be written (No such file or directory)"),
        ("AAPL --out c.png --size big", 2, "--size is WIDTHxHEIGHT in pixels"),
        ("AAPL --out c.png --indicators nope(3)", 2, "unknown indicator 'nope'"),
    ],
)
def test_what_is_wrong_with_a_chart_is_said_with_its_code(marketpulse: Run, words: str, code: int, said: str) -> None:
    done = marketpulse("chart", *words.split())
    assert (done.code, said in done.err) == (code, True), done.err


def test_pairs_lengths_of_time_and_words_of_heal_are_read_and_what_is_none_is_refused_with_an_example() -> None:
    columns = {"price": "last", "size": "qty", "symbol": "a=b"}
    assert parse_columns(["price=last", "size = qty", "symbol=a=b"]) == columns
    for pair in ("price", "=last", "price="):
        assert_raises(ParameterError, "price=last", parse_columns, [pair])
    assert mapping_of(None, None, None, None, timeframe=None) == {}
    found = mapping_of(Record.TRADE, "AAPL", None, ["price=last"], venue="XNYS")
    assert Mapping(**found) == Mapping(record="trade", symbol="AAPL", columns={"price": "last"}, venue="XNYS")
    assert without_none({"serve": {"port": None}, "a": {"b": 0, "c": None}, "d": False}) == {"a": {"b": 0}, "d": False}
    lengths = {"30s": 30, "2m": 120, "1.5h": 5400, "500ms": 0.5, "7": 7, " 1 d ": 86400}
    assert {text: parse_duration(text) for text in lengths} == lengths
    for text in ("", "soon", "-3s", "0s", "3 weeks", "1e3s"):
        assert_raises(ParameterError, "30s, 2m or 1h", parse_duration, text)
    day, next_day = "2026-01-05", "2026-01-06"
    assert _positional(["A", day, next_day], None, None, None) == (["A"], day, next_day)
    assert _positional(["A"], None, day, None) == (["A"], day, None)
    assert _positional([], ["A", "B"], None, None) == (["A", "B"], None, None)
    assert_raises(ParameterError, "--symbol is given twice", _positional, ["A"], ["B"], None, None)
    assert_raises(ParameterError, "SYMBOL FROM TO", _positional, ["A", "1", "2", "3"], None, None, None)


COMMANDS = (
    "up", "broker", "process", "sink", "serve", "compute", "sql", "tail", "topics", "doctor", "alerts list", "alerts put",
    "alerts remove", "aws plan", "aws apply", "aws destroy", "aws policy", "topics list", "topics create",
    "topics describe", "topics delete",
)  # fmt: skip
WITHOUT_CONFIG = ("produce", "indicators", "alerts", "aws", "produce replay", "produce simulate", "produce kafka")


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
