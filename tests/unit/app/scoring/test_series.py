"""What the scorecard counts in: slots, minutes with rows and last prices, delays by percentile."""

import numpy as np
import pytest

from marketpulse.app.scoring.ring import Ring
from marketpulse.app.scoring.series import MINUTE_NS, Heard, SeriesKey, SeriesTable
from marketpulse.app.scoring.stream import BUCKETS, SLOT_NS, RareCounts, Stream, lag_at
from marketpulse.model.market import ABSENT, StringTable


def place(table: SeriesTable, symbol: str, venue: str | None = None, strings: StringTable | None = None) -> int:
    names = strings or StringTable()
    ids = np.array([names.intern(symbol)], np.int32)
    venues = np.array([ABSENT if venue is None else names.intern(venue)], np.int32)
    return int(table.places("market", names.intern("feed"), ids, venues, names)[0])


def trades(*told: tuple[int, float, float]) -> Heard:
    """(series, minute, price)."""
    series, minutes, prices = (np.array(column) for column in zip(*told, strict=True))
    at_ns = (minutes * MINUTE_NS).astype(np.int64)
    minute = at_ns // MINUTE_NS
    return Heard(series.astype(np.int64), minute, minute, prices.astype(np.float64), at_ns)


def table_of(minutes: int, series_max: int = 5) -> SeriesTable:
    """With one symbol in it."""
    place(table := SeriesTable(minutes, series_max), "AAA")
    return table


def test_a_symbol_keeps_its_place_whatever_table_of_names_it_comes_with_and_beyond_the_cap_there_is_none() -> None:
    table = SeriesTable(10, 5)
    first = place(table, "AAA")
    other = StringTable(["something", "else"])
    assert place(table, "BBB", strings=other) != first
    assert place(table, "AAA", strings=other) == first
    assert table.keys[first] == SeriesKey("market", "feed", "AAA")
    small = SeriesTable(10, 2)
    assert [place(small, name) for name in ("A", "B", "C", "A")] == [0, 1, -1, 0]


def test_it_grows_and_keeps_what_it_has_and_the_first_venue_that_is_named() -> None:
    table = table_of(10, 1_000)
    table.take(trades((0, 5, 12.5)))
    assert [place(table, f"S{i}") for i in range(1, 200)] == list(range(1, 200))
    assert (table.covered[0].tolist(), table.price[0, 5]) == ([m == 5 for m in range(10)], 12.5)
    assert not table.covered[1:].any()
    table, names = SeriesTable(10, 5), StringTable()
    for venue in (None, "XNYS", "XNAS"):
        place(table, "AAA", venue, names)
    assert table.venues == ["XNYS"]


def test_minutes_that_the_ring_has_moved_over_are_empty_and_the_newest_event_not_record_has_the_last_price() -> None:
    table = table_of(4)
    table.take(trades((0, 1, 1.0), (0, 2, 2.0), (0, 3, 3.0)))
    table.take(trades((0, 6, 6.0), (0, 1, 9.0)))  # 1 is too old, 4 and 5 had nothing
    assert table.covered[0].tolist() == [False, False, True, True]  # minutes 4, 5, 6, 3
    assert table.price[0, [2, 3]].tolist() == [6.0, 3.0]
    assert (table.first[0], table.head[0], table.rows[0]) == (1, 6, 5)
    table = table_of(4)
    table.take(trades((0, 2.9, 10.0)))
    table.take(trades((0, 2.5, 11.0), (0, 2.95, 12.0), (0, 2.1, 13.0)))
    assert table.price[0, 2] == 12.0
    table.take(trades((0, 2.95, 14.0)))  # of one time, the last in the log
    assert table.price[0, 2] == 14.0


def test_counts_are_summed_over_slots_and_old_ones_are_gone_those_of_what_came_seldom_too() -> None:
    ring = Ring(3, 2)
    assert ring.between(0, 10).tolist() == [0, 0]
    ring.add(np.array([5, 5, 6]), np.array([0, 1, 1]))
    assert [ring.between(5, 7).tolist(), ring.between(6, 9).tolist()] == [[1, 2], [0, 1]]
    ring.add(np.array([8, 5]), np.array([0, 0]))  # 5 is too old now
    assert ring.between(0, 100).tolist() == [1, 1]
    counts = RareCounts(2)
    for name, slot in (("stale", 5), ("stale", 6), ("split", 6)):
        counts.add(name, slot * SLOT_NS + 1)
    assert counts.since(0) == {"stale": 2, "split": 1}
    counts.add("stale", 7 * SLOT_NS)
    assert (counts.since(0), counts.since(7)) == ({"stale": 2, "split": 1}, {"stale": 1})


@pytest.mark.parametrize(("lag_ms", "share", "told_ms"), [
    (1.5, 0.99, 1.5), (40.0, 0.99, 40.0), (900.0, 0.99, 900.0), (6e4, 0.99, 6e4), (3.6e6, 0.99, 3.6e6),
    pytest.param(-5_000, 0.5, 1.05, id="a clock that runs ahead has no delay below a millisecond"),
])  # fmt: skip
def test_a_delay_is_told_to_a_twentieth(lag_ms: float, share: float, told_ms: float) -> None:
    stream, now = Stream(7), 1_000 * SLOT_NS
    stream.take(np.zeros(3, np.int64), np.full(3, now - int(lag_ms * 1e6)), np.full(3, now))
    assert lag_at(stream.lags.between(0, 2_000), share) == pytest.approx(told_ms, rel=0.05)
    assert lag_at(np.zeros(BUCKETS, np.int64), 0.5) is None, "nobody knows a delay without rows"
