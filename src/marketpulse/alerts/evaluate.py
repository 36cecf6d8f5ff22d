"""Rules on closed rows: one compiled loop that runs every rule's program on every row of its timeframe.

    (state, rows) -> (state, events)

Strictly in order of the rows, so the events do not depend on how the stream is cut into batches.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts import instructions as do
from marketpulse.alerts.events import EVENT, no_events
from marketpulse.alerts.life import both, either, live_on, opposite
from marketpulse.alerts.program import Program
from marketpulse.alerts.rule_set import RuleSet
from marketpulse.alerts.state import AlertState
from marketpulse.compiled import bare_kernel, inlined
from marketpulse.errors import ParameterError

_ROOM = 1_024


class AlertRows(NamedTuple):
    """n closed rows in the order in which they leave the engine; each array in C order.

    `together`: the row's bar was built, from trades or smaller bars, and cut by time. Such bars of one symbol and close time close as
    one: they stand side by side, the smallest timeframe first, and never in two batches. A rule on one of them
    sees them all. Any other row sees what stands before it.

    `factors` (n, timeframes), or (1, timeframes) where it is the same for all: how many shares, when the row's bar opened,
    one share of each timeframe's first bar has become. What a rule remembers stands in units of that first bar, and is
    read in the row's. Empty: there was no split.
    """

    symbol: NDArray[np.int32]
    frame: NDArray[np.int32]
    open_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    together: NDArray[np.bool_]
    values: NDArray[np.float64]  # (n, columns) in the order of Inputs.columns; NaN: unknown
    factors: NDArray[np.float64] = np.empty((0, 0))


def evaluate(state: AlertState, rules: RuleSet, rows: AlertRows) -> tuple[AlertState, np.ndarray]:
    """Events (EVENT) of these rows, in order of the rows, on each in order of the rules' numbers. The state moves on.

    Raises ParameterError for rows of symbols that the state has not learned, of timeframes or with columns other
    than those of the rules' inputs.
    """
    program, n = rules.program, len(rows.symbol)
    if not (n and len(rules.numbers)):
        return state, no_events()
    if not rows.factors.size:
        rows = rows._replace(factors=np.ones((1, len(rules.inputs.frames))))
    _check(state, rules, rows)
    stack = np.empty(program.depth)
    parts, at, room = [], 0, max(_ROOM, len(rules.numbers))
    while at < n:
        output = np.empty(room, EVENT)
        at, count = _run_rows(program, state.life, state.memory, rows, stack, at, output)
        parts.append(output[:count])
    events = np.concatenate(parts)
    _cite(events, rules, rows.values)
    return state, events


def _cite(events: np.ndarray, rules: RuleSet, values: NDArray[np.float64]) -> None:
    """Fill `cited`: it differs where a number does that the messages show."""
    cited = {rule.id: rule.cited for rule in rules.compiled if rule.cited}
    for number in np.unique(events["rule"]).tolist() if cited else ():
        if number in cited:
            own = np.flatnonzero(events["rule"] == number)
            events["cited"][own] = _mixed(values[events["row"][own]][:, list(cited[number])])


def _mixed(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """One number of each row (n, columns), never 0. Rows that differ in one column differ in it for certain."""
    bits = np.where(np.isnan(numbers), np.nan, numbers + 0.0).view(np.uint64)
    mixed = np.full(len(bits), 0xCBF29CE484222325, np.uint64)  # FNV-1a, by words
    for column in bits.T:
        mixed = (mixed ^ column) * np.uint64(0x100000001B3)
        mixed ^= mixed >> np.uint64(32)
    return np.maximum(mixed, np.uint64(1))


def _check(state: AlertState, rules: RuleSet, rows: AlertRows) -> None:
    columns, frames = len(rules.inputs.columns), len(rules.inputs.frames)
    if rows.values.shape != (len(rows.symbol), columns):
        raise ParameterError(f"alert rules: rows have {columns} columns, found an array {rows.values.shape}")
    if rows.factors.shape not in ((1, frames), (len(rows.symbol), frames)):
        raise ParameterError(f"alert rules: rows have {frames} timeframes, found factors {rows.factors.shape}")
    if rows.symbol.min() < 0 or rows.symbol.max() >= state.symbols:
        raise ParameterError("alert rules: a row's symbol is not known: learn_symbols comes first")
    if rows.frame.min() < 0 or rows.frame.max() >= frames:
        raise ParameterError(f"alert rules: a row's timeframe is none of the {frames}")
    if state.life.shape[1] != len(rules.numbers) or state.memory.shape[1] != rules.program.width:
        raise ParameterError("alert rules: this state is not of these rules")


@bare_kernel
def _run_rows(
    program: Program,
    lives: NDArray[np.void],
    memory: NDArray[np.float64],
    rows: AlertRows,
    stack: NDArray[np.float64],
    start: int,
    output: NDArray[np.void],
) -> tuple[int, int]:
    """Run the rows from `start` on. Returns where it stopped, for room or at the end, and the number of events."""
    count, fed = 0, start
    for i in range(start, rows.symbol.size):
        symbol, frame, close_ns = rows.symbol[i], rows.frame[i], rows.close_ns[i]
        first, last = program.run_start[frame], program.run_start[frame + 1]
        if count + last - first > output.size:
            return i, count
        if i >= fed:
            fed = feed_instant(program, lives, memory, rows, i)
        for k in range(first, last):
            place = program.run[k]
            life = lives[symbol, place]
            if not life.watched or close_ns <= life.begins_ns:
                continue
            rule = program.rules[place]
            condition, value = run(
                program, rule.condition, rule.clear, rows.values, rows.factors, i, memory, symbol, life.rows, stack
            )
            if rule.clear < rule.stop:
                clear, _ = run(
                    program, rule.clear, rule.stop, rows.values, rows.factors, i, memory, symbol, life.rows, stack
                )
            else:
                clear = opposite(condition)
            life.rows += 1
            state = live_on(life, condition, clear, close_ns, rule.for_ns, rule.cooldown_ns)
            if state:
                event = output[count]
                event.symbol, event.rule, event.row = symbol, rule.id, i
                event.open_ns, event.event_time_ns = rows.open_ns[i], close_ns
                event.state, event.was, event.late, event.value, event.cited = state, 0, 0, value, 0
                count += 1
    return rows.symbol.size, count


@inlined
def feed_instant(
    program: Program, lives: NDArray[np.void], memory: NDArray[np.float64], rows: AlertRows, start: int
) -> int:
    """Hand the columns of the rows that close together from `start` on to rules on other timeframes.

    Returns the row after them. Taking the same rows again changes nothing.
    """
    i = start
    symbol, close_ns = rows.symbol[start], rows.close_ns[start]
    while i < rows.symbol.size:
        if i > start and not (
            rows.together[start] and rows.together[i] and rows.symbol[i] == symbol and rows.close_ns[i] == close_ns
        ):
            break
        frame = rows.frame[i]
        for k in range(program.feed_start[frame], program.feed_start[frame + 1]):
            feed = program.feeds[k]
            if close_ns > lives[symbol, feed.rule].begins_ns:
                factor = factor_at(rows.factors, i, frame)
                value = rows.values[i, feed.column]
                memory[symbol, feed.memory] = kept(value, factor, program.memory_degree[feed.memory])
        i += 1
    return i


@inlined
def run(
    program: Program,
    start: int,
    stop: int,
    values: NDArray[np.float64],
    factors: NDArray[np.float64],
    row: int,
    memory: NDArray[np.float64],
    symbol: int,
    seen: int,
    stack: NDArray[np.float64],
) -> tuple[float, float]:
    """Run instructions [start, stop) on one row: the truth (1, 0 or NaN), and the value that they kept.

    `seen`: rows that the rule was run on before this one.
    """
    top, told = -1, math.nan
    for at in range(start, stop):
        instruction, a, b = program.code[at, 0], program.code[at, 1], program.code[at, 2]
        if instruction == do.COLUMN:
            top += 1
            stack[top] = values[row, a]
        elif instruction == do.CONSTANT:
            top += 1
            stack[top] = program.constants[a]
        elif instruction == do.MEMORY:
            top += 1
            stack[top] = remembered(program, memory, symbol, a, factors, row)
        elif instruction == do.KEEP:
            told = stack[top]
        elif instruction == do.NEGATE:
            stack[top] = -stack[top]
        elif instruction == do.ABSOLUTE:
            stack[top] = abs(stack[top])
        elif instruction == do.NOT:
            stack[top] = opposite(stack[top])
        elif instruction == do.BEFORE or instruction == do.CHANGE_PCT:
            place = a + seen % b
            before, now = remembered(program, memory, symbol, place, factors, row), stack[top]
            remember(program, memory, symbol, place, factors, row, now)
            stack[top] = before if instruction == do.BEFORE else known(100.0 * (now - before) / before)
        else:
            top -= 1
            left, right = stack[top], stack[top + 1]
            if instruction == do.CROSSES:
                left_before = remembered(program, memory, symbol, a, factors, row)
                right_before = remembered(program, memory, symbol, a + 1, factors, row)
                stack[top] = crossed(b * left_before, b * right_before, b * left, b * right)
                remember(program, memory, symbol, a, factors, row, left)
                remember(program, memory, symbol, a + 1, factors, row, right)
            elif b == 1:
                stack[top] = combined(instruction, right, left)
            else:
                stack[top] = combined(instruction, left, right)
    return stack[0], told


@inlined
def factor_at(factors: NDArray[np.float64], row: int, frame: int) -> float:
    return factors[row if factors.shape[0] > 1 else 0, frame]  # type: ignore[no-any-return]


@inlined
def kept(value: float, factor: float, degree: int) -> float:
    """A value in the units of the first bar."""
    for _ in range(abs(degree)):
        value = value * factor if degree > 0 else value / factor
    return value


@inlined
def remembered(
    program: Program, memory: NDArray[np.float64], symbol: int, place: int, factors: NDArray[np.float64], row: int
) -> float:
    """What stands there, in the units of the row."""
    factor = factor_at(factors, row, program.memory_frame[place])
    return kept(memory[symbol, place], factor, -program.memory_degree[place])


@inlined
def remember(
    program: Program,
    memory: NDArray[np.float64],
    symbol: int,
    place: int,
    factors: NDArray[np.float64],
    row: int,
    value: float,
) -> None:
    """A value of the row."""
    factor = factor_at(factors, row, program.memory_frame[place])
    memory[symbol, place] = kept(value, factor, program.memory_degree[place])


@inlined
def combined(instruction: int, left: float, right: float) -> float:
    """Two numbers or truths made into one."""
    if instruction == do.AND:
        return both(left, right)
    if instruction == do.OR:
        return either(left, right)
    if math.isnan(left) or math.isnan(right):
        return math.nan
    if instruction == do.LESS:
        return 1.0 if left < right else 0.0
    if instruction == do.LESS_EQUAL:
        return 1.0 if left <= right else 0.0
    if instruction == do.EQUAL:
        return 1.0 if left == right else 0.0
    if instruction == do.NOT_EQUAL:
        return 1.0 if left != right else 0.0
    if instruction == do.ADD:
        return known(left + right)
    if instruction == do.SUBTRACT:
        return known(left - right)
    if instruction == do.MULTIPLY:
        return known(left * right)
    if instruction == do.DIVIDE:
        return known(left / right)
    if instruction == do.SMALLER:
        return min(left, right)
    return max(left, right)


@inlined
def crossed(left_before: float, right_before: float, left: float, right: float) -> float:
    """Whether the left side was at most the right one and is above it now; unknown unless all four are known."""
    if math.isnan(left_before) or math.isnan(right_before) or math.isnan(left) or math.isnan(right):
        return math.nan
    return 1.0 if left_before <= right_before and left > right else 0.0


@inlined
def known(value: float) -> float:
    """The number, unknown when a double cannot hold it."""
    return value if math.isfinite(value) else math.nan
