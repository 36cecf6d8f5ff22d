"""`marketpulse chart`: what it writes, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from marketpulse.app.cli.main import app
from real_rows import daily, store_real_rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_real_rows(tmp_path_factory.mktemp("lake")).data_dir


@pytest.fixture(autouse=True)
def _place(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(lake))


@pytest.mark.parametrize(
    ("name", "begins"), [("c.png", b"\x89PNG"), ("c.svg", b"<svg"), ("c.HTML", b"<!doctype html>")]
)
def test_each_ending_is_written(tmp_path: Path, name: str, begins: bytes) -> None:
    done = CliRunner().invoke(app, ["chart", "AAPL", "--out", name, "--from", "2014-06-01", "--size", "600x400"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / name).read_bytes().startswith(begins)
    shown = sum(day.isoformat() >= "2014-06-01" for day in daily("AAPL")["date"].to_list())
    assert f"AAPL 1d, {shown} bars" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["XXX", "--out", "c.png"], 2, "no bars of 'XXX' are stored: there are AAPL, IBM, KO, MSFT, SPY"),
        (["AAPL", "--out", "c.gif"], 2, "end the name with one of .png, .svg, .html"),
        (["AAPL", "--out", "none/c.png"], 1, "none/c.png cannot be written (No such file or directory)"),
        (["AAPL", "--out", "c.png", "--size", "big"], 2, "--size is WIDTHxHEIGHT in pixels"),
        (["AAPL", "--out", "c.png", "--indicators", "nope(3)"], 2, "unknown indicator 'nope'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_its_exit_code(words: list[str], code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "marketpulse", "chart", *words], capture_output=True, text=True, check=False, timeout=180)  # fmt: skip
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_an_empty_lake_is_a_failure_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "empty"))
    done = subprocess.run([sys.executable, "-m", "marketpulse", "chart", "AAPL", "--out", "c.png"], capture_output=True, text=True, check=False, timeout=180)  # fmt: skip
    assert (done.returncode, "marketpulse load FILE" in done.stderr) == (1, True)
