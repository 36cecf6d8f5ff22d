"""One stretch of the files' rows as tables that the wire's rules can check: what a source puts on when its rows leave."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from marketpulse.model.market import Ids, Ints
from marketpulse.sources.history import NUMBER, PART
from marketpulse.sources.tape import SCHEMA, stamp


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tables by kind in the order of sources.tape.KINDS, with each row's number and its part. `begin` and `end` count
    the rows of all stretches before it, and those with it."""

    tables: list[pa.Table]
    numbers: list[Ints]
    parts: list[Ids]
    begin: int
    end: int


def stretch_of(kinds: Mapping[str, pa.Table], source: str, begin: int) -> Stretch:
    """Rows by kind, as sources.history gives them, as rows of this source. They carry no ingest time, so that the same
    file always gives the same rows."""
    tables = [_stamped(kind, rows, source) for kind, rows in kinds.items()]
    return Stretch(
        tables,
        [rows[NUMBER].to_numpy() for rows in kinds.values()],
        [rows[PART].to_numpy() for rows in kinds.values()],
        begin,
        begin + sum(rows.num_rows for rows in kinds.values()),
    )


def _stamped(kind: str, rows: pa.Table, source: str) -> pa.Table:
    if kind == "event":
        return pa.Table.from_batches([stamp(kind, rows, rows["time_ns"].to_numpy(), source, 0)])
    columns = {
        "type": _same(kind, rows.num_rows),
        "source": _same(source, rows.num_rows),
        "event_time_ns": rows["time_ns"],
        **{name: rows[name] for name in SCHEMA[kind].names if name in rows.column_names},
    }
    return pa.table(columns)


def _same(text: str, n: int) -> pa.Array:
    """n times this text, in the space of one."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))
