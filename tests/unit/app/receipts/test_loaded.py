"""Where loaded rows come from, in words."""

from marketpulse.app.receipts.explain_text import receipt_text
from marketpulse.app.receipts.loaded import file_of, place_text
from marketpulse.model.market import LOADED

RECEIPT = {
    "topic": "market", "partition": 2, "first_offset": None, "first_row": None, "last_offset": None, "last_row": None,
    "late_count": 0, "engine_version": "3",
}  # fmt: skip


def test_a_place_is_one_in_the_log_or_a_row_of_a_file() -> None:
    assert place_text(12, 3) == "12.3"
    assert place_text(LOADED + 45, 0) == "file row 45"
    assert file_of("file:trades.csv@1a.2b") == "trades.csv"
    assert file_of("market") is None


def test_a_receipt_says_what_lies_before_the_log() -> None:
    loaded = {**RECEIPT, "topic": "file:t.csv@1a.2b", "first_offset": 2, "last_offset": 3_000}
    assert "rows 2 to 3,000 of t.csv, which was loaded" in receipt_text(loaded)
    assert "loaded history, and offsets to 9.1" in receipt_text({**RECEIPT, "last_offset": 9, "last_row": 1})
    assert "filled in, or made of loaded history alone" in receipt_text(RECEIPT)
