"""One bar again from the lake's trades, where the log no longer holds them: its last revision only."""

from typing import Any

import numpy as np

from marketpulse.alerts.life import NEVER
from marketpulse.alerts.rule_set import compile_rule
from marketpulse.app.receipts.alert_trace import AlertSeries, AlertTrace
from marketpulse.app.receipts.healed import apply_heal
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import LakeInputs, changes_of, read_inputs, recompute, without_doubles
from marketpulse.app.receipts.loaded import file_of
from marketpulse.app.receipts.running_rules import RunningRules
from marketpulse.app.receipts.sought import Sought
from marketpulse.app.receipts.trace import Input, Series, Telling, Trace
from marketpulse.app.receipts.trace_log import apply_change
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.errors import Fatal, ParameterError
from marketpulse.model.market import LOADED, Kind
from marketpulse.query.stored_rows import ALWAYS, StoredRows, Wanted


def trace_lake(stored: StoredRows, config: EngineConfig, sought: Sought, running: RunningRules | None) -> Trace | None:
    """The bar as the sorted, corrected trades give it; None when the lake does not have them. Raises Fatal for a
    rule of which they do not tell (lake_rules)."""
    ask, symbols = sought.ask, frozenset({sought.ask.symbol})
    inputs = read_inputs(stored, sought.topic, sought.partition, symbols)
    rules = lake_rules(config, inputs, running) if sought.rule else None
    frame = config.frame_index(ask.timeframe)
    by_count = frame < config.ticks
    series = Series.of(new_state(config), config, ask.symbol, frame)
    tellings: list[Telling] = []
    last = None
    alerts = AlertSeries(config.alert_rules().inputs, ask.symbol, together=bool(inputs.trades.num_rows))
    for rows in recompute(config, inputs, Wanted(*ALWAYS, symbols), rules):
        names = rows.bars["timeframe"].to_pylist()
        closed = rows.result.closed
        mine = np.array([name == ask.timeframe for name in names], np.bool_)
        if len(names) != len(closed):  # rows of other symbols were left out: there are none
            return None
        series.take(closed[mine], by_count=by_count)
        alerts.take(rows.bars, rows.indicators, rows.factors, rows.timeframes)
        told = [("alerts", batch) for batch in rows.alerts]
        for table, batch in (("bars", rows.bars), ("indicators", rows.indicators), *told):
            for place, row in enumerate(batch.to_pylist()):
                if (
                    row.get("rule", sought.rule) == sought.rule
                    and row["timeframe"] == ask.timeframe
                    and row["open_time_ns"] == ask.open_ns
                    and _begins(sought, row)
                ):
                    tellings.append(Telling(table, -1, 0, "", row))  # type: ignore[arg-type]
                    last = closed[place] if table == "bars" else last
    if last is None:
        return None
    way = f"the lake's trades of {sought.topic}/{sought.partition}, sorted and corrected: the last revision"
    trace = Trace(way, [], tellings, series.up_to(last), series.base)
    if rules is not None:
        trace.alert = _alert(config, sought, rules, alerts, tellings[0].values)
    trace.inputs = _inputs(inputs, config, trace, by_count=by_count)
    return trace


def _alert(
    config: EngineConfig, sought: Sought, rules: RunningRules, alerts: AlertSeries, bar: dict[str, Any]
) -> AlertTrace | None:
    for rule in rules.rules:
        if rule.name == sought.rule:
            if rule.timeframe != sought.ask.timeframe:
                raise ParameterError(f"rule {rule.name!r} runs on {rule.timeframe}: ask for a bar of that timeframe")
            compiled = compile_rule(rule, 0, config.alert_rules().inputs)
            return alerts.trace(compiled, rules.begins_ns.get((rule.name, alerts.symbol), NEVER), bar)
    raise Fatal(
        f"the lake's trades do not tell of rule {sought.rule!r}, and the log no longer holds this bar: it reads "
        "quotes, or nothing says since when it ran"
    )


def _begins(sought: Sought, row: dict[str, dict[str, int]]) -> bool:
    receipt = row["receipt"]
    return None in (sought.begins_at, receipt["first_offset"]) or sought.begins_at == (
        receipt["first_offset"],
        receipt["first_row"],
    )


def _inputs(inputs: LakeInputs, config: EngineConfig, trace: Trace, *, by_count: bool) -> list[Input]:
    """The trades of the bar; the grace behind a session's end counts where the bar has more trades than without."""
    if not inputs.trades.num_rows:
        return []
    kept = without_doubles(inputs, config.window_ns)
    singles = set(zip(kept["offset"].to_pylist(), kept["row"].to_pylist(), strict=True))
    row = trace.tellings[0].values
    receipt, opens, closes = row["receipt"], row["open_time_ns"], row["close_time_ns"]
    found: list[Input] = []
    names = ["offset", "row", "event_time_ns", "source", "price", "size", "trade_id"]
    files = [name for name in ("file", "number") if name in inputs.trades.column_names]
    for trade, late in zip(inputs.trades.select([*names, *files]).to_pylist(), inputs.late.tolist(), strict=True):
        file, number = trade.pop("file", None), trade.pop("number", None)
        place = (trade["offset"], trade["row"])
        inside = opens <= trade["event_time_ns"] < closes + config.grace_ns
        if by_count:
            first, last = ((receipt[f"{end}_offset"], receipt[f"{end}_row"]) for end in ("first", "last"))
            inside = (first[0] is None or first <= place) and (last[0] is None or place <= last)
            inside &= opens <= trade["event_time_ns"] <= closes
        if not inside:
            continue
        record = Input("trade", **trade)
        if file is not None:
            record.offset = LOADED + number
            record.marks.append(f"loaded from {file_of(file)}")
        if late and not by_count:
            record.marks.append("refused: it came behind the correction window")
            record.counts = False
        elif place not in singles:
            record.marks.append("duplicate")
            record.counts = False
        found.append(record)
    for change in changes_of(inputs):
        kind = Kind.CANCEL if change["type"] == "cancel" else Kind.CORRECTION
        where = (int(str(change["offset"])), int(str(change["row"])))
        apply_change(found, where, kind, change, late=False, counts=not by_count)
    if not by_count:
        apply_heal(found, inputs.healed)
    if not by_count and sum(r.counts for r in found) != row["trade_count"]:
        found = [r for r in found if r.event_time_ns < closes]
    return found
