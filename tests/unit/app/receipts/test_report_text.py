from marketpulse.app.receipts.compare import Difference
from marketpulse.app.receipts.report import Report
from marketpulse.app.receipts.report_text import as_object, difference_text, lines

WRONG = Difference("bars", "AAA", "1m", 1_767_623_400_000_000_000, 1, "vwap", 2.5, 2.0)


def test_a_difference_names_the_row_the_column_and_both_values() -> None:
    assert difference_text(WRONG) == (
        "bars AAA 1m 2026-01-05T14:30:00Z revision 1: vwap is stored as 2.5, recomputed 2.0"
    )


def test_a_difference_of_an_alert_names_its_rule() -> None:
    lost = Difference("alerts", "AAA", "1m", 1_767_623_400_000_000_000, 0, "", None, "there", "high")
    assert difference_text(lost) == (
        "alerts AAA 1m high 2026-01-05T14:30:00Z revision 0: is not stored, though later rows are"
    )


def test_a_report_says_what_was_compared_and_its_verdict() -> None:
    report = Report()
    report.tallies["bars"].stored, report.tallies["bars"].same = 1_200, 1_200
    said = list(lines(report))
    assert said[0] == "bars        1,200 stored rows: 1,200 the same to the bit"
    assert said[-1] == "Every checked row has the bits that its inputs give."
    assert as_object(report)["equal"]
    report.tallies["bars"].differing = 1
    report.add([WRONG])
    said = list(lines(report))
    assert said[-1] == "1 rows differ."
    assert f"differs: {difference_text(WRONG)}" in said
    assert not as_object(report)["equal"]
