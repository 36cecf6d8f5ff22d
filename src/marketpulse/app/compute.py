"""`compute`: a file or frame of bars or trades through the engine's own operators, without Kafka.

History here and live there give the same bits, because they are the same code.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.app.engine_config import engine_config, specs_of
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import EnvironmentProblem, Fatal, ParameterError
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.records import records_of
from marketpulse.model.market import COMPLETE, REASONS, Kind, MarketBatch, StringTable
from marketpulse.model.timeframe import Cut, Timeframe, parse_timeframes
from marketpulse.ports import RejectedInput
from marketpulse.settings import EngineSettings, Mapping, Settings
from marketpulse.sources.dataset import load, load_frame
from marketpulse.sources.files import expand
from marketpulse.sources.tape import Tape

_SOURCE = "compute"
_ROWS_A_STEP = 200_000
_COLUMNS = (
    "symbol", "timeframe", "open_time_ns", "close_time_ns", "session_date", "open", "high", "low", "close", "volume",
    "vwap", "trade_count",
)  # fmt: skip
_DEFAULT_OF_TRADES = "1m"


def compute(
    frame: Any,
    indicators: str | Iterable[str],
    *,
    timeframe: str | None = None,
    symbol: str = "DATA",
    venue: str | None = None,
    timezone: str = "UTC",
    columns: dict[str, str] | None = None,
    calendar: str = "24x7",
) -> Any:
    """Bars and indicators of a pandas, Polars or Arrow frame of bars or trades; gives the same kind back.

    One row per closed bar in order of time: symbol, timeframe, open_time_ns, close_time_ns,
    session_date, open, high, low, close, volume, vwap, trade_count, then a column per indicator value
    (`sma_20`), empty during its warm-up. The meaning of the columns is guessed from their names;
    `columns` overrides it ({"price": "last"}). `timeframe` defaults to that of the bars, and to 1m for
    trades; larger ones are built. `symbol` names the rows where no column does.

    Raises ParameterError for an unknown indicator or timeframe, Fatal for a frame that is neither bars
    nor trades.
    """
    table, back = _as_polars(frame)
    mapping = Mapping(symbol=symbol, venue=venue, timezone=timezone, columns=columns or {})
    tape = load_frame(table, mapping, symbol).tape
    text = indicators if isinstance(indicators, str) else ",".join(indicators)
    return back(compute_tape(tape, EngineSettings(calendar=calendar), timeframe, text)[0])


def compute_file(
    settings: Settings, path: Path, timeframe: str | None, indicators: str, mapping: Mapping
) -> tuple[pa.Table, list[RejectedInput]]:
    """Bars and indicators of a file (CSV, JSON lines, Parquet; a glob or directory too), and its bad rows."""
    dataset = load(expand([str(path)]), mapping)
    table, refused = compute_tape(dataset.tape, settings.engine, timeframe, indicators)
    return table, [*dataset.rejected, *refused]


def write_table(table: pa.Table, out: Path) -> None:
    """By the name's ending: .csv, .jsonl (or .json, .ndjson), .parquet."""
    writers: dict[str, Callable[[], object]] = {
        ".csv": lambda: pl.DataFrame(table).write_csv(out),
        ".jsonl": lambda: pl.DataFrame(table).write_ndjson(out),
        ".json": lambda: pl.DataFrame(table).write_ndjson(out),
        ".ndjson": lambda: pl.DataFrame(table).write_ndjson(out),
        ".parquet": lambda: pq.write_table(table, out),
    }
    if out.suffix.lower() not in writers:
        raise ParameterError(f"--out {out}: end the name with one of {', '.join(writers)}")
    try:
        writers[out.suffix.lower()]()
    except OSError as error:
        raise EnvironmentProblem(f"{out} cannot be written: {error}") from None


def compute_tape(
    tape: Tape, settings: EngineSettings, timeframe: str | None, indicators: str
) -> tuple[pa.Table, list[RejectedInput]]:
    """The rows of one timeframe from a tape of bars or trades, and the rows that the engine refused."""
    wanted, config = _plan(tape, settings, timeframe, indicators)
    stepper, state = Stepper(config), new_state(config)
    parts, refused = [], []
    for batch, letters in tape_batches(tape):
        refused += letters
        for after, result in stepper.steps(state, batch):
            state = after
            refused += [
                RejectedInput(r.reason, REASONS[r.reason], _SOURCE, int(batch.offset[r.row]) + 1, b"")
                for r in result.refused
            ]
            # A tape is in order of time, so nothing is late, and nothing is ever revised.
            mine = np.flatnonzero(result.closed["frame"] == wanted)
            bars = bar_rows(state, config, result.closed[mine], _SOURCE, 0)
            values = indicator_rows(state, config, result.indicated[mine], result.values[mine], _SOURCE, 0)
            parts.append(_joined(bars, values, config.columns()))
    table = pa.concat_tables(parts)
    return table.sort_by([("open_time_ns", "ascending"), ("symbol", "ascending")]).combine_chunks(), refused


def _plan(tape: Tape, settings: EngineSettings, timeframe: str | None, indicators: str) -> tuple[int, EngineConfig]:
    """Which timeframe is wanted, and an engine that builds just what that needs."""
    trades, bars = tape.tables.get("trade"), tape.tables.get("bar")
    if trades is not None and trades.num_rows:
        needed = {timeframe or _DEFAULT_OF_TRADES}
    elif bars is not None and bars.num_rows:
        needed = {str(name) for name in bars.column("timeframe").unique().to_pylist()}
    else:
        raise Fatal("compute: the input holds neither bars (open, high, low, close) nor trades (price)")
    target = Timeframe.parse(timeframe) if timeframe else parse_timeframes(list(needed))[-1]
    smallest = parse_timeframes(list(needed))[0]
    if bars is not None and target.cut != Cut.TICKS and target.length < smallest.length:
        raise ParameterError(f"compute: bars of {target.name} cannot be built from bars of {smallest.name}")
    if bars is not None and not (trades is not None and trades.num_rows) and target.cut == Cut.TICKS:
        raise ParameterError(f"compute: {target.name} bars are cut from trades, and the input holds bars")
    config = dataclasses.replace(
        engine_config(settings),
        frames=parse_timeframes([*needed, target.name]),
        indicators=specs_of(settings, indicators),
        alerts=(),
    )
    return config.frame_index(target.name), config


def tape_batches(tape: Tape) -> Iterator[tuple[MarketBatch, list[RejectedInput]]]:
    """The tape as the engine hears it: a historical source that says hello, its rows, and goodbye."""
    decoder, offset = MarketDecoder(), 0
    yield _announcement(decoder.strings, Kind.HELLO, {"mode": "historical", "lateness_ns": 0}), []
    for start in range(0, len(tape), _ROWS_A_STEP):
        for rows in tape.batches(start, min(start + _ROWS_A_STEP, len(tape)), _SOURCE, 0):
            stamped = [name for name in rows.schema.names if name == "ingest_time_ns"]  # events have none
            frame = _frame(rows.drop_columns(stamped))
            batch, letters = decoder.decode(_SOURCE, records_of([frame], frames=True))
            batch.offset[:] = offset + batch.row
            rejected = [RejectedInput(d.reason, d.detail, _SOURCE, offset + d.row + 1, d.value or b"") for d in letters]
            offset += rows.num_rows
            yield batch, rejected
    yield _announcement(decoder.strings, Kind.GOODBYE, {"watermark_ns": COMPLETE}), []


def _joined(bars: pa.RecordBatch, values: pa.RecordBatch, names: list[str]) -> pa.Table:
    """Bars and their values side by side. The session's `vwap`, where asked for, stands for the bar's own."""
    own = [name for name in _COLUMNS if name not in names]
    return pa.table([*(bars.column(n) for n in own), *(values.column(n) for n in names)], [*own, *names])


def _frame(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def _announcement(strings: StringTable, kind: Kind, record: dict[str, Any]) -> MarketBatch:
    batch = MarketBatch.empty(_SOURCE, 0, strings, 1)
    batch.kind[0], batch.source[0], batch.offset[0] = kind, strings.intern(_SOURCE), 0
    batch.rare[0] = record
    return batch


def _as_polars(frame: Any) -> tuple[pl.DataFrame, Callable[[pa.Table], Any]]:
    """The frame for reading, and how to give the result back as the same kind."""
    if isinstance(frame, pl.DataFrame):
        return frame, lambda table: pl.DataFrame(table)
    if isinstance(frame, pa.Table | pa.RecordBatch):
        return pl.DataFrame(frame), lambda table: table
    if hasattr(frame, "to_numpy") and type(frame).__module__.startswith("pandas"):
        return pl.from_pandas(frame.reset_index() if frame.index.name else frame), lambda table: table.to_pandas()
    raise ParameterError(f"compute takes a pandas, Polars or Arrow frame, found {type(frame).__name__}")
