"""Whatever the rows hold, a reader that knows only the format gets back what was written, to the bit."""

import math
import struct
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from line_protocol_reader import read
from marketpulse.sinks.line_protocol import bodies, lines

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a,b", "a b", "a=b", '"', "\\", 'a\\"b', "\\,", "a\\", "a\\ ", "\n", '{"x":"y\\n"}\n', " ", "="]
)
NAMES = TEXTS.filter(lambda text: text not in ("", "time"))
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
INTS = st.integers(-(2**63), 2**63 - 1)


def as_tag(text: str) -> str:
    """What a tag says of a text: servers do not agree about backslashes and line ends in tags."""
    pictures = {**{n: chr(0x2400 + n) for n in range(32)}, 127: "\u2421", ord("\\"): "\u29f5"}
    return "".join(pictures.get(ord(letter), letter) for letter in text)


def bits(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: struct.pack("d", value) if isinstance(value, float) else value for name, value in fields.items()}


rows = st.fixed_dictionaries({
    "sym bol": st.none() | TEXTS, "source": st.none() | TEXTS, "time_ns": INTS, "x": st.none() | FLOATS,
    "n": st.none() | INTS, "te,xt": st.none() | TEXTS, "is=so": st.none() | st.booleans(), "always": INTS,
})  # fmt: skip
SCHEMA = {
    "sym bol": pl.String, "source": pl.String, "time_ns": pl.Int64, "x": pl.Float64, "n": pl.Int64, "te,xt": pl.String,
    "is=so": pl.Boolean, "always": pl.Int64,
}  # fmt: skip
TAGS = ("sym bol", "source")


@given(some=st.lists(rows, min_size=1, max_size=20), bytes_max=st.integers(1, 500))
def test_a_reader_of_the_format_gets_every_row_back(some: list[dict[str, Any]], bytes_max: int) -> None:
    cut = bodies(lines("trades", pl.DataFrame(some, SCHEMA), TAGS, "time_ns"), bytes_max)
    found = [point for body, _ in cut for point in read(body.decode())]
    assert [n for _, n in cut] == [len(read(body.decode())) for body, _ in cut]
    assert all(len(body) <= bytes_max or n == 1 for body, n in cut)
    for point, row in zip(found, some, strict=True):
        assert (point.measurement, point.time_ns) == ("trades", row["time_ns"])
        assert point.tags == {name: as_tag(row[name]) for name in TAGS if row[name]}
        fields = {k: v for k, v in row.items() if k not in (*TAGS, "time_ns") and v is not None}
        if not math.isfinite(fields.get("x", 0.0)):
            del fields["x"]
        assert bits(point.fields) == bits(fields)


@given(name=NAMES)
def test_a_field_may_have_any_name(name: str) -> None:
    (line,) = lines("indicators", pl.DataFrame({"time": [1], name: [0.5]}), (), "time")
    (point,) = read(line + "\n")
    assert point.fields == {as_tag(name): 0.5}
