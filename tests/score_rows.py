"""Rows of the log for the scorecard's tests, each with when the log had it, and a plain implementation of the card."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from market_rows import MIDNIGHT_NS, Row, at, batch_of
from marketpulse.app.scoring.card import Card, Hours
from marketpulse.app.scoring.coverage import SessionsOf
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.model.market import StringTable
from marketpulse.model.session import around_the_clock


def hours_of(sessions_of: SessionsOf | None = None) -> Hours:
    """Around the clock, but for the calendars that are given; a venue's calendar is called as the venue."""
    found = sessions_of or (lambda _: around_the_clock())
    return Hours(found, lambda venue, of_source: venue or of_source or "24x7", 30 * 10**9, "feeds")


def tell(keeper: ScoreKeeper, rows: Sequence[tuple[Row, float]], topic: str = "market", partition: int = 0) -> None:
    """Rows with when the log had each, in seconds after midnight, as one batch."""
    if not rows:
        return
    batch = batch_of([row for row, _ in rows], 0, StringTable())
    batch.topic, batch.partition = topic, partition
    keeper.hear(batch, np.array([at(seconds) for _, seconds in rows], np.int64))


def card_of(rows: Sequence[tuple[Row, float]], hours: int = 1) -> Card:
    keeper = ScoreKeeper(hours, 100)
    tell(keeper, rows)
    return Card(keeper, hours_of())


def one(card: Card, source: str) -> dict[str, Any]:
    return next(row for row in card.sources() if row["source"] == source)


def plain_coverage(rows: Sequence[tuple[Row, float]], source: str, hours: int) -> float | None:
    """Of trades and quotes of live sources that trade around the clock, one row after the other."""
    now = max(int(appended) for _, appended in rows) // 60
    minutes: dict[str, set[int]] = defaultdict(set)
    for row, appended in rows:
        seconds = (row["event_time_ns"] - MIDNIGHT_NS) / 1e9
        if row["source"] == source and row["type"] in ("trade", "quote") and seconds <= appended + 60:
            minutes[row["symbol"]].add(int(seconds // 60))
    covered = counted = 0
    for heard in minutes.values():
        for minute in range(max(now - 60 * hours, min(heard)), now):
            counted += 1
            covered += minute in heard
    return covered / counted if counted else None


def plain_apart(rows: Sequence[tuple[Row, float]], one: str, other: str, hours: int) -> tuple[int, float | None]:
    """(minutes that two sources of one symbol have both, the median of how far they are apart in basis points)."""
    now = max(int(appended) for _, appended in rows) // 60
    last: dict[tuple[str, str, int], tuple[int, float]] = {}
    for row, appended in rows:
        seconds = (row["event_time_ns"] - MIDNIGHT_NS) / 1e9
        if row["type"] != "trade" or seconds > appended + 60:
            continue
        key = row["source"], row["symbol"], int(seconds // 60)
        if key not in last or row["event_time_ns"] >= last[key][0]:
            last[key] = row["event_time_ns"], row["price"]
    sizes = []
    for (source, symbol, minute), (_, a) in last.items():
        if source == one and now - 60 * hours <= minute < now and (other, symbol, minute) in last:
            b = last[other, symbol, minute][1]
            sizes.append(abs(a - b) / ((a + b) / 2) * 1e4)
    return len(sizes), statistics.median(sizes) if sizes else None
