"""CSV of any delimiter -> raw rows: sniffed, its header repaired where a known fault can be told.

Good lines never become Python objects: a block is parsed into text columns at once. Lines with
another number of fields than the rest are set aside with their number and their bytes.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from csv import reader
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv

from marketpulse.errors import Fatal
from marketpulse.model.market import Ints
from marketpulse.ports import RejectedInput
from marketpulse.sources.files import BLOCK_BYTES, Lines, blocks_of_lines, open_bytes
from marketpulse.sources.known_files import known_columns
from marketpulse.sources.raw import GUESSED_FROM_ROWS, Block, RawRows

_NUMBER = re.compile(r"[-+$]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?%?")
_JOINED = {"adjclose", "adjustedclose", "stocksplits", "opentime", "closetime", "lastprice", "tradeprice"}
_HEAD_BYTES = 1 << 18
_GUESSED_FROM_BYTES = 1 << 21
_HEXADECIMAL = (b"0x", b"0X")  # which Arrow would take for numbers


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one file is written."""

    delimiter: str
    names: tuple[str, ...]
    head_lines: int  # lines above the first row, blank ones not counted
    symbol: str | None = None  # where one of them says it


def read_csv(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[RawRows]:
    """The file's rows in blocks, each a frame of text columns. Raises Fatal when it is no table."""
    return (block.rows() for block in csv_blocks(path, block_bytes))


def csv_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The same, each block understood when it is asked for."""
    with open_bytes(path) as stream:
        dialect: Dialect | None = None
        line = 1
        for block in blocks_of_lines(stream, path, block_bytes):
            body = block
            if dialect is None:
                dialect = sniff(block, path)
                body = block[Lines(block, 1).start_of(dialect.head_lines) :]
            line += block.count(b"\n", 0, len(block) - len(body))
            if body:
                yield Block(
                    partial(_parse, body, dialect, path, line), partial(_head, body, dialect, path, line),
                    partial(_plain, body, dialect, line),
                )  # fmt: skip
            line += body.count(b"\n")
        if dialect is None:
            raise Fatal(f"{path} is empty: nothing to replay")


def rows_of(block: bytes, dialect: Dialect, path: Path, first_line: int) -> RawRows:
    """Lines below the header; `first_line` is the number of the first of them, from 1."""
    return _parse(block, dialect, path, first_line)


def sniff(block: bytes, path: Path) -> Dialect:
    """Delimiter and column names from the first lines. Raises Fatal naming the header found."""
    text = _text(block[:_HEAD_BYTES]).strip()
    if not text:
        raise Fatal(f"{path} is empty: nothing to replay")
    first, _, following = text.partition("\n")
    delimiter = max(",;\t|", key=lambda mark: first.count(mark) + following[:2_000].count(mark))
    rows = [[field.strip() for field in row] for row in reader(io.StringIO(text), delimiter=delimiter) if row]
    above = next((i for i, row in enumerate(rows[:5]) if len(row) > 1), None)  # a title, a web address
    if above is None:
        raise Fatal(f"{path}: no columns found in its first line {first[:200]!r}: is it CSV?")
    header = rows[above]
    if len(rows) > above + 2 and (header[0], rows[above + 1][0]) == ("Price", "Ticker"):
        return _two_level(header, rows[above + 1], rows[above + 2], delimiter, above, path)
    body = rows[above + 1 :] if len(block) < _HEAD_BYTES else rows[above + 1 : -1]
    widths = Counter(len(row) for row in body)
    width = widths.most_common(1)[0][0] if widths else len(header)
    if sum(bool(_NUMBER.fullmatch(name)) for name in header) * 2 >= len(header):
        numbered = tuple(str(i + 1) for i in range(len(header)))
        return Dialect(delimiter, known_columns([header, *body]) or numbered, above)
    if width != len(header):
        header = _repaired(header, width, body, path)
    return Dialect(delimiter, _unique(header), above + 1)


def _two_level(
    header: list[str], tickers: list[str], index: list[str], delimiter: str, above: int, path: Path
) -> Dialect:
    """A download by `yfinance` as `to_csv` writes it: fields, tickers, and the name of the index in lines of their own."""
    if len(set(tickers[1:])) > 1:
        raise Fatal(
            f"{path}: it has several symbols side by side ({', '.join(sorted(set(tickers[1:])))}): write one below the "
            "other, as frame.stack(level=1) does, or one file for each"
        )
    return Dialect(delimiter, _unique([index[0], *header[1:]]), above + 3, tickers[1])


def _repaired(header: list[str], width: int, rows: list[list[str]], path: Path) -> list[str]:
    """A header whose names and fields do not pair: mend the faults that can be told, refuse the rest."""
    if width == len(header) - 1:
        for i in range(len(header) - 1):
            joined = f"{header[i]} {header[i + 1]}"
            if re.sub(r"[^a-z]", "", joined.lower()) in _JOINED:
                return [*header[:i], joined, *header[i + 2 :]]
    if width == len(header) + 1 and all(row[-1] == "" for row in rows if len(row) == width):
        return [*header, ""]  # every line ends with a delimiter
    raise Fatal(
        f"{path}: the header has {len(header)} names ({', '.join(header)}) but the rows have {width} fields,"
        " so no column can be trusted: correct the header line"
    )


def _unique(names: list[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    unique = []
    for i, name in enumerate(names):
        plain = name.strip().strip('"') or f"column {i + 1}"
        seen[plain] += 1
        unique.append(plain if seen[plain] == 1 else f"{plain} ({seen[plain]})")
    return tuple(unique)


def _text(block: bytes) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        if error.start > len(block) - 4:  # a sign cut in two at the end of the sample
            return block[: error.start].decode()
        return block.decode("cp1252", errors="replace")


def _parse(block: bytes, dialect: Dialect, path: Path, first_line: int) -> RawRows:
    ragged: list[tuple[int, int]] = []

    def set_aside(row: Any) -> str:
        ragged.append((row.number - 1, row.actual_columns))
        return "skip"

    frame = _columns(block, dialect, set_aside)
    if dialect.symbol is not None:
        frame = frame.with_columns(pl.lit(dialect.symbol).alias("Ticker"))
    lines = Lines(block, first_line)
    ordinals = np.delete(np.arange(len(frame) + len(ragged)), [r for r, _ in ragged])
    if not block.endswith(b"\n") and len(frame) > 1 and _looks_cut(frame):
        ragged.append((int(ordinals[-1]), ABSENT_END))
        frame, ordinals = frame.head(len(frame) - 1), ordinals[:-1]
    broken = [
        RejectedInput("missing_field", _why(count, dialect), str(path), *lines.at(ordinal)) for ordinal, count in ragged
    ]
    return RawRows(frame, str(path), lambda i: lines.at(int(ordinals[i])), broken, lambda: lines.numbers()[ordinals])


def _head(block: bytes, dialect: Dialect, path: Path, first_line: int) -> RawRows:
    """The block's first lines, when these are enough; else all of it."""
    cut = block.rfind(b"\n", 0, _GUESSED_FROM_BYTES) + 1
    if cut and not block.count(b'"', 0, cut) % 2:
        head = _parse(block[:cut], dialect, path, first_line)
        if len(head.frame) >= GUESSED_FROM_ROWS:
            return head
    return _parse(block, dialect, path, first_line)


def _plain(
    block: bytes, dialect: Dialect, first_line: int, kinds: Mapping[str, pa.DataType]
) -> tuple[pa.Table, Ints] | None:
    """The columns, when each line is a row that has all fields, and each field is of its type as it stands."""
    if not block.endswith(b"\n") or not block.isascii() or any(mark in block for mark in _HEXADECIMAL):
        return None
    try:
        table = csv.read_csv(
            pa.py_buffer(block),
            read_options=csv.ReadOptions(column_names=list(dialect.names), use_threads=False, block_size=len(block) + 1),
            parse_options=csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=b'"' in block),
            convert_options=csv.ConvertOptions(
                column_types=dict(kinds), include_columns=list(kinds), null_values=[], strings_can_be_null=False
            ),
        )  # fmt: skip
    except pa.ArrowInvalid:
        return None
    lines = np.count_nonzero(np.frombuffer(block, np.uint8) == 10)  # a third of what bytes.count takes
    if table.num_rows != lines:
        return None  # blank lines, or breaks within quotes or of another kind
    return table, np.arange(first_line, first_line + lines)


ABSENT_END = -1  # instead of a field count: the line has all its fields, but its end is missing


def _why(count: int, dialect: Dialect) -> str:
    if count == ABSENT_END:
        return "the file ends inside this line: its last number has fewer decimals than every other"
    return f"the line has {count} fields where the others have {len(dialect.names)}"


def _looks_cut(frame: pl.DataFrame) -> bool:
    """Whether the last line of a file without a final line break stops in mid-number.

    Told by its last field: two or more decimals in every other line, and fewer in this one. (A whole
    number cut short cannot be told from a smaller one.)
    """
    decimals = frame.to_series(-1).str.extract(r"^\s*-?\d*\.(\d*)$").str.len_chars()
    if frame.to_series(-1).str.contains(r"^\s*-?\d*\.\d*$").sum() < 2:
        return False
    others = decimals.head(len(frame) - 1).drop_nulls().min()
    own = decimals.tail(1).fill_null(0).item()
    return isinstance(others, int) and others >= 2 and own < others


def _columns(block: bytes, dialect: Dialect, set_aside: Callable[[Any], str]) -> pl.DataFrame:
    texts = {name: pa.string() for name in dialect.names}

    def parse(data: bytes) -> pa.Table:
        return csv.read_csv(
            pa.py_buffer(data),
            read_options=csv.ReadOptions(column_names=list(dialect.names), use_threads=False, block_size=len(data) + 1),
            parse_options=csv.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values=b'"' in data, invalid_row_handler=set_aside
            ),
            convert_options=csv.ConvertOptions(column_types=texts, strings_can_be_null=False),
        )  # fmt: skip

    try:
        table = parse(block)
    except pa.ArrowInvalid:  # not UTF-8: an older Western encoding
        table = parse(block.decode("cp1252", errors="replace").encode())
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table gives a frame
    return frame
