"""Laws of alert rules, over expressions and streams of any kind. The oracle has the whole semantics by the letter of
docs/alerts.md, slowly and plainly: an expression is a tuple of its operator and its parts, unknown is None, and every
row looks at all rows before it again. It knows nothing of the package."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis.strategies import DrawFn, SearchStrategy, composite, integers, just, lists, none, sampled_from, tuples

from alert_rows import MINUTE
from marketpulse.alerts.differences import differences
from marketpulse.alerts.evaluate import AlertRows, evaluate
from marketpulse.alerts.events import STATE_NAMES, WITHDRAWN, no_events
from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import AlertState, change_rules, learn_symbols, new_state, return_to
from marketpulse.alerts.tree_text import text_of as text_of_tree
from marketpulse.app.receipts.alert_words import Memory, Words
from marketpulse.app.receipts.explain import same_bits
from marketpulse.model.timeframe import parse_timeframes

Tree = tuple[Any, ...]
"""("number", 3.0), ("column", "close", "1h"), ("prev", tree, 2), ("and", tree, tree) …"""


class Row(NamedTuple):
    """One closed row. `together`: it closes as one with its symbol's other rows of this close time."""

    symbol: str
    timeframe: str
    close_time: int
    together: bool
    columns: Mapping[str, float]


@dataclass
class OracleRule:
    """`begins`: of each symbol, the time after which the rule sees what closes; left out: all of it."""

    condition: Tree
    timeframe: str
    clear: Tree | None = None
    held: int = 0
    cooldown: int = 0
    symbols: frozenset[str] | None = None
    begins: Mapping[str, int] = field(default_factory=dict)


class Happened(NamedTuple):
    """What a row made of the alert."""

    row: int
    state: str
    value: float | None


def happened(rule: OracleRule, rows: Sequence[Row]) -> list[Happened]:
    """Everything that the rule makes of these rows, in their order."""
    found = []
    for symbol in {row.symbol for row in rows}:
        if rule.symbols is None or symbol in rule.symbols:
            found += _Symbol(rule, rows, symbol).lives()
    return sorted(found)


class _Symbol:
    """One rule on one symbol. `own` are the places of the rows that the rule runs on."""

    def __init__(self, rule: OracleRule, rows: Sequence[Row], symbol: str) -> None:
        self.rule, self.rows = rule, rows
        begins = rule.begins.get(symbol, -math.inf)
        self.seen = [i for i, row in enumerate(rows) if row.symbol == symbol and row.close_time > begins]
        self.own = [i for i in self.seen if rows[i].timeframe == rule.timeframe]

    def lives(self) -> list[Happened]:
        found: list[Happened] = []
        raised_at: int | None = None  # the number of the row that raised it last
        cleared_at = -1
        raised = False
        for k, place in enumerate(self.own):
            value = self.number(first_left(self.rule.condition), k)
            if raised:
                if self.clears(k) is True:
                    raised, cleared_at = False, k
                    found.append(Happened(place, "cleared", value))
            elif self.held_long_enough(k, cleared_at) and (raised_at is None or self.is_over(raised_at, k)):
                raised, raised_at = True, k
                found.append(Happened(place, "raised", value))
        return found

    def time(self, k: int) -> int:
        return self.rows[self.own[k]].close_time

    def is_over(self, raised_at: int, k: int) -> bool:
        return self.rule.cooldown == 0 or self.time(k) - self.time(raised_at) >= self.rule.cooldown

    def held_long_enough(self, k: int, cleared_at: int) -> bool:
        if self.raises(k) is not True:
            return False
        first = k
        while first - 1 > cleared_at and self.raises(first - 1) is True:
            first -= 1
        return self.rule.held == 0 or self.time(k) - self.time(first) >= self.rule.held

    def raises(self, k: int) -> bool | None:
        """The condition holds, and what clears it does not."""
        return self.truth(("and", self.rule.condition, ("not", self._clear())), k)

    def clears(self, k: int) -> bool | None:
        return self.truth(self._clear(), k)

    def _clear(self) -> Tree:
        return self.rule.clear if self.rule.clear is not None else ("not", self.rule.condition)

    def truth(self, tree: Tree, k: int) -> bool | None:
        """On the k-th row; None: unknown."""
        operator, *parts = tree
        if operator == "not":
            inner = self.truth(parts[0], k)
            return None if inner is None else not inner
        if operator in ("and", "or"):
            decides: bool = operator == "or"
            truths = [self.truth(part, k) for part in parts]
            if decides in truths:
                return decides
            return None if None in truths else not decides
        left, right = (self.number(part, k) for part in parts)
        if left is None or right is None:
            return None
        if operator in ("crosses_above", "crosses_below"):
            left_before, right_before = (self.number(part, k - 1) for part in parts)
            if left_before is None or right_before is None:
                return None
            if operator == "crosses_above":
                return left_before <= right_before and left > right
            return left_before >= right_before and left < right
        compared: dict[str, bool] = {
            "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
            "==": left == right, "!=": left != right,
        }  # fmt: skip
        return compared[operator]

    def number(self, tree: Tree, k: int) -> float | None:
        """On the k-th row; None: unknown, as it is before the first row."""
        if k < 0:
            return None
        operator, *parts = tree
        if operator == "number":
            return float(parts[0])
        if operator == "column":
            return self.column(parts[0], parts[1], self.own[k])
        if operator == "prev":
            return self.number(parts[0], k - parts[1])
        if operator == "change_pct":
            now, before = self.number(parts[0], k), self.number(parts[0], k - parts[1])
            if now is None or before is None or before == 0:
                return None
            return _finite(100.0 * (now - before) / before)
        numbers = [self.number(part, k) for part in parts]
        known = [number for number in numbers if number is not None]
        return _calculated(operator, known) if len(known) == len(numbers) else None

    def column(self, name: str, timeframe: str, place: int) -> float | None:
        """The row's own, or that of the newest row of another timeframe that has closed by then."""
        row = self.rows[place]
        found = place if timeframe == row.timeframe else None
        if found is None:
            for i in self.seen:
                other = self.rows[i]
                as_one = row.together and other.together and other.close_time == row.close_time
                if other.timeframe == timeframe and (i < place or as_one):
                    found = i
        if found is None:
            return None
        value = self.rows[found].columns[name]
        return None if math.isnan(value) else value


def first_left(tree: Tree) -> Tree:
    """What stands to the left of the first comparison."""
    operator, *parts = tree
    if operator in ("not", "and", "or"):
        return first_left(parts[0])
    left: Tree = parts[0]
    return left


def _calculated(operator: str, numbers: list[float]) -> float | None:
    if operator in ("negate", "abs"):
        return -numbers[0] if operator == "negate" else abs(numbers[0])
    if operator in ("min", "max"):
        return min(numbers) if operator == "min" else max(numbers)
    left, right = numbers
    if operator == "/":
        return None if right == 0 else _finite(left / right)
    return _finite({"+": left + right, "-": left - right, "*": left * right}[operator])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


INPUTS = Inputs(("close", "low", "sma_3"), parse_timeframes(["10t", "1m", "5m", "15m"]))
TICKS, TIMED = "10t", ("1m", "5m", "15m")
SYMBOLS = ["AAA", "BBB", "SRC"]  # the last one's bars come from a source that only has bars
LENGTH_MAX = 60


class Stated(NamedTuple):
    """A rule as a person writes it, and as the oracle reads it."""

    written: Rule
    meant: OracleRule


Rules = tuple[Stated, ...]


def text_of(tree: Tree, own: str) -> str:
    """The tree as a person would write it, with all parentheses."""
    operator, *parts = tree
    if operator == "number":
        return str(parts[0])
    if operator == "column":
        return parts[0] if parts[1] == own else f"{parts[0]}@{parts[1]}"
    if operator in ("prev", "change_pct"):
        return f"{operator}({text_of(parts[0], own)}, {parts[1]})"
    inner = [text_of(part, own) for part in parts]
    if operator in ("abs", "min", "max"):
        return f"{operator}({', '.join(inner)})"
    if operator in ("not", "negate"):
        return f"({'-' if operator == 'negate' else 'not'} {inner[0]})"
    return f"({inner[0]} {operator} {inner[1]})"


@composite
def numbers(draw: DrawFn, frames: Sequence[str], depth: int) -> Tree:
    column = tuples(just("column"), sampled_from(INPUTS.columns), sampled_from(frames))
    if not depth:
        return draw(column)
    number = tuples(just("number"), sampled_from([0, 1, 1, 2, 2, 0.5, 3e307]))
    inner = numbers(frames, depth - 1)
    back = tuples(sampled_from(["prev", "change_pct"]), inner, integers(1, 4))
    one = tuples(sampled_from(["negate", "abs"]), inner)
    two = tuples(sampled_from(["+", "-", "*", "/", "min", "max"]), inner, inner)
    three = tuples(sampled_from(["min", "max"]), inner, inner, inner)
    return draw(draw(sampled_from([column, column, number, two, one, three, back])))


@composite
def truths(draw: DrawFn, frames: Sequence[str], depth: int) -> Tree:
    """Trees that are true, false or unknown."""
    kind = draw(sampled_from(["compared", "compared", "joined", "not"])) if depth else "compared"
    if kind == "compared":
        sign = draw(sampled_from(["<", "<=", ">", ">=", "==", "!=", "crosses_above", "crosses_below"]))
        return sign, draw(numbers(frames, 2)), draw(numbers(frames, 1))
    inner = truths(frames, depth - 1)
    if kind == "not":
        return "not", draw(inner)
    return draw(sampled_from(["and", "or"])), draw(inner), draw(inner)


def reads_a_column(tree: Tree) -> bool:
    return tree[0] == "column" or any(reads_a_column(part) for part in tree if isinstance(part, tuple))


@composite
def stated(draw: DrawFn, name: str = "rule", *, ticks: bool = True) -> Stated:
    """A rule on any timeframe; one on tick bars reads no others."""
    own = draw(sampled_from([*TIMED, TICKS] if ticks else TIMED))
    some_truth = truths([own] if own == TICKS else TIMED, 2).filter(reads_a_column)
    condition, clear = draw(some_truth), draw(none() | some_truth)
    held, cooldown = draw(sampled_from([0, 0, 0, 1, 2, 5])), draw(sampled_from([0, 0, 3, 20]))
    symbols = draw(sampled_from([(), (), ("AAA",), ("AAA", "SRC")]))
    written = Rule(
        name, text_of(condition, own), timeframe=own, clear=text_of(clear, own) if clear else "",
        for_s=60.0 * held, cooldown_s=60.0 * cooldown, symbols=symbols, message="{state} at {low:.2f} of {sma_3}",
    )  # fmt: skip
    meant = OracleRule(condition, own, clear, held * MINUTE, cooldown * MINUTE, frozenset(symbols) if symbols else None)
    return Stated(written, meant)


def some_stated(*, ticks: bool = True) -> SearchStrategy[Rules]:
    return tuples(*(stated(name, ticks=ticks) for name in ("a", "b", "c")))


@composite
def streams(draw: DrawFn) -> list[Row]:
    """Closed rows as the engine gives them: quiet minutes, unknown and equal numbers, tick bars between the
    instants, and a source whose larger bars close after its small ones."""
    rng = np.random.default_rng(draw(integers(0, 2**32 - 1)))
    known = draw(sampled_from([0.9, 1.0]))
    rows: list[Row] = []
    waiting: list[Row] = []

    def row(symbol: str, timeframe: str, minute: float) -> Row:
        numbers = rng.integers(-1, 4, len(INPUTS.columns)).astype(float)
        numbers[rng.random(len(numbers)) > known] = np.nan
        columns = dict(zip(INPUTS.columns, numbers.tolist(), strict=True))
        together = symbol != "SRC" and timeframe != TICKS
        return Row(symbol, timeframe, round(minute * MINUTE), together, columns)

    for minute in range(1, draw(sampled_from([0, 20, LENGTH_MAX, LENGTH_MAX])) + 1):
        rows += waiting
        waiting = []
        for symbol in SYMBOLS:
            ends = [frame for frame, minutes in zip(TIMED, (1, 5, 15), strict=True) if minute % minutes == 0]
            closing = [row(symbol, frame, minute) for frame in ends if rng.random() < 0.85]
            if symbol == "SRC":
                waiting = [bar for bar in closing if bar.timeframe != "1m"]
                closing = [bar for bar in closing if bar.timeframe == "1m"]
            rows += closing
            if rng.random() < 0.4:
                rows.append(row(symbol, TICKS, minute + float(rng.integers(-3, 4))))
    return rows


def alert_rows(rows: Sequence[Row]) -> AlertRows:
    frames = [frame.name for frame in INPUTS.frames]
    close_ns = np.array([row.close_time for row in rows], np.int64)
    values = np.array([list(row.columns.values()) for row in rows], np.float64)
    return AlertRows(
        np.array([SYMBOLS.index(row.symbol) for row in rows], np.int32),
        np.array([frames.index(row.timeframe) for row in rows], np.int32),
        close_ns - MINUTE, close_ns, np.array([row.together for row in rows], np.bool_),
        values.reshape(len(rows), len(INPUTS.columns)),
    )  # fmt: skip


def started(rules: RuleSet) -> AlertState:
    return learn_symbols(new_state(rules), rules, SYMBOLS)


def rules_of(*some: Stated) -> RuleSet:
    return rule_set(INPUTS, [each.written for each in some])


def run(state: AlertState, rules: RuleSet, rows: Sequence[Row], first: int = 0) -> np.ndarray:
    """The events, their rows counted from the stream's begin; `first` is where these rows stand in it."""
    _, events = evaluate(state, rules, alert_rows(rows))
    events["row"] += first
    return events


def whole_instants(rows: Sequence[Row], cuts: Sequence[int]) -> list[int]:
    """The cuts, moved on to where no rows that close as one are parted, from 0 to the end."""
    edges = {0, len(rows)}
    for cut in cuts:
        at = min(cut, len(rows))
        while 0 < at < len(rows) and as_one(rows[at]) == as_one(rows[at - 1]) != ():
            at += 1
        edges.add(at)
    return sorted(edges)


def as_one(row: Row) -> tuple[str, int] | tuple[()]:
    """What all rows share that close as one with this; nothing where it closes alone."""
    return (row.symbol, row.close_time) if row.together else ()


def as_the_oracle_says(events: np.ndarray, number: int) -> list[tuple[int, str, float | None]]:
    mine = events[events["rule"] == number]
    return [(int(e["row"]), STATE_NAMES[e["state"]], None if np.isnan(e["value"]) else float(e["value"])) for e in mine]


@given(some=some_stated(), rows=streams())
def test_rules_do_what_the_oracle_says(some: Rules, rows: list[Row]) -> None:
    rules = rules_of(*some)
    events = run(started(rules), rules, rows)  # raised and cleared in turn, as the oracle does by its make
    for number, each in zip(rules.numbers, some, strict=True):
        assert as_the_oracle_says(events, number) == happened(each.meant, rows)
    for event in events:
        assert event["event_time_ns"] == rows[event["row"]].close_time
        assert SYMBOLS[event["symbol"]] == rows[event["row"]].symbol
    assert events["row"].tolist() == sorted(events["row"].tolist())


@given(each=stated(), rows=streams())
def test_the_words_of_an_explanation_come_to_what_the_kernel_does(each: Stated, rows: list[Row]) -> None:
    rules = rules_of(each)
    state, compiled = started(rules), rules.compiled[0]
    for begin, end in pairwise(whole_instants(rows, range(len(rows)))):
        instant, symbol = alert_rows(rows[begin:end]), SYMBOLS.index(rows[begin].symbol)
        life, memory = state.life[symbol, 0].copy(), state.memory[symbol].tolist()
        together = {
            (int(frame), column): float(value)
            for frame, values in zip(instant.frame, instant.values, strict=True)
            for column, value in enumerate(values)
        }
        state, events = evaluate(state, rules, instant)
        for place in np.flatnonzero(instant.frame == compiled.frame).tolist():
            words = Words(compiled, INPUTS, Memory(life, memory, together), instant.values[place].tolist())
            said = words.change(int(instant.close_ns[place]))
            found = [(STATE_NAMES[e["state"]], float(e["value"])) for e in events if e["row"] == place]
            assert [said.state] == ([state for state, _ in found] or [""]), words.lines
            for _, value in found:
                assert same_bits(said.value, None if np.isnan(value) else value), words.lines


@given(each=stated())
def test_a_tree_written_as_text_reads_as_the_same_tree(each: Stated) -> None:
    rules = rules_of(each)
    compiled = rules.compiled[0]
    written = replace(each.written, expression=text_of_tree(compiled.condition, INPUTS, compiled.frame))
    again, program = rule_set(INPUTS, [written]).program, rules.program
    assert [again.code.tolist(), again.constants.tolist()] == [program.code.tolist(), program.constants.tolist()]
    assert len(written.expression) <= len(each.written.expression)


@given(some=some_stated(), rows=streams(), cuts=lists(integers(0, 300), max_size=6))
def test_the_bits_are_the_same_however_the_stream_is_cut(some: Rules, rows: list[Row], cuts: list[int]) -> None:
    """So what comes later changes nothing before it, either."""
    rules = rules_of(*some)
    whole_state, state = started(rules), started(rules)
    whole = run(whole_state, rules, rows)
    parts = [run(state, rules, rows[a:b], a) for a, b in pairwise(whole_instants(rows, cuts))]
    assert np.concatenate([no_events(), *parts]).tobytes() == whole.tobytes()
    assert state.life.tobytes() == whole_state.life.tobytes()
    assert state.memory.tobytes() == whole_state.memory.tobytes()


@given(some=some_stated(), rows=streams())
def test_rules_and_symbols_do_not_know_of_each_other(some: Rules, rows: list[Row]) -> None:
    rules = rules_of(*some)
    events = run(started(rules), rules, rows)
    for number, each in zip(rules.numbers, some, strict=True):
        alone = rules_of(each)
        for symbol, name in enumerate(SYMBOLS):
            places = [i for i, row in enumerate(rows) if row.symbol == name]
            found = run(started(alone), alone, [rows[i] for i in places])
            theirs = events[(events["rule"] == number) & (events["symbol"] == symbol)]
            assert [places[i] for i in found["row"]] == theirs["row"].tolist()
            assert found["state"].tolist() == theirs["state"].tolist()
            assert found["value"].tobytes() == theirs["value"].tobytes()


def timed(rows: Sequence[Row]) -> list[Row]:
    """The rows that a revision builds again."""
    return [row for row in rows if row.together]


Revised = tuple[list[Row], list[Row], int]
"""Rows in order of time, the same with some of them changed, gone or come since a place, and that place."""


@composite
def revised_streams(draw: DrawFn) -> Revised:
    rows, other = timed(draw(streams())), timed(draw(streams()))
    at = draw(sampled_from(whole_instants(rows, draw(lists(integers(0, 100), max_size=2)))[:-1] or [0]))
    rng = np.random.default_rng(draw(integers(0, 2**32 - 1)))
    share = draw(sampled_from([0.02, 0.1, 0.5]))
    since = rows[at - 1].close_time if at else 0
    later = [row for row in rows[at:] if rng.random() > share / 2]
    later += [row for row in other if row.close_time > since and rng.random() < share]
    by_place = {(row.close_time, row.symbol, TIMED.index(row.timeframe)): row for row in later}
    return rows, [*rows[:at], *(by_place[place] for place in sorted(by_place))], at


@given(some=some_stated(ticks=False), streams=revised_streams())
def test_readers_of_the_differences_know_what_the_sorted_stream_would_have_given(some: Rules, streams: Revised) -> None:
    """The state goes back to the anchor, and the rows since then run again as they are now."""
    rules, (rows, revised, at) = rules_of(*some), streams
    anchored = started(rules)
    before = run(anchored, rules, rows[:at])
    state = anchored.copy()
    old = run(state, rules, rows[at:], at)

    state = return_to(state, anchored, rules, np.arange(len(SYMBOLS)))
    new = run(state, rules, revised[at:], at)
    told, known = differences(old, new)
    healed = started(rules)
    sorted_stream = run(healed, rules, revised)
    assert np.concatenate([before, new]).tobytes() == sorted_stream.tobytes()
    assert state.life.tobytes() == healed.life.tobytes()

    books = {key_of(event): event for event in old}
    for event in told:
        if event["state"] == WITHDRAWN:
            assert books.pop(key_of(event))["state"] == event["was"]
        else:
            assert (event["was"] == 0) == (key_of(event) not in books)
            books[key_of(event)] = event
    assert valued(books.values()) == valued(new)
    assert {key_of(e) for e in known if e["late"]} == {key_of(e) for e in told if e["late"] and not e["was"]}
    assert not valued(old) & valued(new) & valued(told)


def key_of(event: np.void) -> tuple[int, int, int]:
    return int(event["rule"]), int(event["symbol"]), int(event["event_time_ns"])


def valued(events: Iterable[np.void]) -> set[tuple[tuple[int, int, int], int, bytes, int]]:
    """(key, state, bits of the value and of what the message cites) of each."""
    return {(key_of(event), int(event["state"]), event["value"].tobytes(), int(event["cited"])) for event in events}


@given(some_stated(ticks=False), streams(), lists(integers(0, 200), min_size=3, max_size=3), integers(0, 200))
def test_a_replay_meets_every_rule_where_it_was_put(some: Rules, rows: list[Row], puts: list[int], gone: int) -> None:
    """Rules come at three places of the stream, and the first one goes again. What a rule does hangs on where it
    came, and on no other rule; a replay with all of them begins at the first row and does the same."""
    rows = timed(rows)
    changes = [(whole_instants(rows, [put])[1:-1] or [0], i) for i, put in enumerate(puts)]
    gone_at = max((whole_instants(rows, [gone])[1:-1] or [len(rows)])[0], changes[0][0][0])
    rules = rule_set(INPUTS)
    state, replayed = started(rules), started(rules)
    parts, at, numbers, begins = [no_events()], 0, {}, {}
    for where, what in sorted([*((place[0], i) for place, i in changes), (gone_at, 3)]):
        parts.append(run(state, rules, rows[at:where], at))
        at = where
        closed = [[row.close_time for row in rows[:where] if row.symbol == symbol] for symbol in SYMBOLS]
        closed_until = np.array([max(times, default=-(2**63)) for times in closed])
        after = rules.without_rule(some[0].written.name) if what == 3 else rules.with_rule(some[what].written)
        state = change_rules(state, rules, after, SYMBOLS, closed_until)
        replayed = change_rules(replayed, rules, after, SYMBOLS, closed_until)
        rules = after
        if what < 3:
            numbers[what] = rules.numbers[-1]
            begins[what] = dict(zip(SYMBOLS, closed_until.tolist(), strict=True))
    parts.append(run(state, rules, rows[at:], at))
    live = np.concatenate(parts)

    for i, each in enumerate(some):
        expected = [h for h in happened(replace(each.meant, begins=begins[i]), rows) if i > 0 or h.row < gone_at]
        assert as_the_oracle_says(live, numbers[i]) == expected
    assert run(replayed, rules, rows).tobytes() == live[np.isin(live["rule"], rules.numbers)].tobytes()
    assert replayed.life.tobytes() == state.life.tobytes()
    np.testing.assert_array_equal(replayed.memory, state.memory)
