"""The same rows on either wire, in any mixture, and by any number of workers, give the same bits."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from histories import histories
from market_rows import Row, at, config_of, hello
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import Stepper
from marketpulse.kafka.codec import MarketDecoder, encode_market, encode_rows
from marketpulse.kafka.records import records_of
from marketpulse.model.market import TRADE

CONFIG = config_of(["2t", "1s", "1m"], "ema(3),vwap,spread", max_skew_ns=10**13)


class Record(NamedTuple):
    """One record of a log: an object, or a frame of many rows."""

    value: bytes
    framed: bool
    log_time_ns: int


streams = histories(trades=(3, 40), delays=(0, 0, 0.4, 5, 30), quotes_max=10, again=(0,), quote_delays=(0, 5)).map(
    lambda history: [{**hello(), "event_time_ns": at(0)}, *(row for row in history[0] if row["type"] != "clock")]
)
"""Trades on time and late, twice, corrected and cancelled; quotes and heartbeats between them."""


def as_object(row: Row) -> Record:
    value = json.dumps({name: of for name, of in row.items() if name != "log_time_ns"}).encode()
    return Record(value, False, row.get("log_time_ns", at(0)))


def as_mixture(data: st.DataObject, rows: Sequence[Row]) -> list[Record]:
    """Some runs of trades as frames, the rest as objects."""
    records: list[Record] = []
    begin = 0
    while begin < len(rows):
        end = begin
        while end < len(rows) and rows[end]["type"] == "trade":
            end += 1
        if end > begin and data.draw(st.booleans()):
            end = data.draw(st.integers(begin + 1, end))
            batch = pa.RecordBatch.from_pylist(list(rows[begin:end]), schema=TRADE)
            frames = encode_market(batch, wire="arrow", partitions=1)
            records += [Record(frame.value, framed=True, log_time_ns=at(0)) for frame in frames]
        else:
            end = begin + 1
            records.append(as_object(rows[begin]))
        begin = end
    return records


class Worker:
    """A stepper and a decoder of its own, for whatever partitions come."""

    def __init__(self) -> None:
        self._stepper, self._decoder = Stepper(CONFIG), MarketDecoder()

    def take(self, partition: "Partition", records: Sequence[Record]) -> None:
        offsets = np.arange(partition.offset, partition.offset + len(records))
        partition.offset += len(records)
        values, frames, times = zip(*records, strict=True)
        appended_ms = np.array(times, np.int64) // 10**6
        laid_out = records_of(list(values), partition.number, offsets, frames=list(frames), appended_ms=appended_ms)
        batch, letters = self._decoder.decode("market", laid_out)
        assert letters == []
        batch.append_time_of = lambda _: at(0)
        for state, result in self._stepper.steps(partition.state, batch):
            partition.state = state
            of = ("market", partition.number)
            partition.bars.append(bar_rows(state, CONFIG, result.closed, *of))
            partition.values.append(indicator_rows(state, CONFIG, result.indicated, result.values, *of))


@dataclass
class Partition:
    """Its state, and what left."""

    number: int = 0
    offset: int = 0
    state: PartitionState = field(default_factory=lambda: new_state(CONFIG))
    bars: list[pa.RecordBatch] = field(default_factory=list)
    values: list[pa.RecordBatch] = field(default_factory=list)

    def move(self) -> None:
        """To another worker: through the bytes of a snapshot."""
        self.state = state_from_bytes(state_to_bytes(self.state, CONFIG), CONFIG)

    def told(self) -> list[list[bytes]]:
        """Bars and indicator rows as they are written."""
        return [[value for rows in table for _, value in encode_rows(rows)] for table in (self.bars, self.values)]

    def without_receipts(self) -> list[dict[str, Any]]:
        tables = (pa.Table.from_batches(rows).drop(["receipt"]) for rows in (self.bars, self.values))
        return [row for table in tables for row in table.to_pylist()]


def run(records: Sequence[Record], number: int = 0) -> Partition:
    partition = Partition(number)
    Worker().take(partition, records)
    return partition


@examples(full=80)
@given(rows=streams, data=st.data())
def test_any_mixture_of_both_wires_gives_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    expected, mixed = run([as_object(row) for row in rows]), run(as_mixture(data, rows))
    assert [repr(row) for row in mixed.without_receipts()] == [repr(row) for row in expected.without_receipts()]


@examples(full=60)
@given(logs=st.lists(streams, min_size=1, max_size=4), workers=st.integers(1, 3), data=st.data())
def test_any_number_of_workers_gives_the_same_bits(logs: list[list[Row]], workers: int, data: st.DataObject) -> None:
    """Also where partitions move between them."""
    records = [as_mixture(data, rows) for rows in logs]
    staff, partitions = [Worker() for _ in range(workers)], [Partition(n) for n in range(len(logs))]
    owner = [0] * len(logs)
    while behind := [p for p in partitions if p.offset < len(records[p.number])]:
        partition = data.draw(st.sampled_from(behind))
        taker = data.draw(st.integers(0, workers - 1))
        if taker != owner[partition.number]:
            owner[partition.number] = taker
            partition.move()
        left = len(records[partition.number]) - partition.offset
        most = data.draw(st.integers(min(5, left), left))
        staff[taker].take(partition, records[partition.number][partition.offset : partition.offset + most])
    for partition in partitions:
        assert partition.told() == run(records[partition.number], partition.number).told()
