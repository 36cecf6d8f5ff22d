"""Rows that the engine closes come as rules need them; that their events are the same however cut: test_engine_laws."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import DrawFn, composite, floats, integers, lists, sampled_from, tuples

from histories import cut
from market_rows import MIDNIGHT_NS, Engine, Row, bar, clock, config_of, heartbeat, trade
from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import learn_symbols, new_state
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import ORIGIN_TRADES
from marketpulse.engine.step import CLOSED_MOST, StepResult

PLAIN = config_of(["2t", "1s", "5s", "1m"], "sma(3),rsi(3)")
FILLED = config_of(["2t", "1s", "5s", "1m"], "sma(3),rsi(3)", fill=True)
BOTH = pytest.mark.parametrize("config", [PLAIN, FILLED], ids=["plain", "filled"])


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
            together = timed & (of_trades | (closed["built"] != 0))
            yield result, together, engine.state.symbols.texts()


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


def events_of(
    config: EngineConfig, rows: list[Row], rules: RuleSet, *cuts: Cuts
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each step, and the events of them."""
    state = new_state(rules)
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
    times = [(int(e["rule"]), (e["event_time_ns"] - MIDNIGHT_NS) / 1e9) for _, events in found for e in events]
    assert times == [(2, 15.0), (1, 16.0)]
