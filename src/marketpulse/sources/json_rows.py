"""JSON of other people -> raw rows: lines, arrays, one object per file, many objects in one record.

The good path hands whole blocks to a compiled reader. Where that fails (a line that is no JSON, a
field that is a number here and a text there, objects nested in a list) the block is decoded value
by value, and only what cannot be read is set aside.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from marketpulse.errors import Fatal
from marketpulse.foreign_json import may_nest_deeply, parse_json, refuse_deep
from marketpulse.model.market import Ints
from marketpulse.ports import RejectedInput
from marketpulse.sources.files import BLOCK_BYTES, Lines, blocks_of_lines, open_bytes
from marketpulse.sources.raw import Block, RawRows

LISTS = ("data", "results", "trades", "quotes", "bars", "values", "candles", "records", "items", "rows", "ticks")
"""Fields under which an object carries a list of rows; its other fields belong to each of them."""

_DECODER = json.JSONDecoder()
Located = tuple[int, bytes]  # row or line number from 1, and the bytes


def read_json(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[RawRows]:
    """The file's rows in blocks. A file with one value (an array, an object over many lines) is one block."""
    return (block.rows() for block in json_blocks(path, block_bytes))


def json_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The same, each block understood when it is asked for."""
    with open_bytes(path) as stream:
        line, seen = 1, False
        for block in blocks_of_lines(stream, path, block_bytes):
            if not block.strip():
                line += block.count(b"\n")
                continue
            if not seen and not _first_line_is_whole(block):
                rows = cache(partial(_document, block + stream.read(), path, line))
                yield Block(rows, rows, lambda _: None)
                return
            seen = True
            lines = _LinesOfObjects(block, path, line)
            yield Block(lines.rows, lines.rows, lines.plain)
            line += block.count(b"\n")
        if not seen:
            raise Fatal(f"{path} is empty: nothing to replay")


def from_records(values: Sequence[bytes], origin: str, numbers: Sequence[int]) -> tuple[RawRows, list[int]]:
    """Rows of a topic's records, and for each row the index of its record. `numbers` locate the records."""

    def locate_record(i: int) -> Located:
        return numbers[i], values[i]

    if values and not any(b"\n" in value for value in values):
        frame = _fast(b"\n".join(values))
        if frame is not None and len(frame) == len(values):
            return RawRows(frame, origin, locate_record), list(range(len(values)))
    objects, of_record, broken = _decode(range(len(values)), locate_record, origin)
    rows = RawRows(_frame(objects), origin, lambda i: locate_record(of_record[i]), broken)
    return rows, of_record


def rows_of_values(
    values: Iterable[tuple[int, Any]],
    locate: Callable[[int], Located],
    origin: str,
    broken: Sequence[RejectedInput] = (),
) -> tuple[RawRows, list[int]]:
    """The same of values that are decoded, each with the index of its record; `locate` gives a record's number and bytes."""
    objects, of_record, wrong = _unwrapped(values, locate, origin)
    rows = RawRows(_frame(objects), origin, lambda i: locate(of_record[i]), [*broken, *wrong])
    return rows, of_record


def _first_line_is_whole(block: bytes) -> bool:
    first = block.lstrip().split(b"\n", 1)[0].strip()
    if not first.startswith(b"{"):
        return not first.startswith(b"[")
    # A first line that is cut or spoilt is told from an object over many lines by its ending.
    return first.endswith(b"}") and len(first) > 2


class _LinesOfObjects:
    """A block of lines, each an object."""

    def __init__(self, block: bytes, path: Path, first_line: int) -> None:
        self._block, self._path, self._first_line = block, path, first_line
        self._lines = Lines(block, first_line, quoted=False)

    @cached_property
    def _whole(self) -> pl.DataFrame | None:
        frame = _fast(self._block)
        return frame if frame is not None and len(frame) == self._lines.count() else None

    def rows(self) -> RawRows:
        lines, frame = self._lines, self._whole
        if frame is not None:
            return RawRows(frame, str(self._path), lines.at, all_numbers=lines.numbers)
        objects, of_line, broken = _decode(range(lines.count()), lines.at, str(self._path))
        return RawRows(_frame(objects), str(self._path), lambda i: lines.at(of_line[i]), broken)

    def plain(self, kinds: Mapping[str, pa.DataType]) -> tuple[pa.Table, Ints] | None:
        """Of fields that every line has; of others nobody knows here what they are."""
        if self._whole is None or not set(kinds) <= set(self._whole.columns):
            return None
        return self._whole.select(list(kinds)).to_arrow(compat_level=pl.CompatLevel.oldest()), self._lines.numbers()


def _document(text: bytes, path: Path, first_line: int) -> RawRows:
    """One JSON value: an array of rows, or an object that is a row or holds rows; else lines, of which the first is spoilt."""
    try:
        value = parse_json(text)
    except orjson.JSONDecodeError as error:
        if _second_line_is_whole(text):
            return _LinesOfObjects(text, path, first_line).rows()
        raise Fatal(f"{path} is not JSON: {error}; one object a line, or one array, is taken") from None
    elements = value if isinstance(value, list) else [value]

    def locate(i: int) -> Located:
        return i + 1, orjson.dumps(elements[i])

    objects, of_element, broken = _unwrapped(enumerate(elements), locate, str(path))
    return RawRows(_frame(objects), str(path), lambda i: locate(of_element[i]), broken)


def _second_line_is_whole(text: bytes) -> bool:
    line = text.lstrip().partition(b"\n")[2].lstrip().partition(b"\n")[0]
    try:
        return isinstance(parse_json(line), dict)
    except orjson.JSONDecodeError:
        return False


def _fast(block: bytes) -> pl.DataFrame | None:
    """A frame when every line is one flat object whose fields keep their types, else None."""
    if may_nest_deeply(block) and any(map(may_nest_deeply, block.split(b"\n"))):
        return None
    try:
        frame = pl.read_ndjson(block, infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    nested = any(name in LISTS and isinstance(kind, pl.List) for name, kind in frame.schema.items())
    return None if nested else frame


def _decode(
    numbers: range, locate: Callable[[int], Located], origin: str
) -> tuple[list[dict[str, Any]], list[int], list[RejectedInput]]:
    values: list[tuple[int, Any]] = []
    broken: list[RejectedInput] = []
    for i in numbers:
        number, text = locate(i)
        try:
            values.append((i, parse_json(text)))
        except orjson.JSONDecodeError as error:
            several = _several(text)
            values += [(i, value) for value in several]
            if not several:
                broken.append(RejectedInput("not_json", f"not JSON: {error}", origin, number, text))
    objects, of_value, wrong = _unwrapped(values, locate, origin)
    return objects, of_value, broken + wrong


def _several(text: bytes) -> list[Any]:
    """`{…}{…}`: objects written one behind the other, as some delivery streams do; [] if it is not that."""
    found: list[Any] = []
    try:
        rest = text.decode().strip()
        while rest:
            value, end = _DECODER.raw_decode(rest)
            if not isinstance(value, dict):
                return []
            refuse_deep(value)
            found.append(value)
            rest = rest[end:].lstrip(" ,\r\n\t")
    except (ValueError, RecursionError):
        return []
    return found


def _unwrapped(
    values: Iterable[tuple[int, Any]], locate: Callable[[int], Located], origin: str
) -> tuple[list[dict[str, Any]], list[int], list[RejectedInput]]:
    """Every object in the values, lists opened: (objects, the value each came from, what is no object)."""
    objects: list[dict[str, Any]] = []
    sources: list[int] = []
    broken: list[RejectedInput] = []
    for i, value in values:
        for element in value if isinstance(value, list) else [value]:
            if not isinstance(element, dict):
                number, text = locate(i)
                detail = f"a row must be a JSON object, found {type(element).__name__}"
                broken.append(RejectedInput("not_json", detail, origin, number, text))
                continue
            some = _opened(element)
            objects += some
            sources += [i] * len(some)
    return objects, sources, broken


def _opened(value: dict[str, Any]) -> list[dict[str, Any]]:
    for name in LISTS:
        inner = value.get(name)
        if isinstance(inner, list) and inner and all(isinstance(row, dict) for row in inner):
            meta = value.get("meta")  # what some vendors say of all rows: the symbol, the interval
            said = {**meta, **value} if isinstance(meta, dict) else value
            shared = {k: v for k, v in said.items() if k != name and not isinstance(v, dict | list)}
            return [{**shared, **row} for row in inner]
        if name == "data" and isinstance(inner, dict):
            return [{**{k: v for k, v in value.items() if k != name}, **inner}]
    return [value]


def _frame(objects: list[dict[str, Any]]) -> pl.DataFrame:
    """Columns of numbers where every value is one, of texts elsewhere."""
    names = dict.fromkeys(name for row in objects for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in objects]
        kinds = {type(value) for value in values} - {type(None)}
        if kinds == {int} and all(abs(v) < 2**63 for v in values if v is not None):
            columns[name] = pl.Series(values, dtype=pl.Int64)
        elif kinds and kinds <= {int, float}:
            columns[name] = pl.Series([None if v is None else float(v) for v in values], dtype=pl.Float64)
        else:
            columns[name] = pl.Series([_text(v) for v in values], dtype=pl.String)
    return pl.DataFrame(columns)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) else orjson.dumps(value).decode()
