"""Ids that are one trade's alone: of a venue, and of a day in New York."""

from datetime import UTC, datetime

from marketpulse.sources.streaming.tape import trade_id


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_a_session_with_its_pre_and_post_market_is_one_day_in_winter_and_in_summer() -> None:
    for begin, end in (("2026-01-05T09:00", "2026-01-06T00:59"), ("2026-07-06T08:00", "2026-07-06T23:59")):
        assert trade_id(at(begin), "V", 1) == trade_id(at(end), "V", 1)


def test_days_and_venues_have_ids_of_their_own() -> None:
    day, next_day = at("2026-01-05T15:00"), at("2026-01-06T15:00")
    assert len({trade_id(day, "V", 1), trade_id(next_day, "V", 1), trade_id(day, "Q", 1), trade_id(day, 1)}) == 4
