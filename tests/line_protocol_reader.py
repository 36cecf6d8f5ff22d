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
        is_text = text[at + 1] == '"'
        fields[name], at = _text(text, at + 2, '"', '"\\') if is_text else _bare(text, at + 1)
        at += is_text
    end = text.index("\n", at)
    assert text[at] == " "
    return Point(measurement, tags, fields, int(text[at + 1 : end])), end + 1


def _text(text: str, at: int, until: str, escaped: str) -> tuple[str, int]:
    """From there `until` one of these signs, and where it stands; a backslash before an `escaped` one takes its meaning."""
    found = ""
    while text[at] not in until:
        at += text[at] == "\\" and text[at + 1] in escaped
        found += text[at]
        at += 1
    return found, at


def _word(text: str, at: int, until: str) -> tuple[str, int]:
    found, at = _text(text, at, until, ",= ")
    assert found, "a name or a tag is empty"
    assert "\n" not in found, "a line ends inside a name"
    return found, at


def _bare(text: str, at: int) -> tuple[Value, int]:
    word, at = _text(text, at, ", ", "")
    if word in ("true", "false"):
        return word == "true", at
    return (int(word[:-1]) if word.endswith("i") else float(word)), at
