"""What alert rules cost: rules × rows per second of processor time, over many interleaved symbols.

The kernel takes closed rows as a log brings them, all symbols mixed, and keeps a state per rule and symbol.
Prints one JSON object per line. Needs about 10 seconds.
"""

import time
from collections.abc import Callable

import numpy as np
from results import report

from marketpulse.alerts.evaluate import AlertRows, evaluate
from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import rule_set
from marketpulse.alerts.state import learn_symbols, new_state
from marketpulse.model.timeframe import parse_timeframes

ROWS = 200_000
SYMBOLS = 500
ROUNDS = 5
EACH = 5
MINUTE = 60 * 10**9

EXPRESSIONS = (
    "close > 100",
    "volume > 3 * volume_sma_20",
    "abs(change_pct(close, 5)) > 2",
    "rsi_14 < 30 and close crosses_above sma_20",
)

INPUTS = inputs_of(["sma_20", "rsi_14", "volume_sma_20"], parse_timeframes(["1m"]))


def market() -> AlertRows:
    """Random walks, one row of each symbol in turn."""
    rng = np.random.default_rng(1)
    values = rng.random((ROWS, len(INPUTS.columns))) * 100
    walk = 100 * np.exp(rng.normal(0, 0.005, (ROWS // SYMBOLS, SYMBOLS)).cumsum(axis=0))
    values[:, INPUTS.columns.index("close")] = walk.ravel()
    values[:, INPUTS.columns.index("sma_20")] = walk.ravel() * (1 + rng.normal(0, 0.005, ROWS))
    close_ns = np.repeat(np.arange(1, ROWS // SYMBOLS + 1), SYMBOLS) * MINUTE
    return AlertRows(
        symbol=np.tile(np.arange(SYMBOLS, dtype=np.int32), ROWS // SYMBOLS),
        frame=np.zeros(ROWS, np.int32),
        open_ns=close_ns - MINUTE,
        close_ns=close_ns,
        together=np.ones(ROWS, np.bool_),
        values=values,
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    rows = market()
    names = [f"S{i}" for i in range(SYMBOLS)]
    total = 0.0
    for expression in EXPRESSIONS:
        rules = rule_set(INPUTS, [Rule(f"r{i}", expression) for i in range(EACH)])
        best = float("inf")
        for _ in range(ROUNDS + 1):  # the first round may compile; the best of all counts
            state = learn_symbols(new_state(rules), rules, names)
            best = min(best, seconds(lambda s=state, r=rules: evaluate(s, r, rows)))
        tell(expression, EACH * ROWS / best)
        total += best
    tell("all", len(EXPRESSIONS) * EACH * ROWS / total)


def tell(name: str, rules_per_s: float) -> None:
    report({
        "name": f"alerts: {name}", "value": round(rules_per_s), "unit": "rules/s of one core", "ratio": None,
        "ratio_to": None,
    })  # fmt: skip


if __name__ == "__main__":
    main()
