"""Files in one order of time, from disk: the order of a replay, whatever the blocks and stretches are.

Blocks of plain trades are the same rows as the general reader makes, and none where a row is anything else.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from marketpulse.errors import Fatal
from marketpulse.settings import Mapping
from marketpulse.sources import csv_rows, history
from marketpulse.sources.dataset import blocks_of, load, reader_for
from marketpulse.sources.history import lay_out, read_rejected, stretches
from marketpulse.sources.plain_trades import plain_reader

T0 = 1_767_366_000
CSV = "time,symbol,price,size,trade_id\n"
LINES = [f"{T0 + n},{'AB'[n % 2]},{n + 1}.25,{n},x{n}" for n in range(6)]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def trades(path: Path, times: list[int], symbol: str = "A") -> Path:
    lines = [f"{T0 + t},{symbol},{n + 1},1\n" for n, t in enumerate(times)]
    return written(path, "time,symbol,price,size\n" + "".join(lines))


def rows_of(*paths: Path, rows: int = 7) -> pa.Table:
    runs = lay_out(list(paths), Mapping(), Path(mkdtemp(dir=paths[0].parent))).runs
    return pa.concat_tables([kinds["trade"] for kinds in stretches(runs, rows)], promote_options="permissive")


def test_rows_come_in_the_order_of_a_replay_and_name_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_SAMPLE", 1)
    monkeypatch.setattr(csv_rows.csv_blocks, "__defaults__", (64,))
    times = [n // 3 for n in range(50)]
    Random(1).shuffle(times)
    path = trades(tmp_path / "t.csv", times)
    found, tape = rows_of(path), load([path], Mapping()).tape
    assert found["time_ns"].to_pylist() == tape.time_ns.tolist()
    assert found["price"].to_pylist() == tape.tables["trade"]["price"].to_pylist()
    prices = [float(line.split(",")[2]) for line in path.read_text().splitlines()[1:]]
    assert [prices[number - 2] for number in found["number"].to_pylist()] == found["price"].to_pylist()


def test_a_stretch_never_parts_rows_of_one_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_SAMPLE", 1)
    path = trades(tmp_path / "t.csv", [n // 10 for n in range(60)])
    runs = lay_out([path], Mapping(), tmp_path / "rows").runs
    parts = [set(kinds["trade"]["time_ns"].to_pylist()) for kinds in stretches(runs, 4)]
    assert len(parts) > 1
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_numbers_count_on_from_file_to_file_and_rows_that_share_a_line_are_told_apart(tmp_path: Path) -> None:
    found = rows_of(*(trades(tmp_path / f"{s}.csv", [0, 2], s) for s in "AB"))
    assert found["number"].to_pylist() == [2, 5, 3, 6]
    assert found["symbol"].to_pylist() == ["A", "B", "A", "B"]
    batch = json.dumps({"data": [{"t": T0 + n, "s": "A", "p": n + 1} for n in range(3)]})
    found = rows_of(written(tmp_path / "t.jsonl", f"{batch}\n{batch}\n"))
    places = zip(found["number"].to_pylist(), found["part"].to_pylist(), strict=True)
    assert sorted(places) == [(n, p) for n in (1, 2) for p in range(3)]


def test_what_cannot_be_read_is_laid_aside_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", f"time,symbol,price\n{T0},A,1\n{T0},A\n{T0},A,cheap\n")
    laid = lay_out([path], Mapping(), tmp_path / "rows")
    found = [(r.reason, r.row, r.value, number) for file, _ in laid.rejected for r, number in read_rejected(file)]
    assert found == [("missing_field", 3, f"{T0},A".encode(), 3), ("wrong_type", 4, f"{T0},A,cheap".encode(), 4)]
    assert (laid.rows, laid.refused, laid.symbols) == (1, 2, {"A"})
    with pytest.raises(Fatal, match=r"row 3.*--strict"):
        lay_out([path], Mapping(), tmp_path / "again", strict=True)
    with pytest.raises(Fatal, match="no usable row"):
        lay_out([written(tmp_path / "n.csv", "time,symbol,price\nnever,A,1\n")], Mapping(), tmp_path / "none")


def test_bars_of_later_blocks_have_the_first_ones_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows.csv_blocks, "__defaults__", (120,))
    lines = "".join(f"{T0 + 300 * n},A,1,2,1,2,{n}\n" for n in range(12))
    path = written(tmp_path / "b.csv", "time,symbol,open,high,low,close,volume\n" + lines)
    runs = lay_out([path], Mapping(), tmp_path / "rows").runs
    assert len(runs) > 1
    assert {f for kinds in stretches(runs) for f in kinds["bar"]["timeframe"].to_pylist()} == {"5m"}


def frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"time": [T0 * 10**9, T0 * 10**9 + 7], "symbol": ["A", "B"], "price": [1.5, 2.0], **columns})


def as_csv(path: Path) -> Path:
    return written(path, CSV + "\n".join(LINES) + "\n")


def as_json(path: Path) -> Path:
    rows = ({"t": T0 + n, "s": "A", "p": n + 1.5, "i": n} for n in range(5))
    return written(path, "".join(json.dumps(row) + "\n" for row in rows))


def as_parquet(path: Path) -> Path:
    frame(size=[1, 2], id=[7, 8], venue=["X", "X"]).write_parquet(path)
    return path


def as_parquet_with_dates(path: Path) -> Path:
    times = pl.Series([T0 * 10**6, T0 * 10**6 + 5]).cast(pl.Datetime("us", "UTC"))
    frame().with_columns(time=times).write_parquet(path)
    return path


def plain_of(path: Path, mapping: Mapping | None = None) -> Any:
    """What the file's first block is as plain trades, or None."""
    block = next(blocks_of(path))
    head = block.head()
    plain = plain_reader(reader_for(head, mapping or Mapping(), "t", "T"), head.frame)
    return plain and plain.read(block)


def texts(table: pa.Table) -> pa.Table:
    return pa.table({
        name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    })  # fmt: skip


@pytest.mark.parametrize("write", [as_csv, as_json, as_parquet, as_parquet_with_dates])
def test_plain_trades_are_what_the_general_reader_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / "t")
    assert plain_of(path) is not None
    plain = rows_of(path, rows=1_000)
    monkeypatch.setattr(history, "plain_reader", lambda _reader, _head: None)
    general = rows_of(path, rows=1_000)
    assert plain.schema.equals(general.schema)
    assert plain.num_rows > 1
    assert texts(plain).equals(texts(general))


@pytest.mark.parametrize("line", [
    f"{T0},A,0,1,x", f"{T0},A,nan,1,x", f"{T0},A,inf,1,x", f"{T0},A,cheap,1,x", f"{T0},A,1,-1,x", f"{T0},A,1,,x",
    f"{T0},,1,1,x", f"{T0},A ,1,1,x", f"{T0},A,1,1,", f"{T0},A,1,1, x", f"{T0},A,1,1,é", f"{T0}000,A,1,1,x",
    "20260102,A,1,1,x", "5,A,1,1,x", f"{T0},A,0x10,1,x", f"{T0},A,1,1", "", f'{T0},A,1,1,"x\ny"',
])  # fmt: skip
def test_a_block_with_any_other_row_is_the_general_readers(tmp_path: Path, line: str) -> None:
    text = CSV + "\n".join([*LINES[:3], line, *LINES[3:]]) + "\n"
    assert plain_of(written(tmp_path / "t.csv", text)) is None


def test_quoted_fields_iso_times_and_a_symbol_and_a_venue_of_the_mapping_are_plain(tmp_path: Path) -> None:
    text = 'time,symbol,price\n"2026-01-02T15:00:00Z","A",1.5\n"2026-01-02T15:00:00.25Z","B",2\n'
    path = written(tmp_path / "t.csv", text)
    assert plain_of(path) is not None
    assert rows_of(path)["time_ns"].to_pylist() == [T0 * 10**9, T0 * 10**9 + 250_000_000]
    path = written(tmp_path / "t.csv", f"time,price\n{T0},1\n{T0 + 1},2\n")
    found = plain_of(path, Mapping(symbol="Z", venue="V"))
    assert found is not None
    columns = {name: found.table[name].to_pylist() for name in ("symbol", "venue", "size", "trade_id")}
    assert columns == {"symbol": ["Z", "Z"], "venue": ["V", "V"], "size": [0.0, 0.0], "trade_id": [None, None]}
    assert found.numbers.tolist() == [2, 3]


@pytest.mark.parametrize("columns", [
    {"size": [1.0, None]}, {"size": ["1", "2"]}, {"symbol": ["A", None]}, {"trade_id": ["x", ""]}, {"price": [1.0, -1.0]},
    {"conditions": [["@"], None]}, {"bid": [1.0, 2.0], "ask": [2.0, 3.0]}, {"time": [0, 1]},
], ids=str)  # fmt: skip
def test_columns_that_are_not_plain_are_the_general_readers(tmp_path: Path, columns: dict[str, object]) -> None:
    frame(**columns).write_parquet(tmp_path / "t.parquet")
    assert plain_of(tmp_path / "t.parquet") is None


def test_what_settings_change_is_the_general_readers(tmp_path: Path) -> None:
    quotes = Mapping(record="quote", columns={"bid": "price", "ask": "price"})
    for mapping in (Mapping(timezone="America/New_York"), Mapping(time_format="%Y"), quotes):
        assert plain_of(as_csv(tmp_path / "t.csv"), mapping) is None


def test_plain_and_other_blocks_of_a_file_stand_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with parquet.ParquetWriter(path, frame(id=["a", "b"]).to_arrow().schema) as writer:
        for ids in (["a", "b"], ["c", " d"], ["e", "f"]):
            writer.write_table(frame(id=ids).to_arrow())
    found = rows_of(path)
    assert found["trade_id"].to_pylist() == ["a", "c", "e", "b", "d", "f"]
    assert found["number"].to_pylist() == [1, 3, 5, 2, 4, 6]
