"""Lines of the protocol as its description has them, by hand."""

import polars as pl
import pytest

from marketpulse.sinks.line_protocol import bodies, escaped, lines

BAR = {"symbol": ["A"], "timeframe": ["1m"], "open_time_ns": [1_714_521_600_000_000_000]}


def test_a_line_has_tags_typed_fields_and_nanoseconds() -> None:
    rows = pl.DataFrame({**BAR, "close": [10.5], "trade_count": [3], "source": ["x"], "late": [True]})
    assert lines("bars", rows, ("symbol", "timeframe"), "open_time_ns").to_list() == [
        'bars,symbol=A,timeframe=1m close=10.5,trade_count=3i,source="x",late=true 1714521600000000000'
    ]


def test_nulls_and_numbers_that_are_not_finite_are_left_out() -> None:
    rows = pl.DataFrame(
        {"t": [1, 2, 3], "venue": [None, "", "X"], "a": [None, float("nan"), float("inf")], "n": [1, 2, 3]}
    )
    assert lines("m", rows, ("venue",), "t").to_list() == ["m n=1i 1", "m n=2i 2", "m,venue=X n=3i 3"]


@pytest.mark.parametrize(
    ("number", "text"), [(0.1, "0.1"), (1 / 3, "0.3333333333333333"), (5e-324, "5e-324"), (-0.0, "-0.0")]
)
def test_a_float_has_the_shortest_text_that_reads_back(number: float, text: str) -> None:
    assert lines("m", pl.DataFrame({"t": [1], "x": [number]}), (), "t").to_list() == [f"m x={text} 1"]


def test_what_has_a_meaning_in_names_and_tags_is_escaped() -> None:
    assert escaped("a,b c=d") == r"a\,b\ c\=d"
    assert escaped("a\\b\n") == "a\u29f5b\u240a"


def test_a_text_field_escapes_quotes_and_backslashes_only() -> None:
    rows = pl.DataFrame({"t": [1], "body": ['a "b" \\ c,d=e\n']})
    assert lines("m", rows, (), "t").to_list() == ['m body="a \\"b\\" \\\\ c,d=e\n" 1']


def test_a_column_that_no_field_can_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="a field cannot be List"):
        lines("m", pl.DataFrame({"t": [1], "x": [[1]]}), (), "t")


def test_bodies_hold_whole_lines_up_to_their_size() -> None:
    written = pl.Series(["aaa", "bb", "c", "dddddddddd"])
    assert bodies(written, 7) == [(b"aaa\nbb\n", 2), (b"c\n", 1), (b"dddddddddd\n", 1)]
    assert bodies(pl.Series([], dtype=pl.String), 7) == []
