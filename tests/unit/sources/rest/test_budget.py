from datetime import UTC, datetime, time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from marketpulse.clock import ManualClock
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.sources.rest.budget import Allowance, Budget, budget_file

NEW_YORK = Allowance(25, "America/New_York", time(9, 30), time(16, 0), at_once=3)


def at(*moment: int) -> int:
    year, month, day, *clock = moment
    return int(datetime(year, month, day, *clock, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type,misc]


def budget(file: Path, now_ns: int, allowance: Allowance = NEW_YORK) -> tuple[Budget, ManualClock]:
    clock = ManualClock(now_ns)
    return Budget(allowance, file, clock), clock


def test_before_the_session_only_the_first_look_is_there(tmp_path: Path) -> None:
    some, _ = budget(tmp_path / "b", at(2026, 3, 2, 12, 0))  # 07:00 in New York
    for _ in range(3):
        assert some.wait_s() == 0
        some.spend()
    assert some.left() == 22
    # 22 requests in six and a half hours: the first is there a 22nd of them after 14:30 UTC
    assert some.wait_s() == pytest.approx(2.5 * 3600 + 6.5 * 3600 / 22, abs=1)


def test_the_rest_is_spread_evenly_over_the_session(tmp_path: Path) -> None:
    some, clock = budget(tmp_path / "b", at(2026, 3, 2, 12, 0))
    spent = []
    for _ in range(25):
        clock.sleep(some.wait_s())
        some.spend()
        spent.append(clock.now_ns())
    steps = {round((b - a) / 1e9) for a, b in pairwise(spent[3:])}
    assert steps <= {1063, 1064}
    assert spent[-1] == at(2026, 3, 2, 21, 0), "the last one is there when the session closes"
    assert some.left() == 0


def test_after_the_session_all_that_is_left_is_free(tmp_path: Path) -> None:
    some, _ = budget(tmp_path / "b", at(2026, 3, 2, 22, 0))
    for _ in range(25):
        assert some.wait_s() == 0
        some.spend()
    assert some.wait_s() == pytest.approx((at(2026, 3, 3, 5, 0) - at(2026, 3, 2, 22, 0)) / 1e9), "midnight there"


def test_summer_time_moves_the_session_and_midnight(tmp_path: Path) -> None:
    """On 8 March 2026 New York goes from UTC-5 to UTC-4."""
    some, _ = budget(tmp_path / "b", at(2026, 3, 8, 5, 0))  # midnight, still UTC-5
    some.spend(25)
    assert some.wait_s() == 23 * 3600


def test_a_restart_does_not_forget_what_was_spent(tmp_path: Path) -> None:
    first, _ = budget(tmp_path / "deep" / "b", at(2026, 3, 2, 22, 0))
    first.spend(20)
    second, clock = budget(tmp_path / "deep" / "b", at(2026, 3, 2, 22, 5))
    assert second.left() == 5
    clock.sleep(12 * 3600)
    assert second.left() == 25


def test_a_clock_that_is_set_back_gives_nothing_again(tmp_path: Path) -> None:
    first, _ = budget(tmp_path / "b", at(2026, 3, 3, 22, 0))
    first.spend(20)
    second, _ = budget(tmp_path / "b", at(2026, 3, 2, 22, 0))
    assert second.left() == 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"day": 1, "spent": "x"}', b"\xff\xfe"])
def test_a_broken_file_counts_from_zero(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    some, _ = budget(tmp_path / "b", at(2026, 3, 2, 22, 0))
    assert some.left() == 25


def test_a_count_that_cannot_be_written_stops(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    some, _ = budget(tmp_path / "file" / "b", at(2026, 3, 2, 22, 0))
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        some.spend()


@given(
    per_day=integers(1, 40), at_once=integers(0, 10),
    steps_s=lists(integers(1, 20_000), min_size=1, max_size=60),
)  # fmt: skip
def test_the_wait_it_tells_is_enough_and_no_longer_than_needed(per_day: int, at_once: int, steps_s: list[int]) -> None:
    allowance = Allowance(per_day, "America/New_York", time(9, 30), time(16, 0), at_once)
    now_ns = at(2026, 3, 7, 0, 0)
    for step in steps_s:
        now_ns += step * 10**9
        released = allowance.released(now_ns)
        assert 0 <= released <= per_day
        for count in range(1, per_day + 1):
            when = allowance.released_at_ns(count, now_ns)
            if count <= released:
                assert when <= now_ns
            else:
                assert when > now_ns
                assert allowance.released(when) >= count


@pytest.mark.parametrize(
    "wrong",
    [{"per_day": 0}, {"per_day": 5, "at_once": -1}, {"per_day": 5, "zone": "Mars/Base"},
     {"per_day": 5, "opens": time(16, 0), "closes": time(9, 30)}],
)  # fmt: skip
def test_an_allowance_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        Allowance(**wrong)  # type: ignore[arg-type]


def test_the_files_name_does_not_tell_the_key() -> None:
    one, other = (budget_file(Path("/data"), "alpha_vantage", key) for key in ("ABCDEFGH12345678", "other"))
    assert one != other
    assert "ABCD" not in str(one)
    assert one == budget_file(Path("/data"), "alpha_vantage", "ABCDEFGH12345678")
