import pytest

from marketpulse.ports import SqlMistake
from marketpulse.query.mistakes import mistake_in, with_caret


def said(text: str, line: int, column: int) -> str:
    head = f"LINE {line}: "
    return f"Binder Error: no\n\n{head}{text}\n{' ' * (len(head) + column - 1)}^^^^"


def test_the_caret_is_a_line_and_a_column_of_the_query() -> None:
    sql = "SELECT symbol,\n       prize\nFROM trades"
    assert mistake_in(sql, said("       prize", 2, 8)) == SqlMistake(said("       prize", 2, 8), 2, 8)


def test_a_line_that_was_cut_is_found_in_the_whole_one() -> None:
    line = "SELECT " + "a, " * 60 + "prize, " + "b, " * 60 + "1 FROM trades"
    start = line.index("prize")
    part = "..." + line[start - 30 : start + 30] + "..."
    found = mistake_in(line, said(part, 1, 34))
    assert (found.line, found.column) == (1, start + 1)


def test_a_query_that_was_translated_is_pointed_at_by_its_word() -> None:
    asked = "SELECT x,\n  date_parse(prize, '%Y') FROM trades"
    found = mistake_in(asked, said("SELECT x, STRPTIME(prize, '%Y') FROM trades", 1, 20))
    assert (found.line, found.column) == (2, 14)
    assert (
        with_caret(asked, found)
        == "Binder Error: no\n\nLINE 2:   date_parse(prize, '%Y') FROM trades\n                     ^"
    )


@pytest.mark.parametrize("message", ["no place at all", "LINE 1: SELECT", "LINE 9: other words\n        ^"])
def test_what_cannot_be_placed_has_no_place(message: str) -> None:
    assert mistake_in("SELECT 1, 1", message) == SqlMistake(message)
    assert with_caret("SELECT 1, 1", SqlMistake(message)) == message


def test_a_word_that_stands_twice_is_not_guessed() -> None:
    assert mistake_in("SELECT prize, year(prize)", said("SELECT prize , prize", 1, 16)).line is None
