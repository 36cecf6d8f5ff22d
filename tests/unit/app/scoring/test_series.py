"""Minutes with rows and last prices, by series."""

import numpy as np

from marketpulse.app.scoring.series import MINUTE_NS, Heard, SeriesKey, SeriesTable
from marketpulse.model.market import ABSENT, StringTable


def place(table: SeriesTable, symbol: str, venue: str | None = None, strings: StringTable | None = None) -> int:
    names = strings or StringTable()
    ids = np.array([names.intern(symbol)], np.int32)
    venues = np.array([ABSENT if venue is None else names.intern(venue)], np.int32)
    return int(table.places("market", names.intern("feed"), ids, venues, names)[0])


def trades(*told: tuple[int, float, float]) -> Heard:
    """(series, minute, price), each half a minute in."""
    series, minutes, prices = (np.array(column) for column in zip(*told, strict=True))
    at_ns = (minutes * MINUTE_NS).astype(np.int64)
    minute = at_ns // MINUTE_NS
    return Heard(series.astype(np.int64), minute, minute, prices.astype(np.float64), at_ns)


def test_a_symbol_keeps_its_place_whatever_table_of_names_it_comes_with() -> None:
    table = SeriesTable(10, 5)
    first = place(table, "AAA")
    other = StringTable(["something", "else"])
    assert place(table, "BBB", strings=other) != first
    assert place(table, "AAA", strings=other) == first
    assert table.keys[first] == SeriesKey("market", "feed", "AAA")


def test_symbols_beyond_the_cap_have_no_place() -> None:
    table = SeriesTable(10, 2)
    assert [place(table, name) for name in ("A", "B", "C", "A")] == [0, 1, -1, 0]


def test_it_grows_and_keeps_what_it_has() -> None:
    table = SeriesTable(10, 1_000)
    place(table, "S0")
    table.take(trades((0, 5, 12.5)))
    for i in range(1, 200):
        assert place(table, f"S{i}") == i
    assert table.covered[0].tolist() == [m == 5 for m in range(10)]
    assert table.price[0, 5] == 12.5
    assert not table.covered[1:].any()


def test_the_first_venue_that_is_named_stays() -> None:
    table, names = SeriesTable(10, 5), StringTable()
    for venue in (None, "XNYS", "XNAS"):
        place(table, "AAA", venue, names)
    assert table.venues == ["XNYS"]


def test_minutes_that_the_ring_has_moved_over_are_empty_again() -> None:
    table = SeriesTable(4, 5)
    place(table, "AAA")
    table.take(trades((0, 1, 1.0), (0, 2, 2.0), (0, 3, 3.0)))
    table.take(trades((0, 6, 6.0), (0, 1, 9.0)))  # 1 is too old, 4 and 5 had nothing
    assert table.covered[0].tolist() == [False, False, True, True]  # minutes 4, 5, 6, 3
    assert table.price[0, [2, 3]].tolist() == [6.0, 3.0]
    assert (table.first[0], table.head[0], table.rows[0]) == (1, 6, 5)


def test_the_last_price_is_that_of_the_newest_event_not_of_the_newest_record() -> None:
    table = SeriesTable(4, 5)
    place(table, "AAA")
    table.take(trades((0, 2.9, 10.0)))
    table.take(trades((0, 2.5, 11.0), (0, 2.95, 12.0), (0, 2.1, 13.0)))
    assert table.price[0, 2] == 12.0
    table.take(trades((0, 2.95, 14.0)))  # of one time, the last in the log
    assert table.price[0, 2] == 14.0
