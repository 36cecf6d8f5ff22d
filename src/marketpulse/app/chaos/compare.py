"""What is stored after the faults, held against the same rows without any: row for row, and none twice."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from marketpulse.app.chaos.own import OwnPipeline
from marketpulse.app.chaos.rows import end_ns
from marketpulse.model.tables import TABLES
from marketpulse.query.duck import LakeQuery
from marketpulse.query.stored_rows import StoredRows
from marketpulse.settings import Settings
from marketpulse.sinks.commits import read_states
from marketpulse.sinks.storage import open_storage

_INDICATORS = "sma_3, ema_5, vwap, spread"
_RESULTS = {
    "bars": "symbol, timeframe, open_time_ns, close_time_ns, open, high, low, close, volume, vwap, trade_count",
    "indicators": f"symbol, timeframe, open_time_ns, close_time_ns, close, {_INDICATORS}",
    "alerts": "symbol, rule, severity, timeframe, open_time_ns, event_time_ns, state, value",
}
"""What the engine has made of the rows: where they came from, and in which revision, is left out."""
_TRADE = ("symbol", "event_time_ns", "price", "size", "trade_id")
_QUOTE = ("symbol", "event_time_ns", "bid", "bid_size", "ask", "ask_size")
_SHOWN = 5

Rows = Counter[tuple[Any, ...]]


def start_clean_run(pipeline: OwnPipeline) -> "subprocess.Popen[bytes]":
    """One load of all rows, without a broker, a process that is killed, or an order but that of time."""
    file = pipeline.home / "clean.jsonl"
    rows = {
        json.dumps(row): None for row in (*pipeline.rows, *pipeline.file_rows)
    }  # a trade that came twice counts once
    file.write_text("".join(f"{row}\n" for row in rows))
    return pipeline.run_command("load", "--lake-only", str(file), apart=pipeline.home / "clean")


def clean_results(pipeline: OwnPipeline, load: "subprocess.Popen[bytes]") -> dict[str, Rows]:
    """What that load gives, once it has ended. Raises CalledProcessError."""
    if code := load.wait():
        raise subprocess.CalledProcessError(code, load.args)
    settings = pipeline.settings_of(pipeline.home / "clean")
    lake = settings.sinks.lake.model_copy(update={"url": str(pipeline.home / "clean" / "lake")})
    apart = settings.model_copy(update={"sinks": settings.sinks.model_copy(update={"lake": lake})})
    return results(apart, _end(pipeline))


def _end(pipeline: OwnPipeline) -> int:
    return min(end_ns(pipeline.rows), end_ns(pipeline.file_rows))


def results(settings: Settings, before_ns: int) -> dict[str, Rows]:
    """The lake's bars, indicator rows and alerts as a reader sees them, of bars that open before this time."""
    query = LakeQuery(settings)
    try:
        return {
            view: _counted(query.run(f"SELECT {columns} FROM {view} WHERE open_time_ns < {before_ns}"))  # noqa: S608
            for view, columns in _RESULTS.items()
        }
    finally:
        query.close()


def differences(pipeline: OwnPipeline, clean: dict[str, Rows]) -> list[str]:
    """The first rows of each table that are missing, too many or other than in the clean run."""
    settings = pipeline.settings
    lines: list[str] = []
    for view, rows in results(settings, _end(pipeline)).items():
        lines += _compare(view, clean[view], rows)
    stored = StoredRows(settings)
    stored.files()
    sent = [*pipeline.rows, *pipeline.file_rows]
    for table, columns in (("trades", _TRADE), ("quotes", _QUOTE)):
        expected = Counter(tuple(row.get(c) for c in columns) for row in sent if columns[2] in row)
        lines += _compare(table, expected, _counted(stored.whole(table), columns))
    poison = Counter({(value,): count for value, count in pipeline.poison.items()})
    return lines + _compare("dead_letters", poison, _counted(stored.whole("dead_letters"), ["value"]))


def archive_differences(pipeline: OwnPipeline) -> list[str]:
    """Rows that only one of the two stores has: both keep every row of every topic, with its place in the log."""
    storage = open_storage(pipeline.settings.archive_url())
    files = [path for state in read_states(storage).values() for path in state.files]
    stored = StoredRows(pipeline.settings)
    stored.files()
    lines: list[str] = []
    for table in TABLES:
        lake = stored.whole(table)
        names = [f.name for f in TABLES[table][1] if not pa.types.is_nested(f.type)]
        own = [f"{pipeline.settings.archive_url()}/{path}" for path in files if path.startswith(f"table={table}/")]
        archive = ds.dataset(own, schema=TABLES[table][1]).to_table() if own else lake.slice(0, 0)
        lines += _compare(f"archive: {table}", _counted(lake, names), _counted(archive, names))
    return lines


def _counted(rows: pa.Table, names: Sequence[str] = ()) -> Rows:
    """The rows as tuples; a table without a row has no column either."""
    columns = rows.select(names or rows.column_names).columns if rows.num_rows else []
    return Counter(zip(*(column.to_pylist() for column in columns), strict=True))


def _compare(table: str, expected: Rows, rows: Rows) -> list[str]:
    def some(what: str, some: Rows) -> Iterable[str]:
        for row, count in sorted(some.items(), key=str)[:_SHOWN]:
            yield f"{table}: {what}{f' {count} times' if count > 1 else ''}: {row}"
        if len(some) > _SHOWN:
            yield f"{table}: {len(some) - _SHOWN:,} more rows {what}"

    return [*some("missing", expected - rows), *some("too many", rows - expected)]
