"""What came before the log: rows of loaded files, as the lake has them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.loading.earlier import Loads
from marketpulse.app.receipts.trace import Ask, Input
from marketpulse.model.market import LOADED, ROW_BITS_MASK
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.query.stored_rows import StoredRows, Wanted


def file_of(topic: str | None) -> str | None:
    """The file's name, of the topic of loaded rows; None of another topic."""
    return topic.removeprefix(LOADED_TOPIC).partition("@")[0] if topic and topic.startswith(LOADED_TOPIC) else None


def with_loaded(stored: StoredRows, table: str, rows: pa.Table, symbols: frozenset[str] | None) -> pa.Table:
    """The log's rows (trades, quotes or events), and before them those of these symbols that were loaded and not refused.

    Their offsets are …, -3, -2 in order of time, their rows 0: places before the log that can be compared. Their files and numbers
    there stand in the columns `file` and `number`.
    """
    loaded = _accepted(stored, stored.loaded(table, symbols))
    if not loaded.num_rows:
        return rows
    numbers = Loads.of(stored.positions()).numbers
    order = pa.array([numbers.get(topic, 0) for topic in loaded["topic"].to_pylist()], pa.int32())
    loaded = loaded.append_column("load", order).sort_by(
        [(name, "ascending") for name in ("event_time_ns", "load", "offset", "row")]
    )
    loaded = (
        loaded.drop_columns(["load"]).append_column("file", loaded["topic"]).append_column("number", loaded["offset"])
    )
    places = {"offset": np.arange(-loaded.num_rows - 1, -1), "row": np.zeros(loaded.num_rows, np.int32)}
    for name, values in places.items():
        loaded = loaded.set_column(loaded.column_names.index(name), name, pa.array(values))
    return pa.concat_tables([loaded, rows], promote_options="default")


def _accepted(stored: StoredRows, rows: pa.Table) -> pa.Table:
    """Those that are in no dead letter."""
    if not (rows.num_rows and (letters := stored.whole("dead_letters")).num_rows):
        return rows
    letters = letters.filter(pc.starts_with(letters["topic"], LOADED_TOPIC))
    refused = set(_places(letters))
    return rows.filter(pa.array([place not in refused for place in _places(rows)])) if refused else rows


def _places(rows: pa.Table) -> Iterator[tuple[str, int, int]]:
    """Topic, offset and row of each."""
    numbers = rows["row"].fill_null(0)
    return zip(rows["topic"].to_pylist(), rows["offset"].to_pylist(), numbers.to_pylist(), strict=True)


def loaded_inputs(stored: StoredRows, ask: Ask, end_ns: int) -> list[Input]:
    """The loaded trades of the bar's symbol from its open to `end_ns`, in order of time. An id that comes again counts
    once, as in the engine."""
    rows = stored.table("trades", Wanted(ask.open_ns, end_ns, frozenset({ask.symbol}))).rows
    if not rows.num_rows:
        return []
    rows = rows.filter(pc.starts_with(rows["topic"], LOADED_TOPIC)).sort_by(
        [("event_time_ns", "ascending"), ("offset", "ascending"), ("row", "ascending")]
    )
    return _inputs(rows)


def _inputs(rows: pa.Table) -> list[Input]:
    seen: set[tuple[str, str]] = set()
    found = []
    for row in rows.to_pylist():
        key = (row["source"], row["trade_id"])
        again = row["trade_id"] is not None and key in seen
        seen.add(key)
        marks = [f"loaded from {file_of(row['topic'])}", *(["duplicate"] if again else [])]
        found.append(Input(
            "trade", LOADED + row["offset"], row["row"], row["event_time_ns"], row["source"], row["price"], row["size"],
            row["trade_id"], marks, counts=not again,
        ))  # fmt: skip
    return found


def place_text(offset: int, row: int) -> str:
    """Where a record stands: in the log, or in a file that was loaded."""
    return f"{offset}.{row}" if offset >= 0 else f"file row {offset & ROW_BITS_MASK}"
