"""Alert rules on the engine's rows: as they run, as they were at the anchor, and what readers know of their events.

    closed rows                          ->  events, told for the first time
    the rows since the anchor, again     ->  events as they are now  -  what readers know  =  the events to tell

They rewind with the bars (engine.revise): whatever is built again from the anchor is evaluated again from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.differences import differences
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.events import EVENT
from marketpulse.alerts.rule_set import RuleSet
from marketpulse.alerts.state import AlertState, change_rules, forget_rows, learn_symbols, new_state, return_to
from marketpulse.indicators.declaration import Floats

RETOLD = np.dtype([("symbol", "i4"), ("rule", "i4"), ("event_time_ns", "i8"), ("open_ns", "i8"), ("revision", "i8")])
"""The place of an event, which a rule has at most one of on a row, and how often it was told again there."""


class ToldAlerts(NamedTuple):
    """m events to tell (EVENT) by these rules, with their revisions (m,); and of each the bar that it happened
    on, as that is now, with its indicator values (m, columns)."""

    rules: RuleSet
    events: np.ndarray
    revisions: NDArray[np.int64]
    bars: np.ndarray
    values: Floats


@dataclass(slots=True)
class Alerting:
    """What the rules remember, live and at the anchor; and since the anchor, of time bars made from trades:

    `known` are the events as readers know them, `retold` (RETOLD) the places where they were told more than
    once. `passed` are events, as they should be, on rows that the anchor has gone past while their readers were still
    to be told of a change. All come in chunks and are joined when they are asked for.
    """

    rules: RuleSet
    live: AlertState
    anchor: AlertState
    known: list[np.ndarray] = field(default_factory=list)
    retold: np.ndarray = field(default_factory=lambda: np.empty(0, RETOLD))
    passed: list[np.ndarray] = field(default_factory=list)

    def known_events(self) -> np.ndarray:
        self.known = [_joined(self.known)]
        return self.known[0]

    def passed_events(self) -> np.ndarray:
        return _joined(self.passed)

    def size_bytes(self) -> int:
        chunks = sum(chunk.nbytes for chunk in (*self.known, self.retold, *self.passed))
        return self.live.size_bytes() + self.anchor.size_bytes() + chunks


def new_alerting(rules: RuleSet) -> Alerting:
    """Before the first row."""
    return Alerting(rules, new_state(rules), new_state(rules))


def watch(
    alerts: Alerting,
    names: Sequence[str],
    closed: np.ndarray,
    values: Floats,
    revisable: NDArray[np.bool_],
    together: NDArray[np.bool_],
    factors: Floats,
) -> ToldAlerts | None:
    """The events of n bars that have closed, with their values (n, columns); None: there are none. `names` are all
    symbols by id. `revisable`: which bars were built from trades and cut by time. `together`, `factors`:
    alerts.evaluate.AlertRows."""
    alerts.live, events = _evaluated(alerts.rules, alerts.live, names, closed, values, together, factors)
    if not len(events):
        return None
    row = events["row"]
    if len(healable := events[revisable[row]]):
        alerts.known.append(healable)
    return ToldAlerts(alerts.rules, events, np.zeros(len(events), np.int64), closed[row], values[row])


def watch_again(
    alerts: Alerting,
    names: Sequence[str],
    symbols: NDArray[np.integer],
    bars: np.ndarray,
    values: Floats,
    factors: Floats,
) -> np.ndarray:
    """The events (EVENT) of all bars of these symbols since the anchor, as they are now. The rules go on from there."""
    if not alerts.rules.numbers:
        return _joined([])
    alerts.live = learn_symbols(alerts.live, alerts.rules, names)
    alerts.anchor = learn_symbols(alerts.anchor, alerts.rules, names)
    alerts.live = return_to(alerts.live, alerts.anchor, alerts.rules, symbols)
    alerts.live, events = _evaluated(alerts.rules, alerts.live, names, bars, values, _all_of(bars), factors)
    return events


def pass_by(
    alerts: Alerting,
    names: Sequence[str],
    closed: np.ndarray,
    values: Floats,
    untold: NDArray[np.bool_],
    factors: Floats,
    *,
    of_trades: bool = True,
) -> None:
    """The anchor goes past these bars; `untold`: of which symbols readers have not been told of a change yet. `of_trades`:
    they were built from trades, and cut by time."""
    together = _all_of(closed) if of_trades else closed["built"] != 0
    alerts.anchor, events = _evaluated(alerts.rules, alerts.anchor, names, closed, values, together, factors)
    held = events[untold[events["row"]]]
    if len(held):
        alerts.passed.append(held)


def begin_again(alerts: Alerting, names: Sequence[str], symbol: int) -> None:
    """At the anchor, the rules have seen no row of this symbol yet."""
    alerts.anchor = learn_symbols(alerts.anchor, alerts.rules, names)
    alerts.anchor = forget_rows(alerts.anchor, symbol)


def know_past(
    alerts: Alerting,
    names: Sequence[str],
    symbol: int,
    bars: np.ndarray,
    values: Floats,
    rule_names: Sequence[str],
    retold: np.ndarray,
    factors: Floats,
) -> None:
    """Readers know the events of these bars, which the anchor goes past. `retold` (model.history.PAST_ALERT, with its
    `rule_names`): what was told of them more than once."""
    alerts.anchor, events = _evaluated(alerts.rules, alerts.anchor, names, bars, values, _all_of(bars), factors)
    alerts.known.append(events)
    numbers = dict(zip((rule.name for rule in alerts.rules.rules), alerts.rules.numbers, strict=True))
    rules = np.array([numbers.get(name, -1) for name in rule_names], np.int32)[retold["rule"]]
    again = np.zeros(len(retold), RETOLD)
    again["symbol"], again["rule"] = symbol, rules
    again["event_time_ns"], again["open_ns"] = retold["event_time_ns"], retold["open_time_ns"]
    again["revision"] = retold["revision"]
    mine = alerts.retold[alerts.retold["symbol"] == symbol]
    there = set(zip(mine["rule"].tolist(), mine["event_time_ns"].tolist(), strict=True))
    new = [
        place not in there and place[0] >= 0
        for place in zip(rules.tolist(), retold["event_time_ns"].tolist(), strict=True)
    ]
    alerts.retold = np.concatenate([alerts.retold, again[np.array(new, np.bool_)]])


def know_again(
    alerts: Alerting, names: Sequence[str], bars: np.ndarray, values: Floats, factors: Floats, retold: np.ndarray
) -> None:
    """The same of bars of a source; `retold` (RETOLD) are events of theirs."""
    alerts.anchor, events = _evaluated(alerts.rules, alerts.anchor, names, bars, values, bars["built"] != 0, factors)
    alerts.known.append(events)
    alerts.retold = np.concatenate([alerts.retold, retold])


def tell_again(
    alerts: Alerting, symbols: NDArray[np.integer], now: np.ndarray, bars: np.ndarray, values: Floats
) -> ToldAlerts | None:
    """What differs for these symbols between the events that readers know and those of now, who know them
    from here on; None: nothing. `bars` are all since the anchor with their values, those that are no more among them."""
    events = np.concatenate([alerts.passed_events(), now])
    alerts.passed.clear()
    known = alerts.known_events()
    theirs = np.isin(known["symbol"], symbols)
    if not (len(events) or theirs.any()):
        return None
    told, after = differences(known[theirs], events)
    alerts.known = [known[~theirs], after]
    if not len(told):
        return None
    revisions, alerts.retold = _revisions(alerts.retold, known[theirs], told)
    row = _bars_of(alerts.rules, told, bars)
    return ToldAlerts(alerts.rules, told, revisions, bars[row], values[row])


def forget_events(alerts: Alerting, behind_ns: NDArray[np.int64]) -> None:
    """Readers are past the bars up to these open times (symbols, frames), and so past their events."""
    if alerts.known and len(known := alerts.known_events()):
        alerts.known = [known[_ahead(alerts.rules, known, behind_ns)]]
    if len(alerts.retold):
        alerts.retold = alerts.retold[_ahead(alerts.rules, alerts.retold, behind_ns)]


def change_alert_rules(
    alerts: Alerting, after: RuleSet, names: Sequence[str], closed_until_ns: NDArray[np.int64]
) -> None:
    """Other rules from here on. `closed_until_ns`: see alerts.state.change_rules.

    What readers know of rules that are no more is let go: nothing of them is told again. Nor is what differs in the
    numbers of another message alone.
    """
    before = alerts.rules
    for name in ("live", "anchor"):
        state = learn_symbols(getattr(alerts, name), before, names)
        setattr(alerts, name, change_rules(state, before, after, names, closed_until_ns))
    alerts.rules = after
    messages = {rule.id: rule.rule.message for rule in before.compiled}
    other = [rule.id for rule in after.compiled if messages.get(rule.id, rule.rule.message) != rule.rule.message]
    for events in (*alerts.known, *alerts.passed):
        events["cited"][np.isin(events["rule"], other)] = 0
    alerts.known = [events[np.isin(events["rule"], after.numbers)] for events in alerts.known]
    alerts.passed = [events[np.isin(events["rule"], after.numbers)] for events in alerts.passed]
    alerts.retold = alerts.retold[np.isin(alerts.retold["rule"], after.numbers)]


def _evaluated(
    rules: RuleSet,
    state: AlertState,
    names: Sequence[str],
    bars: np.ndarray,
    values: Floats,
    together: NDArray[np.bool_],
    factors: Floats,
) -> tuple[AlertState, np.ndarray]:
    """Without rules this costs nothing."""
    if not (len(bars) and rules.numbers):
        return state, _joined([])
    return evaluate(learn_symbols(state, rules, names), rules, alert_rows(bars, values, together, factors))


def _revisions(retold: np.ndarray, known: np.ndarray, told: np.ndarray) -> tuple[NDArray[np.int64], np.ndarray]:
    """The revisions of the m events to tell, m > 0, and `retold` with them: at each place one more for every telling."""
    again = np.zeros(len(known) + len(told), RETOLD)
    for name in ("symbol", "rule", "event_time_ns", "open_ns"):
        again[name] = np.concatenate([known[name], told[name]])
    places = np.concatenate([retold, again])
    times = np.concatenate([retold["revision"] + 1, np.ones(len(known), np.int64), np.zeros(len(told), np.int64)])
    is_told = np.arange(len(places)) >= len(places) - len(told)
    order = np.lexsort((np.arange(len(places)), places["event_time_ns"], places["rule"], places["symbol"]))
    places, is_told = places[order], is_told[order]
    begins = np.ones(len(places), np.bool_)
    begins[1:] = np.any([places[n][1:] != places[n][:-1] for n in ("symbol", "rule", "event_time_ns")], axis=0)
    first, place = np.flatnonzero(begins), np.cumsum(begins) - 1
    before = np.maximum.reduceat(times[order], first)[place]
    now = np.cumsum(is_told)
    places["revision"] = before + now - (now - is_told)[first][place] - 1
    revisions = np.empty(len(places), np.int64)
    revisions[order] = places["revision"]
    return revisions[-len(told) :], places[np.append(begins[1:], True) & (places["revision"] > 0)]


def _bars_of(rules: RuleSet, events: np.ndarray, bars: np.ndarray) -> NDArray[np.intp]:
    """The place in `bars` of each event's bar."""
    key = ("symbol", "frame", "open_ns")
    wanted = {"symbol": events["symbol"], "frame": _frames_of(rules, events), "open_ns": events["open_ns"]}
    columns = [np.concatenate([bars[name], wanted[name]]) for name in key]
    is_event = np.arange(len(bars) + len(events)) >= len(bars)
    order = np.lexsort((is_event, *columns))
    bar = np.maximum.accumulate(np.where(is_event[order], 0, np.arange(len(order))))
    found = np.empty(len(order), np.intp)
    found[order] = order[bar]
    return found[len(bars) :]


def _ahead(rules: RuleSet, events: np.ndarray, behind_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these lie on bars that open after these times (symbols, frames)."""
    ahead: NDArray[np.bool_] = events["open_ns"] > behind_ns[events["symbol"], _frames_of(rules, events)]
    return ahead


def _frames_of(rules: RuleSet, events: np.ndarray) -> NDArray[np.int32]:
    """The timeframes of these events' rules."""
    table = rules.program.rules
    frames: NDArray[np.int32] = table["frame"][np.searchsorted(table["id"], events["rule"])]
    return frames


def _all_of(bars: np.ndarray) -> NDArray[np.bool_]:
    return np.ones(len(bars), np.bool_)


def _joined(chunks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, EVENT), *chunks])
