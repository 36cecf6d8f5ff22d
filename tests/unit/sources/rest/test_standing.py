"""What an answer is taken for, and which of its bars stand. Minutes are counted from 0; a bar of minute m covers [m, m + 1)."""

from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, data, integers

from examples import examples
from marketpulse.errors import SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.rest.answer import by_the_status, judge_status
from marketpulse.sources.rest.bar_answer import Reading, bar_rows, unusable
from marketpulse.sources.rest.question import Question
from marketpulse.sources.rest.standing import Standing, Taken


@pytest.mark.parametrize(("status", "is_json", "taken"), [
    (200, True, "good"), (204, False, "failed"), (200, False, "failed"), (301, False, "refused"), (400, True, "refused"),
    (401, True, "key"), (401, False, "key"), (403, True, "key"), (403, False, "failed"), (404, True, "refused"),
    (408, True, "failed"), (418, True, "limit"), (429, False, "limit"), (500, True, "failed"), (503, False, "failed"),
])  # fmt: skip
def test_a_status_is_taken_as(status: int, is_json: bool, taken: str) -> None:
    assert judge_status(status, is_json).taken.value == taken


def test_the_status_decides_without_a_vendors_reading_and_the_newest_bar_forms_as_its_delay_allows() -> None:
    assert by_the_status(200, {}) is None
    assert not Question("/query", {"symbol": "AAPL"}).truncated
    standing = Standing("A")
    assert (minutes(take(standing, reading(0, 1, 2), 2.5)), standing.until_ns) == ([0, 1], minute(2))
    assert standing.promise_ns == minute(2.5), "nothing that closed before now is to come"
    behind = Standing("A")
    assert (minutes(take(behind, reading(0, 1, 2), 10)), behind.promise_ns) == ([0, 1], minute(3) - 1)
    standing = Standing("A")
    for now in (60, 50):
        take(standing, Reading(), now)
        assert standing.promise_ns == minute(40), "a promise is kept"


IBM = Mapping(timezone="America/New_York", timeframe="1m", venue="XNYS", symbol="IBM", record="bar")


def read(*rows: list[Any], **mapping: str) -> Reading:
    return bar_rows(list(rows), IBM.model_copy(update=mapping), "vendor IBM", "IBM")


def test_the_last_word_on_a_bar_holds_and_what_cannot_be_a_bar_is_a_dead_letter_but_never_an_endless_one() -> None:
    bars = (("31", "2", "20"), ("30", "1", "10"), ("31", "3", "30"))
    reading = read(*([f"2026-03-02 09:{minute}:00", *[price] * 4, volume] for minute, price, volume in bars))
    assert reading.rows is not None
    assert reading.rows.frame["close"].to_list() == [1.0, 3.0]
    assert read().rows is None
    (letter,) = unusable("nothing in it", "vendor IBM", b"x" * 1_000_000).rejected
    assert (letter.reason, len(letter.value)) == ("bad_answer", 64_000)
    with pytest.raises(SettingsError, match="Mars"):
        read(["2026-03-02 09:31:00", "2", "2", "2", "2", "20"], timezone="Mars/Base")
    reading = read(["2026-03-02 09:30:00", "1", [5], None, True, "10"])
    (letter,) = reading.rejected
    assert (reading.rows, letter.origin) == (None, "vendor IBM")
    assert orjson.loads(letter.value) == {
        "time": "2026-03-02 09:30:00", "open": "1", "high": [5], "low": None, "close": True, "volume": "10",
    }  # fmt: skip


MINUTE = 60 * 10**9
BEGIN = 1_772_000_000 // 60 * MINUTE
MAPPING = Mapping(timeframe="1m", record="bar")


def minute(m: float) -> int:
    return BEGIN + int(m * MINUTE)


@cache  # the property asks for the same minutes many times
def reading(*minutes: int, close: float = 10.0, reached: float | None = None) -> Reading:
    cells = [[str(minute(m)), close, close, close, close, 1] for m in minutes]
    found = bar_rows(cells, MAPPING, "vendor A", "A")
    return Reading(found.rows, found.rejected, None if reached is None else minute(reached))


def take(standing: Standing, answer: Reading, now: float, truncated: bool = False) -> Taken | None:
    return standing.take(answer, minute(now), settle_ns=15 * 10**9, delay_ns=20 * MINUTE, truncated=truncated)


def minutes(taken: Taken | None) -> list[int]:
    return (
        []
        if taken is None or taken.rows is None
        else [(at - BEGIN) // MINUTE for at in taken.rows.frame["open_time_ns"].to_list()]
    )


def test_a_bar_is_sent_once_it_has_settled_once_over_restarts_again_when_it_changes_and_late() -> None:
    standing = Standing("A")
    assert [minutes(take(standing, reading(0, 1, 2), now)) for now in (2.2, 2.3)] == [[0], [1]]
    assert minutes(take(Standing("A"), reading(0, 1, reached=2), 2.5)) == [0, 1]
    assert minutes(take(Standing("A"), reading(0, 1), 22.1)) == [0, 1]
    assert minutes(take(Standing("A"), reading(0, 1), 21.9)) == [0]
    standing = Standing("A")
    take(standing, reading(0, 1, 2), 3)
    assert take(standing, reading(0, 1, 2), 3) is None
    assert minutes(take(standing, reading(0, 1, 2, 3), 4)) == [2]
    assert minutes(take(Standing("A", until_ns=minute(2)), reading(0, 1, 2, 3), 4)) == [2]
    standing = Standing("A")
    take(standing, reading(0, 1, 2), 2.5)
    changed = take(standing, reading(0, 1, 2, close=11.0), 2.5)
    assert changed is not None
    assert (minutes(changed), changed.changed) == ([0, 1], 2)
    assert take(standing, reading(0, 1, 2, close=11.0), 2.5) is None
    assert standing.until_ns == minute(2)
    standing = Standing("A")
    take(standing, reading(0, 2, 3), 3.5)
    late = take(standing, reading(0, 1, 2, 3), 3.5)
    assert late is not None
    assert (minutes(late), late.changed) == ([1], 1)


@pytest.mark.parametrize(("seen", "truncated", "gap", "sent"), [
    ((10, 11, 12), True, (minute(2), minute(10)), [10, 11]), ((10, 11, 12), False, None, [10, 11]), ((2, 3, 4), True, None, [2, 3]),
], ids=["it does not reach back", "it is whole", "it touches"])  # fmt: skip
def test_an_answer_that_does_not_reach_back_shows_a_gap(
    seen: tuple[int, ...], truncated: bool, gap: tuple[int, int] | None, sent: list[int]
) -> None:
    taken = take(Standing("A", until_ns=minute(2)), reading(*seen), seen[-1] + 0.5, truncated=truncated)
    assert taken is not None
    assert (taken.gap, minutes(taken)) == (gap, sent)


@examples(60)
@given(pick=data(), behind=integers(0, 15), start=integers(0, 3))
def test_every_bar_goes_once_in_order_and_never_before_it_has_closed(pick: DataObject, behind: int, start: int) -> None:
    """A vendor that runs behind is asked at odd times; its newest bar always still forms. We restart now and then."""
    standing = Standing("A")
    sent: list[int] = []
    now = 20.0 + start
    for _ in range(25):
        now += pick.draw(integers(1, 90)) / 20
        at_vendor = now - behind
        first, last = max(0, int(at_vendor) - 30), int(at_vendor)
        promised = standing.promise_ns
        found = minutes(take(standing, reading(*range(first, last + 1)), now))
        assert all(m + 1 <= at_vendor for m in found), "the vendor itself has seen its end"
        assert promised is None or all(minute(m + 1) > promised for m in found)
        sent += found
        if pick.draw(integers(0, 4)) == 0:
            standing = Standing("A", until_ns=standing.until_ns)
    assert (sent, sent) == (sorted(set(sent)), list(range(sent[0], sent[-1] + 1)))
