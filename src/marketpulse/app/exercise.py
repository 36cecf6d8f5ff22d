"""One call of every kernel, with small batches of every kind: it makes the compiler compile, or load, them all.

Of the catalogue's indicators only those that are computed: all of them would take minutes.
"""

import itertools
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from marketpulse.alerts.rule import Rule
from marketpulse.app.selecting.selection import Selection
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.growth import grow_window
from marketpulse.engine.provisional import Looker, changed_symbols
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.state import new_state as new_selection
from marketpulse.indicators.bar_columns import WIDTH
from marketpulse.indicators.catalogue import Spec, parse_indicators
from marketpulse.indicators.mid import MID
from marketpulse.kafka.codec import MarketDecoder, RowRecords, encode_market, encode_rows, lay_out_rows, to_tables
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.names import NameTable
from marketpulse.kafka.passing import chosen_rows, records_as_rows
from marketpulse.kafka.record_queue import bytes_of, laid_out
from marketpulse.kafka.records import records_of
from marketpulse.kafka.row_sender import send_from
from marketpulse.kafka.row_writer import RowWriter
from marketpulse.model.market import TRADE, Kind, MarketBatch, StringTable
from marketpulse.model.record_rows import RecordRows, RowField, ValueKind
from marketpulse.model.rows import BAR
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, parse_timeframes
from marketpulse.settings import DEFAULT_INDICATORS

_TIME = 20_000 * DAY_NS
_TRADE = {
    "type": "trade", "symbol": "WARM", "source": "warm-up", "event_time_ns": _TIME, "price": 1.5, "size": 1.0,
}  # fmt: skip


def exercise_engine() -> None:
    """Run one small batch of every hot kind, and of a late and a cancelled trade, through all operators and a rule."""
    of_quotes = Spec(MID, MID.defaults())  # with one of them the engine's kernels for quotes run too
    indicators = (*parse_indicators(DEFAULT_INDICATORS), of_quotes)
    rule = Rule("warm", "close > 0")
    config = EngineConfig(parse_timeframes(("1t", "1s", "1m", "1d")), indicators, alerts=(rule,))
    stepper, state = Stepper(config), new_state(config)
    state, _ = stepper.step(state, _batch())
    state, _ = stepper.step(state, _cancel())
    state, _ = stepper.step(state, _switch())
    state = stepper.trim(state)
    grow_window(state)
    state = state_from_bytes(state_to_bytes(state, config), config)  # as a worker that takes a partition over
    Looker(config).forming_bars(state, changed_symbols(state))


def exercise_indicators(indicators: Sequence[Spec]) -> None:
    """Run one bar through each of these."""
    series, session = np.zeros(1, np.int64), np.zeros(1, np.int32)
    for spec in indicators:
        spec.update(spec.fresh_state(1), series, np.ones((1, WIDTH)), session, np.empty((1, len(spec.columns))))


def _batch() -> MarketBatch:
    kinds = [Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.HEARTBEAT, Kind.TRADE, Kind.CLOCK]
    batch = MarketBatch.empty("market", 0, StringTable(["WARM", "BAR", "warm-up", "1m"]), len(kinds))
    batch.kind[:] = kinds
    batch.symbol[:] = [0, 0, 1, -1, 0, -1]
    batch.trade_id_start[:], batch.trade_id_length[:], batch.data = (
        [0, 0, 0, 0, 1, 0],
        1,
        np.frombuffer(b"ab", np.uint8),
    )
    batch.source[:] = 2
    batch.timeframe[:] = 3
    batch.event_time_ns[:] = _TIME + np.array([0, 0, 60, 300, 1, 0]) * SECOND_NS
    batch.open_time_ns[:], batch.close_time_ns[:] = _TIME, _TIME + 60 * SECOND_NS
    for column in (batch.a, batch.b, batch.c, batch.d, batch.e):
        column[:] = 1.0
    batch.offset[:] = np.arange(len(kinds))
    batch.log_time_ns[:] = _TIME
    return batch


def _cancel() -> MarketBatch:
    batch = MarketBatch.empty("market", 0, StringTable(["WARM", "warm-up"]), 1)
    batch.kind[0], batch.symbol[0], batch.source[0], batch.offset[0] = Kind.CANCEL, 0, 1, 9
    batch.rare[0] = {"symbol": "WARM", "trade_id": "a", "event_time_ns": _TIME}
    return batch


def _switch() -> MarketBatch:
    batch = MarketBatch.empty("market", 0, StringTable(["WARM", "second"]), 1)
    batch.kind[0], batch.symbol[0], batch.source[0], batch.offset[0] = Kind.SWITCH, 0, 1, 10
    batch.rare[0] = {"symbol": "WARM", "source": "second", "event_time_ns": _TIME}
    return batch


def exercise_wire() -> None:
    """Encode and decode one row of every kind, on both wires."""
    decoder = MarketDecoder()
    wires: tuple[Literal["json", "arrow"], ...] = ("json", "arrow")
    for wire, row in itertools.product(wires, (_TRADE, {**_TRADE, "trade_id": "1"})):
        rows = pa.RecordBatch.from_pylist([row], schema=TRADE)
        for encoded in encode_market(rows, wire=wire, partitions=2):
            batch, _ = decoder.decode("market", records_of([encoded.value], frames=True))
            to_tables(batch)
    NameTable(StringTable(["WARM"])).grow()
    bar = pa.RecordBatch.from_pylist([{"symbol": "WARM", "timeframe": "1m", "open": 1.5}], schema=BAR)
    for records in (lay_out_rows(bar), _record()):
        send_from(len(records), records, 0)
    none = np.empty(0, np.int64)
    bytes_of(none)
    laid_out(none, 1)
    encode_rows(bar, wire="arrow", partitions=2)
    records_as_rows(records_of([b"{}"], keys=[b"WARM"]), np.zeros(1, np.int64))
    chosen_rows(lay_out_rows(bar), np.zeros(1, np.int64))


def exercise_failover() -> None:
    """Judge a row, and a rare one, of a source that another stands in for."""
    config = FailoverConfig((Group(("warm-up", "second")),))
    selection = Selection(new_selection(config), config, 1)
    halt = {"type": "halt", "symbol": "WARM", "source": "warm-up", "event_time_ns": _TIME}
    texts = [json.dumps(record).encode() for record in (_TRADE, halt)]
    for decoded in MarketReader("feeds").decode(records_of(texts, keys=[b"WARM", b"WARM"]), 0, 0):
        selection.take(decoded)


def _record() -> RowRecords:
    """One row of a name, written from where it lies."""
    rows = RecordRows((np.zeros(1, np.int32),), (StringTable(["WARM"]),))
    return RowWriter([RowField("symbol", ValueKind.NAME, 0, 0)]).lay_out(rows)[0]
