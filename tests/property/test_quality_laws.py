"""The rules of data quality find the same for any cut and any restart, and what a slow loop finds."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from histories import restarted
from market_rows import Engine, Row, bar, config_of, hello, quote, trade
from marketpulse.engine.findings import RULE_NAMES
from quality_oracle import SlowDoor

EAGER = {"warm_trades": 1.0}
MARKED = config_of(["1m"], quality_limits=EAGER)
USUAL = config_of(["1m"])
DROPS = dict.fromkeys(("price_unit", "price_band", "crossed_quote", "stale"), "drop")
DROPPED = config_of(["1m"], quality=DROPS, quality_limits=EAGER)
FACTORS = (1.0, 1.0, 1.0, 1.0, 1.001, 0.999, 1.02, 1.3, 0.7, 100.0, 0.01, 2.0, 1e-9)


def made(seed: int, n: int) -> list[Row]:
    """Trades and quotes of two symbols and bars of a third that leap now and then, some of them to stay."""
    random = np.random.default_rng(seed)
    rows: list[Row] = [hello(mode="historical", lateness_ns=0)]
    level = {"A": 10.0, "B": 2_000.0, "C": 50.0}
    for i in range(n):
        symbol = "ABC"[int(random.integers(3))]
        price = level[symbol] * float(random.choice(FACTORS)) * (1 + 0.001 * float(random.standard_normal()))
        if random.random() < 0.5:
            level[symbol] = min(max(price, 1e-6), 1e9)
        size = float(random.choice([1.0, 1.0, 100.0, 1e8]))
        if symbol == "C":
            high = price * float(random.choice([1.0, 1.01, 3.0]))
            rows.append(bar(symbol, "1m", 60 * i, 60 * i + 60, (price, high, price, price, size)))
        elif random.random() < 0.3:
            rows.append(quote(symbol, 60 * i, price, price * float(random.choice([1.001, 0.9]))))
        else:
            rows.append(trade(symbol, 60 * i, price, size))
    return rows


def told(result: Any, offset: int = 0) -> list[tuple[Any, ...]]:
    found = [(int(f["row"]) + offset, *f.tolist()[1:]) for f in result.found]
    return [*found, *((r.row + offset, r.reason, r.detail) for r in result.refused)]


@examples(full=40)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 250), drops=st.booleans(), restarts=st.booleans())
def test_the_same_is_found_for_any_cut_and_across_a_restart(seed: int, cut: int, drops: bool, restarts: bool) -> None:
    rows, config = made(seed, 250), DROPPED if drops else MARKED
    whole, head = Engine(config), Engine(config)
    expected = told(whole.step(rows))
    first = told(head.step(rows[:cut])) if cut else []
    tail = restarted(head, trim=False) if restarts else head
    second = told(tail.step(rows[cut:]), cut)
    by_row = sorted([*first, *second], key=lambda f: (f[0], isinstance(f[1], str)))
    assert by_row == sorted(expected, key=lambda f: (f[0], isinstance(f[1], str)))
    assert tail.state.tables.quality.tobytes() == whole.state.tables.quality.tobytes()
    assert len(expected) > 0


@examples(full=60)
@given(seed=st.integers(0, 10_000), apart=st.sampled_from([1.0, 400.0, 700.0]))
def test_trades_are_found_as_the_slow_loop_finds_them(seed: int, apart: float) -> None:
    random = np.random.default_rng(seed)
    level, trades = 100.0, []
    for i in range(300):
        price = level * float(random.choice(FACTORS)) * (1 + 0.002 * float(random.standard_normal()))
        if random.random() < 0.3:
            level = min(max(price, 1e-6), 1e9)
        trades.append((i * apart, price, float(random.choice([0.0, 1.0, 2.0, 1e7]))))
    rows = [hello(mode="historical", lateness_ns=0), *(trade("A", *values) for values in trades)]
    result = Engine(USUAL).step(rows)
    assert [(int(f["row"]) - 1, RULE_NAMES[f["rule"]]) for f in result.found] == SlowDoor().run(trades)


@examples(full=40)
@given(prices=st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=120))
def test_no_price_is_locked_out_forever(prices: list[float]) -> None:
    rows = [trade("A", i, price, 1.0) for i, price in enumerate(prices)]
    rows += [trade("A", len(prices) + i, 42.0, 1.0) for i in range(6)]
    result = Engine(DROPPED).step([hello(mode="historical", lateness_ns=0), *rows])
    refused = {r.row for r in result.refused}
    assert len(rows) not in refused
    runs = np.diff([0, *(i for i in range(1, len(rows) + 1) if i not in refused), len(rows) + 1])
    assert runs.max() <= 20
