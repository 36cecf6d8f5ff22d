"""The engine's results as the rows that leave it: Arrow batches of bars, indicators and alerts."""

import numpy as np
import pyarrow as pa

from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.events import STATE_NAMES
from marketpulse.alerts.message import message_of
from marketpulse.engine.alerting import ToldAlerts
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NO_PLACE
from marketpulse.engine.records import copied
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.declaration import Floats
from marketpulse.model.market import StringTable
from marketpulse.model.rows import ALERT, BAR, ENGINE_VERSION, RECEIPT, indicators_schema

_RECEIPT_NAMES = [RECEIPT.field(i).name for i in range(RECEIPT.num_fields)]


def bar_rows(
    state: PartitionState, config: EngineConfig, closed: np.ndarray, topic: str, partition: int
) -> pa.RecordBatch:
    """Closed or revised bars (n) as rows of BAR, in the same order; a withdrawn one has no prices."""
    return pa.RecordBatch.from_arrays(
        [
            *_head(state, config, closed),
            *(_nullable(closed[name]) for name in ("open", "high", "low", "close")),
            _nullable(closed["volume"]),
            _nullable(closed["vwap"]),
            _nullable_count(closed["trade_count"]),
            pa.array(closed["revision"]),
            _names(state.sources, closed["source"]),
            _names(state.venues, closed["venue"]),
            pa.array(closed["session_date"]).cast(pa.date32()),
            receipts(closed, topic, partition),
        ],
        schema=BAR,
    )


def indicator_rows(
    state: PartitionState, config: EngineConfig, closed: np.ndarray, values: Floats, topic: str, partition: int
) -> pa.RecordBatch:
    """Bars with their indicator values (n, columns), and the revisions of these rows; NaN leaves as null.

    Their receipts cover the quotes that they used as well."""
    return pa.RecordBatch.from_arrays(
        [
            *_head(state, config, closed),
            _nullable(closed["close"]),
            pa.array(closed["revision"]),
            *(_nullable(values[:, j]) for j in range(values.shape[1])),
            receipts(with_quotes(closed), topic, partition),
        ],
        schema=indicators_schema(config.columns()),
    )


def told_alert_rows(
    state: PartitionState, config: EngineConfig, alerts: ToldAlerts, topic: str, partition: int
) -> pa.RecordBatch:
    """Changes of alerts (m) as rows of ALERT, in the same order. Their receipts are those of the indicator rows of
    their bars."""
    events, bars = alerts.events, alerts.bars
    by_number = dict(zip(alerts.rules.numbers, alerts.rules.rules, strict=True))
    rules = [by_number[number] for number in events["rule"].tolist()]
    symbol, timeframe, opened, _ = _head(state, config, bars)
    names, columns = symbol.to_pylist(), alerts.rules.inputs.columns
    numbers = alert_rows(bars, alerts.values, np.ones(len(bars), np.bool_)).values
    return pa.RecordBatch.from_arrays(
        [
            symbol,
            pa.array([rule.name for rule in rules], pa.string()),
            pa.array([rule.told_severity for rule in rules], pa.string()),
            timeframe,
            opened,
            pa.array(events["event_time_ns"]),
            pa.array(STATE_NAMES).take(pa.array(events["state"])),
            pa.array([None, *STATE_NAMES[1:]]).take(pa.array(events["was"])),
            pa.array(events["late"] != 0),
            _nullable(events["value"]),
            pa.array(
                [
                    message_of(rule, name, event, columns, row.tolist())
                    for rule, name, event, row in zip(rules, names, events, numbers, strict=True)
                ],
                pa.string(),
            ),
            pa.array(alerts.revisions),
            receipts(with_quotes(bars), topic, partition),
        ],
        schema=ALERT,
    )


def receipts(closed: np.ndarray, topic: str, partition: int) -> pa.StructArray:
    """The span of the log behind each bar. A bar that was only filled in names no record: nulls. So does an end that
    lies in loaded history, before the log."""
    n = len(closed)
    return pa.StructArray.from_arrays(
        [
            pa.array([topic]).take(pa.array(np.zeros(n, np.int32))),
            pa.array(np.full(n, partition, np.int32)),
            *(
                pa.array(closed[f"{end}_{part}"], mask=closed[f"{end}_offset"] < 0)
                for end in ("first", "last")
                for part in ("offset", "row")
            ),
            pa.array(closed["late_count"]),
            pa.array([ENGINE_VERSION]).take(pa.array(np.zeros(n, np.int32))),
        ],
        names=_RECEIPT_NAMES,
    )


def with_quotes(closed: np.ndarray) -> np.ndarray:
    """The bars, their spans of the log stretched over their quotes'."""
    used = closed["quote_offset"] != NO_PLACE
    if not used.any():
        return closed
    rows = copied(closed)
    offset, row = rows["quote_offset"], rows["quote_row"]
    nothing = rows["first_offset"] == NO_PLACE  # a bar that was only filled in
    earlier = nothing | _before((offset, row), (rows["first_offset"], rows["first_row"]))
    later = _before((rows["last_offset"], rows["last_row"]), (offset, row))
    for end, beyond in (("first", used & earlier), ("last", used & later)):
        rows[f"{end}_offset"][beyond] = offset[beyond]
        rows[f"{end}_row"][beyond] = row[beyond]
    return rows


def _before(left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Which of the places (offset, row) on the left come before those on the right."""
    found: np.ndarray = (left[0] < right[0]) | ((left[0] == right[0]) & (left[1] < right[1]))
    return found


def _head(state: PartitionState, config: EngineConfig, closed: np.ndarray) -> list[pa.Array]:
    frames = pa.array([frame.name for frame in config.frames])
    return [
        _names(state.symbols, closed["symbol"]),
        frames.take(pa.array(closed["frame"])),
        pa.array(closed["open_ns"]),
        pa.array(closed["close_ns"]),
    ]


def _names(table: StringTable, ids: np.ndarray) -> pa.Array:
    return pa.array(table.texts(), pa.string()).take(pa.array(ids, mask=ids < 0))


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _nullable_count(counts: np.ndarray) -> pa.Array:
    return pa.array(counts, mask=counts < 0)
