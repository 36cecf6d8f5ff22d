"""One stretch of time as tables that the wire's rules can check: new rows of the files, and those that the lake has already.

A row that comes again is left out: where it stands k times in one file and m times in another, or in the lake, it stands max(k, m)
times in all. Trades with an id are alike by symbol, source, time and id, other rows by all that they say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.model.market import LOAD_BITS, Ids, Ints
from marketpulse.sources.history import LOAD, NUMBER, PART
from marketpulse.sources.tape import SCHEMA, stamp

_STORED, _FILE = "is_stored", "file"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tables by kind in the order of sources.tape.KINDS, with each row's number (that of its load in the bits from LOAD_BITS on),
    its part, and whether the lake has it. `end` counts the rows of all stretches up to this one's; `again` the new rows that
    were left out, `restored` those that an earlier run of the same load has stored."""

    tables: list[pa.Table]
    numbers: list[Ints]
    parts: list[Ids]
    stored: list[NDArray[np.bool_]]
    end: int
    again: int = 0
    restored: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """The running load: its number among all, the source of its rows, and what the numbers of each file begin behind. Rows of other
    loads are left out of symbols that are `gone_on_with`."""

    number: int
    source: str
    first_number: Sequence[int] = (0,)
    gone_on_with: Collection[str] = ()


def stretch_of(kinds: Mapping[str, pa.Table], load: Load, begin: int) -> Stretch:
    """Rows by kind, as sources.history gives them. They carry no ingest time, so that the same file always gives the same rows."""
    tables, numbers, parts, stored, again, restored = [], [], [], [], 0, 0
    for kind, rows in kinds.items():
        loads = _loads(rows, load)
        is_stored = _is_stored(rows)
        table = _stamped(kind, rows, load.source)
        stays = _first_ones(kind, table, rows[NUMBER].to_numpy(), is_stored, load.first_number)
        again += len(stays) - int(np.count_nonzero(stays))
        restored += int(np.count_nonzero(is_stored & (loads == load.number)))
        if load.gone_on_with and is_stored.any():
            mine = pc.is_in(rows["symbol"], pa.array(sorted(load.gone_on_with))).to_numpy(zero_copy_only=False)
            stays &= ~(mine & (loads != load.number))
        if not stays.all():
            mask = pa.array(stays)
            table, rows = table.filter(mask), rows.filter(mask)
        tables.append(table)
        numbers.append((loads[stays] << LOAD_BITS) + rows[NUMBER].to_numpy())
        parts.append(rows[PART].to_numpy())
        stored.append(is_stored[stays])
    return Stretch(
        tables,
        numbers,
        parts,
        stored,
        begin + sum(rows.num_rows for rows in kinds.values()),
        again - restored,
        restored,
    )


def _is_stored(rows: pa.Table) -> NDArray[np.bool_]:
    if LOAD not in rows.column_names:
        return np.zeros(rows.num_rows, np.bool_)
    mask: NDArray[np.bool_] = rows[LOAD].is_valid().to_numpy()
    return mask


def _loads(rows: pa.Table, load: Load) -> Ints:
    """(n,) the number of the load that each row is of."""
    if LOAD not in rows.column_names:
        return np.full(rows.num_rows, load.number, np.int64)
    found: Ints = pc.fill_null(rows[LOAD], load.number).to_numpy().astype(np.int64)
    return found


def _first_ones(
    kind: str, table: pa.Table, numbers: Ints, is_stored: NDArray[np.bool_], first_number: Sequence[int]
) -> NDArray[np.bool_]:
    """(n,) which rows stay: those that are stored, and of the others those that do not come again."""
    files = np.searchsorted(np.array(first_number[1:]), numbers - 1, side="right").astype(np.int32)
    new = files[~is_stored]
    if not len(new) or (not is_stored.any() and (new == new[0]).all()):
        return np.ones(len(files), np.bool_)
    rows = pl.DataFrame(
        table.select([name for name in SCHEMA[kind].names if name in table.column_names and name != "conditions"])
    )
    keys = [name for name in rows.columns if kind != "bar" or name != "source"]
    if kind == "trade":
        rows = rows.with_columns(
            pl.when(pl.col("trade_id").is_null()).then(pl.col(name)).alias(name) for name in ("venue", "price", "size")
        )
    rows = rows.with_columns(pl.Series(_STORED, is_stored), pl.Series(_FILE, np.where(is_stored, -1, files)))
    nth = pl.int_range(pl.len()).over([*keys, _FILE]).alias("nth")
    rows = rows.with_columns(nth, pl.col(_STORED).sum().over(keys).alias("there"))
    first = pl.struct([*keys, "nth", _STORED]).is_first_distinct()
    mask: NDArray[np.bool_] = rows.select(pl.col(_STORED) | (first & (pl.col("nth") >= pl.col("there"))))[
        _STORED
    ].to_numpy()
    return mask


def _stamped(kind: str, rows: pa.Table, source: str) -> pa.Table:
    sources = _same(source, rows.num_rows)
    if "source" in rows.column_names:
        sources = pc.fill_null(rows["source"].cast(pa.string()), source).combine_chunks().dictionary_encode()
    if kind == "event":
        table = pa.Table.from_batches([stamp(kind, rows, rows["time_ns"].to_numpy(), source, 0)])
        return table.set_column(table.column_names.index("source"), "source", sources.cast(pa.string()))
    columns = {
        "type": _same(kind, rows.num_rows),
        "source": sources,
        "event_time_ns": rows["time_ns"],
        **{name: rows[name] for name in SCHEMA[kind].names if name in rows.column_names and name != "source"},
    }
    return pa.table(columns)


def _same(text: str, n: int) -> pa.Array:
    """n times this text, in the space of one."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))
