"""The engine's laws over random streams: any cut, any restart, any future, any order inside a bar, and no jumps; on
either wire, in any mixture, and by any number of workers; and closed rows come as rules need them."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite, floats, integers, lists, sampled_from, tuples

import market_rows
from examples import examples
from histories import cut, cuts_of, histories, outcome
from market_rows import Engine, Row, at, bar, clock, config_of, control, heartbeat, hello, split, trade
from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import learn_symbols
from marketpulse.alerts.state import new_state as new_alert_state
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEWEST, ORIGIN_TRADES
from marketpulse.engine.provisional import Looker, changed_symbols
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import CLOSED_MOST, Stepper, StepResult
from marketpulse.kafka.codec import MarketDecoder, encode_market, encode_rows
from marketpulse.kafka.records import records_of
from marketpulse.model.market import COMPLETE, TRADE, StringTable

INDICATORS = "sma(3),ema(3),rsi(3),macd(2,4,3),bbands(3,2),vwap,atr(3),realized_volatility(3),volume_sma(3),"
INDICATORS += "mid,spread,microprice,imbalance,ofi(2)"
OF_QUOTES = 5  # columns
RULES = (
    Rule("cross", "close crosses_above sma_3"),
    Rule("ticks", "change_pct(close, 1) > 0", timeframe="1t"),
    Rule("minute", "close > close@1m", for_s=2, clear="close < prev(close)"),
    Rule("busy", "volume > 2 * prev(volume) or trade_count < 2", timeframe="1m", cooldown_s=20, symbols=("A", "S")),
)
CONFIG = config_of(["1t", "3t", "1s", "5s", "1m", "1d"], INDICATORS, alerts=RULES)
FILLED = config_of(["1t", "10s", "1m", "1h"], "sma(3),ema(3),vwap,spread", fill=True, alerts=RULES)
LOOKER = Looker(CONFIG)
OHLC = ("open", "high", "low", "close", "volume", "trade_count")
SPLIT_RULES = (
    Rule("fell", "change_pct(close, 2) < -60"), Rule("below", "close crosses_below prev(sma_3, 2)"),
    Rule("beside", "close < 0.6 * low@5s"), Rule("wide", "high > 1.5 * close@1s", timeframe="5s"),
    Rule("volumes", "change_pct(volume, 1) > 90"),
)  # fmt: skip
SPLIT = config_of(
    ["2t", "1s", "5s", "1m"], "sma(3),rsi(3),atr(3),obv,var(4),eom(2),linearreg_angle(3),vwap,macd(2,4,3),sar",
    alerts=SPLIT_RULES, window_ns=20_000_000_000,
)  # fmt: skip

prices = st.floats(0.01, 1e6, allow_subnormal=False)
sizes = st.floats(0, 1e6, allow_subnormal=False).filter(lambda s: s == 0 or s > 1e-9)
symbols = st.sampled_from(["A", "B", "C"])
sources = st.sampled_from(["x", "y"])
steps = st.floats(-1.5, 4.0) | st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])  # to where bars close, now and then
changes = st.sampled_from([
    control("put_rule", rule={"name": "low", "expression": "close < 1000 or close > prev(close)"}),
    control("put_rule", rule={"name": "cross", "expression": "close > ema_3", "timeframe": "1m"}),
    control("put_rule", rule={"name": "wide", "expression": "high > low", "timeframe": "3t"}),
    control("remove_rule", name="low"),
    control("remove_rule", name="minute"),
])  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Trades and quotes out of order, heartbeats, silence, sources that come and go, bars of a source, rules that are
    put and removed."""
    rows: list[Row] = []
    now = 10.0
    for kind in draw(st.lists(st.sampled_from("ttttttqqqhhcbglp"), min_size=draw(st.integers(0, 40)), max_size=60)):
        now = max(now + draw(steps), 1.0)
        source = draw(sources)
        if kind == "t":
            rows.append(trade(draw(symbols), now, draw(prices), draw(sizes), source=source))
        elif kind == "q":
            of = draw(st.sampled_from(["A", "B", "C", "S"]))
            rows.append(
                market_rows.quote(of, now, draw(prices), draw(prices), (draw(sizes), draw(sizes)), source=source)
            )
        elif kind == "h":
            rows.append(heartbeat(now, source=source))
        elif kind == "c":
            rows.append(clock(now + draw(st.floats(0, 60))))
        elif kind == "b":
            opens = float(int(now))
            rows.append(bar("S", "1s", opens, opens + 1, (2, 3, 1, 2, draw(sizes)), source=source))
        elif kind == "g":
            rows.append(market_rows.goodbye(source, watermark_ns=draw(st.sampled_from([None, COMPLETE]))))
        elif kind == "p":
            rows.append(draw(changes))
        else:
            rows.append(hello(source, draw(st.sampled_from(["live", "historical"]))))
    return rows


@st.composite
def split_streams(draw: st.DrawFn) -> list[Row]:
    """Trades in and out of order; splits ahead of time, late, corrected and withdrawn."""
    rows: list[Row] = [hello(lateness_ns=0)]
    now = 10.0
    for kind in draw(st.lists(st.sampled_from("tttttttthhs"), min_size=draw(st.integers(5, 40)), max_size=70)):
        now += draw(st.floats(0, 3))
        symbol = draw(st.sampled_from(["A", "B"]))
        if kind == "t":
            late = draw(st.sampled_from([0.0, 0.0, 0.0, 4.0]))
            rows.append(trade(symbol, now - late, draw(st.floats(1, 1e3)), draw(st.floats(0.1, 1e3))))
        elif kind == "h":
            rows.append(heartbeat(now))
        else:
            ex = draw(st.sampled_from([12.0, 20.0, 30.0, 31.5, round(now) + 2.0]))
            rows.append(split(symbol, ex, draw(st.sampled_from([4.0, 3.0, 0.1, 1.0])), now))
    return [*rows, heartbeat(now + 100)]


@examples(full=200)
@given(rows=streams(), most=st.integers(1, 20), trim=st.booleans(), data=st.data())
def test_any_cut_any_stop_inside_a_row_and_any_restart_give_the_same_bits(
    rows: list[Row], most: int, trim: bool, data: st.DataObject
) -> None:
    """So the future changes nothing in the past, either."""
    for config in (CONFIG, FILLED):
        whole = outcome(config, rows)
        assert outcome(config, rows, cuts_of(data, rows), closed_most=most) == whole
        assert outcome(config, rows, cuts_of(data, rows)) == whole
        assert outcome(config, rows, cuts_of(data, rows, 4), restart=True, trim=trim) == whole


@examples(full=120)
@given(rows=split_streams(), data=st.data())
def test_with_splits_any_cut_and_any_restart_give_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    cuts, whole = cuts_of(data, rows), outcome(SPLIT, rows)
    assert outcome(SPLIT, rows, cuts) == whole
    assert outcome(SPLIT, rows, cuts, restart=True) == whole


@examples(full=100)
@given(rows=streams(), data=st.data())
def test_looking_at_the_forming_bars_changes_nothing(rows: list[Row], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    engine = Engine(CONFIG)
    first = engine.step(rows[:cut])
    LOOKER.forming_bars(engine.state, changed_symbols(engine.state))
    second = engine.step(rows[cut:])
    closed, values = (np.concatenate([getattr(r, name) for r in (first, second)]) for name in ("closed", "values"))
    assert (closed.tobytes(), values.tobytes()) == outcome(CONFIG, rows)[:2]


inside_a_minute = st.tuples(st.integers(0, 59_900).map(lambda ms: ms / 1_000), prices, sizes)
shuffled_trades = st.lists(inside_a_minute, min_size=1, max_size=30, unique_by=lambda t: t[0]).flatmap(st.permutations)


@examples(full=100)
@given(shuffled_trades)
def test_the_order_of_arrival_inside_an_open_bar_does_not_matter(trades: list[tuple[float, float, float]]) -> None:
    fields = ["open", "high", "low", "close", "volume", "vwap", "trade_count"]

    def close(order: list[tuple[float, float, float]]) -> bytes:
        engine = Engine(config_of(["1m"]))
        rows = [hello(lateness_ns=60 * 10**9), *(trade("A", *t) for t in order), heartbeat(60)]
        (closed,) = engine.step(rows).closed[fields].copy().reshape(1)
        return bytes(closed.tobytes())

    assert close(trades) == close(sorted(trades))


@examples(full=60)
@example(  # late for its second, not for its minute
    rows=[trade("A", 10, 1.0, 1.0, "x"), heartbeat(10, "x"), trade("A", 9, 2.0, 1.0, "x")]
)
@given(rows=streams())
def test_what_forms_is_what_would_close_now(rows: list[Row]) -> None:
    """The forming bar and its values equal the rows that closing everything at once then gives; those of
    quotes unless the newest one came behind the bar's end."""
    engine = Engine(CONFIG)
    engine.step(rows)
    forming, values = LOOKER.forming_bars(engine.state, np.arange(len(engine.state.symbols)))
    newest = {(int(b["symbol"]), int(b["frame"])): (b, v) for b, v in zip(forming, values, strict=True)}
    done = market_rows.batch_of(
        [market_rows.goodbye(s, watermark_ns=COMPLETE) for s in "xy"], engine.offset, StringTable()
    )
    _, result = engine.stepper.step(engine.state, done)
    for row, row_values in zip(result.closed, result.values, strict=True):
        shown = newest.get((int(row["symbol"]), int(row["frame"])))
        if shown is not None and shown[0]["open_ns"] == row["open_ns"]:
            assert [shown[0][name] for name in OHLC] == [row[name] for name in OHLC]
            one_open = sum(r["symbol"] == row["symbol"] and r["frame"] == row["frame"] for r in result.closed) == 1
            quote_ns = engine.state.tables.last_quotes["event_ns"][2 * row["symbol"] + NEWEST]
            known = slice(None) if quote_ns < row["close_ns"] else slice(-OF_QUOTES)
            if one_open:
                assert np.array_equal(shown[1][known], row_values[known], equal_nan=True)


def last_rows(rows: list[Row]) -> dict[tuple[Any, ...], tuple[bytes, bytes]]:
    """Of each bar that time cuts, its last revision and values."""
    result = Engine(SPLIT).step(rows)
    return {
        (int(row["symbol"]), int(row["frame"]), int(row["open_ns"])): (
            b"".join(row[name].tobytes() for name in OHLC), values.tobytes(),
        )
        for row, values in zip(result.indicated, result.values, strict=True)
        if row["frame"] >= SPLIT.ticks
    }  # fmt: skip


some_ratios = st.tuples(st.sampled_from([4.0, 3.0, 0.1]), st.sampled_from([None, 2.0, 1.0]))


@examples(full=80)
@given(st.lists(st.floats(1, 1e3), min_size=12, max_size=24), some_ratios, st.integers(0, 23))
def test_a_late_split_ends_as_one_that_was_announced(prices: list[float], ratios: tuple[Any, Any], come: int) -> None:
    """Inside the window, and also after a wrong one."""
    ratio, wrong = ratios
    late = split("A", 14, ratio, 20)
    first = [] if wrong is None else [split("A", 14, wrong)]
    rows = [row for i, p in enumerate(prices) for row in (trade("A", 10 + i * 0.7, p, 1 + i), heartbeat(10 + i * 0.7))]
    begin, end, at = [hello(lateness_ns=0)], [heartbeat(120)], 2 * min(come, len(prices))
    announced = last_rows([*begin, split("A", 14, ratio), *rows, *end])
    assert last_rows([*begin, *first, *rows[:at], late, *rows[at:], *end]) == announced


WIRES = config_of(["2t", "1s", "1m"], "ema(3),vwap,spread", max_skew_ns=10**13)


class Record(NamedTuple):
    """One record of a log: an object, or a frame of many rows."""

    value: bytes
    framed: bool
    log_time_ns: int


wire_streams = histories(trades=(3, 40), delays=(0, 0, 0.4, 5, 30), quotes_max=10, again=(0,), quote_delays=(0, 5)).map(
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
        self._stepper, self._decoder = Stepper(WIRES), MarketDecoder()

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
            partition.bars.append(bar_rows(state, WIRES, result.closed, *of))
            partition.values.append(indicator_rows(state, WIRES, result.indicated, result.values, *of))


@dataclass
class Partition:
    number: int = 0
    offset: int = 0
    state: PartitionState = field(default_factory=lambda: new_state(WIRES))
    bars: list[pa.RecordBatch] = field(default_factory=list)
    values: list[pa.RecordBatch] = field(default_factory=list)

    def move(self) -> None:
        """To another worker: through the bytes of a snapshot."""
        self.state = state_from_bytes(state_to_bytes(self.state, WIRES), WIRES)

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
@given(rows=wire_streams, data=st.data())
def test_any_mixture_of_both_wires_gives_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    expected, mixed = run([as_object(row) for row in rows]), run(as_mixture(data, rows))
    assert [repr(row) for row in mixed.without_receipts()] == [repr(row) for row in expected.without_receipts()]


@examples(full=60)
@given(logs=st.lists(wire_streams, min_size=1, max_size=4), workers=st.integers(1, 3), data=st.data())
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


PLAIN_ROWS = config_of(["2t", "1s", "5s", "1m"], "sma(3),rsi(3)")
FILLED_ROWS = config_of(["2t", "1s", "5s", "1m"], "sma(3),rsi(3)", fill=True)
BOTH = pytest.mark.parametrize("config", [PLAIN_ROWS, FILLED_ROWS], ids=["plain", "filled"])


@composite
def logs(draw: DrawFn) -> list[Row]:
    """Trades in order of time, silence, and bars of a source that close as they arrive."""
    rows: list[Row] = []
    now = 10.0
    for kind in draw(lists(sampled_from("tttttthcb"), min_size=20, max_size=80)):
        now += draw(floats(0.0, 4.0))
        if kind == "t":
            rows.append(trade(draw(sampled_from("ABC")), now, draw(sampled_from([8.0, 10.0, 12.0])), 1.0))
        elif kind == "h":
            rows.append(heartbeat(now))
        elif kind == "c":
            rows.append(clock(now))
        else:
            opens = float(int(now)) - 1
            rows.append(bar("S", "1s", opens, opens + 1, (2, 3, 1, draw(sampled_from([1, 2, 3])), 1), source="bars"))
    return [*rows, heartbeat(now + 90), clock(now + 90)]


Cuts = tuple[list[int], int]
"""Where a log is cut, and the most rows that a step closes."""
some_cuts = tuples(lists(integers(0, 80), max_size=4), integers(1, 9))


def steps_of(
    config: EngineConfig, rows: list[Row], cuts: Cuts = ([], CLOSED_MOST)
) -> Iterator[tuple[StepResult, np.ndarray, list[str]]]:
    """Each step's rows, which of them close together, and the symbols then."""
    engine = Engine(config, closed_most=cuts[1])
    for _, part in cut(rows, sorted(min(c, len(rows)) for c in cuts[0])):
        for result in engine.steps(part):
            closed = result.indicated
            timed = closed["frame"] >= config.ticks
            of_trades = engine.state.tables.symbols["origin"][closed["symbol"]] == ORIGIN_TRADES
            yield result, (timed & (of_trades | (closed["built"] != 0))), engine.state.symbols.texts()


@BOTH
@given(rows=logs(), cuts=some_cuts)
def test_rows_of_one_instant_stand_side_by_side_in_one_step(config: EngineConfig, rows: list[Row], cuts: Cuts) -> None:
    newest: dict[int, int] = {}
    for result, together, _ in steps_of(config, rows, cuts):
        places: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place in np.flatnonzero(together).tolist():
            row = result.indicated[place]
            places[int(row["symbol"]), int(row["close_ns"])].append(place)
        for (symbol, close_ns), stand in places.items():
            assert stand == list(range(stand[0], stand[0] + len(stand)))
            frames = result.indicated["frame"][stand].tolist()
            assert (frames, close_ns > newest.get(symbol, -1)) == (sorted(set(frames)), True)
            newest[symbol] = close_ns


def events_of(config: EngineConfig, rows: list[Row], rules: RuleSet, *cuts: Cuts) -> Iterator[tuple[np.ndarray, ...]]:
    """The rows of each step, and the events of them."""
    state = new_alert_state(rules)
    for result, together, names in steps_of(config, rows, *cuts):
        state = learn_symbols(state, rules, names)
        state, events = evaluate(state, rules, alert_rows(result.indicated, result.values, together))
        yield result.indicated, events


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2, 3]])
def test_a_source_s_own_bar_does_not_see_the_larger_one_that_closes_behind_it_in_the_log(cuts: list[int]) -> None:
    """A larger bar does see a still larger one that closes with it: both are built."""
    config = config_of(["1s", "5s", "15s"])
    rules = [Rule("own", "close@5s > 0"), Rule("built", "close@15s > 0", timeframe="5s")]
    rows = [bar("S", "1s", 14, 15, (2, 3, 1, 2, 1)), heartbeat(15), bar("S", "1s", 15, 16, (2, 3, 1, 2, 1))]
    found = events_of(config, rows, rule_set(inputs_of([], config.frames), rules), (cuts, CLOSED_MOST))
    times = [
        (int(e["rule"]), (e["event_time_ns"] - market_rows.MIDNIGHT_NS) / 1e9) for _, events in found for e in events
    ]
    assert times == [(2, 15.0), (1, 16.0)]
