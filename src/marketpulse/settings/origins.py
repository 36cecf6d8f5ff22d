"""Where a setting was written: the file with its line, or the variable. For errors, which name the setting at fault."""

import contextlib
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marketpulse.settings.blocks import dotted
from marketpulse.settings.layers import read_well_known

_PREFIX = "MARKETPULSE_"


def origin_in(message: str, file: Path) -> str:
    """`marketpulse.toml:12`, `.env:3: NAME` or a variable's name: of the first setting in the message that somebody wrote.

    Where it names a section, such as `sources.daily`, and then a word such as `files`, this setting of the section.
    Empty when it names none.
    """
    text = _comparable(re.sub(r"\]? |\]?: ", ".", message.replace("[", "")))
    written = list(_written(file))
    named = [
        (match.start(), -len(name), index)  # begins first, then is the longest, then wins
        for index, (name, _) in enumerate(written)
        if (match := re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text)) and ("." in name or match.start() == 0)
    ]
    if not named:
        return ""
    start, length, chosen = min(named)
    section = f"{written[chosen][0]}."
    inside = [
        (match.start(), index)
        for index, (name, _) in enumerate(written)
        if name.startswith(section)
        and (match := re.search(rf"(?<![\w-]){re.escape(name.removeprefix(section))}(?![\w-])", text[start - length :]))
    ]
    return written[min(inside)[1] if inside else chosen][1]


def syntax_fault(error: tomllib.TOMLDecodeError, file: Path) -> str:
    """What is wrong in a file that is no TOML, where, and what to write; without its values, which may be secrets."""
    match = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)", str(error))
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    number = int(match[1]) if match and match[1] else len(lines)
    said = str(error).replace(match[0] if match else "", "")
    bare = re.match(r"\s*([\w.-]+)\s*[=:]\s*[^\s\"'\[{]", "".join(lines[number - 1 : number]))
    if bare is None or said.startswith("Cannot"):
        return f"{file}:{number}: this is not TOML ({said}): correct the line"
    return (
        f'{file}:{number}: {bare[1]}: TOML needs quotes around a text: write {bare[1]} = "…"; a whole Java properties file can '
        'be pasted as it is with `[kafka]` and `producer = """…"""`'
    )


def _comparable(name: str) -> str:
    return name.lower().replace("_", ".")


def _spellings(name: str) -> set[str]:
    """A name as it was written and, of the producer's block, as we call the setting."""
    plain, block = _comparable(name), "kafka.producer."
    return {plain, block + dotted(plain.removeprefix(block))} if plain.startswith(block) else {plain}


def _written(file: Path) -> Iterator[tuple[str, str]]:
    """(setting, where it was written), what wins first."""
    for variable, value in os.environ.items():
        yield from _of_variable(variable, value, variable)
    dotenv = Path(".env").read_text(errors="replace").splitlines() if Path(".env").is_file() else []
    for number, line in enumerate(dotenv, start=1):
        if match := re.match(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*)", line):
            yield from _of_variable(match[1], match[2].strip().strip("'\""), f".env:{number}: {match[1]}")
    if file.is_file():
        yield from _toml_lines(file)


def _of_variable(variable: str, value: str, where: str) -> Iterator[tuple[str, str]]:
    if variable.upper().startswith(_PREFIX):
        tree: Any = value
        if value.lstrip().startswith(("{", "[")):
            with contextlib.suppress(ValueError):
                tree = json.loads(value)
        for name in reversed(variable[len(_PREFIX) :].split("__")):
            tree = {name: tree}
    else:
        tree = read_well_known({variable: value})
    for name in _names(tree):
        yield from ((spelling, where) for spelling in _spellings(name))


def _toml_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Every table and key of a TOML file with its line: the parser is asked for one statement after the other."""
    table, statement, begin = "", "", 1
    counts: dict[str, int] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        begin = begin if statement else number
        statement += f"{line}\n"
        try:
            tree = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # a text or a list that goes on
        names = list(_names(tree))
        if line.lstrip().startswith("[") and begin == number:
            table = max(names, key=len)
            if line.lstrip().startswith("[["):
                table = table.removesuffix(".0")
                counts[table] = counts.get(table, -1) + 1
                names = [table, f"{table}.{counts[table]}"]
            else:
                names = [table]
            table, prefix = names[-1], ""
        else:
            prefix = f"{table}." if table else ""
        yield from ((each, f"{file}:{begin}") for name in names for each in _spellings(f"{prefix}{name}"))
        statement = ""


def _names(tree: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of everything in a tree of tables and lists, inner ones too."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in pairs:
        yield f"{prefix}{name}"
        yield from _names(value, f"{prefix}{name}.")
