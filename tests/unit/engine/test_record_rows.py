"""Rows written from where they lie have the bytes that their Arrow columns give."""

import numpy as np
import pyarrow as pa
import pytest

from market_rows import Engine, config_of, heartbeat, quote, trade
from marketpulse.engine.layout import CLOSED
from marketpulse.engine.record_rows import ResultRows
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.row_writer import RowWriter
from marketpulse.model.record_rows import RecordRows, RowField

CONFIG = config_of(["1t", "1s", "1d"], "sma(3),bbands(5,2),vwap()")
NAMES = ["AAA", 'B"\\', "Ä\n", "FOUR"]
WORDS = ("volume", "notional", "open", "high", "low", "close", "vwap", "bid", "bid_size", "ask", "ask_size")


def state_with_names() -> PartitionState:
    state = new_state(CONFIG)
    for table in (state.symbols, state.sources, state.venues):
        for name in NAMES:
            table.intern(name)
    return state


def any_bars(n: int) -> np.ndarray:
    """Bars of any bits, but for the ids, which are known or missing."""
    random = np.random.default_rng(n)
    bars = np.frombuffer(random.bytes(n * CLOSED.itemsize), CLOSED).copy()
    for name in ("source", "venue"):
        bars[name] = random.integers(-1, len(NAMES), n)
    bars["symbol"] = random.integers(0, len(NAMES), n)
    bars["frame"] = random.integers(0, len(CONFIG.frames), n)
    for name in WORDS:
        odd = random.choice([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1, 100.0], n)
        bars[name] = np.where(random.random(n) < 0.5, odd, bars[name])
    for name in ("first_offset", "trade_count", "quote_offset"):
        bars[name][random.random(n) < 0.3] = -1
    bars["session_date"] = random.integers(-800_000, 3_000_000, n)
    return bars


def written(fields: list[RowField], rows: RecordRows) -> list[tuple[bytes, bytes]]:
    writer, found, done = RowWriter(fields), [], 0
    while done < len(rows):
        records, done = writer.lay_out(rows, done)
        keys, values = records.keys.tobytes(), records.values.tobytes()
        found += [
            (keys[records.key_ends[i] : records.key_ends[i + 1]],
             values[records.value_ends[i] : records.value_ends[i + 1] - 1])
            for i in range(len(records))
        ]  # fmt: skip
    return found


def shown(rows: pa.RecordBatch) -> list[tuple[bytes, bytes]]:
    return encode_rows(rows)


@pytest.mark.parametrize("n", [0, 1, 2, 4_500])
def test_bars_and_indicators_of_any_bits_have_the_bytes_of_their_columns(n: int) -> None:
    state, bars, results = state_with_names(), any_bars(n), ResultRows(CONFIG, "a.market")
    values = np.random.default_rng(n).integers(0, 2**63, (n, len(CONFIG.columns()))).view(np.float64)
    assert written(results.bar_fields, results.bars(state, bars, 7)) == shown(
        bar_rows(state, CONFIG, bars, "a.market", 7)
    )
    assert written(results.indicator_fields, results.indicators(state, bars, values, 11)) == shown(
        indicator_rows(state, CONFIG, bars, values, "a.market", 11)
    )


def test_values_that_lie_by_columns_are_written_by_rows() -> None:
    state, bars, results = state_with_names(), any_bars(3), ResultRows(CONFIG, "m")
    values = np.asfortranarray(np.random.default_rng(1).random((3, len(CONFIG.columns()))))
    rows = results.indicators(state, bars, values, 0)
    assert written(results.indicator_fields, rows) == shown(
        indicator_rows(state, CONFIG, bars, values, "m", 0)
    )


def test_what_a_stream_with_late_trades_and_quotes_gives_has_the_bytes_of_its_columns() -> None:
    config = config_of(["1s", "1m"], "sma(2),mid()")
    engine, results, compared = Engine(config), ResultRows(config, "market"), 0
    stream = [
        [
            trade("A", 10.2, 5, 1),
            quote("A", 10.3, 4.5, 5.5),
            trade("B", 10.9, 7, 3, venue="X"),
            heartbeat(13),
        ],
        [quote("B", 14.0, 6.5, 7.5), trade("A", 10.4, 9, 2), trade("B", 12.1, 1, 1), heartbeat(20)],
        [heartbeat(200)],
    ]
    for rows in stream:
        for result in engine.steps(rows):
            bars = bar_rows(engine.state, config, result.closed, "market", 0)
            values = indicator_rows(engine.state, config, result.indicated, result.values, "market", 0)
            assert written(results.bar_fields, results.bars(engine.state, result.closed, 0)) == shown(bars)
            assert written(
                results.indicator_fields,
                results.indicators(engine.state, result.indicated, result.values, 0),
            ) == shown(values)
            compared += bars.num_rows + values.num_rows
    assert compared > 10
