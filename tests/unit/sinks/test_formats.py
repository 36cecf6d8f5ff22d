"""Rows in files, and how the lake's columns are encoded, read back from the files' own metadata."""

import gzip
import io
import json
import struct
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.sinks.formats import JsonLinesFormat
from marketpulse.sinks.lake_encoding import encoding_of, narrowed, with_names


def lines(data: bytes) -> list[str]:
    text = gzip.decompress(data).decode()
    assert text.endswith("\n") or not text
    return text.split("\n")[:-1]


def encoded(values: list[Any], kind: pa.DataType) -> list[Any]:
    """What a reader finds of a column."""
    data = JsonLinesFormat().encode(pa.table({"x": pa.array(values, kind)}))
    assert data == JsonLinesFormat().encode(pa.table({"x": pa.array(values, kind)})), "the same rows, the same bytes"
    return [json.loads(line)["x"] for line in lines(data)]


@given(
    floating=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50),
    whole=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50),
    texts=st.lists(st.text(), min_size=1, max_size=20),
)
def test_numbers_read_back_exactly_any_text_is_a_line(
    floating: list[float], whole: list[int], texts: list[str]
) -> None:
    assert [struct.pack("d", n) for n in encoded(floating, pa.float64())] == [struct.pack("d", n) for n in floating]
    assert (encoded(whole, pa.int64()), encoded(texts, pa.string())) == (whole, texts)


def test_missing_values_nested_ones_and_dates_are_json_and_merged_files_their_lines_one_after_the_other() -> None:
    encode = JsonLinesFormat().encode
    rows = pa.table(
        {"a": [None], "d": [date(2024, 5, 1)], "l": [["x"]], "receipt": [{"first_offset": 1, "topic": None}]}
    )
    line = '{"a":null,"d":"2024-05-01","l":["x"],"receipt_first_offset":1,"receipt_topic":null}'
    assert lines(encode(rows)) == [line]
    mark = {"type": "quality", "symbol": "A", "rule": "spike", "offset": 7, "x": {"y": 1}}
    place = {"type": ["quality"], "body": [json.dumps(mark)], "partition": [3], "offset": [9]}
    for more, symbol in (({"symbol": ["A"]}, {"symbol": "A"}), ({}, {})):  # or the path says it
        (event,) = map(json.loads, lines(encode(pa.table(more | place))))
        own = {"type": "quality", "rule": "spike", "x": {"y": 1}, "quality_offset": 7, **symbol}
        assert event == own | {"partition": 3, "offset": 9}
    parts = [encode(pa.table({"n": [1, 2]})), encode(pa.table({"n": [3], "m": ["\n"]}))]
    data, count = JsonLinesFormat().merge(parts)
    assert (count, lines(data)) == (3, ['{"n":1}', '{"n":2}', '{"n":3,"m":"\\n"}'])


N = 20_000


def rows() -> pa.Table:
    chance = np.random.default_rng(1)
    receipt = pa.StructArray.from_arrays([pa.array(np.arange(N)), pa.array(["t"] * N)], ["first_offset", "topic"])
    return pa.table({
        "symbol": np.repeat(["A", "B"], N // 2), "event_time_ns": 10**18 + chance.integers(1, 10**6, N).cumsum(),
        "price": np.round(chance.random(N), 2), "value": chance.random(N), "trade_id": [f"id{i}" for i in range(N)],
        "partition": pa.array(np.zeros(N), pa.int32()), "late": pa.array([True] * N), "venue": pa.nulls(N, pa.string()),
        "conditions": pa.nulls(N, pa.list_(pa.string())), "receipt": receipt,
    })  # fmt: skip


def written(table: pa.Table) -> pq.ParquetFile:
    file = io.BytesIO()
    with pq.ParquetWriter(file, table.schema, store_schema=False, **asdict(encoding_of(table))) as writer:
        writer.write_table(table)
    file.seek(0)
    return pq.ParquetFile(file)


def test_each_column_is_encoded_by_what_it_holds_and_reads_back_the_same_and_so_do_no_rows() -> None:
    file = written(with_names(rows()))
    group = file.metadata.row_group(0)
    chunks = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    in_dictionary = {name for name, chunk in chunks.items() if "RLE_DICTIONARY" in chunk.encodings}
    assert in_dictionary == {"symbol", "price", "partition", "venue", "conditions.list.element", "receipt.topic"}
    differences = {name for name, chunk in chunks.items() if "DELTA_BINARY_PACKED" in chunk.encodings}
    assert differences == {"event_time_ns", "receipt.first_offset"}
    plain = {name: chunk.compression for name, chunk in chunks.items() if name not in in_dictionary | differences}
    assert plain == dict.fromkeys(("value", "trade_id", "late"), "ZSTD")
    assert {chunks[name].compression for name in differences} == {"UNCOMPRESSED"}
    assert file.read().equals(rows())
    empty = with_names(rows().slice(0, 0))
    assert written(empty).read().num_rows == narrowed(empty).num_rows == 0


def test_names_are_dictionaries_ids_are_not_and_a_row_group_has_no_name_that_none_of_its_rows_holds() -> None:
    found = with_names(pa.concat_tables([rows(), rows()]))
    kinds = {f.name: pa.types.is_dictionary(f.type) for f in found.schema}
    assert {name for name, is_names in kinds.items() if is_names} == {"symbol"}
    assert all(column.num_chunks == 1 for column in found.columns)
    assert found.schema.field("venue").type == pa.string()
    assert found["symbol"].to_pylist() == rows()["symbol"].to_pylist() * 2
    names = pa.array(["A", None, "C", "A"]).dictionary_encode()
    wide = pa.DictionaryArray.from_arrays(names.indices, pa.array(["A", "C", "D"]))
    found = narrowed(pa.table({"symbol": wide, "n": [1, 2, 3, 4]}))
    assert found["symbol"].to_pylist() == ["A", None, "C", "A"]
    assert sorted(found["symbol"].chunk(0).dictionary.to_pylist()) == ["A", "C"]
    part = narrowed(found.slice(2, 1))
    assert part["symbol"].chunk(0).dictionary.to_pylist() == ["C"]
    statistics = written(part).metadata.row_group(0).column(0).statistics
    assert (statistics.min, statistics.max) == ("C", "C")
