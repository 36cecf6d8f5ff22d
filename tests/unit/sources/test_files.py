"""Which files a setting names, and blocks of whole lines."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.errors import EnvironmentProblem, Fatal, SettingsError
from marketpulse.sources.files import blocks_of_lines, expand, fingerprint, line_ends, open_bytes, stem


def test_names_globs_and_directories_are_taken_once_each_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "c.parquet", "notes.md", "d.csv.gz", ".hidden.csv"):
        (tmp_path / name).write_text("x")
    found = expand([str(tmp_path / "b.csv"), str(tmp_path), str(tmp_path / "*.csv")])
    assert [p.name for p in found] == ["b.csv", "a.jsonl", "c.parquet", "d.csv.gz"]


def test_a_name_that_names_nothing_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.csv"):
        expand([str(tmp_path / "nothing.csv")])
    with pytest.raises(SettingsError):
        expand([str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("AAPL.csv", "AAPL"),
        ("brk.b.csv.gz", "brk.b"),
        ("BTC-USD.COINBASE.parquet", "BTC-USD.COINBASE"),
        ("intraday", "intraday"),
    ],
)
def test_the_stem_keeps_dots_that_belong_to_the_symbol(name: str, symbol: str) -> None:
    assert stem(Path(name)) == symbol


def test_the_fingerprint_changes_with_content_name_and_mapping_and_with_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("one")
    first = fingerprint([file], "m")
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "a.csv"
    copy.write_text("one")
    assert fingerprint([copy], "m") == first
    assert fingerprint([file], "other") != first
    file.write_text("two")
    assert fingerprint([file], "m") != first


def test_a_file_that_cannot_be_read_or_is_damaged_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"missing\.csv"):
        open_bytes(tmp_path / "missing.csv")
    damaged = tmp_path / "x.csv.gz"
    damaged.write_bytes(gzip.compress(bytes(range(256)) * 1_000)[:-20])
    with open_bytes(damaged) as stream, pytest.raises(Fatal, match="damaged"):
        list(blocks_of_lines(stream, damaged))


@given(st.lists(st.binary(max_size=9).filter(lambda b: b"\n" not in b), max_size=30), st.integers(1, 40))
def test_blocks_hold_whole_lines_and_lose_nothing(lines: list[bytes], block_bytes: int) -> None:
    lines = [line.replace(b'"', b"'") for line in lines]
    data = b"\n".join(lines)
    blocks = list(blocks_of_lines(io.BytesIO(data), Path("x"), block_bytes))
    assert b"".join(blocks) == data
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_a_line_break_inside_quotes_ends_no_line() -> None:
    data = b'a,"x\ny"\nb,"z"\n'
    assert line_ends(np.frombuffer(data, np.uint8)).tolist() == [7, 13]
    assert next(blocks_of_lines(io.BytesIO(data), Path("x"), 5)) == b'a,"x\ny"\n'
