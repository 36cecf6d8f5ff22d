import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

from marketpulse.clock import ManualClock
from marketpulse.errors import ParameterError
from marketpulse.sources.rest.limits import Bucket, Rate


@given(requests=integers(1, 12), burst=integers(1, 12), pauses_s=lists(floats(0, 30), min_size=1, max_size=80))
def test_no_window_ever_holds_more_requests_than_the_rate_allows(
    requests: int, burst: int, pauses_s: list[float]
) -> None:
    burst = min(burst, requests)
    clock = ManualClock(0)
    bucket = Bucket(Rate(requests, 60.0, burst), clock)
    taken: list[float] = []
    for pause in pauses_s:
        clock.sleep(pause)
        while bucket.take():
            taken.append(clock.monotonic())
    for i, begin in enumerate(taken):
        inside = [at for at in taken[i:] if at < begin + 60.0 - 1e-6]
        assert len(inside) <= requests


@given(requests=integers(1, 12), burst=integers(1, 12))
def test_who_waits_as_told_may_ask(requests: int, burst: int) -> None:
    burst = min(burst, requests)
    clock = ManualClock(0)
    bucket = Bucket(Rate(requests, 60.0, burst), clock)
    for _ in range(40):
        clock.sleep(bucket.wait_s())
        assert bucket.take()


def test_in_the_long_run_the_whole_rate_is_used() -> None:
    clock = ManualClock(0)
    bucket = Bucket(Rate(5, 60.0), clock)
    for _ in range(50):
        clock.sleep(bucket.wait_s())
        assert bucket.take()
    assert clock.monotonic() == pytest.approx(49 * 12, abs=1e-3)


def test_a_dear_request_takes_several_tokens() -> None:
    clock = ManualClock(0)
    bucket = Bucket(Rate(10, 10.0, burst=5), clock)
    assert bucket.take(5)
    assert not bucket.take()
    assert bucket.wait_s(5) == pytest.approx(5 * 10 / 6)


def test_a_request_dearer_than_the_burst_waits_for_a_full_bucket() -> None:
    clock = ManualClock(0)
    bucket = Bucket(Rate(10, 10.0, burst=2), clock)
    assert bucket.take(5)
    assert bucket.wait_s(1) > 0
    clock.sleep(bucket.wait_s(5))
    assert bucket.take(5)


@pytest.mark.parametrize(("requests", "per_s", "burst"), [(0, 1, 1), (5, 0, 1), (5, 60, 6), (5, 60, 0)])
def test_a_rate_that_cannot_be_is_refused(requests: int, per_s: float, burst: int) -> None:
    with pytest.raises(ParameterError, match="burst"):
        Rate(requests, per_s, burst)
