"""When a venue trades, by its calendar: nights, weekends and holidays are no loss."""

from datetime import UTC, datetime

import pytest

from marketpulse.app.trading_hours import open_between
from marketpulse.errors import ParameterError


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("begin", "end", "trades"),
    [
        ("2026-03-04T15:00", "2026-03-04T15:00", True),  # 10:00 in New York
        ("2026-03-04T09:30", "2026-03-04T09:30", True),  # 04:30: the pre-market
        ("2026-03-05T02:00", "2026-03-05T08:00", False),  # the night
        ("2026-03-07T02:00", "2026-03-09T07:59", False),  # a weekend, until summer time's 04:00
        ("2026-03-07T02:00", "2026-03-09T08:00", True),
        ("2026-12-25T12:00", "2026-12-25T20:00", False),  # Christmas
    ],
)
def test_a_time_in_new_york(begin: str, end: str, trades: bool) -> None:
    assert open_between("XNYS")(at(begin), at(end)) is trades


def test_what_never_closes_and_what_nobody_knows() -> None:
    assert open_between("24x7")(at("2026-12-25T12:00"), at("2026-12-25T12:01"))
    with pytest.raises(ParameterError, match="XXXX"):
        open_between("XXXX")
