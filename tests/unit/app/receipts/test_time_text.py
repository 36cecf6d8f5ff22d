import pytest

from marketpulse.app.receipts.time_text import parse_time, show_time
from marketpulse.errors import ParameterError

HALF_PAST_TWO = 1_767_623_400_000_000_000  # date -d 2026-01-05T14:30:00Z +%s


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05T14:30:00Z", "2026-01-05 14:30", "2026-01-05T14:30:00.000", "2026-01-05T09:30:00-05:00",
        str(HALF_PAST_TWO),
    ],
)  # fmt: skip
def test_a_time_is_read_as_people_write_it(text: str) -> None:
    assert parse_time(text, "--from") == HALF_PAST_TWO


def test_no_nanosecond_is_lost_on_the_way_there_and_back() -> None:
    time = HALF_PAST_TWO + 123_456_789
    assert show_time(time) == "2026-01-05T14:30:00.123456789Z"
    assert parse_time(show_time(time), "--from") == time
    assert show_time(HALF_PAST_TWO) == "2026-01-05T14:30:00Z"
    assert parse_time("2026-01-05", "--to") == HALF_PAST_TWO - 52_200 * 10**9


def test_what_is_no_time_is_refused_with_the_options_name() -> None:
    with pytest.raises(ParameterError, match=r"--from 'noon' is no time: write one such as"):
        parse_time("noon", "--from")
