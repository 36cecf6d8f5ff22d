import io
import json
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from marketpulse.app.cli.local import write
from marketpulse.app.cli.main import app
from marketpulse.errors import ParameterError

CLOSES = (10.0, 11.0, 12.0, 13.0)


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    days = [f"2026-01-0{5 + i},{c},{c},{c},{c},100" for i, c in enumerate(CLOSES)]
    file = tmp_path / "prices.csv"
    file.write_text("\n".join(["date,open,high,low,close,volume", *days, "2026-01-09,1,1,1,-1,1"]) + "\n")
    return file


def test_compute_writes_one_row_per_bar_and_names_what_it_set_aside(prices: Path) -> None:
    done = CliRunner().invoke(app, ["compute", str(prices), "--timeframe", "1d", "--indicators", "sma(2)"])
    assert done.exit_code == 0, done.output
    table = pyarrow.csv.read_csv(io.BytesIO(done.stdout.encode()))
    assert table["close"].to_pylist() == list(CLOSES)
    assert table["sma_2"].to_pylist() == [None, 10.5, 11.5, 12.5]
    assert "1 rows were set aside" in done.stderr
    assert "row 6" in done.stderr


def test_compute_writes_the_format_of_the_files_ending(prices: Path, tmp_path: Path) -> None:
    out = tmp_path / "bars.parquet"
    done = CliRunner().invoke(app, ["compute", str(prices), "--indicators", "sma(2)", "--out", str(out)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert pq.read_table(out)["sma_2"].to_pylist() == [None, 10.5, 11.5, 12.5]


def test_sql_answers_in_the_asked_format_and_to_a_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sql", "SELECT 1 + 1 AS two", "--format", "json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [{"two": 2}])
    out = tmp_path / "two.csv"
    done = CliRunner().invoke(app, ["sql", "SELECT 1 + 1 AS two", "--format", "csv", "--out", str(out)])
    assert (done.exit_code, out.read_text()) == (0, "two\n2\n")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be written"):
        write(b"text", tmp_path / "none" / "file.csv")


def test_the_catalogue_is_a_line_each_or_json_or_one_in_full() -> None:
    lines = CliRunner().invoke(app, ["indicators"]).stdout.splitlines()
    catalogue = json.loads(CliRunner().invoke(app, ["indicators", "--json"]).stdout)
    assert len(lines) == len(catalogue) >= 9
    assert "macd_12_26_9_hist" in CliRunner().invoke(app, ["indicators", "macd"]).stdout


def test_doctor_exits_with_1_when_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPULSE_SERVE__PORT", "70000")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    assert [f["level"] for f in json.loads(done.stdout)] == ["OK", "FAIL"]
