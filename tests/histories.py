"""Random histories of a market with all that changes it later, and what an engine tells its readers of one."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from market_rows import Engine, Row, bar, cancel, clock, correction, goodbye, heartbeat, quote, trade
from marketpulse.app.receipts.compare import Table
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.step import CLOSED_MOST, StepResult
from marketpulse.model.market import COMPLETE
from marketpulse.model.rows import ALERT

History = tuple[list[Row], list[Row]]
"""The rows as they came, and as they should have come."""

KINDS: tuple[Table, ...] = ("bars", "indicators", "alerts")
PLACES: dict[Table, tuple[str, ...]] = {
    "bars": ("symbol", "timeframe", "open_time_ns"),
    "indicators": ("symbol", "timeframe", "open_time_ns"),
    "alerts": ("symbol", "rule", "event_time_ns"),
}
Last = dict[Table, dict[tuple[Any, ...], Row]]
"""The last revision of every row, by its place."""

# Quarters of a second: many fall on a bar's very close, and some on each other.
moments = st.integers(40, 800).map(lambda quarters: quarters / 4)
quarters = st.integers(1, 50).map(lambda quarters: quarters / 4)
symbols = st.sampled_from("AB")
DONE = goodbye(watermark_ns=COMPLETE)
SECONDS = {"1m": 60, "5m": 300, "1h": 3_600}


@st.composite
def histories(
    draw: st.DrawFn, *, trades: tuple[int, int] = (1, 40), delays: Sequence[float] = (0, 0, 0, 0.5, 3, 20, 90),
    quote_delays: Sequence[float] = (0,), quotes_max: int = 40, again: Sequence[float] = (0, 0.5, 20, 50),
    sources: Sequence[str] = ("feed",), end: float = 400,
) -> History:  # fmt: skip
    """Trades with delays, some of them `again`, some corrected or cancelled; quotes with delays; heartbeats and clocks
    that come often or seldom, and reach `end`."""
    arrivals: list[tuple[float, Row]] = []
    meant: dict[str, Row] = {}
    for i in range(draw(st.integers(*trades))):
        time, about, source = draw(moments), (draw(symbols), f"{i}"), draw(st.sampled_from(sources))
        size, venue = draw(st.sampled_from([0.0, 0.1, 1.0, 3.7])), draw(st.sampled_from("XY"))
        row = trade(about[0], time, draw(quarters), size, source, trade_id=f"{i}", venue=venue)
        arrived = time + draw(st.sampled_from(delays))
        arrivals.append((arrived, row))
        meant[f"{i}"] = row
        if again and draw(st.integers(0, 3)) == 0:
            arrivals.append((arrived + draw(st.sampled_from(again)), row))
        if draw(st.integers(0, 4)) == 0:
            later = arrived + draw(st.sampled_from([0.1, 2.0, 30.0, 60.0]))
            price, size = draw(quarters), draw(st.sampled_from([0.0, 0.1, 9.0]))
            arrivals.append((later, correction(*about, price, size, time, source)))
            meant[f"{i}"] = {**row, "price": price, "size": size}
            if draw(st.booleans()):
                arrivals.append((later + draw(st.sampled_from([1, 50])), cancel(*about, time, source)))
                del meant[f"{i}"]
    for i in range(draw(st.integers(0, quotes_max))):
        time, bid, sizes = draw(moments), draw(quarters), draw(st.sampled_from([(0.0, 0.0), (1.0, 2.0), (7.5, 0.0)]))
        ask = max(bid + draw(st.integers(-2, 9)) / 4, 0.25)
        row = quote(draw(symbols), time, bid, ask, sizes, draw(st.sampled_from(sources)), quote_id=f"q{i}")
        arrivals.append((time + draw(st.sampled_from(quote_delays)), row))
        meant[f"q{i}"] = row
    came: list[Row] = []
    first: dict[str, int] = {}
    seldom = draw(st.sampled_from([1, 1, 1, 8]))
    for time, row in sorted(arrivals, key=lambda arrival: arrival[0]):
        if row["type"] in ("trade", "quote"):
            first.setdefault(name_of(row), len(came))
        came.append(row)
        if draw(st.integers(0, seldom)) == 0:
            came.append(draw(st.sampled_from([heartbeat(time - 2, log=time), heartbeat(time), clock(time)])))
    ends = [*(heartbeat(end, source) for source in sources), clock(end + 60)]
    ordered = sorted(meant.values(), key=lambda row: (row["event_time_ns"], first[name_of(row)]))
    return [*came, *ends], [*ordered, *ends]


@st.composite
def bar_histories(draw: st.DrawFn) -> History:
    """Bars of a source, of one length or several, in any order, some of them again and some restated; heartbeats, clocks and
    goodbyes between."""
    meant: dict[tuple[str, str, int], Row] = {}
    came: list[Row] = []
    lengths = st.sampled_from(draw(st.sampled_from([("1m",), ("1m", "1m", "5m"), ("1m", "5m", "1h"), ("5m", "1h")])))
    for symbol, minute in draw(
        st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 130)), min_size=1, max_size=40)
    ):
        close, volume = draw(quarters), draw(st.sampled_from([0.0, 1.0, 3.7]))
        length = draw(lengths)
        opens = minute * 60 // SECONDS[length] * SECONDS[length]
        before = meant.get((symbol, length, opens))
        if before is not None and draw(st.booleans()):
            came.append(before)
            continue
        high, low = max(3.0, close), min(3.0, close)
        source = draw(st.sampled_from(["feed", "file"]))
        row = bar(symbol, length, opens, opens + SECONDS[length], (3.0, high, low, close, volume), source)
        came.append(row)
        if before is None or before["ohlcv"] != row["ohlcv"]:
            meant[symbol, length, opens] = row
        between = st.sampled_from([None, None, clock(minute * 60), heartbeat(minute * 60), heartbeat(8_000), DONE])
        if (extra := draw(between)) is not None:
            came.append(extra)
    ends = [heartbeat(20_000), heartbeat(20_000, "file"), clock(20_060)]
    in_order = sorted(meant.values(), key=lambda row: (int(row["open_time_ns"]), SECONDS[row["timeframe"]]))
    return [*came, *ends], [*in_order, *ends]


def name_of(row: Row) -> str:
    return str(row.get("trade_id", row.get("quote_id")))


def cuts_of(draw: st.DataObject, rows: Sequence[Row], most: int = 6) -> list[int]:
    """Some places at which the rows are cut, in order; some of them twice, at the begin or at the end."""
    return sorted(draw.draw(st.lists(st.integers(0, len(rows)), max_size=most), label="cuts"))


def cut(rows: Sequence[Row], cuts: Iterable[int]) -> list[tuple[int, Sequence[Row]]]:
    """(the place of its first row, the rows) of each part."""
    return [(begin, rows[begin:end]) for begin, end in pairwise([0, *cuts, len(rows)])]


def restarted(engine: Engine, *, trim: bool = True) -> Engine:
    """The engine as another worker goes on with it, from the bytes of a snapshot."""
    state = engine.stepper.trim(engine.state) if trim else engine.state
    fresh = Engine(engine.config, state_from_bytes(state_to_bytes(state, engine.config), engine.config))
    fresh.offset = engine.offset
    return fresh


def outcome(
    config: EngineConfig, rows: Sequence[Row], cuts: Sequence[int] = (), *, restart: bool = False, trim: bool = True,
    closed_most: int = CLOSED_MOST,
) -> tuple[bytes, bytes, list[Any], list[Row]]:  # fmt: skip
    """Every bit that leaves the engine when the stream is cut there: bars, values, what is refused, alerts."""
    engine = Engine(config, closed_most=closed_most)
    closed, values, refused, alerts = [], [], [], []
    for begin, part in cut(rows, cuts):
        result = engine.step(part)
        closed.append(result.closed)
        values.append(result.values)
        alerts += [bits(row) for row in engine.alert_rows(result)]
        refused += [(begin + r.row, r.reason, r.timeframes) for r in result.refused]
        if restart:
            engine = restarted(engine, trim=trim)
    return np.concatenate(closed).tobytes(), np.concatenate(values).tobytes(), refused, alerts


def bits(row: Row) -> Row:
    """The row with its floats as texts that tell them apart to the bit."""
    return {name: value.hex() if isinstance(value, float) else value for name, value in row.items()}


def told_tables(engine: Engine, result: StepResult) -> dict[Table, pa.Table]:
    """What the engine tells of a step, as its topics hold it."""
    values = indicator_rows(engine.state, engine.config, result.indicated, result.values, "market", 0)
    return {
        "bars": pa.table(bar_rows(engine.state, engine.config, result.closed, "market", 0)),
        "indicators": pa.table(values),
        "alerts": pa.Table.from_pylist(engine.alert_rows(result), ALERT),
    }


def letters_of(result: StepResult, first_offset: int = 0) -> list[Row]:
    """The dead letters of what a step has refused, whose rows begin there."""
    place = {"topic": "market", "partition": 0, "row": None}
    return [{"reason": r.reason, **place, "offset": first_offset + r.row} for r in result.refused]


def take_revisions(last: Last, table: Table, rows: Sequence[Row]) -> None:
    """Readers take these rows. Revisions come one after the other, each of a bar that has changed, and a change of an
    alert names the one before it. Bars that are cut by count are never revised, and two may begin at one time."""
    known = last.setdefault(table, {})
    for row in rows:
        if row["timeframe"].endswith("t"):
            continue
        key = tuple(row[name] for name in PLACES[table])
        before = known.get(key)
        assert row["revision"] == (before["revision"] + 1 if before else 0)
        if before and table == "bars":
            assert values_of(row) != values_of(before) or row["receipt"] != before["receipt"]
        if table == "alerts":
            assert row["was"] == (before["state"] if before and before["state"] != "withdrawn" else None)
            assert row["was"] in (None, row["state"]) or row["state"] == "withdrawn"
        known[key] = row


def shown(last: Last) -> Last:
    """What a reader of last revisions sees: the rows that are not withdrawn, without their history."""
    return {table: {k: values_of(row) for k, row in last.get(table, {}).items() if is_there(row)} for table in KINDS}


def values_of(row: Row) -> Row:
    return {k: v for k, v in row.items() if k not in ("revision", "receipt", "was", "late")}


def is_there(row: Row) -> bool:
    return row.get("close") is not None or row.get("state") in ("raised", "cleared")
