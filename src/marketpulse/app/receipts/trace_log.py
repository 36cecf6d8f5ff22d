"""One bar again from the log: replayed twice, first to find where it was told, then step by step there.

start (a snapshot, or the log's beginning) -> its inputs -> the record that closed it -> those that revised it
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from marketpulse.app.receipts.alert_trace import AlertSeries, rule_at
from marketpulse.app.receipts.healed import apply_heal, healed_by
from marketpulse.app.receipts.replay import Replay, Start, find_start, part_of
from marketpulse.app.receipts.running_rules import RunningRules, begin_as
from marketpulse.app.receipts.sought import Place, Sought, is_sought, own_bars, told_rows
from marketpulse.app.receipts.trace import Ask, Input, Series, Telling, Trace
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.sessions import bar_span, find_session
from marketpulse.engine.state import PartitionState
from marketpulse.kafka.log_reader import LogReader
from marketpulse.model.market import REASONS, Kind, MarketBatch

_ROWS_A_STEP = 2_000
Say = Callable[[int, int], None]


@dataclass(slots=True)
class _Found:
    """What the first replay has seen."""

    trades: list[Input] = field(default_factory=list)
    again: set[Place] = field(default_factory=set)  # trades whose id had come before
    ids: set[tuple[str, str]] = field(default_factory=set)
    changes: list[tuple[Place, Kind, dict[str, Any]]] = field(default_factory=list)
    rebuilds: list[tuple[Place, dict[str, Any]]] = field(default_factory=list)
    refused: dict[Place, str] = field(default_factory=dict)
    told_in: set[int] = field(default_factory=set)  # numbers of the parts in which the bar was told


def trace_log(
    log: LogReader, config: EngineConfig, sought: Sought, running: RunningRules | None, say: Say
) -> Trace | None:
    """The bar as the log gives it; None when the log does not hold what it needs. `running`: see begin_as."""
    start = find_start(log, config, sought.partition, sought.first_offset)
    if start is None:
        return None
    if running is not None:
        begin_as(start.state, running)
    found, state = _first_pass(log, config, sought, start, say)
    again = find_start(log, config, sought.partition, sought.first_offset)
    if again is None or again.offset != start.offset:
        return None
    if running is not None:
        begin_as(again.state, running)
    trace = _second_pass(log, config, sought, again, found)
    trace.inputs = _inputs(config, sought, found, state, trace)
    return trace


def _parts(log: LogReader, partition: int, start: Start, say: Say) -> Iterator[tuple[int, MarketBatch]]:
    """The log from there on, in numbered parts that are the same in every pass."""
    end, number = log.span(partition).end, 0
    for decoded in log.read(partition, start.offset, end):
        for begin in range(0, len(decoded.batch), _ROWS_A_STEP):
            yield number, part_of(decoded.batch, begin, min(begin + _ROWS_A_STEP, len(decoded.batch)))
            number += 1
        say(decoded.next_offset, end)


def _first_pass(
    log: LogReader, config: EngineConfig, sought: Sought, start: Start, say: Say
) -> tuple[_Found, PartitionState]:
    """Collect what might be inputs, and the parts in which the bar was told."""
    run = Replay(config, sought.topic, sought.partition, start.state)
    frame = config.frame_index(sought.ask.timeframe)
    found = _Found()
    left = {(table, r) for table, last in sought.last_revisions.items() for r in range(last + 1)}
    for number, batch in _parts(log, sought.partition, start, say):
        _gather(found, sought.ask, batch)
        for rows in run.take(batch):
            for refusal in rows.result.refused:
                found.refused[_place(batch, refusal.row)] = refusal.reason
            for row in rows.result.behind["row"].tolist():
                found.refused[_place(batch, row)] = "too_late"
            told = told_rows(run.state, config, sought, rows.result, frame)
            left -= {(table, int(row["revision"])) for table, row in told}
            if told:
                found.told_in.add(number)
        if not left:
            break
    return found, run.state


def _second_pass(log: LogReader, config: EngineConfig, sought: Sought, start: Start, found: _Found) -> Trace:
    """The same again, single-stepped where the bar was told and where an id comes twice."""
    frame, last = config.frame_index(sought.ask.timeframe), max(found.told_in, default=-1)
    way = f"{sought.topic}/{sought.partition} from offset {start.offset}" + (
        " (a snapshot)" if start.from_snapshot else ""
    )
    series = Series.of(start.state, config, sought.ask.symbol, frame)
    run, tellings, bar = Replay(config, sought.topic, sought.partition, start.state), [], None
    left = sum(last + 1 for last in sought.last_revisions.values())
    alerts = AlertSeries.of(start.state, config, sought.ask.symbol, by_count=frame < config.ticks)
    for number, batch in _parts(log, sought.partition, start, lambda *_: None):
        if number > last or not left:
            break
        for begin, end in _cuts(batch, found, single=number in found.told_in):
            part = part_of(batch, begin, end)
            for rows in run.take(part):
                if rows.result.duplicates and end - begin == 1:
                    found.refused[_place(part, 0)] = "duplicate"
                own = rows.result.closed[own_bars(run.state, sought.ask, rows.result.closed, frame)]
                rows_of = rows.result.indicated  # a split can make another row of the same bar
                series.take(rows_of[own_bars(run.state, sought.ask, rows_of, frame)], by_count=frame < config.ticks)
                if sought.rule:
                    alerts.take_step(run.state, config, rows.result)
                for table, row in told_rows(run.state, config, sought, rows.result, frame):
                    offset, place = _place(part, 0)
                    kind = Kind(int(part.kind[0])).name.lower()
                    tellings.append(Telling(table, offset, place, kind, row))
                    left -= 1
                for row in own[is_sought(own, sought)]:
                    bar = row
            if not left:
                break
    known = None if bar is None or np.isnan(bar["open"]) else bar
    trace = Trace(way, [], tellings, series.up_to(known), series.base)
    if sought.rule and tellings:
        told = next(t for t in tellings if t.table == "bars").values
        compiled, begins_ns = rule_at(run.state, config, sought.rule, sought.ask.symbol, sought.ask.timeframe)
        trace.alert = alerts.trace(compiled, begins_ns, told)
    return trace


def _cuts(batch: MarketBatch, found: _Found, *, single: bool) -> list[tuple[int, int]]:
    """The part in pieces: each row alone, or only those whose id had come before."""
    n = len(batch)
    if single:
        return [(i, i + 1) for i in range(n)]
    alone = sorted(i for i in range(n) if _place(batch, i) in found.again) if found.again else []
    edges = sorted({0, n, *alone, *(i + 1 for i in alone)})
    return list(itertools.pairwise(edges))


def _gather(found: _Found, ask: Ask, batch: MarketBatch) -> None:
    """Trades and bars of the symbol, and its changes."""
    symbol = batch.strings.find(ask.symbol)
    for row in np.flatnonzero((batch.symbol == symbol) & (batch.kind == Kind.TRADE)).tolist():
        source, trade_id = batch.strings[int(batch.source[row])], _trade_id(batch, row)
        if trade_id is not None:
            if (source, trade_id) in found.ids:
                found.again.add(_place(batch, row))
            found.ids.add((source, trade_id))
        found.trades.append(
            Input(
                "trade", *_place(batch, row), int(batch.event_time_ns[row]), source, float(batch.a[row]),
                float(batch.b[row]), trade_id,
            )
        )  # fmt: skip
    for row in np.flatnonzero((batch.symbol == symbol) & (batch.kind == Kind.BAR)).tolist():
        found.trades.append(_source_bar(batch, row))
    for row, record in batch.rare.items():
        kind = Kind(int(batch.kind[row]))
        if kind in (Kind.CORRECTION, Kind.CANCEL) and record["symbol"] == ask.symbol:
            found.changes.append((_place(batch, row), kind, record))
        elif kind == Kind.REBUILD and record["symbol"] == ask.symbol:
            found.rebuilds.append((_place(batch, row), record))


def _source_bar(batch: MarketBatch, row: int) -> Input:
    names = ("open", "high", "low", "close", "volume", "vwap")
    bar: dict[str, Any] = {
        n: float(c[row]) for n, c in zip(names, (batch.a, batch.b, batch.c, batch.d, batch.e, batch.f), strict=True)
    }
    bar |= {"trade_count": int(batch.trade_count[row]), "open_ns": int(batch.open_time_ns[row])}
    bar |= {"close_ns": int(batch.close_time_ns[row]), "timeframe": batch.strings[int(batch.timeframe[row])]}
    return Input(
        "bar", *_place(batch, row), int(batch.open_time_ns[row]), batch.strings[int(batch.source[row])],
        bar["close"], bar["volume"], bar=bar, counts=bool(batch.final[row]),
    )  # fmt: skip


def _inputs(config: EngineConfig, sought: Sought, found: _Found, state: PartitionState, trace: Trace) -> list[Input]:
    """The records of the bar, with what became of each, up to where it was told last."""
    told = [t for t in trace.tellings if t.table == "bars"]
    if not told:
        return []
    closed_at, last_at = (told[0].offset, told[0].row), max((t.offset, t.row) for t in trace.tellings)
    frame = config.frame_index(sought.ask.timeframe)
    chosen = [
        i for i in found.trades
        if (i.offset, i.row) <= last_at and _belongs(config, state, sought.ask, frame, i, told[-1].values)
    ]  # fmt: skip
    for record in chosen:
        place = (record.offset, record.row)
        if (reason := found.refused.get(place)) is not None:
            record.counts = False
            record.marks.append("duplicate" if reason == "duplicate" else f"refused: {REASONS[reason]}")
        elif place > closed_at and frame >= config.ticks:
            record.marks.append("late")
    for record in [r for r in chosen if r.counts and r.bar is not None and _is_covered(r.bar, chosen)]:
        record.counts = False
        record.marks.append("smaller bars of its time count instead")
    for place, kind, change in found.changes:
        if place <= last_at and place not in found.refused:
            apply_change(
                chosen,
                place,
                kind,
                change,
                late=place > closed_at and frame >= config.ticks,
                counts=frame >= config.ticks,
            )
    if frame >= config.ticks:
        apply_heal(chosen, healed_by((r for r in found.rebuilds if r[0] <= last_at), found.refused))
    return chosen


def apply_change(
    inputs: list[Input], place: Place, kind: Kind, change: dict[str, Any], *, late: bool, counts: bool
) -> None:
    """Mark the trade that a correction or cancel names; where it `counts`, the trade is another from then on."""
    for record in inputs:
        named = (record.source, record.trade_id) == (change["source"], str(change["trade_id"]))
        if not named or not record.counts or any(m.startswith(("duplicate", "refused")) for m in record.marks):
            continue
        when = f"at {place[0]}" + (", after it had closed" if late else "")
        if kind == Kind.CANCEL:
            record.marks.append(f"cancelled {when}")
            record.counts = not counts
        else:
            record.marks.append(f"corrected {when}: was {record.price!r} x {record.size!r}")
            if counts:
                record.price, record.size = float(change["price"]), float(change["size"])


def _belongs(
    config: EngineConfig, state: PartitionState, ask: Ask, frame: int, record: Input, row: dict[str, Any]
) -> bool:
    """Whether the record's time (for bars cut by count: its place) lies in the bar."""
    receipt = row["receipt"]
    if frame < config.ticks:
        first = (receipt["first_offset"], receipt["first_row"])
        return bool(first <= (record.offset, record.row) <= (receipt["last_offset"], receipt["last_row"]))
    if record.bar is not None:
        is_part = record.bar["timeframe"] in [f.name for f in config.frames[: frame + 1]]
        return is_part and bool(row["open_time_ns"] <= record.event_time_ns < row["close_time_ns"])
    if not row["open_time_ns"] <= record.event_time_ns < row["close_time_ns"] + config.grace_ns:
        return False
    symbol, plan = state.symbols.find(ask.symbol), config.plan()
    opened, closed, _ = find_session(state.tables, state.sessions, plan, symbol, record.event_time_ns)
    if opened == closed:
        return False
    return bool(bar_span(plan, frame, opened, closed, record.event_time_ns)[0] == row["open_time_ns"])


def _is_covered(bar: dict[str, Any], inputs: list[Input]) -> bool:
    """Whether a smaller bar opens in the time of this one."""
    length = bar["close_ns"] - bar["open_ns"]
    others = (r.bar for r in inputs if r.counts and r.bar is not None)
    return any(
        bar["open_ns"] <= other["open_ns"] < bar["close_ns"] and other["close_ns"] - other["open_ns"] < length
        for other in others
    )


def _place(batch: MarketBatch, row: int) -> Place:
    return int(batch.offset[row]), int(batch.row[row])


def _trade_id(batch: MarketBatch, row: int) -> str | None:
    length = int(batch.trade_id_length[row])
    if length <= 0:
        return None
    begin = int(batch.trade_id_start[row])
    return batch.data[begin : begin + length].tobytes().decode()
