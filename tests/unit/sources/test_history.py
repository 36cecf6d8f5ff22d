"""Files in one order of time, from disk: the order of a replay, whatever the blocks and stretches are."""

import json
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from marketpulse.errors import Fatal
from marketpulse.settings import Mapping
from marketpulse.sources import csv_rows, history
from marketpulse.sources.dataset import load
from marketpulse.sources.history import lay_out, read_rejected, stretches

T0 = 1_767_366_000


def trades(path: Path, times: list[int], symbol: str = "A") -> Path:
    lines = [f"{T0 + t},{symbol},{n + 1},1" for n, t in enumerate(times)]
    path.write_text("time,symbol,price,size\n" + "\n".join(lines) + "\n")
    return path


def rows_of(paths: list[Path], folder: Path, rows: int = 7) -> pa.Table:
    found = [kinds["trade"] for kinds in stretches(lay_out(paths, Mapping(), folder).runs, rows)]
    return pa.concat_tables(found, promote_options="permissive")


def test_rows_come_in_the_order_of_a_replay_and_name_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_SAMPLE", 1)
    monkeypatch.setattr(csv_rows.csv_blocks, "__defaults__", (64,))
    times = [n // 3 for n in range(50)]
    Random(1).shuffle(times)
    path = trades(tmp_path / "t.csv", times)
    found = rows_of([path], tmp_path / "rows")
    tape = load([path], Mapping()).tape
    assert found["time_ns"].to_pylist() == tape.time_ns.tolist()
    assert found["price"].to_pylist() == tape.tables["trade"]["price"].to_pylist()
    lines = path.read_text().splitlines()
    for number, price in zip(found["number"].to_pylist(), found["price"].to_pylist(), strict=True):
        assert lines[number - 1].split(",")[2] == f"{price:.0f}"


def test_a_stretch_never_parts_rows_of_one_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_SAMPLE", 1)
    path = trades(tmp_path / "t.csv", [n // 10 for n in range(60)])
    laid = lay_out([path], Mapping(), tmp_path / "rows")
    parts = [set(kinds["trade"]["time_ns"].to_pylist()) for kinds in stretches(laid.runs, 4)]
    assert len(parts) > 1
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_numbers_count_on_from_file_to_file(tmp_path: Path) -> None:
    first, second = (trades(tmp_path / f"{s}.csv", [0, 2], s) for s in "AB")
    found = rows_of([first, second], tmp_path / "rows")
    assert found["number"].to_pylist() == [2, 5, 3, 6]
    assert found["symbol"].to_pylist() == ["A", "B", "A", "B"]


def test_rows_that_share_a_line_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    batch = [{"t": T0 + n, "s": "A", "p": n + 1} for n in range(3)]
    path.write_text(json.dumps({"data": batch}) + "\n" + json.dumps({"data": batch}) + "\n")
    found = rows_of([path], tmp_path / "rows")
    places = zip(found["number"].to_pylist(), found["part"].to_pylist(), strict=True)
    assert sorted(places) == [(n, p) for n in (1, 2) for p in range(3)]


def test_what_cannot_be_read_is_laid_aside_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"time,symbol,price\n{T0},A,1\n{T0},A\n{T0},A,cheap\n")
    laid = lay_out([path], Mapping(), tmp_path / "rows")
    found = [one for file, _ in laid.rejected for one in read_rejected(file)]
    assert [(r.reason, r.row, r.value, number) for r, number in found] == [
        ("missing_field", 3, f"{T0},A".encode(), 3), ("wrong_type", 4, f"{T0},A,cheap".encode(), 4),
    ]  # fmt: skip
    assert (laid.rows, laid.refused, laid.symbols) == (1, 2, {"A"})
    with pytest.raises(Fatal, match=r"row 3.*--strict"):
        lay_out([path], Mapping(), tmp_path / "again", strict=True)


def test_a_file_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time,symbol,price\nnever,A,1\n")
    with pytest.raises(Fatal, match="no usable row"):
        lay_out([path], Mapping(), tmp_path / "rows")


def test_bars_of_later_blocks_have_the_first_ones_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows.csv_blocks, "__defaults__", (120,))
    lines = [f"{T0 + 300 * n},A,1,2,1,2,{n}" for n in range(12)]
    path = tmp_path / "b.csv"
    path.write_text("time,symbol,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    laid = lay_out([path], Mapping(), tmp_path / "rows")
    assert len(laid.runs) > 1
    frames = {f for kinds in stretches(laid.runs) for f in kinds["bar"]["timeframe"].to_pylist()}
    assert frames == {"5m"}
