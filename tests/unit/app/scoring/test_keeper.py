"""What a keeper hears, and what it leaves out."""

import orjson
import pytest

from market_rows import at, bar, heartbeat, quote, trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.keeper import ScoreKeeper
from score_rows import card_of, hours_of, one, tell

HOUR = 3_600.0


def letter(source: str | None, reason: str = "bad_price") -> bytes:
    value = None if source is None else orjson.dumps({"type": "trade", "source": source}).decode()
    return orjson.dumps({"reason": reason, "value": value})


def test_dead_letters_count_for_the_source_that_their_record_names() -> None:
    keeper = ScoreKeeper(1, 10)
    tell(keeper, [(trade("AAA", HOUR, 1.0, 1.0), HOUR)])
    for value in (
        letter("feed"),
        letter("feed", "bad_size"),
        letter(None),
        orjson.dumps({"reason": "x", "value": "[1]"}),
        b"no letter",
    ):
        keeper.hear_letter(value, at(HOUR))
    card = Card(keeper, hours_of())
    assert one(card, "feed")["dead_letters"] == {"bad_price": 1, "bad_size": 1}
    assert card.unplaced_letters() == {"bad_price": 1, "x": 1}


def test_rows_of_symbols_beyond_the_cap_count_for_the_source_and_are_told() -> None:
    keeper = ScoreKeeper(1, 1)
    tell(keeper, [(trade(name, HOUR, 1.0, 1.0), HOUR) for name in ("AAA", "BBB", "BBB")])
    assert keeper.series.left_out_rows == 2
    found = one(Card(keeper, hours_of()), "feed")
    assert (found["symbols"], found["rows"]["trade"]) == (1, 3)


def test_a_row_far_ahead_of_its_time_counts_for_no_minute() -> None:
    rows = [(trade("AAA", HOUR, 1.0, 1.0), HOUR), (trade("AAA", HOUR + 7_200, 1.0, 1.0), HOUR + 130)]
    [symbol] = card_of(rows).symbols("feed", 10)["symbols"]
    assert symbol["minutes"].lstrip(".") == "10"
    assert one(card_of(rows), "feed")["newest_event_ms"] * 10**6 == at(HOUR)


def test_a_bar_covers_its_minutes_and_is_known_when_it_closes() -> None:
    rows = [
        (bar("AAA", "5m", HOUR, HOUR + 300, (1.0, 1.0, 1.0, 1.0, 5.0)), HOUR + 302),
        (trade("BBB", HOUR + 600, 1.0, 1.0), HOUR + 600),
    ]
    card = card_of(rows)
    [told] = [row for row in card.symbols("feed", 10)["symbols"] if row["symbol"] == "AAA"]
    assert told["minutes"].lstrip(".") == "1" * 5 + "0" * 5
    assert one(card, "feed")["lag_p99_ms"] == pytest.approx(2_000, rel=0.06)


def test_a_heartbeat_is_a_sign_of_life_and_no_row() -> None:
    rows = [(quote("AAA", HOUR, 1.0, 2.0), HOUR), (heartbeat(HOUR + 100, log=HOUR + 100), HOUR + 100)]
    found = one(card_of(rows), "feed")
    assert (found["state"], found["rows"]) == ("live", {"trade": 0, "quote": 1, "bar": 0})
