"""A symbol's history as records of `market`, none of them too large, in order."""

from dataclasses import replace

import orjson

from marketpulse.model.history import PARTS_MAX, History, Part, part_record

ROWS_MOST = 5_000
"""Rows in one record, which holds those of one table: at most some 140 bytes each, beside the names."""


def beginning_value(symbol: str, identity: str) -> bytes:
    """The value of the record that begins a rebuild."""
    return orjson.dumps({"type": "rebuild", "symbol": symbol, "id": identity, "begins": True})


def check_length(history: History) -> None:
    """Raises ValueError for a history of more rows than PARTS_MAX records hold."""
    if sum(-(-len(rows) // ROWS_MOST) for rows in history.tables.values()) > PARTS_MAX:
        rows = sum(len(table) for table in history.tables.values())
        raise ValueError(f"{rows:,} rows are more than {PARTS_MAX:,} records of {ROWS_MOST:,} hold")


def rebuild_values(history: History, identity: str) -> list[bytes]:
    """The records' values; all have the key of the symbol. Raises ValueError as `check_length`."""
    check_length(history)
    pieces = [
        {name: rows[begin : begin + ROWS_MOST]}
        for name, rows in history.tables.items()
        for begin in range(0, len(rows), ROWS_MOST)
    ] or [{}]
    parts = [Part(identity, number, len(pieces), replace(history, tables=piece)) for number, piece in enumerate(pieces)]
    return [orjson.dumps(part_record(part)) for part in parts]
