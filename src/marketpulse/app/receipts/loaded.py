"""Inputs of a bar that came before the log: trades of loaded files, as the lake has them."""

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.trace import Ask, Input
from marketpulse.model.market import LOADED
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.query.stored_rows import StoredRows, Wanted


def file_of(topic: str | None) -> str | None:
    """The file's name, of the topic of loaded rows; None of another topic."""
    return topic.removeprefix(LOADED_TOPIC).partition("@")[0] if topic and topic.startswith(LOADED_TOPIC) else None


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
    return f"{offset}.{row}" if offset >= 0 else f"file row {offset - LOADED}"
