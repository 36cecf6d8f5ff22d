"""What the scorecard costs: columns of trades into a keeper, and a card out of it. `python bench/scorecard.py`

A batch is half a second of 10,000 trades a second of 500 symbols, from 3 partitions; processor time, best of five.
"""

import time

import numpy as np

from marketpulse.app.calendars import sessions_of
from marketpulse.app.scoring.card import Card, Hours
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.model.market import Kind, MarketBatch, StringTable

PER_S, SYMBOLS, PARTITIONS, TURNS_PER_S = 10_000, 500, 3, 2
SECONDS = 60
BEGIN_NS = 1_767_225_600 * 10**9


def batches(seed: int) -> list[tuple[MarketBatch, np.ndarray]]:
    rng, strings = np.random.default_rng(seed), StringTable()
    source = strings.intern("feed")
    symbols = np.array([strings.intern(f"S{i}") for i in range(SYMBOLS)], np.int32)
    found = []
    for turn in range(SECONDS * TURNS_PER_S):
        for partition in range(PARTITIONS):
            n = PER_S // TURNS_PER_S // PARTITIONS
            batch = MarketBatch.empty("market", partition, strings, n)
            at_ns = BEGIN_NS + turn * 10**9 // TURNS_PER_S + np.sort(rng.integers(0, 10**9 // TURNS_PER_S, n))
            batch.kind[:], batch.source[:], batch.event_time_ns[:] = Kind.TRADE, source, at_ns
            batch.symbol[:] = symbols[partition::PARTITIONS][rng.integers(0, SYMBOLS // PARTITIONS, n)]
            batch.a[:], batch.b[:] = rng.uniform(10, 500, n), 1.0
            found.append((batch, (at_ns + rng.integers(1, 40, n) * 1_000_000) // 1_000_000 * 1_000_000))
    return found


def main() -> None:
    told = batches(1)
    rows = sum(len(batch) for batch, _ in told)
    best = float("inf")
    for _ in range(5):
        keeper, began = ScoreKeeper(4, 5_000), time.process_time()
        for batch, appended_ns in told:
            keeper.hear(batch, appended_ns)
        best = min(best, time.process_time() - began)
    hours = Hours(sessions_of, lambda venue, source: "24x7", 30 * 10**9, "feeds")  # noqa: ARG005
    cards = []
    for _ in range(5):
        began = time.process_time()
        Card(keeper, hours).sources()
        cards.append(time.process_time() - began)
    print(f"{rows:,} trades in batches of {len(told[0][0]):,}: {1e9 * best / rows:.0f} ns a trade, ")
    print(
        f"so {100 * best / SECONDS:.2f} % of a core at {PER_S:,} trades/s; a card: {1e3 * min(cards):.1f} ms"
    )


if __name__ == "__main__":
    main()
