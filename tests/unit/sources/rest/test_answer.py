"""What a vendor's answer is taken for, and the bars that stand in it."""

from typing import Any

import orjson
import pytest

from marketpulse.errors import SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.rest.answer import Taken, by_the_status, judge_status
from marketpulse.sources.rest.bar_answer import Reading, bar_rows, unusable
from marketpulse.sources.rest.question import Question


@pytest.mark.parametrize(("status", "is_json", "taken"), [
    (200, True, "good"), (204, False, "failed"), (200, False, "failed"), (301, False, "refused"), (400, True, "refused"),
    (401, True, "key"), (401, False, "key"), (403, True, "key"), (403, False, "failed"), (404, True, "refused"),
    (408, True, "failed"), (418, True, "limit"), (429, False, "limit"), (500, True, "failed"), (503, False, "failed"),
])  # fmt: skip
def test_a_status_is_taken_as(status: int, is_json: bool, taken: str) -> None:
    assert judge_status(status, is_json).taken == Taken(taken)


def test_without_a_vendors_own_reading_the_status_decides_and_an_answer_is_whole_unless_it_is_said_otherwise() -> None:
    assert by_the_status(200, {}) is None
    assert not Question("/query", {"symbol": "AAPL"}).truncated


MAPPING = Mapping(timezone="America/New_York", timeframe="1m", venue="XNYS", symbol="IBM", record="bar")


def read(*rows: list[Any], **mapping: str) -> Reading:
    return bar_rows(list(rows), MAPPING.model_copy(update=mapping), "vendor IBM", "IBM")


def test_the_last_word_on_a_bar_holds_and_bars_are_in_order() -> None:
    bars = (("31", "2", "20"), ("30", "1", "10"), ("31", "3", "30"))
    reading = read(*([f"2026-03-02 09:{minute}:00", *[price] * 4, volume] for minute, price, volume in bars))
    assert reading.rows is not None
    assert reading.rows.frame["close"].to_list() == [1.0, 3.0]
    assert read().rows is None


def test_a_row_that_cannot_be_a_bar_is_a_dead_letter_with_its_own_values() -> None:
    reading = read(["2026-03-02 09:30:00", "1", [5], None, True, "10"])
    assert reading.rows is None
    (letter,) = reading.rejected
    assert letter.origin == "vendor IBM"
    assert orjson.loads(letter.value) == {
        "time": "2026-03-02 09:30:00", "open": "1", "high": [5], "low": None, "close": True, "volume": "10",
    }  # fmt: skip


def test_a_zone_that_nobody_knows_is_said() -> None:
    with pytest.raises(SettingsError, match="Mars"):
        read(["2026-03-02 09:31:00", "2", "2", "2", "2", "20"], timezone="Mars/Base")


def test_an_answer_is_set_aside_whole_but_not_endless() -> None:
    (letter,) = unusable("nothing in it", "vendor IBM", b"x" * 1_000_000).rejected
    assert letter.reason == "bad_answer"
    assert len(letter.value) == 64_000
