"""Rows again from the lake's own trades, where the log no longer holds them.

    accepted trades, corrected, in order of time -> the engine's operators -> the last revision of every row

The lake has neither heartbeats nor clocks, so it cannot say when a row was told or how often it was revised.
It need not: after the last revision every row is, bit for bit, what the sorted log gives (docs/semantics.md, 10).
Bars cut by count go in as the log had them; bars of a source by open time. What hangs on quotes is left out: which of them
came too late is written nowhere. So are alert rules of which it is not known since when they run (lake_rules).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.healed import HealedTrades, Place, healed_trades
from marketpulse.app.receipts.lake_splits import SplitWord, split_words, waiting_splits
from marketpulse.app.receipts.loaded import file_of, with_loaded
from marketpulse.app.receipts.replay import Replay, Rows
from marketpulse.app.receipts.running_rules import RunningRules, begin_as
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import COVERED, N_KEPT_BARS
from marketpulse.engine.state import new_state
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.market_contract import days_of
from marketpulse.kafka.records import records_of
from marketpulse.model.late import Spans, position_keys, read_spans, rows_behind, timeframes_behind
from marketpulse.model.market import COMPLETE, TRADE, Ints, Kind, MarketBatch
from marketpulse.model.timeframe import DAY_NS, Cut
from marketpulse.query.stored_rows import StoredRows, Wanted

_ROWS_A_STEP = 200_000
_ROWS_BETWEEN_HEARTBEATS = 2_000
TOO_LATE, NO_ID = "too_late", -1
_BAR_VALUES = ("close_time_ns", "open", "high", "low", "close", "volume", "vwap", "trade_count")
_FRESH = pa.schema([f for f in TRADE if f.name not in ("trade_id", "conditions", "ingest_time_ns")])


@dataclass(frozen=True, slots=True)
class LakeInputs:
    """One partition's market data as the lake has it: trades that the engine took, in order of the log, with
    what became of them; the `late` ones were too late for bars of time. `events` are the other records."""

    topic: str
    partition: int
    trades: pa.Table
    late: np.ndarray  # (n,) bool
    events: pa.Table
    refused: Mapping[Place, str]  # by position, why a record or a row of a frame was set aside
    healed: HealedTrades = field(default_factory=HealedTrades)
    splits: Sequence[SplitWord] = ()
    behind: Mapping[str, Spans] = field(default_factory=dict)  # by symbol, where history stands that came too late

    def only(self, mask: np.ndarray) -> "LakeInputs":
        """With these of the trades (n,)."""
        return replace(self, trades=self.trades.filter(pa.array(mask)), late=self.late[mask])


def read_inputs(stored: StoredRows, topic: str, partition: int, symbols: frozenset[str] | None) -> LakeInputs:
    """What the lake holds of a partition, and of the history of these symbols that was loaded; of the topic of a load, all that was
    loaded of them. Raises what StoredRows does."""
    trades, events = pa.table({}), pa.table({})
    if file_of(topic) is None:
        trades = stored.of_partition("trades", topic, partition, symbols)
        events = stored.of_partition("events", topic, partition)
    trades, events = with_loaded(stored, "trades", trades, symbols), with_loaded(stored, "events", events, symbols)
    return sift(topic, partition, trades, events, stored.whole("dead_letters"))


def sift(topic: str, partition: int, trades: pa.Table, events: pa.Table, letters: pa.Table) -> LakeInputs:
    """The trades without those that the engine has refused, as the dead letters name them; what is `late` of them the dead
    letters say, and of history the `late` records among the events."""
    reasons: dict[Place, str] = {}
    frames: dict[Place, Sequence[str]] = {}
    if letters.num_rows:
        own = pc.and_(pc.equal(letters["topic"], topic), pc.equal(letters["partition"], partition))
        for row in letters.filter(own).select(["offset", "row", "reason", "timeframes"]).to_pylist():
            reasons[row["offset"], row["row"] or 0] = row["reason"]
            frames[row["offset"], row["row"] or 0] = row["timeframes"] or ()
    late = {place for place, reason in reasons.items() if reason == TOO_LATE}
    if trades.num_rows:
        trades = trades.sort_by([("offset", "ascending"), ("row", "ascending")])
        trades = trades.filter(pa.array(~_at(trades, reasons.keys() - late)))
    behind = _behind(events, reasons, frames)
    healed = healed_trades(events, reasons)
    keys = keys_of(trades)
    is_late = np.zeros(len(keys), np.bool_)
    if len(keys):
        is_late = rows_behind(behind, trades["symbol"], keys) | _at(trades, late)
        is_late &= healed.match(keys) < 0
    splits = split_words(events, frames)
    return LakeInputs(topic, partition, trades, is_late, events, reasons, healed, splits, behind)


def _behind(events: pa.Table, reasons: dict[Place, str], frames: dict[Place, Sequence[str]]) -> dict[str, Spans]:
    """Where, by symbol, the rows of history stand that came behind the window. What became of the events among them is added to `reasons`
    and `frames`, as dead letters tell it of others."""
    if not events.num_rows:
        return {}
    bodies = events.filter(pc.equal(events["type"], "late"))["body"].to_pylist()
    records = [orjson.loads(body) for body in bodies]
    changes = events.filter(pc.is_in(events["type"], pa.array(["correction", "cancel", "split"])))
    late = timeframes_behind(records, changes["symbol"], keys_of(changes)) if changes.num_rows else {}
    for index, names in late.items():
        place = (changes["offset"][index].as_py(), changes["row"][index].as_py())
        reasons[place], frames[place] = TOO_LATE, names
    return read_spans(records)


def keys_of(rows: pa.Table) -> Ints:
    """(n,) the positions of rows of `market`, as numbers in the order of the log."""
    if not rows.num_rows:
        return np.empty(0, np.int64)
    return position_keys(rows["offset"].to_numpy(), rows["row"].to_numpy())


def recompute(
    config: EngineConfig, inputs: LakeInputs, wanted: Wanted, rules: RunningRules | None = None
) -> Iterator[Rows]:
    """The rows of all symbols that `wanted` names, each once, as it is after its last revision, without the
    columns that hang on quotes; and the alerts of these rules (`lake_rules`; None: of none), without messages."""
    of_trades = tuple(spec for spec in config.indicators if not spec.reads_quotes)
    config = replace(config, indicators=of_trades, alerts=())
    rules = rules or RunningRules((), {})
    timed = tuple(f for f in config.frames if f.cut != Cut.TICKS)
    counted = tuple(f for f in config.frames if f.cut == Cut.TICKS)
    trades = without_doubles(inputs, config.window_ns) if inputs.trades.num_rows else None
    if trades is not None and timed:
        whole = changed(inputs, trades.filter(pc.invert(trades["late"])))
        order = [("event_time_ns", "ascending"), ("offset", "ascending"), ("row", "ascending")]
        yield from _run(replace(config, frames=timed), inputs, whole.sort_by(order), wanted, rules)
    if trades is not None and counted:
        yield from _run(replace(config, frames=counted), inputs, _as_they_came(trades), wanted, rules)
    yield from _source_bars(config, inputs, wanted, rules)


def _as_they_came(trades: pa.Table) -> pa.Table:
    """In order of the log, and what was loaded where it came in: behind the rows of the log that are older."""
    keys, logged = trades["event_time_ns"].to_numpy().copy(), trades["offset"].to_numpy() >= 0
    keys[logged] = np.maximum.accumulate(keys[logged])
    return trades if logged.all() else trades.take(pa.array(np.argsort(keys, kind="stable")))


def without_doubles(inputs: LakeInputs, window_ns: int) -> pa.Table:
    """The trades, each once, with a column `late`: of the same source, symbol and id within the window the first
    stays. One that came too late is in no window: it neither has a double nor is one."""
    trades = inputs.trades.append_column("late", pa.array(inputs.late))
    numbers = id_numbers(trades)
    numbers[inputs.late] = NO_ID
    again = np.isin(numbers, _repeated(numbers))
    if not again.any():
        return trades
    seen: dict[int, int] = {}
    keep = np.ones(trades.num_rows, np.bool_)
    times = trades["event_time_ns"].to_numpy()
    for index in np.flatnonzero(again).tolist():
        number, time = int(numbers[index]), int(times[index])
        if number in seen and abs(time - seen[number]) <= window_ns:
            keep[index] = False
        else:
            seen[number] = time
    return trades.filter(pa.array(keep))


def id_numbers(trades: pa.Table) -> Ints:
    """(n,) a number for each source, symbol and id; NO_ID without an id."""
    names = [trades[name] for name in ("source", "symbol", "trade_id")]
    joined = pc.binary_join_element_wise(*names, "\0")
    numbers = joined.combine_chunks().dictionary_encode().indices
    found: Ints = numbers.fill_null(NO_ID).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _repeated(numbers: Ints) -> Ints:
    """Those that come more than once."""
    found, counts = np.unique(numbers[numbers != NO_ID], return_counts=True)
    repeated: Ints = found[counts > 1]
    return repeated


def changes_of(inputs: LakeInputs) -> list[dict[str, object]]:
    """The corrections and cancels that the engine took, in order of the log, with their place."""
    if not inputs.events.num_rows:
        return []
    mask = pc.is_in(inputs.events["type"], pa.array(["correction", "cancel"]))
    events = inputs.events.filter(mask).sort_by([("offset", "ascending"), ("row", "ascending")])
    return [
        {**orjson.loads(event["body"]), "offset": event["offset"], "row": event["row"]}
        for event in events.select(["body", "offset", "row"]).to_pylist()
        if (event["offset"], event["row"]) not in inputs.refused
    ]


def changed(inputs: LakeInputs, trades: pa.Table) -> pa.Table:
    """The trades as their corrections and cancels left them."""
    changes = changes_of(inputs)
    indexes = indexes_of(trades, changes)
    healed = inputs.healed.match(keys_of(trades))
    if not indexes and not (healed >= 0).any():
        return trades
    prices, sizes = trades["price"].to_numpy().copy(), trades["size"].to_numpy().copy()
    gone = np.zeros(trades.num_rows, np.bool_)
    for change in changes:
        index = indexes.get(trade_of(change), -1)
        if index < 0 or gone[index]:
            continue
        if change["type"] == "cancel":
            gone[index] = True
        else:
            prices[index], sizes[index] = change["price"], change["size"]
    touched = healed >= 0
    after = inputs.healed.rows[healed[touched]]
    prices[touched], sizes[touched], gone[touched] = after["price"], after["size"], after["cancelled"]
    for name, values in (("price", prices), ("size", sizes)):
        trades = trades.set_column(trades.column_names.index(name), name, pa.array(values))
    return trades.filter(pa.array(~gone))


Trade = tuple[str, str, str]  # source, symbol, id


def trade_of(change: Mapping[str, object]) -> Trade:
    """The trade that a correction or cancel names."""
    return str(change["source"]), str(change["symbol"]), str(change["trade_id"])


def indexes_of(trades: pa.Table, changes: Sequence[Mapping[str, object]]) -> dict[Trade, int]:
    """Which of the trades these changes name; of several by one name, the last."""
    named = pa.array(sorted({str(change["trade_id"]) for change in changes}), pa.string())
    if not len(named):
        return {}
    indexes = np.flatnonzero(pc.is_in(trades["trade_id"], named).to_numpy(zero_copy_only=False))
    rows = trades.select(["source", "symbol", "trade_id"]).take(pa.array(indexes)).to_pylist()
    return {(r["source"], r["symbol"], r["trade_id"]): i for i, r in zip(indexes.tolist(), rows, strict=True)}


def _replay(config: EngineConfig, inputs: LakeInputs, wanted: Wanted, rules: RunningRules) -> Replay:
    """An engine before its first record, with those of the rules that run on its timeframes."""
    frames = {frame.name for frame in config.frames}
    config = replace(config, alerts=tuple(rule for rule in rules.rules if rule.timeframe in frames))
    state = new_state(config)
    state.splits.waiting = waiting_splits(inputs.splits, config)
    begin_as(state, rules)
    return Replay(config, inputs.topic, inputs.partition, state, wanted)


def _run(
    config: EngineConfig, inputs: LakeInputs, trades: pa.Table, wanted: Wanted, rules: RunningRules
) -> Iterator[Rows]:
    """The trades through an engine of their own: sources of history that say hello, and goodbye at the end.

    Of trades in order of their times each source promises by heartbeats that it has come as far as the others: bars
    would stay open from the end of one source to the end of the last.
    """
    decoder = MarketDecoder()
    run = _replay(config, inputs, wanted, rules)
    sources = sorted(set(trades["source"].unique().to_pylist()))
    calendars = _calendars(inputs)
    for source in sources:
        hello = {"mode": "historical", "lateness_ns": 0, "calendar": calendars.get(source)}
        yield from run.take(_announcement(inputs, decoder, Kind.HELLO, source, hello))
    is_joint = len(sources) > 1 and bool((np.diff(trades["event_time_ns"].to_numpy()) >= 0).all())
    step = _ROWS_BETWEEN_HEARTBEATS if is_joint else _ROWS_A_STEP
    for begin in range(0, trades.num_rows, step):
        rows = trades.slice(begin, step)
        yield from run.take(_batch_of(inputs, decoder, rows))
        for source in sources if is_joint else ():
            yield from run.take(_heartbeat(inputs, decoder, source, rows["event_time_ns"][-1].as_py()))
    for source in sources:
        yield from run.take(_announcement(inputs, decoder, Kind.GOODBYE, source, {"watermark_ns": COMPLETE}))


def _source_bars(config: EngineConfig, inputs: LakeInputs, wanted: Wanted, rules: RunningRules) -> Iterator[Rows]:
    """Bars of sources that only have bars, and the larger ones over them. Where a symbol goes on with bars of another length,
    every source promises that all before it has come."""
    if not inputs.events.num_rows or not pc.any(pc.equal(inputs.events["type"], "bar")).as_py():
        return
    events = inputs.events.filter(pc.is_in(inputs.events["type"], pa.array(["bar", "hello"])))
    events, changes = _in_order(events.filter(pa.array(~_at(events, inputs.refused))))
    if changes:
        events, changes = _in_order(events.filter(pa.array(~_covered(config, inputs, events))))
    decoder = MarketDecoder()
    run = _replay(config, inputs, wanted, rules)
    sources = sorted(set(events["source"].unique().to_pylist()))
    edges = sorted({*range(0, events.num_rows, _ROWS_A_STEP), *changes, events.num_rows})
    for begin, end in pairwise(edges):
        for source in sources if begin in changes else ():
            promised = _announcement(inputs, decoder, Kind.GOODBYE, source, {"watermark_ns": changes[begin]})
            yield from run.take(promised)
        yield from run.take(_decoded(inputs, decoder, events.slice(begin, end - begin)))
    for source in sources:
        yield from run.take(_announcement(inputs, decoder, Kind.GOODBYE, source, {"watermark_ns": COMPLETE}))


def _covered(config: EngineConfig, inputs: LakeInputs, events: pa.Table) -> np.ndarray:
    """(n,) which of these bars smaller ones of their symbol have taken the place of, as the engine finds with all of them."""
    config = replace(config, alerts=(), indicators=(), kept_bars=events.num_rows + 2)
    run, decoder = Replay(config, inputs.topic, inputs.partition, new_state(config)), MarketDecoder()
    for _ in run.take(_decoded(inputs, decoder, events)):
        pass
    for _ in run.take(_announcement(inputs, decoder, Kind.CLOCK, "", {})):  # what came late goes in
        pass
    tables = run.state.tables
    kept = tables.kept_bars[: tables.registers[N_KEPT_BARS]]
    kept = kept[kept["covered"] == COVERED]
    return _at(events, list(zip(kept["offset"].tolist(), kept["row"].tolist(), strict=True)))


def _decoded(inputs: LakeInputs, decoder: MarketDecoder, events: pa.Table) -> MarketBatch:
    """Records as the log has them."""
    values = [body.encode() for body in events["body"].to_pylist()]
    offsets = events["offset"].to_numpy().astype(np.int64)
    batch, _ = decoder.decode(inputs.topic, records_of(values, inputs.partition, offsets))
    batch.row[:] = events["row"].to_numpy()
    return batch


def _in_order(events: pa.Table) -> tuple[pa.Table, dict[int, int]]:
    """Hellos, and behind them the bars by open time; of those of one symbol, length and time that are final, the last version.
    And the rows at which a symbol goes on with another length, with when that bar opens."""
    events = events.sort_by([("offset", "ascending"), ("row", "ascending")])
    bodies = [orjson.loads(body) for body in events["body"].to_pylist()]
    chosen: dict[tuple[str, str, int], int] = {}
    hellos: list[int] = []
    for place, body in enumerate(bodies):
        if body["type"] == "hello":
            hellos.append(place)
        elif body.get("final", True):
            key = (body["symbol"], body["timeframe"], _opens_ns(body))
            if key not in chosen or any(body.get(name) != bodies[chosen[key]].get(name) for name in _BAR_VALUES):
                chosen[key] = place
    bars = sorted(chosen.values(), key=lambda place: _opens_ns(bodies[place]))
    lengths: dict[str, str] = {}
    changes: dict[int, int] = {}
    for row, place in enumerate(bars, len(hellos)):
        symbol, length = bodies[place]["symbol"], bodies[place]["timeframe"]
        if lengths.setdefault(symbol, length) != length:
            changes[row], lengths[symbol] = _opens_ns(bodies[place]), length
    return events.take(pa.array([*hellos, *bars], pa.int64())), changes


def _opens_ns(bar: Mapping[str, Any]) -> int:
    """When it opens; of a bar with a date, the day begins."""
    date = bar.get("session_date")
    return int(bar["open_time_ns"]) if date is None else days_of(date) * DAY_NS


def _batch_of(inputs: LakeInputs, decoder: MarketDecoder, trades: pa.Table) -> MarketBatch:
    """Trades as the engine takes them, each with its own place in the log."""
    rows = trades.select(_FRESH.names).cast(_FRESH).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _FRESH) as stream:
        stream.write_table(rows)
    frame = records_of([bytes(sink.getvalue())], inputs.partition, frames=True)
    batch, _ = decoder.decode(inputs.topic, frame)
    batch.offset[:] = trades["offset"].to_numpy()[batch.row]
    batch.row[:] = trades["row"].to_numpy()[batch.row]
    return batch


def _announcement(
    inputs: LakeInputs, decoder: MarketDecoder, kind: Kind, source: str, record: dict[str, object]
) -> MarketBatch:
    batch = MarketBatch.empty(inputs.topic, inputs.partition, decoder.strings, 1)
    batch.kind[0], batch.source[0], batch.offset[0] = kind, decoder.strings.intern(source), 0
    batch.rare[0] = record
    return batch


def _heartbeat(inputs: LakeInputs, decoder: MarketDecoder, source: str, time_ns: int) -> MarketBatch:
    batch = _announcement(inputs, decoder, Kind.HEARTBEAT, source, {})
    batch.event_time_ns[0], batch.log_time_ns[0] = time_ns, 0
    return batch


def _calendars(inputs: LakeInputs) -> dict[str, str]:
    """The calendar that each source has named in its hello, where it has."""
    if not inputs.events.num_rows:
        return {}
    hellos = inputs.events.filter(pc.equal(inputs.events["type"], "hello"))
    bodies = [orjson.loads(body) for body in hellos["body"].to_pylist()]
    return {body["source"]: body["calendar"] for body in reversed(bodies) if body.get("calendar")}


def _at(rows: pa.Table, places: Collection[Place]) -> np.ndarray:
    """(n,) which rows stand at one of these places."""
    if not places:
        return np.zeros(rows.num_rows, np.bool_)
    return np.isin(keys_of(rows), position_keys(*np.array(sorted(places), np.int64).T))
