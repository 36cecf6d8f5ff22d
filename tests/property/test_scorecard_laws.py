"""The scorecard: the same for any cut of the log, and what a plain count one row after the other gives."""

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis.strategies import composite, floats, integers, lists, sampled_from

from market_rows import Row, goodbye, heartbeat, hello, quote, trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.keeper import ScoreKeeper
from score_rows import hours_of, one, plain_apart, plain_coverage, tell

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
