"""The rules of data quality and the scorecard find the same for any cut and any restart, and what a slow loop finds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, log
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import composite, floats, integers, lists, sampled_from

from examples import examples
from histories import restarted
from market_rows import Engine, Row, bar, config_of, goodbye, heartbeat, hello, quote, trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.engine.findings import RULE_NAMES
from marketpulse.model.quality import DEFAULT_LIMITS
from score_rows import hours_of, one, plain_apart, plain_coverage, tell


@dataclass
class SlowDoor:
    """Trades as (seconds, price, size), in order of the log; `found` are (index, rule)."""

    limits: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    found: list[tuple[int, str]] = field(default_factory=list)

    def run(self, trades: Sequence[tuple[float, float, float]]) -> list[tuple[int, str]]:
        level = scale = 0.0
        believed_at, seen = -inf, 0
        doubted: list[tuple[float, float]] = []
        median, sizes, run, last = 0.0, 0, 0, None
        for i, (seconds, price, size) in enumerate(trades):
            floor = self.limits["band"]
            if seen and seconds - believed_at > self.limits["reopen_s"]:
                floor = self.limits["reopen_band"]
            if not seen:
                level, scale, seen, believed_at = price, 0.0005, 1, seconds
            else:
                move = abs(price - level) / min(price, level)
                band = max(floor, self.limits["band_factor"] * scale)
                if move <= band or seen < self.limits["warm_trades"]:
                    scale, seen = self._learn(scale, seen, move)
                    level, doubted, believed_at = price, [], max(believed_at, seconds)
                elif self._is_level(doubted, price, band):
                    if not self._agree([*doubted, (price, band)], int(self.limits["confirm_trades"])):
                        scale = max(scale, min(move, 1e6) / self.limits["band_factor"])
                    level, doubted, believed_at = price, [], max(believed_at, seconds)
                else:
                    doubted.append((price, band))
                    apart = abs(log(price / level))
                    unit = min(abs(apart - log(100)), abs(apart - log(1000))) < 0.45
                    self.found.append((i, "price_unit" if unit else "price_band"))
            run = run + 1 if last == (price, size) else 0
            last = (price, size)
            if run >= self.limits["stale_trades"]:
                self.found.append((i, "stale"))
            if size > 0:
                if sizes >= 20 and size > self.limits["size_factor"] * median:
                    self.found.append((i, "size_outlier"))
                else:
                    median = size if median == 0 else median * (1.1 if size > median else 1 / 1.1)
                    sizes += sizes < 20
        return self.found

    @staticmethod
    def _learn(scale: float, seen: int, move: float) -> tuple[float, int]:
        if seen < 50:
            seen += 1
            step = 1.02 + 0.5 / seen
            down = scale / step
        else:
            step, down = 1.02, scale * (1.0 / 1.02)
        if move > 0:
            scale = max(1e-6, scale * step if move > scale else down)
        return scale, seen

    def _is_level(self, doubted: list[tuple[float, float]], price: float, band: float) -> bool:
        """So many in a row, the newest of them agreeing each with the one before; or four times as many of any kind."""
        confirm, run = int(self.limits["confirm_trades"]), [*doubted, (price, band)]
        return self._agree(run, confirm) or len(run) >= 4 * confirm

    @staticmethod
    def _agree(run: list[tuple[float, float]], confirm: int) -> bool:
        newest = run[-confirm:]
        pairs = pairwise(newest)
        return len(newest) == confirm and all(abs(b - a) / min(a, b) <= band for (a, _), (b, band) in pairs)


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
    by_row = sorted([*first, *told(tail.step(rows[cut:]), cut)], key=lambda f: (f[0], isinstance(f[1], str)))
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
    refused = {r.row for r in Engine(DROPPED).step([hello(mode="historical", lateness_ns=0), *rows]).refused}
    assert len(rows) not in refused
    assert np.diff([0, *(i for i in range(1, len(rows) + 1) if i not in refused), len(rows) + 1]).max() <= 20


SOURCES = ("left", "right")
KINDS = ("trade", "trade", "trade", "quote", "gap", "quality", "heartbeat", "hello", "goodbye")
Told = list[tuple[Row, float]]


@composite
def logs(draw: Any) -> Told:
    """Up to six hours of one partition: late rows, rows ahead of their time, gaps, and all that sources say of themselves."""
    rows: Told = []
    now = 3_600.0 * 24
    for _ in range(draw(integers(1, 60))):
        now += draw(sampled_from((0.0, 0.3, 20.0, 70.0, 900.0, 5_000.0)))
        source, symbol = draw(sampled_from(SOURCES)), draw(sampled_from(("AAA", "BBB", "CCC")))
        seconds = now - draw(sampled_from((0.0, 0.01, 5.0, 130.0, 4_000.0, 40_000.0, -30.0, -4_000.0)))
        price = draw(sampled_from((10.0, 10.01, 11.5, 250.0)))
        kind = draw(sampled_from(KINDS))
        record = {"type": kind, "symbol": symbol, "source": source, "event_time_ns": 0}
        if kind == "trade":
            row = trade(symbol, seconds, price, 1.0, source)
        elif kind == "quote":
            row = quote(symbol, seconds, price, price + 1, source=source)
        elif kind == "gap":
            of = {"from_id": draw(sampled_from("12")), "state": draw(sampled_from(("found", "healed", "open")))}
            row = {**record, **of, "to_id": "9", "trades": 3, "from_ns": 0, "to_ns": 9, "reason": ""}
        elif kind == "quality":
            row = {**record, "rule": "stale"}
        elif kind == "heartbeat":
            row = heartbeat(seconds, source, log=now)
        else:
            row = hello(source) if kind == "hello" else goodbye(source)
        rows.append((row, now))
    return rows


def whole(card: Card) -> str:
    return repr((card.sources(), [card.symbols(source, 10) for source in SOURCES]))


@given(rows=logs(), at=lists(integers(0, 60), max_size=5))
def test_the_card_is_the_same_however_the_log_is_cut(rows: Told, at: list[int]) -> None:
    together, apart = ScoreKeeper(2, 100), ScoreKeeper(2, 100)
    tell(together, rows)
    for begin, end in pairwise([0, *sorted(at), len(rows)]):
        tell(apart, rows[begin:end])
    assert whole(Card(apart, hours_of())) == whole(Card(together, hours_of()))


@given(rows=logs())
def test_it_gives_what_a_plain_count_gives(rows: Told) -> None:
    keeper = ScoreKeeper(2, 100)
    tell(keeper, rows)
    card = Card(keeper, hours_of())
    modes = {row["source"]: row["mode"] for row in card.sources()}
    for source in (source for source, mode in modes.items() if mode == "live"):
        assert one(card, source)["coverage"] == plain_coverage(rows, source, 2)
    if modes == dict.fromkeys(SOURCES, "live"):
        minutes, median = plain_apart(rows, *SOURCES, 2)
        assert sum(told["minutes"] for told in card.symbols("left", 10)["disagreements"]) == minutes
        found = one(card, "left")["disagreement_p50_bps"]
        assert found is None if median is None else np.isclose(found, median)


@given(lags=lists(floats(0.001, 3_000), min_size=1, max_size=200))
def test_a_percentile_of_the_lag_is_right_to_a_twentieth(lags: list[float]) -> None:
    rows = [(trade("AAA", 86_400 + i * 1e-3 - lag, 1.0, 1.0), 86_400 + i * 1e-3) for i, lag in enumerate(lags)]
    keeper = ScoreKeeper(1, 10)
    tell(keeper, rows)
    found = one(Card(keeper, hours_of()), "feed")
    exact = sorted(lags)
    for name, share in (("lag_p50_ms", 0.5), ("lag_p99_ms", 0.99)):
        true_ms = 1e3 * exact[max(0, int(np.ceil(share * len(exact))) - 1)]
        if found[name] is not None:  # a row of days ago makes its source a historical one
            assert abs(found[name] - max(true_ms, 1.0)) <= 0.06 * max(true_ms, 1.0)
