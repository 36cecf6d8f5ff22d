"""Rows in files."""

import gzip
import json
import struct
from datetime import date

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.sinks.formats import JsonLinesFormat


def lines(data: bytes) -> list[str]:
    text = gzip.decompress(data).decode()
    assert text.endswith("\n") or not text
    return text.split("\n")[:-1]


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_floats_read_back_to_the_bit(numbers: list[float]) -> None:
    found = [json.loads(line)["x"] for line in lines(JsonLinesFormat().encode(pa.table({"x": numbers})))]
    assert [struct.pack("d", n) for n in found] == [struct.pack("d", n) for n in numbers]


@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_integers_keep_every_digit(numbers: list[int]) -> None:
    data = JsonLinesFormat().encode(pa.table({"n": pa.array(numbers, pa.int64())}))
    assert [json.loads(line) for line in lines(data)] == [{"n": n} for n in numbers]


@given(texts=st.lists(st.text(), min_size=1, max_size=20))
def test_any_text_is_one_line_and_reads_back(texts: list[str]) -> None:
    data = JsonLinesFormat().encode(pa.table({"s": pa.array(texts, pa.string())}))
    assert [json.loads(line)["s"] for line in lines(data)] == texts


def test_missing_values_nested_ones_and_dates_are_json() -> None:
    rows = pa.table({"a": [None], "d": [date(2024, 5, 1)], "l": [["x"]], "r": [{"first_offset": 1, "topic": None}]})
    assert lines(JsonLinesFormat().encode(rows)) == [
        '{"a":null,"d":"2024-05-01","l":["x"],"r":{"first_offset":1,"topic":null}}'
    ]


def test_merged_files_are_their_lines_one_after_the_other() -> None:
    encode = JsonLinesFormat().encode
    parts = [encode(pa.table({"n": [1, 2]})), encode(pa.table({"n": [3], "m": ["\n"]}))]
    data, count = JsonLinesFormat().merge(parts)
    assert (count, lines(data)) == (3, ['{"n":1}', '{"n":2}', '{"n":3,"m":"\\n"}'])


def test_the_same_rows_give_the_same_bytes() -> None:
    rows = pa.table({"n": [1]})
    assert JsonLinesFormat().encode(rows) == JsonLinesFormat().encode(rows)
