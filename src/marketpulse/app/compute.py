"""`compute`: a file or frame of bars or trades through the engine's own operators, without Kafka.

History here and live there give the same bits, because they are the same code.
"""

import dataclasses
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from marketpulse.app.engine_config import engine_config, specs_of
from marketpulse.app.frames import open_frame, with_nanoseconds, with_timestamps
from marketpulse.cache import kept_bytecode
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import Fatal, ParameterError
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.records import records_of
from marketpulse.model.market import COMPLETE, REASONS, Ints, Kind, MarketBatch, StringTable
from marketpulse.model.rows import LIVE_NAME
from marketpulse.model.timeframe import Cut, Timeframe, parse_timeframes
from marketpulse.ports import RejectedInput
from marketpulse.settings import EngineSettings, Mapping, Settings
from marketpulse.sources.dataset import load, load_frame
from marketpulse.sources.files import expand
from marketpulse.sources.tape import KINDS, Tape

_SOURCE = "compute"
_ROWS_A_STEP = 200_000
_COLUMNS = (
    "symbol", "timeframe", "open_time_ns", "close_time_ns", "session_date", "open", "high", "low", "close", "volume",
    "vwap", "trade_count",
)  # fmt: skip
_DEFAULT_OF_TRADES = "1m"
_REPEATED = {"symbol", "time", "date", "timeframe", "close_time", "open", "high", "low", "close", "volume", "vwap",
             "trade_count"}  # fmt: skip
"""What a caller's columns may mean that a column of the result says again."""

NO_LATE_BARS = 2
"""As `kept_bars`: the rows come in order of time, so a bar that comes late is one too many, and refused."""


@dataclasses.dataclass(frozen=True, slots=True)
class Computed:
    """`table`: a row per closed bar in order of time. `bars` (n,): which bar of the tape each row is; None where the rows
    are built of several. `rejected`: what the engine refused."""

    table: pa.Table
    bars: Ints | None
    rejected: list[RejectedInput]


@kept_bytecode()
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

    One row per closed bar in order of time: symbol, timeframe, open_time, close_time (timestamps in UTC),
    session_date, open, high, low, close, volume, vwap, trade_count, then a column per indicator value
    (`sma_20`; the indicator `vwap` is `session_vwap`), empty during its warm-up. Where a row of the frame
    is a bar, its other columns and its pandas index come along; rows that are built of several have the
    open time in place of a DatetimeIndex. pandas columns of two levels (field and ticker, in either
    order) are bars of several symbols.

    The meaning of the columns is guessed from their names; `columns` overrides it ({"price": "last"}).
    `timeframe` defaults to that of the bars, and to 1m for trades; larger ones are built. `symbol` names
    the rows where no column does. Rows that cannot be used are left out with a warning.

    Raises ParameterError for an unknown indicator or timeframe, Fatal for a frame that is neither bars
    nor trades.
    """
    opened = open_frame(frame, "compute")
    rows = with_nanoseconds(opened.rows)
    time = {} if opened.time is None or "open_time_ns" in rows.columns else {"time": opened.time}
    mapping = Mapping(symbol=symbol, venue=venue, timezone=timezone, columns={**time, **(columns or {})})
    data = load_frame(rows, mapping, symbol)
    text = indicators if isinstance(indicators, str) else ",".join(indicators)
    done = compute_tape(data.tape, EngineSettings(calendar=calendar), timeframe, text)
    faulty = [row for row in (*data.rejected, *done.rejected) if row.reason != "empty_row"]
    if faulty:
        first = f"row {faulty[0].row}: {faulty[0].detail}"
        warnings.warn(f"compute: {len(faulty):,} rows were set aside; the first: {first}", stacklevel=3)
    consumed = {column for field, column in data.columns.items() if field in _REPEATED}
    places = None if done.bars is None else data.bar_rows[done.bars]
    return opened.give_back(with_timestamps(done.table), places, consumed, timezone)


def compute_file(
    settings: Settings, path: Path, timeframe: str | None, indicators: str, mapping: Mapping
) -> tuple[pa.Table, list[RejectedInput]]:
    """Bars and indicators of a file (CSV, JSON lines, Parquet; a glob or directory too), and its bad rows."""
    dataset = load(expand([str(path)]), mapping)
    done = compute_tape(dataset.tape, settings.engine, timeframe, indicators)
    return done.table, [*dataset.rejected, *done.rejected]


def check_ending(out: Path) -> None:
    """Raises ParameterError for a name whose ending is no format of `encode`."""
    if out.suffix.lower() not in _WRITERS:
        raise ParameterError(f"--out {out}: end the name with one of {', '.join(_WRITERS)}")


def encode(table: pa.Table, ending: str) -> bytes:
    """The table as .csv, .json (one array), .jsonl, .ndjson or .parquet; in text a time is RFC 3339 (2024-05-01T09:30:00Z)."""
    return _WRITERS[ending.lower()](table)


def _texts(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(table).with_columns(pl.col(pl.Datetime("ns", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


_WRITERS: dict[str, Callable[[pa.Table], bytes]] = {
    ".csv": lambda table: _texts(table).write_csv().encode(),
    ".json": lambda table: _texts(table).write_json().encode(),
    ".jsonl": lambda table: _texts(table).write_ndjson().encode(),
    ".ndjson": lambda table: _texts(table).write_ndjson().encode(),
    ".parquet": _parquet,
}


def compute_tape(tape: Tape, settings: EngineSettings, timeframe: str | None, indicators: str) -> Computed:
    """The rows of one timeframe from a tape of bars or trades."""
    wanted, config, own = _plan(tape, settings, timeframe, indicators)
    stepper, state = Stepper(config), new_state(config)
    parts, offsets, refused = [], [], []
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
            offsets.append(result.closed["last_offset"][mine])
    table = pa.concat_tables(parts)
    order = pc.sort_indices(table, [("open_time_ns", "ascending"), ("symbol", "ascending")])
    places = None
    if own:  # an offset is a place on the tape
        of_kind = np.arange(len(tape)) if tape.kind_of is None else np.cumsum(tape.kind_of == KINDS.index("bar")) - 1
        places = of_kind[np.concatenate(offsets)[order.to_numpy()]]
    return Computed(table.take(order).combine_chunks(), places, refused)


def _plan(
    tape: Tape, settings: EngineSettings, timeframe: str | None, indicators: str
) -> tuple[int, EngineConfig, bool]:
    """Which timeframe is wanted, an engine that builds just what that needs, and whether its bars are the tape's own."""
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
        kept_bars=NO_LATE_BARS,
    )
    own = not (trades is not None and trades.num_rows) and needed == {target.name}
    return config.frame_index(target.name), config, own


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
    """Bars and their values side by side; the session's `vwap` beside the bar's own is `session_vwap`."""
    columns = [*map(bars.column, _COLUMNS), *map(values.column, names)]
    return pa.table(columns, [*_COLUMNS, *(LIVE_NAME.get(name, name) for name in names)])


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
