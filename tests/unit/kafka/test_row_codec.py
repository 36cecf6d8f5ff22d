"""Rows of our output topics on both wires, read again and written from where they lie, with the bytes of their Arrow
columns; what is measured of them; and tables that grow by half with what they hold."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from log_of_rows import written
from market_rows import Engine, config_of, heartbeat, quote, trade
from marketpulse.engine.growth import grow_anchor, grow_bars, grow_groups, grow_quotes, grow_symbols, grow_window
from marketpulse.engine.layout import CLOSED, FREE_BAR, FREE_BARS, FREE_QUOTE, FREE_QUOTES, N_KEPT
from marketpulse.engine.record_rows import ResultRows
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import PartitionState, kept_trades, new_state
from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.kafka import seat
from marketpulse.kafka.codec import decode_rows, encode_rows, lay_out_rows, to_tables
from marketpulse.kafka.frame_writer import FRAME_TARGET_BYTES, frames_by_partition, write_frame
from marketpulse.kafka.live_writer import LiveWriter
from marketpulse.kafka.loaded_rows import LoadedRows
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.seat import Seat, StateOf
from marketpulse.kafka.snapshot import Pointer, chunk_of, chunks_of, load_of
from marketpulse.kafka.transaction import BEGINNING, Taken
from marketpulse.model.market import StringTable
from marketpulse.model.record_rows import RecordRows, RowField, ValueKind
from marketpulse.model.rows import ALERT, BAR, INDICATORS_HEAD, RECEIPT, indicators_schema
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY
from refused import assert_raises

T0 = 1_768_600_000_000_000_000
RECEIPT_ROW = {
    "topic": "market", "partition": 3, "first_offset": 5, "first_row": 0, "last_offset": 9, "last_row": 2,
    "late_count": 0, "engine_version": "1",
}  # fmt: skip
BAR_ROW: dict[str, Any] = {
    "symbol": "AAA", "timeframe": "1m", "open_time_ns": T0, "close_time_ns": T0 + 1, "open": 0.1, "high": 0.3,
    "low": 0.1, "close": 0.30000000000000004, "volume": 0.0, "vwap": None, "trade_count": 3, "revision": 0,
    "source": "s", "venue": None, "session_date": date(2026, 1, 16), "receipt": RECEIPT_ROW,
}  # fmt: skip
ALERT_ROW = {
    "symbol": "AAA", "rule": "dip", "severity": "critical", "timeframe": "1m", "open_time_ns": T0,
    "event_time_ns": T0 + 60, "state": "raised", "was": None, "late": True, "value": 0.1, "message": "AAA: \u00e9 {",
    "revision": 0, "receipt": RECEIPT_ROW,
}  # fmt: skip
SMA = indicators_schema(["sma_20"])


def batch_of(schema: pa.Schema, *rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def values_of(*batches: pa.RecordBatch) -> list[bytes]:
    """The values of these rows' records, as JSON."""
    return [value for batch in batches for _, value in encode_rows(batch)]


BARS = batch_of(BAR, BAR_ROW)


def test_a_row_is_one_object_with_nulls_and_receipt_and_foreign_ones_may_lack_fields_or_have_others() -> None:
    ((key, value),) = encode_rows(BARS)
    assert (key, json.loads(value)) == (b"AAA", {**BAR_ROW, "session_date": "2026-01-16"})
    assert json.loads(values_of(batch_of(ALERT, ALERT_ROW))[0]) == ALERT_ROW
    assert json.loads(values_of(batch_of(BAR, {"symbol": "B"}))[0])["receipt"] is None
    assert json.loads(values_of(batch_of(SMA, {"symbol": "A", "sma_20": float("nan")}))[0])["sma_20"] is None
    rows = decode_rows("bars", [b'{ "symbol": "A",\n "close": 5, "note": {"a": [1]}, "session_date": "2026-01-16"}'])
    assert rows.schema.equals(BAR)
    assert rows.to_pylist()[0] | {"symbol": "A", "close": 5.0, "session_date": date(2026, 1, 16)} == rows.to_pylist()[0]
    assert decode_rows("bars", []).schema.equals(BAR)
    assert encode_rows(batch_of(BAR)) == []
    with pytest.raises(ParameterError, match="market"):  # which is none of our output topics
        decode_rows("market", [])
    assert_raises(ParameterError, "partitions", encode_rows, BARS, wire="arrow")


def test_names_of_all_rows_large_ones_too_are_columns_before_the_receipt_on_both_wires_and_odd_frames_whole() -> None:
    a = batch_of(SMA, {"symbol": "A", "sma_20": 0.1})
    b = batch_of(indicators_schema(["rsi_14"]), {"symbol": "B", "rsi_14": 50.0})
    rows = decode_rows("indicators", values_of(a, b))
    assert rows.schema.names == [*INDICATORS_HEAD.names, "sma_20", "rsi_14", "receipt"]
    assert (rows["sma_20"].to_pylist(), rows["rsi_14"].to_pylist()) == ([0.1, None], [None, 50.0])
    assert rows.schema.field("receipt").type == RECEIPT
    values = [*values_of(BARS), write_frame(BARS), *values_of(BARS)]
    assert decode_rows("bars", values, lambda i: i == 1).to_pylist() == [BAR_ROW] * 3
    ((key, frame),) = encode_rows(BARS, wire="arrow", partitions=12)
    assert (key, decode_rows("bars", [frame], lambda _: True).to_pylist()) == (b"AAA", [BAR_ROW])
    found = written(FIELDS, sample(3, ["\x00" * 300_000]))
    assert [(key, json.loads(value)["key"]) for key, value in found] == [(b"\x00" * 300_000, "\x00" * 300_000)] * 3
    names, records = StringTable(["A"]), np.zeros(1, RECORD)
    assert written(FIELDS[:1], RecordRows((records,), (names,))) == [(b"A", b'{"key":"A"}')]
    records["name"] = names.intern("later")
    assert written(FIELDS[:1], RecordRows((records,), (names,))) == [(b"later", b'{"key":"later"}')]
    rows = 150_001  # 8 bytes each: two frames, of which one has a row more
    batch = pa.RecordBatch.from_pydict({"symbol": pa.array(["A"] * rows), "size": pa.array(range(rows), pa.int64())})
    frames = [frame for _, _, frame in frames_by_partition(batch, 4)]
    assert len(frames) > 1
    assert max(map(len, frames)) <= FRAME_TARGET_BYTES
    read = pa.concat_tables([pa.ipc.open_stream(frame).read_all() for frame in frames])
    assert read.column("size").to_pylist() == list(range(rows))


@pytest.mark.parametrize("odd", [
    None, b"", b"x", b"5", b"[]", b"{}", b'{"symbol":5}', b'{"symbol":"A","open":"1"}', b'{"symbol":"A"} {"symbol":"B"}',
    b'{"symbol":"A","session_date":"never"}', b"\xff\xff\xff\xff",
])  # fmt: skip
def test_a_record_that_is_no_row_is_left_out_and_named(odd: bytes | None) -> None:
    (good,), is_frame = values_of(BARS), odd is not None and odd[:1] == b"\xff"
    unreadable: list[int] = []
    rows = decode_rows("bars", [good, odd, good], lambda i: is_frame and i == 1, unreadable)
    assert (rows.to_pylist(), unreadable) == ([BAR_ROW] * 2, [1])


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1), (0, 5_000), (17, 100)])
def test_rows_laid_out_in_memory_are_the_records(first: int, count: int) -> None:
    rows = [{**BAR_ROW, "symbol": f"Ä{i}", "source": "two\nlines" * (i % 50)} for i in range(first + count)]
    batch = batch_of(BAR, *rows).slice(first)
    laid_out = lay_out_rows(batch)
    values, keys = laid_out.values.tobytes(), laid_out.keys.tobytes()
    value_ends, key_ends = laid_out.value_ends.tolist(), laid_out.key_ends.tolist()
    assert len(laid_out) == count
    spans = zip(pairwise(key_ends), pairwise(value_ends), strict=True)
    assert [(keys[a:b], values[c : d - 1]) for (a, b), (c, d) in spans] == encode_rows(batch)


RECORD = np.dtype([("name", "i4"), ("day", "i4"), ("count", "i8"), ("price", "f8")])
FIELDS = [
    RowField("key", ValueKind.NAME, 0, 0), RowField("day", ValueKind.DATE, 0, 4),
    RowField("count", ValueKind.LONG, 0, 8, sign=15), RowField("part", ValueKind.INT, 1, 0, "inner"),
    RowField("price", ValueKind.DOUBLE, 0, 16, "inner"), RowField("size", ValueKind.DOUBLE, 2, 8),
]  # fmt: skip
NAMES = ["A", "", 'quoted "name"\\', "Ä\u2028\x01\n", "as long as a symbol may be and longer"]


def sample(n: int, names: list[str]) -> RecordRows:
    random = np.random.default_rng(n)
    records = np.zeros(n, RECORD)
    records["name"] = random.integers(0, len(names), n)
    records["day"] = random.integers(0, 40_000, n)
    records["count"] = random.integers(-(2**63), 2**63 - 1, n)
    records["price"] = random.integers(0, 2**63, n).view(np.float64)
    return RecordRows((records, np.array([-7], np.int32), random.random((n, 2))), (StringTable(names),))


@pytest.mark.parametrize("n", [0, 1, 3, 5_000])
def test_each_row_is_the_object_that_its_records_say(n: int) -> None:
    rows = sample(n, NAMES)
    (records, _, sizes), found = rows.blocks, written(FIELDS, rows)
    assert [key for key, _ in found] == [NAMES[i].encode() for i in records["name"]]
    assert [json.loads(value) for _, value in found] == [
        {
            "key": NAMES[record["name"]],
            "day": str(date(1970, 1, 1) + timedelta(int(record["day"]))),
            "count": int(record["count"]) if record["count"] >= 0 else None,
            "inner": {"part": -7, "price": float(record["price"]) if np.isfinite(record["price"]) else None},
            "size": float(size[1]),
        }
        for record, size in zip(records, sizes, strict=True)
    ]


def test_of_live_rows_trades_that_waited_for_this_process_are_not_measured(tmp_path: Path) -> None:
    """No broker is asked."""

    def measured() -> float:
        return REGISTRY.get_sample_value("marketpulse_event_latency_seconds_count") or 0.0

    settings = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:9"})
    writer = LiveWriter(settings, [RowField("symbol", ValueKind.NAME, 0, 0)], began_ns=1_000)
    rows, before = RecordRows((np.zeros(2, np.int32),), (StringTable(["A"]),)), measured()
    for ingest_ns, more in (([999, 0], 0), ([0, 0], 0), ([1_000, 0], 1)):
        writer.write(rows, np.array(ingest_ns), now_ns=2_000)
        assert measured() == before + more
    writer.close()


LOADED_AT = 1_767_366_000 * 10**9
TOPIC = "file:t.csv@1.2"


def rows_of(kind: str, times: list[int], symbols: list[str], **columns: Any) -> pa.Table:
    head = {"type": kind, "source": "old", "bid": 1.0, "bid_size": 1.0, "ask": 2.0, "ask_size": 1.0, "size": 1.0}
    names = ("type", "source", *(("bid", "bid_size", "ask", "ask_size") if kind == "quote" else ("size",)))
    same = {name: [head[name]] * len(times) for name in names}
    return pa.table(same | {"symbol": symbols, "event_time_ns": [LOADED_AT + t for t in times]} | columns)


def trades(times: list[int], symbols: list[str], prices: list[float]) -> pa.Table:
    return rows_of("trade", times, symbols, price=prices, trade_id=[f"id{i}" for i in range(len(times))])


def loaded(partitions: int, *tables: tuple[pa.Table, int], ends: dict[str, int] | None = None) -> Any:
    """What becomes of these tables, each with its first line's number."""
    numbers = [np.arange(first, first + len(table)) for table, first in tables]
    parts = [np.zeros(len(table), np.int32) for table, _ in tables]
    stored = [np.zeros(len(table), np.bool_) for table, _ in tables]
    return LoadedRows(TOPIC, partitions).batches([table for table, _ in tables], numbers, parts, stored, ends or {})


def test_each_symbol_goes_to_its_partition_kinds_keep_their_rank_and_bad_or_late_rows_are_left_out() -> None:
    found, letters, cut = loaded(5, (trades(list(range(50)), [f"S{i % 7}" for i in range(50)], [1.0] * 50), 2))
    assert (letters, cut) == ([], 0)
    seen = []
    for partition, batch in found.items():
        rows = to_tables(batch)["trades"]
        names, offsets = [n.encode() for n in rows["symbol"].to_pylist()], rows["offset"].to_pylist()
        assert (set(partitions_of(names, 5).tolist()), offsets) == ({partition}, sorted(offsets))
        assert [f"id{o - 2}" for o in offsets] == rows["trade_id"].to_pylist()
        seen += offsets
    assert sorted(seen) == list(range(2, 52))
    quotes = rows_of("quote", [1, 2, 3], ["A"] * 3)
    found, _, _ = loaded(1, (quotes, 2), (trades([1, 2, 2], ["A"] * 3, [1.0] * 3), 20))
    assert found[0].offset.tolist() == [2, 20, 3, 21, 22, 4]
    found, (letter,), _ = loaded(3, (trades([1, 2, 3], ["A"] * 3, [1.0, -1.0, 2.0]), 2))
    assert (letter.reason, letter.offset, letter.topic) == ("bad_price", 3, TOPIC)
    offsets = [(partition, batch.offset.tolist()) for partition, batch in found.items()]
    assert offsets[:1] == [(letter.partition, [2, 4])]
    found, _, cut = loaded(1, (trades([1, 2, 3, 4], ["A", "B"] * 2, [1.0] * 4), 2), ends={"A": LOADED_AT + 3})
    assert (cut, found[0].offset.tolist()) == (1, [2, 3, 5])


Places = dict[int, tuple[int, Pointer | None]]
Take = Callable[[Sequence[Taken]], dict[int, int]]
Give = Callable[[Sequence[int]], None]


class LogInMemory:
    """What the group gives at each poll, and what was committed: kafka.transaction.TransactionalLog as far as a seat uses it."""

    def __init__(self, comes: list[list[Taken]], goes: list[int] | None = None) -> None:
        self.comes, self.goes, self.starts_at, self.calls = comes, goes or [], dict[int, int](), list[str]()
        self.written: list[tuple[int, int, bytes, str | None]] = []
        self.committed: Places | None = None

    def held(self, _: Settings, slot: int, take: Take, give: Give, places: Callable[[], Places]) -> "LogInMemory":
        assert slot == 0  # the first worker's, so that it fences him
        self._take, self._give, self._places = take, give, places
        return self

    def start(self) -> None:
        self.calls.append("start")

    def poll(self, _wait_s: float, _records: int) -> None:
        if self.comes:
            self.starts_at |= self._take(self.comes.pop(0))
        elif self.goes:
            self._give(self.goes)
            self.goes = []

    def begin(self) -> None:
        self.calls.append("begin")

    def write_snapshot(self, partition: int, covered: int, data: bytes, load: str | None) -> Pointer:
        self.written.append((partition, covered, data, load))
        return Pointer(100 + partition, covered)

    def commit(self) -> None:
        self.calls.append("commit")
        self.committed = self._places()

    def close(self) -> None:
        self.calls.append("close")


def hand_over(monkeypatch: pytest.MonkeyPatch, log: LogInMemory, states: dict[int, StateOf]) -> None:
    monkeypatch.setattr(seat, "TransactionalLog", log.held)
    monkeypatch.setattr(seat, "_CALL_S", 0.05)
    Seat(Settings(), TOPIC, states).hand_over()


def test_all_states_are_committed_or_none_and_no_snapshot_takes_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory([[Taken(0, None, None)], [Taken(1, 30, Pointer(5, 20)), Taken(2, 8, None)]])
    hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 30, 30)})
    assert log.calls == ["start", "begin", "commit", "close"]
    assert log.written == [(0, 0, b"zero", TOPIC), (1, 30, b"one", TOPIC)]
    assert log.committed == {0: (0, Pointer(100, 0)), 1: (30, Pointer(101, 30))}
    assert log.starts_at == {0: BEGINNING, 1: 30, 2: 8}
    log = LogInMemory([[Taken(0, None, None), Taken(1, None, None)]])
    log.begin = lambda: log._give([1])  # type: ignore[method-assign]
    hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 0, None)})
    assert (log.committed, log.written) == ({}, [])
    later, end = chunks_of("g", 0, 9, b"later"), chunks_of("g", 0, 7, b"end", "file:a@1.2")
    assert {key for key, _ in later}.isdisjoint(key for key, _ in end)


@pytest.mark.parametrize("committed", [None, 29, 31])
def test_nothing_is_committed_where_the_engine_went_on(monkeypatch: pytest.MonkeyPatch, committed: int | None) -> None:
    log = LogInMemory([[Taken(0, committed, None)]])
    assert_raises(Fatal, r"partition 0 .*not stored twice", hand_over, monkeypatch, log, {0: StateOf(b"zero", 30, 30)})
    assert (log.calls, log.written) == (["start", "close"], [])


@pytest.mark.parametrize("goes", [[], [0]], ids=["never came", "went again"])
def test_partitions_that_do_not_stay_are_waited_for(monkeypatch: pytest.MonkeyPatch, goes: list[int]) -> None:
    log = LogInMemory([[Taken(0, None, None)]] if goes else [], goes)
    with pytest.raises(Retryable, match="load again"):
        hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 0, None)})
    assert (log.calls, log.written) == (["start", "close"], [])


@pytest.mark.parametrize("load", [None, "file:a.csv@1.2"])
def test_a_chunk_says_whose_it_is(load: str | None) -> None:
    chunks = chunks_of("g", 3, 7, b"x" * 2_000_000, load)
    assert [load_of(key, "g", 3) for key, _ in chunks] == [load or ""] * 3
    assert {load_of(key, "g", 30) for key, _ in chunks} == {None}
    assert b"".join(chunk_of(value).content for _, value in chunks) == b"x" * 2_000_000


CONFIG = config_of(["1t", "1s", "1d"], "sma(3),bbands(5,2),vwap()")
ODD_NAMES = ["AAA", 'B"\\', "Ä\n", "FOUR"]
WORDS = ("volume", "notional", "open", "high", "low", "close", "vwap", "bid", "bid_size", "ask", "ask_size")


def state_with_names() -> PartitionState:
    state = new_state(CONFIG)
    for table in (state.symbols, state.sources, state.venues):
        for name in ODD_NAMES:
            table.intern(name)
    return state


def any_bars(n: int) -> np.ndarray:
    """Bars of any bits, but for the ids, which are known or missing."""
    random = np.random.default_rng(n)
    bars = np.frombuffer(random.bytes(n * CLOSED.itemsize), CLOSED).copy()
    for name in ("source", "venue"):
        bars[name] = random.integers(-1, len(ODD_NAMES), n)
    bars["symbol"] = random.integers(0, len(ODD_NAMES), n)
    bars["frame"] = random.integers(0, len(CONFIG.frames), n)
    for name in WORDS:
        odd = random.choice([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1, 100.0], n)
        bars[name] = np.where(random.random(n) < 0.5, odd, bars[name])
    for name in ("first_offset", "trade_count", "quote_offset"):
        bars[name][random.random(n) < 0.3] = -1
    bars["session_date"] = random.integers(-800_000, 3_000_000, n)
    return bars


@pytest.mark.parametrize("n", [0, 1, 2, 4_500])
def test_bars_and_indicators_of_any_bits_have_the_bytes_of_their_columns(n: int) -> None:
    state, bars, results = state_with_names(), any_bars(n), ResultRows(CONFIG, "a.market")
    values = np.random.default_rng(n).integers(0, 2**63, (n, len(CONFIG.columns()))).view(np.float64)
    columns = encode_rows(bar_rows(state, CONFIG, bars, "a.market", 7))
    assert written(results.bar_fields, results.bars(state, bars, 7)) == columns
    columns = encode_rows(indicator_rows(state, CONFIG, bars, values, "a.market", 11))
    for lying in (values, np.asfortranarray(values)):
        assert written(results.indicator_fields, results.indicators(state, bars, lying, 11)) == columns


@pytest.mark.parametrize("n", [0, 1, 4_500])
def test_live_rows_of_any_bits_are_what_their_bars_quotes_and_values_say(n: int) -> None:
    state, bars, results = state_with_names(), any_bars(n), ResultRows(CONFIG, "m")
    bars["session_date"] %= 20_000
    state.tables.symbols["event_ns"][:4] = event_ns = [5, 2**62, 0, 7]
    state.tables.symbols["ingest_ns"][:4] = [1, -(2**63), 0, 2**62]
    ingest_ns = [1, 0, 0, 2**62]
    values = np.random.default_rng(n).integers(0, 2**63, (n, 5)).view(np.float64)
    rows, ingested_ns = results.live(state, bars, values)
    found = written(results.live_fields, rows)
    assert ingested_ns.tolist() == [ingest_ns[symbol] for symbol in bars["symbol"]]
    assert [key.decode() for key, _ in found] == [ODD_NAMES[symbol] for symbol in bars["symbol"]]
    assert [json.loads(value) for _, value in found] == [
        {
            "symbol": ODD_NAMES[bar["symbol"]], "timeframe": ["1t", "1s", "1d"][bar["frame"]],
            "open_time_ns": bar["open_ns"], "close_time_ns": bar["close_ns"],
            **{name: finite(bar[name]) for name in ("open", "high", "low", "close", "volume", "vwap")},
            "trade_count": bar["trade_count"] if bar["trade_count"] >= 0 else None,
            "source": ODD_NAMES[bar["source"]] if bar["source"] >= 0 else None,
            "venue": ODD_NAMES[bar["venue"]] if bar["venue"] >= 0 else None,
            "session_date": str(date(1970, 1, 1) + timedelta(int(bar["session_date"]))),
            "event_time_ns": event_ns[bar["symbol"]], "ingest_time_ns": ingest_ns[bar["symbol"]],
            **{name: finite(bar[name]) for name in ("bid", "bid_size", "ask", "ask_size")},
            "sma_3": finite(own[0]), "bbands_5_2_upper": finite(own[1]), "bbands_5_2_middle": finite(own[2]),
            "bbands_5_2_lower": finite(own[3]), "session_vwap": finite(own[4]),
        }
        for bar, own in zip(bars, values, strict=True)
    ]  # fmt: skip


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


ONE_SECOND = config_of(["1s", "1m"], "sma(3),ema(2)")


@pytest.fixture
def state() -> PartitionState:
    """The state after some trades."""
    engine, trades = Engine(ONE_SECOND), [trade(f"S{i}", 10 + i / 10, 5, 1, trade_id=f"{i}") for i in range(12)]
    engine.feed(*trades, quote("S1", 11.5, 4, 6), heartbeat(14))
    return engine.state


def free_places(places: np.ndarray, first: int) -> list[int]:
    """The places of the chain that begins at `first`."""
    found = []
    while first >= 0:
        found.append(first)
        first = int(places["next"][first])
    return found


def test_symbols_grow_by_half_in_every_table_and_keep_what_they_hold(state: PartitionState) -> None:
    before, rows = state.tables.last_close.copy(), [rows.copy() for rows in state.indicators]
    grow_symbols(state)
    t, a = state.tables, state.anchor
    assert [len(x) for x in (t.symbols, t.heads, t.closed_until, t.last_close)] == [24] * 4  # 16 and its half
    assert ([len(x) for x in (a.heads, a.closed_until, a.last_close)], len(t.last_quotes)) == ([24] * 3, 48)
    assert [len(rows) for rows in (*state.indicators, *a.indicators)] == [48] * 4  # of two timeframes
    for now, then in [(t.last_close[:16], before), *zip((now[:32] for now in state.indicators), rows, strict=True)]:
        np.testing.assert_array_equal(now, then)
    assert np.isnan(t.last_close[16:]).all()
    assert (t.heads[16:] == -1).all()
    grow_symbols(state)
    assert (len(state.tables.symbols), len(state.tables.last_quotes)) == (36, 72)


def test_slots_that_are_added_are_free_and_none_is_lost(state: PartitionState) -> None:
    registers = state.tables.registers
    free = free_places(state.tables.bars, int(registers[FREE_BAR]))
    assert len(free) == registers[FREE_BARS]
    grow_bars(state)
    t = state.tables
    assert [len(x) for x in (t.bars, t.volume, t.notional)] == [384] * 3  # 256 and its half
    assert t.heaps.shape == (4, 384)
    assert sorted(free_places(t.bars, int(registers[FREE_BAR]))) == sorted([*free, *range(256, 384)])
    assert registers[FREE_BARS] == len(free) + 128


def test_the_anchors_slots_quotes_and_groups_grow_alike_and_the_window_doubles(state: PartitionState) -> None:
    quotes = int(state.tables.registers[FREE_QUOTES])
    grow_anchor(state)
    grow_quotes(state)
    grow_groups(state)
    t, a = state.tables, state.anchor
    assert [len(x) for x in (a.bars, a.volume, a.notional)] == [384] * 3
    assert len(free_places(a.bars, int(a.registers[FREE_BAR]))) == a.registers[FREE_BARS] == 384
    assert len(t.quotes) == 1_536
    assert len(free_places(t.quotes, int(t.registers[FREE_QUOTE]))) == t.registers[FREE_QUOTES] == quotes + 512
    assert (len(t.groups), t.heaps.shape) == (6, (6, 256))
    kept = kept_trades(state).tobytes()
    grow_window(state)
    t = state.tables
    assert (len(t.window), len(t.ids), t.registers[N_KEPT], kept_trades(state).tobytes()) == (2_048, 4_096, 12, kept)


@pytest.mark.parametrize("symbols", [55, 82, 122])
def test_rows_are_the_same_whether_room_was_there_or_was_made(symbols: int) -> None:
    rows = [trade(f"S{i:03d}", 10 + i / symbols, 1 + i, 1) for i in range(symbols)]
    rows += [trade(f"S{i:03d}", 11.5, 2 + i, 1) for i in range(symbols)]
    slow, roomy = Engine(ONE_SECOND), Engine(ONE_SECOND)
    one_by_one = [bar for row in [*rows, heartbeat(100)] for bar in slow.feed(row)]
    for _ in range(6):
        grow_symbols(roomy.state)
        grow_bars(roomy.state)
    assert roomy.feed(*rows, heartbeat(100)) == one_by_one
    assert len(one_by_one) == 3 * symbols  # two seconds and a minute
