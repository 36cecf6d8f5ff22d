"""How often a vendor is asked: its rate, the budget of a day, waits after faults, and whose turn it is."""

import random
from datetime import UTC, datetime, time
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, none, one_of, text

from marketpulse.clock import ManualClock
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.sources.rest.backoff import RETRY_AFTER_MAX_S, Backoff, retry_after_s
from marketpulse.sources.rest.budget import Allowance, Budget, budget_file
from marketpulse.sources.rest.limits import Bucket, Rate
from marketpulse.sources.rest.turns import Turns

NEW_YORK = Allowance(25, "America/New_York", time(9, 30), time(16, 0), at_once=3)
NOW_NS = int(datetime(2026, 3, 2, 14, 30, tzinfo=UTC).timestamp()) * 10**9
RATES = {"requests": integers(1, 12), "burst": integers(1, 12)}


def bucket(requests: int, per_s: float, burst: int = 1) -> tuple[Bucket, ManualClock]:
    clock = ManualClock(0)
    return Bucket(Rate(requests, per_s, min(burst, requests)), clock), clock


@given(**RATES, pauses_s=lists(floats(0, 30), min_size=1, max_size=80))
def test_no_window_holds_more_requests_than_the_rate_allows(requests: int, burst: int, pauses_s: list[float]) -> None:
    some, clock = bucket(requests, 60.0, burst)
    taken: list[float] = []
    for pause in pauses_s:
        clock.sleep(pause)
        while some.take():
            taken.append(clock.monotonic())
    for i, begin in enumerate(taken):
        assert sum(at < begin + 60.0 - 1e-6 for at in taken[i:]) <= requests


@given(**RATES)
def test_who_waits_as_told_may_ask(requests: int, burst: int) -> None:
    some, clock = bucket(requests, 60.0, burst)
    for _ in range(40):
        clock.sleep(some.wait_s())
        assert some.take()


def test_in_the_long_run_the_whole_rate_is_used_and_a_dear_request_takes_several_tokens() -> None:
    some, clock = bucket(5, 60.0)
    for _ in range(50):
        clock.sleep(some.wait_s())
        assert some.take()
    assert clock.monotonic() == pytest.approx(49 * 12, abs=1e-3)
    some, _ = bucket(10, 10.0, 5)
    assert some.take(5)
    assert not some.take()
    assert some.wait_s(5) == pytest.approx(5 * 10 / 6)
    some, clock = bucket(10, 10.0, 2)
    assert some.take(5)
    assert some.wait_s(1) > 0
    clock.sleep(some.wait_s(5))
    assert some.take(5)


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type,misc]


def budget(file: Path, now_ns: int) -> tuple[Budget, ManualClock]:
    clock = ManualClock(now_ns)
    return Budget(NEW_YORK, file, clock), clock


def test_before_the_session_only_the_first_look_is_there_and_the_rest_is_spread_evenly_over_it(tmp_path: Path) -> None:
    some, clock = budget(tmp_path / "b", at(2026, 3, 2, 12, 0))  # 07:00 in New York
    for _ in range(3):
        assert some.wait_s() == 0
        some.spend()
    assert some.left() == 22
    # 22 requests in six and a half hours: the first is there a 22nd of them after 14:30 UTC
    assert some.wait_s() == pytest.approx(2.5 * 3600 + 6.5 * 3600 / 22, abs=1)
    spent = []
    for _ in range(22):
        clock.sleep(some.wait_s())
        some.spend()
        spent.append(clock.now_ns())
    assert {round((b - a) / 1e9) for a, b in pairwise(spent)} <= {1063, 1064}
    assert spent[-1] == at(2026, 3, 2, 21, 0), "the last one is there when the session closes"
    assert some.left() == 0


def test_after_the_session_all_is_free_until_midnight_there_which_summer_time_moves(tmp_path: Path) -> None:
    some, _ = budget(tmp_path / "b", at(2026, 3, 2, 22, 0))
    for _ in range(25):
        assert some.wait_s() == 0
        some.spend()
    assert some.wait_s() == pytest.approx((at(2026, 3, 3, 5, 0) - at(2026, 3, 2, 22, 0)) / 1e9), "midnight there"
    some, _ = budget(tmp_path / "b", at(2026, 3, 8, 5, 0))  # midnight, still UTC-5; later that day it is UTC-4
    some.spend(25)
    assert some.wait_s() == 23 * 3600


def test_what_was_spent_is_not_forgotten_by_a_restart_nor_by_a_clock_that_is_set_back(tmp_path: Path) -> None:
    budget(tmp_path / "deep" / "b", at(2026, 3, 2, 22, 0))[0].spend(20)
    assert budget(tmp_path / "deep" / "b", at(2026, 3, 1, 22, 0))[0].left() == 5, "a day back"
    second, clock = budget(tmp_path / "deep" / "b", at(2026, 3, 2, 22, 5))
    assert second.left() == 5
    clock.sleep(12 * 3600)
    assert second.left() == 25


def test_a_broken_file_counts_from_0_one_not_written_stops_and_its_name_tells_no_key(tmp_path: Path) -> None:
    for content in (b"", b"{", b"[]", b'{"day": 1, "spent": "x"}', b"\xff\xfe"):
        (tmp_path / "b").write_bytes(content)
        assert budget(tmp_path / "b", at(2026, 3, 2, 22, 0))[0].left() == 25
    (tmp_path / "file").write_text("")
    some, _ = budget(tmp_path / "file" / "b", at(2026, 3, 2, 22, 0))
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        some.spend()
    keys = ("ABCDEFGH12345678", "other", "ABCDEFGH12345678")
    one, other, again = (budget_file(Path("/data"), "alpha_vantage", key) for key in keys)
    assert (one == again, one == other, "ABCD" in str(one)) == (True, False, False)


@given(per_day=integers(1, 40), at_once=integers(0, 10), steps_s=lists(integers(1, 20_000), min_size=1, max_size=60))
def test_the_wait_it_tells_is_enough_and_no_longer_than_needed(per_day: int, at_once: int, steps_s: list[int]) -> None:
    allowance = Allowance(per_day, "America/New_York", time(9, 30), time(16, 0), at_once)
    now_ns = at(2026, 3, 7, 0, 0)
    for step in steps_s:
        now_ns += step * 10**9
        released = allowance.released(now_ns)
        assert 0 <= released <= per_day
        for count in range(1, per_day + 1):
            when = allowance.released_at_ns(count, now_ns)
            assert (when <= now_ns) == (count <= released)
            assert count <= released or allowance.released(when) >= count


def test_a_rate_or_an_allowance_that_cannot_be_is_refused() -> None:
    for requests, per_s, burst in ((0, 1, 1), (5, 0, 1), (5, 60, 6), (5, 60, 0)):
        with pytest.raises(ParameterError, match="burst"):
            Rate(requests, per_s, burst)
    backwards = {"opens": time(16, 0), "closes": time(9, 30)}
    wrong: list[dict[str, Any]] = [
        {"per_day": 0},
        *({"per_day": 5, **more} for more in ({"at_once": -1}, {"zone": "Mars/Base"}, backwards)),
    ]
    for one in wrong:
        with pytest.raises(ParameterError):
            Allowance(**one)


@given(seed=integers(0, 10_000), faults=integers(1, 80))
def test_each_wait_is_within_the_doubling_bound_and_the_cap(seed: int, faults: int) -> None:
    backoff = Backoff(1.0, 300.0, random.Random(seed))
    assert all(0 <= backoff.next_s() <= min(300.0, 2.0**n) for n in range(faults))


def test_the_jitter_is_full_an_answer_begins_the_waits_anew_and_what_the_vendor_asks_for_is_waited_for() -> None:
    """Waits fill the whole of [0, bound]: of many, some are in its lowest and some in its highest tenth."""
    waits = [Backoff(10.0, 10.0, random.Random(seed)).next_s() for seed in range(300)]
    assert min(waits) < 1.0
    assert max(waits) > 9.0
    backoff = Backoff(1.0, 300.0, random.Random(3))
    for _ in range(9):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.0
    assert 60.0 <= Backoff(1.0, 300.0, random.Random(3)).next_s(60.0) <= 61.0


def written(*moment: int) -> str:
    return format_datetime(datetime(*moment, tzinfo=UTC), usegmt=True)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(("header", "date", "seconds"), [
    ("120", None, 120.0), (" 1.5 ", None, 1.5), ("0", None, 0.0), ("-5", None, 0.0), ("nan", None, None), ("soon", None, None),
    ("", None, None), (None, None, None), ("inf", None, RETRY_AFTER_MAX_S), ("99999999", None, RETRY_AFTER_MAX_S),
    # a date is read by our clock where the server tells none of its own
    (written(2026, 3, 2, 14, 32), None, 120.0), (written(2026, 3, 2, 14, 32), written(2026, 3, 2, 14, 31), 60.0),
    (format_datetime(datetime(2020, 1, 1, tzinfo=UTC)), None, 0.0),
])  # fmt: skip
def test_retry_after_is_read_as(header: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_NS, date) == seconds


@given(header=one_of(none(), text(max_size=40)), date=one_of(none(), text(max_size=40)))
def test_no_header_is_too_odd(header: str | None, date: str | None) -> None:
    found = retry_after_s(header, NOW_NS, date)
    assert found is None or 0 <= found <= RETRY_AFTER_MAX_S


@given(count=integers(1, 12), failing=lists(integers(0, 11), max_size=12), rounds=integers(1, 5))
def test_no_symbol_starves_whatever_the_others_do(count: int, failing: list[int], rounds: int) -> None:
    """Symbols whose questions fail stay due; all the same each of them has one turn a round."""
    symbols = [f"S{i}" for i in range(count)]
    turns = Turns(symbols)
    asked = []
    for step in range(count * rounds):
        symbol = turns.next(float(step))
        assert symbol is not None
        turns.asked(symbol)
        asked.append(symbol)
        if int(symbol[1:]) not in failing:
            turns.again_at(symbol, float(step))
    for begin in range(0, len(asked), count):
        assert sorted(asked[begin : begin + count]) == sorted(symbols)


def test_nobody_is_asked_before_it_is_due() -> None:
    turns = Turns(["A", "B"])
    turns.again_at("A", 10.0)
    turns.again_at("B", 20.0)
    assert turns.next(9.0) is None
    assert turns.wait_s(9.0) == 1.0
    assert turns.next(10.0) == "A"
    assert turns.wait_s(30.0) == 0.0
