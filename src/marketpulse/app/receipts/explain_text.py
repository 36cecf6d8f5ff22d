"""An explanation as a person reads it, and as a program does."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from marketpulse.app.receipts.alert_words import Change
from marketpulse.app.receipts.explain import Alert, Explanation, Value
from marketpulse.app.receipts.loaded import file_of, place_text
from marketpulse.app.receipts.time_text import show_time
from marketpulse.app.receipts.trace import Input, Telling

INPUTS_SHOWN = 40
_STATE_SHOWN = 12
_OF_BAR = ("open", "high", "low", "close", "volume")


def lines(found: Explanation, inputs_shown: int = INPUTS_SHOWN) -> Iterator[str]:
    """Top to bottom: the row, its receipt, inputs, state before, arithmetic, revisions, verdict."""
    ask, bar = found.ask, (found.known.rows["bars"] or found.known.rows["indicators"])[-1]
    yield f"{ask.symbol} {ask.timeframe} [{show_time(bar['open_time_ns'])}, {show_time(bar['close_time_ns'])}) {ask.name}"
    yield f"  known from   {found.known.where}"
    yield f"  receipt      {receipt_text(found.receipt)}"
    yield f"  replayed     {found.trace.way}"
    yield ""
    yield from _inputs(found.trace.inputs, inputs_shown)
    for value in found.values:
        yield ""
        yield from _value(value)
    if found.alert is not None:
        yield ""
        yield from _alert(found.alert)
    yield ""
    yield from _revisions(found.trace.tellings, found)
    yield ""
    yield _verdict(found)


def receipt_text(receipt: dict[str, Any]) -> str:
    """The span of the log behind a row."""
    file = file_of(receipt["topic"])
    if file is not None and receipt["first_offset"] is not None:
        span = f"rows {receipt['first_offset']:,} to {receipt['last_offset']:,} of {file}, which was loaded"
    elif receipt["first_offset"] is None and receipt["last_offset"] is not None:
        span = f"loaded history, and offsets to {receipt['last_offset']}.{receipt['last_row']}"
    elif receipt["first_offset"] is None:
        span = "no record of the log: filled in, or made of loaded history alone"
    else:
        rows = f"{receipt['first_offset']}.{receipt['first_row']} to {receipt['last_offset']}.{receipt['last_row']}"
        span = f"offsets {rows}"
    return (
        f"{receipt['topic']}/{receipt['partition']} {span}, {receipt['late_count']} late, "
        f"engine version {receipt['engine_version']}"
    )


def as_object(found: Explanation) -> dict[str, Any]:
    """The whole explanation for programs."""
    return {
        "symbol": found.ask.symbol, "timeframe": found.ask.timeframe, "open_time_ns": found.ask.open_ns,
        "name": found.ask.name, "same": found.same, "known_from": found.known.where, "receipt": found.receipt,
        "late_count_same": found.late_same, "replayed": found.trace.way,
        "inputs": [asdict(record) for record in found.trace.inputs],
        "values": [{**asdict(value), "same": value.same} for value in found.values],
        "alert": None if found.alert is None else {**asdict(found.alert), "same": found.alert.same},
        "revisions": [asdict(telling) for telling in found.trace.tellings],
        "known": found.known.rows,
    }  # fmt: skip


def _inputs(inputs: list[Input], most: int) -> Iterator[str]:
    yield f"inputs ({sum(r.counts for r in inputs)} count, of {len(inputs)})"
    shown = inputs if len(inputs) <= most else [*inputs[: most // 2], *inputs[len(inputs) - most // 2 :]]
    for place, record in enumerate(shown):
        if len(shown) < len(inputs) and place == most // 2:
            yield f"  … {len(inputs) - len(shown)} more: --all shows them"
        marks = f"  [{'; '.join(record.marks)}]" if record.marks else ""
        sign = " " if record.counts else "-"
        yield f" {sign} {place_text(record.offset, record.row)}  {show_time(record.event_time_ns)}  {_what(record)}  {record.source}{marks}"


def _what(record: Input) -> str:
    if record.bar is None:
        return f"{record.price!r} x {record.size!r}"
    return "bar " + ", ".join(f"{name} {record.bar[name]!r}" for name in _OF_BAR)


def _value(value: Value) -> Iterator[str]:
    if value.before:
        state = value.before["state"]
        numbers = ", ".join(repr(x) for x in state[:_STATE_SHOWN]) + (" …" if len(state) > _STATE_SHOWN else "")
        bar = ", ".join(f"{name} {x!r}" for name, x in value.before["bar"].items())
        yield f"state before {value.name} ({value.before['bars_before']} bars of the series are in it)"
        yield f"  {numbers}"
        yield f"  the bar: {bar}"
        yield f"arithmetic: {value.before['indicator']}, {value.before['formula']}"
    else:
        yield f"arithmetic: {value.name}"
    yield from (f"  {line}" for line in value.lines)
    same = "the same to the bit" if value.same else "NOT THE SAME"
    yield f"  known {_shown(value.known)}, replayed {_shown(value.replayed)}, by these words {_shown(value.worked_out)}: {same}"


def _alert(alert: Alert) -> Iterator[str]:
    rule = alert.rule
    yield f"state before {rule.name} ({alert.rows_before} rows are in it)"
    yield from (f"  {line}" for line in alert.before)
    if alert.columns:
        yield "  the bar: " + ", ".join(f"{name} {_shown(x)}" for name, x in alert.columns.items())
    more = [f"cleared when {rule.clear}"] if rule.clear else []
    more += [f"held for {rule.for_s!r} s"] if rule.for_s else []
    more += [f"cooldown {rule.cooldown_s!r} s"] if rule.cooldown_s else []
    yield f"rule: {'; '.join([rule.expression, *more])}"
    yield from (f"  {line}" for line in alert.lines)
    same = "the same to the bit" if alert.same else "NOT THE SAME"
    changes = [_change(each) for each in (alert.known, alert.replayed, alert.worked_out)]
    yield f"  known {changes[0]}, replayed {changes[1]}, by these words {changes[2]}: {same}"


def _change(change: Change) -> str:
    return f"{change.state} at {_shown(change.value)}" if change.state else "no change"


def _revisions(tellings: list[Telling], found: Explanation) -> Iterator[str]:
    yield "revisions"
    for telling in tellings:
        row = telling.values
        upon = f"upon {telling.record} {telling.offset}.{telling.row}" if telling.offset >= 0 else "the last"
        what = {"bars": "bar", "indicators": "indicators", "alerts": "alert"}[telling.table]
        if telling.table == "alerts":
            content = (
                f"{row['state']}{', late' if row['late'] else ''}, value {_shown(row['value'])}, {row['message']!r}"
            )
        elif row["close"] is None:
            content = "withdrawn"
        elif telling.table == "bars":
            content = ", ".join(f"{n} {row[n]!r}" for n in ("open", "high", "low", "close", "volume", "trade_count"))
        else:
            names = [v.name for v in found.values if v.before]
            content = (
                ", ".join(f"{n} {_shown(row.get('vwap' if n == 'session_vwap' else n))}" for n in names)
                or f"close {row['close']!r}"
            )
        yield f"  {what} revision {telling.revision}  {upon}: {content}"


def _verdict(found: Explanation) -> str:
    if found.same:
        return "The replay gives the row that readers know, to the bit."
    return "THE REPLAY GIVES ANOTHER ROW than readers know: `marketpulse verify` names every such row."


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)
