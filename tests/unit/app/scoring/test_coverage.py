"""Coverage counts the minutes that a calendar is open, from the first row on."""

import numpy as np
import pytest

from market_rows import MIDNIGHT_NS, quote, trade
from marketpulse.app.scoring.coverage import open_minutes, share, strip_text
from marketpulse.model.session import SessionTable, around_the_clock
from score_rows import card_of, one

MINUTE_NS = 60 * 10**9
DAY = SessionTable(
    "XTST", np.array([10, 20]) * MINUTE_NS, np.array([13, 21]) * MINUTE_NS, np.array([0, 1], np.int32)
)  # fmt: skip


@pytest.mark.parametrize("table", [None, around_the_clock()])
def test_what_never_closes_is_always_open(table: SessionTable | None) -> None:
    assert open_minutes(table, 5, 8).tolist() == [True] * 3


def test_a_minute_is_open_when_its_beginning_lies_in_a_session() -> None:
    assert np.flatnonzero(open_minutes(DAY, 0, 30)).tolist() == [10, 11, 12, 20]


def test_a_strip_has_a_character_for_each_minute() -> None:
    assert strip_text(np.array([True, True, False]), np.array([True, False, True])) == "1.0"


def test_nothing_to_count_is_no_share() -> None:
    assert share(np.array([True]), np.array([False])) is None


def test_a_symbol_counts_from_its_first_row_to_the_last_whole_minute() -> None:
    hour = 3_600.0
    rows = [
        (trade("AAA", hour, 1.0, 1.0), hour),
        (quote("AAA", hour + 60, 1.0, 2.0), hour + 60),
        (trade("AAA", hour + 239, 1.0, 1.0), hour + 240),
        (trade("BBB", hour + 245, 1.0, 1.0), hour + 245),
    ]
    card = card_of(rows)
    told = {row["symbol"]: row for row in card.symbols("feed", 10)["symbols"]}
    assert told["AAA"]["coverage"] == 3 / 4
    assert told["AAA"]["minutes"].lstrip(".") == "1101"
    assert told["BBB"]["coverage"] is None  # its first minute is not over
    assert one(card, "feed")["coverage"] == 3 / 4
    assert card.symbols("feed", 10)["to_ms"] * 10**6 == MIDNIGHT_NS + int(hour + 240) * 10**9
