import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis.strategies import integers, none, one_of, text

from marketpulse.sources.rest.backoff import RETRY_AFTER_MAX_S, Backoff, retry_after_s

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9


@given(seed=integers(0, 10_000), faults=integers(1, 80))
def test_each_wait_is_within_the_doubling_bound_and_the_cap(seed: int, faults: int) -> None:
    backoff = Backoff(1.0, 300.0, random.Random(seed))
    for n in range(faults):
        assert 0 <= backoff.next_s() <= min(300.0, 2.0**n)


def test_the_jitter_is_full() -> None:
    """Waits fill the whole of [0, bound]: of many, some are in its lowest and some in its highest tenth."""
    waits = []
    for seed in range(300):
        backoff = Backoff(10.0, 10.0, random.Random(seed))
        waits.append(backoff.next_s())
    assert min(waits) < 1.0
    assert max(waits) > 9.0


def test_an_answer_begins_the_waits_anew() -> None:
    backoff = Backoff(1.0, 300.0, random.Random(3))
    for _ in range(9):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_what_the_vendor_asks_for_is_waited_for_in_full() -> None:
    assert 60.0 <= Backoff(1.0, 300.0, random.Random(3)).next_s(60.0) <= 61.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120.0), (" 1.5 ", 1.5), ("0", 0.0), ("-5", 0.0), ("99999999", RETRY_AFTER_MAX_S), ("nan", None),
     ("soon", None), ("", None), (None, None), ("inf", RETRY_AFTER_MAX_S)],
)  # fmt: skip
def test_seconds_are_read(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_NS) == seconds


def test_a_date_is_read_by_our_clock_where_the_server_tells_none_of_its_own() -> None:
    later = format_datetime(datetime(2026, 3, 2, 14, 32, tzinfo=UTC), usegmt=True)
    assert retry_after_s(later, NOW_NS) == 120.0
    assert retry_after_s(later, NOW_NS, format_datetime(datetime(2026, 3, 2, 14, 31, tzinfo=UTC), usegmt=True)) == 60.0
    assert retry_after_s(format_datetime(datetime(2020, 1, 1, tzinfo=UTC)), NOW_NS) == 0.0


@given(header=one_of(none(), text(max_size=40)), date=one_of(none(), text(max_size=40)))
def test_no_header_is_too_odd(header: str | None, date: str | None) -> None:
    found = retry_after_s(header, NOW_NS, date)
    assert found is None or 0 <= found <= RETRY_AFTER_MAX_S
