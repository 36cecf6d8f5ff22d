r"""A small reader of line protocol, written from its public description and from nothing of ours.

    measurement[,tag=value …] field=value[,field=value …] time

Outside quotes a backslash before a comma, an equals sign or a space takes their meaning away. A text stands in double
quotes, in which a backslash stands before a quote and before itself.
"""

from dataclasses import dataclass

Value = float | int | str | bool


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    time_ns: int


def read(text: str) -> list[Point]:
    points, at = [], 0
    while at < len(text):
        point, at = _point(text, at)
        points.append(point)
    return points


def _point(text: str, at: int) -> tuple[Point, int]:
    measurement, at = _word(text, at, ", ")
    tags: dict[str, str] = {}
    while text[at] == ",":
        name, at = _word(text, at + 1, "=")
        tags[name], at = _word(text, at + 1, ", ")
    fields: dict[str, Value] = {}
    while not fields or text[at] == ",":
        name, at = _word(text, at + 1, "=")
        fields[name], at = _quoted(text, at + 2) if text[at + 1] == '"' else _bare(text, at + 1)
    end = text.index("\n", at)
    assert text[at] == " "
    return Point(measurement, tags, fields, int(text[at + 1 : end])), end + 1


def _word(text: str, at: int, until: str) -> tuple[str, int]:
    found = ""
    while text[at] not in until:
        assert text[at] != "\n", "a line ends inside a name"
        if text[at] == "\\" and text[at + 1] in ",= ":
            at += 1
        found += text[at]
        at += 1
    assert found, "a name or a tag is empty"
    return found, at


def _quoted(text: str, at: int) -> tuple[str, int]:
    found = ""
    while text[at] != '"':
        if text[at] == "\\" and text[at + 1] in '"\\':
            at += 1
        found += text[at]
        at += 1
    return found, at + 1


def _bare(text: str, at: int) -> tuple[Value, int]:
    end = at
    while text[end] not in ", ":
        end += 1
    word = text[at:end]
    if word in ("true", "false"):
        return word == "true", end
    return (int(word[:-1]) if word.endswith("i") else float(word)), end
