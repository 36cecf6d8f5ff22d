import orjson
import pytest

from marketpulse.errors import SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.rest.bar_answer import bar_rows, unusable

MAPPING = Mapping(timezone="America/New_York", timeframe="1m", venue="XNYS", symbol="IBM", record="bar")


def test_the_last_word_on_a_bar_holds_and_bars_are_in_order() -> None:
    cells = [
        ["2026-03-02 09:31:00", "2", "2", "2", "2", "20"], ["2026-03-02 09:30:00", "1", "1", "1", "1", "10"],
        ["2026-03-02 09:31:00", "3", "3", "3", "3", "30"],
    ]  # fmt: skip
    reading = bar_rows(cells, MAPPING, "vendor IBM", "IBM")
    assert reading.rows is not None
    assert reading.rows.frame["close"].to_list() == [1.0, 3.0]


def test_a_row_that_cannot_be_a_bar_is_a_dead_letter_with_its_own_values() -> None:
    reading = bar_rows([["2026-03-02 09:30:00", "1", [5], None, True, "10"]], MAPPING, "vendor IBM", "IBM")
    assert reading.rows is None
    (letter,) = reading.rejected
    assert letter.origin == "vendor IBM"
    assert orjson.loads(letter.value) == {
        "time": "2026-03-02 09:30:00", "open": "1", "high": [5], "low": None, "close": True, "volume": "10",
    }  # fmt: skip


def test_no_cells_are_no_bars() -> None:
    assert bar_rows([], MAPPING, "vendor IBM", "IBM").rows is None


def test_a_zone_that_nobody_knows_is_said() -> None:
    cells = [["2026-03-02 09:31:00", "2", "2", "2", "2", "20"]]
    with pytest.raises(SettingsError, match="Mars"):
        bar_rows(cells, MAPPING.model_copy(update={"timezone": "Mars/Base"}), "vendor IBM", "IBM")


def test_an_answer_is_set_aside_whole_but_not_endless() -> None:
    (letter,) = unusable("nothing in it", "vendor IBM", b"x" * 1_000_000).rejected
    assert letter.reason == "bad_answer"
    assert len(letter.value) == 64_000
