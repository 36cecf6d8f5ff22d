"""Where in a query a mistake is, from what DuckDB or the dialect's reader says of it."""

import re

from marketpulse.ports import SqlMistake

_LINE = re.compile(r"^LINE (\d+): (.*)$", re.MULTILINE)


def mistake_in(sql: str, message: str) -> SqlMistake:
    """The message, with the line and column (from 1) of `sql` that it points at, where it points at any.

    A query that was translated first is pointed at by its word: the same word stands in both, as often."""
    shown = list(_LINE.finditer(message))
    if not shown:
        return SqlMistake(message)
    last = shown[-1]
    below = message[last.end() :].lstrip("\n").split("\n", 1)[0]
    column = below.find("^") - len(f"LINE {last[1]}: ")
    if column < 0:
        return SqlMistake(message)
    text = last[2]
    lines = sql.splitlines()
    number = int(last[1])
    plain = text.removeprefix("...").removesuffix("...")
    cut = len(text.removesuffix("...")) - len(plain)
    if number <= len(lines) and lines[number - 1].count(plain) == 1:
        return SqlMistake(message, number, lines[number - 1].index(plain) + column - cut + 1)
    word = re.match(r"\w+", text[column:])
    return _by_word(sql, message, word[0]) if word else SqlMistake(message)


def _by_word(sql: str, message: str, word: str) -> SqlMistake:
    places = list(re.finditer(rf"\b{re.escape(word)}\b", sql, re.IGNORECASE))
    if len(places) != 1:
        return SqlMistake(message)
    before = sql[: places[0].start()]
    return SqlMistake(message, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def with_caret(sql: str, mistake: SqlMistake) -> str:
    """For people: the message, and the place in what they wrote."""
    if mistake.line is None or mistake.column is None or _LINE.search(mistake.message) is None:
        return mistake.message
    said = mistake.message.split("\n\nLINE ")[0].split("\nLINE ")[0]
    head = f"LINE {mistake.line}: "
    line = sql.splitlines()[mistake.line - 1]
    return f"{said}\n\n{head}{line}\n{' ' * (len(head) + mistake.column - 1)}^"
