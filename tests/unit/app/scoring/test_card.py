"""A row of the card: states, modes, gaps, and sources that compete for a symbol."""

import pytest

from market_rows import Row, clock, goodbye, heartbeat, hello, trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.keeper import ScoreKeeper
from score_rows import card_of, hours_of, one, tell

HOUR = 3_600.0


def gap(state: str, trades: int, ids: tuple[int, int] = (5, 7), source: str = "feed") -> Row:
    return {
        "type": "gap", "symbol": "AAA", "source": source, "event_time_ns": 0, "from_ns": 1, "to_ns": 2, "state": state,
        "from_id": str(ids[0]), "to_id": str(ids[1]), "trades": trades, "reason": "lost",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("behind", "state"),
    [
        ([], "live"),
        ([(heartbeat(HOUR + 99, log=HOUR + 100), HOUR + 100), (clock(HOUR + 110), HOUR + 110)], "live"),
        ([(clock(HOUR + 110), HOUR + 110), (trade("BBB", HOUR + 110, 1.0, 1.0, "other"), HOUR + 110)], "silent"),
        ([(goodbye(), HOUR + 1)], "ended"),
        ([(goodbye(), HOUR + 1), (hello(), HOUR + 2)], "live"),
    ],
)
def test_a_source_is_live_silent_or_has_ended(behind: list[tuple[Row, float]], state: str) -> None:
    assert one(card_of([(trade("AAA", HOUR, 1.0, 1.0), HOUR), *behind]), "feed")["state"] == state


def test_an_old_history_has_no_lag_and_is_covered_in_its_own_time() -> None:
    month = 30 * 86_400.0
    rows = [(trade("AAA", HOUR, 1.0, 1.0), month), (trade("AAA", HOUR + 119, 1.0, 1.0), month)]
    for told in ([], [(hello(mode="historical"), month)]):
        found = one(card_of([*told, *rows]), "feed")
        assert (found["mode"], found["lag_p50_ms"], found["behind_ms"], found["coverage"]) == (
            "historical",
            None,
            None,
            1.0,
        )


def test_a_gap_goes_from_found_to_healed() -> None:
    rows = [(trade("AAA", HOUR, 1.0, 1.0), HOUR), (gap("found", 3), HOUR)]
    assert one(card_of(rows), "feed")["gaps"]["found"] == {"gaps": 1, "trades": 3}
    healed = one(card_of([*rows, (gap("healed", 3), HOUR + 2), (gap("open", 9, (20, 28)), HOUR + 3)]), "feed")["gaps"]
    assert healed == {
        "found": {"gaps": 0, "trades": 0},
        "healed": {"gaps": 1, "trades": 3},
        "open": {"gaps": 1, "trades": 9},
    }


def test_what_was_told_before_these_hours_is_not_counted() -> None:
    rows = [(gap("open", 3), HOUR), (trade("AAA", HOUR, 1.0, 1.0), HOUR), (trade("AAA", 4 * HOUR, 1.0, 1.0), 4 * HOUR)]
    found = one(card_of(rows), "feed")
    assert (found["gaps"]["open"]["gaps"], found["rows"]["trade"]) == (0, 1)


def test_of_sources_that_compete_what_is_chosen_counts_once() -> None:
    keeper = ScoreKeeper(1, 10)
    rows = [(trade("AAA", HOUR + i, 1.0, 1.0), HOUR + i) for i in range(3)]
    tell(keeper, [*rows, (gap("healed", 3), HOUR)], topic="feeds")
    quality = {"type": "quality", "symbol": "AAA", "source": "feed", "event_time_ns": 0, "rule": "stale"}
    tell(keeper, [(row, seconds + 50) for row, seconds in rows] + [(gap("healed", 3), HOUR + 50), (quality, HOUR + 50)])
    found = one(Card(keeper, hours_of()), "feed")
    assert (found["rows"]["trade"], found["symbols"], found["gaps"]["healed"]["gaps"]) == (3, 1, 1)
    assert found["lag_p99_ms"] < 2  # that of the feed, not of who chose it
    assert found["quality"] == {"stale": 1}


def test_a_source_that_nobody_heard_has_nothing_to_show() -> None:
    assert card_of([(trade("AAA", HOUR, 1.0, 1.0), HOUR)]).symbols("other", 10) == {
        "from_ms": 0, "to_ms": 0, "symbols": [], "gaps": [], "disagreements": [],
    }  # fmt: skip
