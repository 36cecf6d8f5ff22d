"""Blocks of plain trades: the same rows as the general reader makes, and none where a row is anything else."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from marketpulse.settings import Mapping
from marketpulse.sources import history
from marketpulse.sources.dataset import blocks_of, reader_for
from marketpulse.sources.history import lay_out, stretches
from marketpulse.sources.plain_trades import plain_reader

T0 = 1_767_366_000
CSV = "time,symbol,price,size,trade_id\n"
LINES = [f"{T0 + n},{'AB'[n % 2]},{n + 1}.25,{n},x{n}" for n in range(6)]


def frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"time": [T0 * 10**9, T0 * 10**9 + 7], "symbol": ["A", "B"], "price": [1.5, 2.0], **columns})


def as_csv(path: Path) -> Path:
    path.write_text(CSV + "\n".join(LINES) + "\n")
    return path


def as_json(path: Path) -> Path:
    path.write_text("".join(json.dumps({"t": T0 + n, "s": "A", "p": n + 1.5, "i": n}) + "\n" for n in range(5)))
    return path


def as_parquet(path: Path) -> Path:
    frame(size=[1, 2], id=[7, 8], venue=["X", "X"]).write_parquet(path)
    return path


def as_parquet_with_dates(path: Path) -> Path:
    times = pl.Series([T0 * 10**6, T0 * 10**6 + 5]).cast(pl.Datetime("us", "UTC"))
    frame().with_columns(time=times).write_parquet(path)
    return path


def is_plain(path: Path, mapping: Mapping | None = None) -> bool:
    """Whether the file's first block is taken as plain trades."""
    block = next(blocks_of(path))
    head = block.head()
    plain = plain_reader(reader_for(head, mapping or Mapping(), "t", "T"), head.frame)
    return plain is not None and plain.read(block) is not None


def texts(table: pa.Table) -> pa.Table:
    return pa.table({
        name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    })  # fmt: skip


def laid(path: Path, folder: Path) -> pa.Table:
    return pa.concat_tables([kinds["trade"] for kinds in stretches(lay_out([path], Mapping(), folder).runs)])


@pytest.mark.parametrize("write", [as_csv, as_json, as_parquet, as_parquet_with_dates])
def test_they_are_what_the_general_reader_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / "t")
    assert is_plain(path)
    plain = laid(path, tmp_path / "plain")
    monkeypatch.setattr(history, "plain_reader", lambda _reader, _head: None)
    general = laid(path, tmp_path / "general")
    assert plain.schema.equals(general.schema)
    assert plain.num_rows > 1
    assert texts(plain).equals(texts(general))


@pytest.mark.parametrize(
    "line",
    [
        f"{T0},A,0,1,x", f"{T0},A,nan,1,x", f"{T0},A,inf,1,x", f"{T0},A,cheap,1,x", f"{T0},A,1,-1,x", f"{T0},A,1,,x",
        f"{T0},,1,1,x", f"{T0},A ,1,1,x", f"{T0},A,1,1,", f"{T0},A,1,1, x", f"{T0},A,1,1,é", f"{T0}000,A,1,1,x",
        "20260102,A,1,1,x", "5,A,1,1,x", f"{T0},A,0x10,1,x", f"{T0},A,1,1", "", f'{T0},A,1,1,"x\ny"',
    ],
)  # fmt: skip
def test_a_block_with_any_other_row_is_the_general_readers(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(CSV + "\n".join([*LINES[:3], line, *LINES[3:]]) + "\n")
    assert not is_plain(path)


def test_quoted_fields_and_iso_times_are_plain(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('time,symbol,price\n"2026-01-02T15:00:00Z","A",1.5\n"2026-01-02T15:00:00.25Z","B",2\n')
    assert is_plain(path)
    assert laid(path, tmp_path / "rows")["time_ns"].to_pylist() == [T0 * 10**9, T0 * 10**9 + 250_000_000]


@pytest.mark.parametrize(
    "columns",
    [{"size": [1.0, None]}, {"size": ["1", "2"]}, {"symbol": ["A", None]}, {"trade_id": ["x", ""]}, {"price": [1.0, -1.0]},
     {"conditions": [["@"], None]}, {"bid": [1.0, 2.0], "ask": [2.0, 3.0]}, {"time": [0, 1]}],
    ids=str,
)  # fmt: skip
def test_columns_that_are_not_plain_are_the_general_readers(tmp_path: Path, columns: dict[str, object]) -> None:
    path = tmp_path / "t.parquet"
    frame(**columns).write_parquet(path)
    assert not is_plain(path)


@pytest.mark.parametrize(
    "mapping", [Mapping(timezone="America/New_York"), Mapping(time_format="%Y"), Mapping(record="quote", columns={"bid": "price", "ask": "price"})]
)  # fmt: skip
def test_what_settings_change_is_the_general_readers(tmp_path: Path, mapping: Mapping) -> None:
    assert not is_plain(as_csv(tmp_path / "t.csv"), mapping)


def test_a_symbol_and_a_venue_of_the_mapping_hold_for_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"time,price\n{T0},1\n{T0 + 1},2\n")
    block = next(blocks_of(path))
    head = block.head()
    plain = plain_reader(reader_for(head, Mapping(symbol="Z", venue="V"), "t", "T"), head.frame)
    assert plain is not None
    found = plain.read(block)
    assert found is not None
    assert (found.table["symbol"].to_pylist(), found.table["venue"].to_pylist()) == (["Z", "Z"], ["V", "V"])
    assert (found.table["size"].to_pylist(), found.table["trade_id"].to_pylist()) == ([0.0, 0.0], [None, None])
    assert found.numbers.tolist() == [2, 3]


def test_plain_and_other_blocks_of_a_file_stand_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with parquet.ParquetWriter(path, frame(id=["a", "b"]).to_arrow().schema) as writer:
        for ids in (["a", "b"], ["c", " d"], ["e", "f"]):
            writer.write_table(frame(id=ids).to_arrow())
    found = laid(path, tmp_path / "rows")
    assert found["trade_id"].to_pylist() == ["a", "c", "e", "b", "d", "f"]
    assert found["number"].to_pylist() == [1, 3, 5, 2, 4, 6]
