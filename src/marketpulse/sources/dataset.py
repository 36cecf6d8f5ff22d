"""Files -> one tape: opened by what they contain, understood by their header, merged by event time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from marketpulse.errors import Fatal
from marketpulse.model.market import Ints
from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.csv_rows import csv_blocks
from marketpulse.sources.files import open_bytes
from marketpulse.sources.inference import infer, reader_for
from marketpulse.sources.json_rows import json_blocks
from marketpulse.sources.known_files import symbol_of
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.parquet_rows import parquet_blocks
from marketpulse.sources.raw import Block, RawRows
from marketpulse.sources.tape import Tape, build


@dataclass(slots=True)
class Dataset:
    """All rows of some files in order of time, and what was set aside.

    Of a frame: `columns` (our field -> its column) and `bar_rows` (the tape's bars,), the row that each bar came from.
    """

    tape: Tape
    rejected: list[RejectedInput] = field(default_factory=list)
    venues: bool = False  # whether any row names its venue
    columns: dict[str, str] = field(default_factory=dict)
    bar_rows: Ints = field(default_factory=lambda: np.empty(0, np.int64))


def load(paths: list[Path], mapping: Mapping, alive: Callable[[], None] = lambda: None) -> Dataset:
    """Read every file. `alive` is called now and then: large files take seconds.

    Symbol: its column, else mapping.symbol, else the file's name without suffix in upper case.
    Raises Fatal, naming the file, when one cannot be understood or has no usable row at all.
    """
    parts: dict[str, list[Rows]] = {}
    rejected: list[RejectedInput] = []
    for path in paths:
        own, faults = _load_one(path, mapping, alive)
        rejected += faults
        for kind, blocks in own.items():
            parts.setdefault(kind, []).extend(blocks)
    venues = any(rows.frame["venue"].null_count() < len(rows) for k, b in parts.items() if k != "event" for rows in b)
    return Dataset(build(parts), rejected, venues)


def load_frame(frame: pl.DataFrame, mapping: Mapping, symbol: str) -> Dataset:
    """The same from a frame in memory; `symbol` names the rows where no column and no mapping does."""
    raw = RawRows(frame, "frame", lambda i: (i + 1, repr(frame.row(i)).encode()))
    inferred = infer(raw, mapping, "the frame", symbol)
    own = inferred.rows.get("bar")
    bar_rows = (
        np.empty(0, np.int64) if own is None else own.raw[np.argsort(own.time_ns, kind="stable")]
    )  # in the tape's order
    parts = build({kind: [rows] for kind, rows in inferred.rows.items()})
    return Dataset(parts, inferred.rejected, columns=inferred.reader.plan.columns, bar_rows=bar_rows)


def _load_one(
    path: Path, mapping: Mapping, alive: Callable[[], None]
) -> tuple[dict[str, list[Rows]], list[RejectedInput]]:
    parts: dict[str, list[Rows]] = {}
    rejected: list[RejectedInput] = []
    reader: Reader | None = None
    for raw in read_blocks(path):
        alive()
        if reader is None:
            if not len(raw.frame):
                rejected += raw.broken
                continue
            reader = reader_for(raw, mapping, str(path), symbol_of(path))
        block = reader.read(raw)
        rejected += block.rejected
        for kind, rows in block.rows.items():
            parts.setdefault(kind, []).append(rows)
    if not parts:
        first = f": {rejected[0].detail} (line {rejected[0].row})" if rejected else ""
        raise Fatal(f"{path}: no usable row{first}. If a column is misread, name it: --map price=COLUMN")
    if "bar" in parts:
        whole = concat_rows(parts["bar"])
        parts["bar"] = [bars.finish(whole, mapping, str(path))]
    return parts, rejected


def concat_rows(blocks: list[Rows]) -> Rows:
    """Join blocks of one kind in this order."""
    if len(blocks) == 1:
        return blocks[0]
    return Rows(
        pl.concat([rows.frame for rows in blocks]),
        *(np.concatenate([getattr(rows, name) for rows in blocks]) for name in ("time_ns", "local_ns", "raw")),
    )


def read_blocks(path: Path) -> Iterator[RawRows]:
    """The file's rows in blocks, by what it contains. Raises what its reader does."""
    return (block.rows() for block in blocks_of(path))


def blocks_of(path: Path) -> Iterator[Block]:
    """The same, each block understood when it is asked for."""
    with open_bytes(path) as stream:
        head = stream.read(4096)
    if head.startswith(b"PAR1"):
        return parquet_blocks(path)
    return json_blocks(path) if head.lstrip()[:1] in {b"{", b"["} else csv_blocks(path)
