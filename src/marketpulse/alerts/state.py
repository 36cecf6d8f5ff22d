"""What alert rules remember, for each rule and symbol: plain arrays, so that a snapshot is their bytes.

A rule's columns come when it is put and go when it is removed; a symbol's row comes when it is first met.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketpulse.alerts.events import EVENT, RAISED
from marketpulse.alerts.life import LIFE, NEVER
from marketpulse.alerts.program import Program
from marketpulse.alerts.rule_set import RuleSet
from marketpulse.errors import ParameterError

_FIRST_SYMBOLS = 16


@dataclass(slots=True)
class AlertState:
    """R rules × S rows for symbols, of which the first `symbols` are in use, and W columns of memory.

    Handed from step to step; whoever passes it in has spent it.
    """

    life: NDArray[np.void]  # (S, R) LIFE
    memory: NDArray[np.float64]  # (S, W): what programs hold from row to row; NaN: nothing yet
    symbols: int = 0

    def copy(self) -> "AlertState":
        return AlertState(self.life.copy(), self.memory.copy(), self.symbols)

    def size_bytes(self) -> int:
        return self.life.nbytes + self.memory.nbytes


def new_state(rules: RuleSet) -> AlertState:
    """The state before the first row."""
    program = rules.program
    return AlertState(_fresh_life(_FIRST_SYMBOLS, program), np.full((_FIRST_SYMBOLS, program.width), np.nan))


def learn_symbols(state: AlertState, rules: RuleSet, names: Sequence[str]) -> AlertState:
    """`names` are all symbols by id; rows are made for those that are new. The rest stays."""
    rows = len(state.life)
    while rows < len(names):
        rows *= 2
    more = rows - len(state.life)
    if more:
        state.life = np.concatenate([state.life, _fresh_life(more, rules.program)])
        state.memory = np.concatenate([state.memory, np.full((more, state.memory.shape[1]), np.nan)])
    every = rules.rules
    for symbol in range(state.symbols, len(names)):
        state.life["watched"][symbol] = [rule.takes(names[symbol]) for rule in every]
        if rules.begins:
            begins = [rules.begins.get((number, names[symbol]), NEVER) for number in rules.numbers]
            state.life["begins_ns"][symbol] = begins
    state.symbols = max(state.symbols, len(names))
    return state


def change_rules(
    state: AlertState, before: RuleSet, after: RuleSet, names: Sequence[str], closed_until_ns: NDArray[np.int64]
) -> AlertState:
    """The state of `before` for the rules of `after`. Rules of both go on; the memory of others is dropped.

    A new rule sees what closes after `closed_until_ns`, the newest close time of each symbol (symbols,) when
    the rule was put, and so does a replay of what closed earlier. To bars that are cut by count, which are never
    replayed, this does not apply. The state passed in is left as it is: the anchor's takes the same change.

    Raises ParameterError when the state is not of `before`, or `names` are not its symbols.
    """
    if state.life.shape[1] != len(before.numbers) or state.symbols != len(names):
        raise ParameterError("alert rules: this state is not of these rules and symbols")
    old, new = before.program, after.program
    rows = len(state.life)
    changed = AlertState(_fresh_life(rows, new), np.full((rows, new.width), np.nan), state.symbols)
    for place, number in enumerate(after.numbers):
        if number in before.numbers:
            known = before.numbers.index(number)
            changed.life[:, place] = state.life[:, known]
            changed.memory[:, _memory(new, place)] = state.memory[:, _memory(old, known)]
        else:
            rule = after.rules[place]
            changed.life["watched"][: len(names), place] = [rule.takes(name) for name in names]
            if not after.inputs.cut_by_count(int(new.rules["frame"][place])):
                changed.life["begins_ns"][: len(names), place] = closed_until_ns[: len(names)]
    return changed


def forget_rows(state: AlertState, symbol: int) -> AlertState:
    """This symbol as before its first row. Where each rule begins stays."""
    life = state.life[symbol]
    for name in ("raised", "rows"):
        life[name] = 0
    life["since_ns"] = life["raised_ns"] = NEVER
    state.memory[symbol] = np.nan
    return state


def return_to(state: AlertState, anchor: AlertState, rules: RuleSet, symbols: NDArray[np.integer]) -> AlertState:
    """These symbols as they were at the anchor, for what runs on bars cut by time; the others stay."""
    program = rules.program
    for place, frame in enumerate(program.rules["frame"].tolist()):
        if not rules.inputs.cut_by_count(frame):
            columns = _memory(program, place)
            state.life[symbols, place] = anchor.life[symbols, place]
            state.memory[symbols, columns] = anchor.memory[symbols, columns]
    return state


def raised_alerts(state: AlertState, rules: RuleSet) -> np.ndarray:
    """EVENT rows of the alerts that are raised now: when they were, without their values."""
    symbol, place = np.nonzero(state.life["raised"])
    events = np.zeros(len(symbol), EVENT)
    events["symbol"], events["rule"] = symbol, rules.program.rules["id"][place]
    events["event_time_ns"] = state.life["raised_ns"][symbol, place]
    events["row"], events["open_ns"], events["state"], events["value"] = -1, NEVER, RAISED, np.nan
    return events


def _memory(program: Program, place: int) -> slice:
    """The columns of memory of the rule at this place."""
    return slice(int(program.rules["memory"][place]), int(program.rules["memory_stop"][place]))


def _fresh_life(rows: int, program: Program) -> NDArray[np.void]:
    life = np.zeros((rows, len(program.rules)), LIFE)
    for name in ("since_ns", "raised_ns", "begins_ns"):
        life[name] = NEVER
    return life
