"""What a receipt says: the arithmetic of a column, places, times, and a report's verdict."""

import math

import pytest

from marketpulse.app.receipts.bar_arithmetic import explain_column
from marketpulse.app.receipts.compare import Difference
from marketpulse.app.receipts.explain_text import receipt_text
from marketpulse.app.receipts.loaded import file_of, place_text
from marketpulse.app.receipts.report import Report
from marketpulse.app.receipts.report_text import as_object, difference_text, lines
from marketpulse.app.receipts.time_text import parse_time, show_time
from marketpulse.app.receipts.trace import Input
from marketpulse.errors import ParameterError
from marketpulse.model.market import LOADED

HALF_PAST_TWO = 1_767_623_400_000_000_000  # date -d 2026-01-05T14:30:00Z +%s


def traded(offset: int, time: int, price: float, size: float, *, counts: bool = True) -> Input:
    return Input("trade", offset, 0, time, "feed", price, size, counts=counts)


def test_a_column_follows_from_the_trades_that_count_in_order_of_time_and_a_bar_by_count_follows_the_log() -> None:
    trades = [traded(7, 30, 4.0, 1.0), traded(5, 10, 5.0, 1.0), traded(6, 20, 9.0, 3.0, counts=False), traded(8, 40, 7.0, 3.0)]  # fmt: skip
    values = {"open": 5.0, "high": 7.0, "low": 4.0, "close": 7.0, "volume": 5.0, "vwap": 6.0, "trade_count": 3}
    explained = {name: explain_column(name, trades, by_count=False) for name in values}
    assert {name: found for name, (_, found) in explained.items()} == values
    assert all(lines for lines, _ in explained.values())
    swapped = [traded(1, 50, 2.0, 1.0), traded(2, 10, 3.0, 1.0)]
    assert explain_column("close", swapped, by_count=True)[1] == 3.0
    assert explain_column("close", swapped, by_count=False)[1] == 2.0
    assert explain_column("vwap", [traded(1, 1, 2.0, 0.0)], by_count=False)[1] is None, "there is no volume"
    assert explain_column("close", [traded(1, 1, 2.0, 0.0, counts=False)], by_count=False)[1] is None, "nor any trade"


def test_bars_of_a_source_are_joined_and_the_newest_of_each_counts() -> None:
    def given(offset: int, opens: int, close: float, volume: float, vwap: float) -> Input:
        bar = {"open": 1.0, "high": close, "low": 0.5, "close": close, "volume": volume, "vwap": vwap, "trade_count": 2}
        return Input("bar", offset, 0, opens, "feed", close, volume, bar=bar)

    bars = [given(1, 0, 3.0, 1.0, 2.0), given(2, 0, 4.0, 1.0, 2.0), given(3, 60, 2.0, 3.0, 6.0)]
    for column, value in (("high", 4.0), ("volume", 4.0), ("vwap", 5.0), ("trade_count", 4)):
        assert explain_column(column, bars, by_count=False)[1] == value, column
    assert explain_column("vwap", [given(1, 0, 3.0, 1.0, math.nan)], by_count=False)[1] is None


def test_a_place_is_one_in_the_log_or_a_row_of_a_file_and_a_receipt_says_what_lies_before_the_log() -> None:
    assert (place_text(12, 3), place_text(LOADED + 45, 0)) == ("12.3", "file row 45")
    assert (file_of("file:trades.csv@1a.2b"), file_of("market")) == ("trades.csv", None)
    nowhere = dict.fromkeys(("first_offset", "first_row", "last_offset", "last_row"))
    receipt = {"topic": "market", "partition": 2, **nowhere, "late_count": 0, "engine_version": "3"}
    loaded = {**receipt, "topic": "file:t.csv@1a.2b", "first_offset": 2, "last_offset": 3_000}
    assert "rows 2 to 3,000 of t.csv, which was loaded" in receipt_text(loaded)
    assert "loaded history, and offsets to 9.1" in receipt_text({**receipt, "last_offset": 9, "last_row": 1})
    assert "filled in, or made of loaded history alone" in receipt_text(receipt)


def test_a_difference_names_row_column_values_and_rule_and_a_report_what_was_compared_and_its_verdict() -> None:
    wrong = Difference("bars", "AAA", "1m", HALF_PAST_TWO, 1, "vwap", 2.5, 2.0)
    lost = Difference("alerts", "AAA", "1m", HALF_PAST_TWO, 0, "", None, "there", "high")
    assert [difference_text(one) for one in (wrong, lost)] == [
        "bars AAA 1m 2026-01-05T14:30:00Z revision 1: vwap is stored as 2.5, recomputed 2.0",
        "alerts AAA 1m high 2026-01-05T14:30:00Z revision 0: is not stored, though later rows are",
    ]
    report = Report()
    report.tallies["bars"].stored, report.tallies["bars"].same = 1_200, 1_200
    said = list(lines(report))
    assert said[0] == "bars        1,200 stored rows: 1,200 the same to the bit"
    assert said[-1] == "Every checked row has the bits that its inputs give."
    assert as_object(report)["equal"]
    report.tallies["bars"].differing = 1
    report.add([wrong])
    said = list(lines(report))
    assert said[-1] == "1 rows differ."
    assert f"differs: {difference_text(wrong)}" in said
    assert not as_object(report)["equal"]


def test_a_time_is_read_as_people_write_it_and_no_nanosecond_is_lost_on_the_way_there_and_back() -> None:
    for text in ("05T14:30:00Z", "05 14:30", "05T14:30:00.000", "05T09:30:00-05:00"):
        assert parse_time(f"2026-01-{text}", "--from") == HALF_PAST_TWO, text
    assert parse_time(str(HALF_PAST_TWO), "--from") == HALF_PAST_TWO
    time = HALF_PAST_TWO + 123_456_789
    assert show_time(time) == "2026-01-05T14:30:00.123456789Z"
    assert parse_time(show_time(time), "--from") == time
    assert show_time(HALF_PAST_TWO) == "2026-01-05T14:30:00Z"
    assert parse_time("2026-01-05", "--to") == HALF_PAST_TWO - 52_200 * 10**9
    with pytest.raises(ParameterError, match=r"--from 'noon' is no time: write one such as"):
        parse_time("noon", "--from")
