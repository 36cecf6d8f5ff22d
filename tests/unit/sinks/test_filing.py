"""Where the archive's rows are filed, which files become one, what settings make of it, and how columns are encoded."""

import gzip
import io
import json
import struct
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_of_rows import batch, stretch
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.model.commit_log import StoredFile
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink
from marketpulse.settings import Settings
from marketpulse.sinks import filing
from marketpulse.sinks.archive import open_archive
from marketpulse.sinks.compaction import CLASS_BYTES, FILES_MAX, MERGES_MAX, SERIES_PER_MERGE, Merge, plan
from marketpulse.sinks.formats import JsonLinesFormat
from marketpulse.sinks.held import HeldRows, position
from marketpulse.sinks.lake_encoding import encoding_of, narrowed, with_names
from refused import assert_raises

DAY_NS = 86_400 * 10**9
MAY_1 = 19_844  # 2024-05-01, in days since 1970


def trades(*times_ns: int | None) -> pa.Table:
    return pa.table({"event_time_ns": pa.array(times_ns, pa.int64()), "n": list(range(len(times_ns)))})


SPAN = "market-03-000000001200-000000003400"
YEAR = "table=bars/date=1987-01-01/bars-00-000000000000-000000000010-year-merged42.jsonl.gz"


def test_the_path_is_the_contracts_midnight_utc_parts_rows_and_by_date_they_stay_as_they_are() -> None:
    """A year's file lies under its first day, and a merged one names its commit."""
    day = filing.Place("trades", "2024-05-01", "market", 3, 1200, 3400)
    assert day.path(".parquet") == f"table=trades/date=2024-05-01/{SPAN}.parquet"
    assert filing.Place("bars", "1987", "bars", 0, 0, 10, merged_by=42).path(".jsonl.gz") == YEAR
    old = replace(day, period="old", merged_by=7).path(".parquet")
    assert (old, filing.filed_for(old)) == (f"table=trades/date=1970-01-01/{SPAN}-old-merged7.parquet", "market-03")
    of_symbol = replace(day, series=filing.series_directory("AAPL")).path(".parquet")
    assert of_symbol == f"table=trades/symbol=AAPL/date=2024-05-01/{SPAN}.parquet"
    assert (filing.series_of(of_symbol), filing.symbol_of(of_symbol)) == ("symbol=AAPL/", "AAPL")
    assert (filing.series_of(YEAR), filing.symbol_of(YEAR), filing.series_of("notes.txt")) == ("", None, "")
    midnight = (MAY_1 + 1) * DAY_NS
    parts = filing.split_by_period("trades", trades(midnight - 1, midnight, midnight - 2), 0)
    assert {day: part["n"].to_pylist() for day, part in parts.items()} == {"2024-05-01": [0, 2], "2024-05-02": [1]}
    now = MAY_1 * DAY_NS + 5
    assert list(filing.split_by_period("trades", trades(None, 0), now)) == ["2024-05-01", "old"]
    assert list(filing.split_by_period("dead_letters", pa.table({"reason": ["x"]}), now)) == ["2024-05-01"]
    assert filing.split_by_period("trades", trades(), 0) == {}
    random = [(MAY_1 - 367 - 400 * n) * DAY_NS for n in (7, 2, 5, 0)] + [(MAY_1 - 366) * DAY_NS]
    parts = filing.split_by_period("trades", trades(*random), MAY_1 * DAY_NS)
    assert {period: part["n"].to_pylist() for period, part in parts.items()} == {"2023-05-01": [4], "old": [0, 1, 2, 3]}
    rows = pa.table({"symbol": ["A", "B"]})
    assert filing.split_by_series("trades", rows, "date") == {"": rows}
    assert filing.split_by_series("dead_letters", rows, "symbol/date") == {"": rows}
    assert filing.split_by_series("trades", rows.slice(0, 0), "date") == {}


@pytest.mark.parametrize(("path", "partition"), [
    (f"table=trades/date=2024-05-01/{SPAN}.parquet", "market-03"),
    (f"table=trades/symbol=AAPL/date=2024-05-01/{SPAN}.parquet", "market-03"),
    (YEAR.replace("/bars-00", "/dev.bars-117"), "dev.bars-117"),
    ("table=dead_letters/date=2024-05-01/dead-letters-07-1000000000000-1000000000001.parquet", "dead-letters-07"),
    ("table=trades/date=2024-05-01/notes.txt", None), ("table=trades/date=2024-05-01/part-00000-c000.snappy.parquet", None),
    (f"backup/{SPAN}.parquet", None),
])  # fmt: skip
def test_a_file_says_whose_it_is_and_foreign_files_are_nobodys(path: str, partition: str | None) -> None:
    assert filing.filed_for(path) == partition


@given(days=st.lists(st.integers(0, 30_000), min_size=1, max_size=300))
def test_every_row_is_filed_once_under_its_day_or_its_year(days: list[int]) -> None:
    parts = filing.split_by_period("trades", trades(*(day * DAY_NS for day in days)), 0)
    seen: list[int] = []
    for period, part in parts.items():
        for n in part["n"].to_pylist():
            day = str(date(1970, 1, 1) + timedelta(days[n]))
            assert day.startswith(period)
            seen.append(n)
        assert part["n"].to_pylist() == sorted(part["n"].to_pylist())
    assert sorted(seen) == list(range(len(days)))


def some_days(count: int, rows: int) -> dict[str, int]:
    return {str(date(2023, 1, 1) + timedelta(n)): rows for n in range(count)}


def test_many_days_with_few_rows_are_sparse_and_move_into_the_file_of_their_year() -> None:
    days = some_days(filing.SPARSE_DAYS + 1 + filing.SETTLED_DAYS, 1)
    assert filing.sparse_days(days) == set(sorted(days)[: -filing.SETTLED_DAYS])
    few, full = some_days(filing.SPARSE_DAYS + filing.SETTLED_DAYS, 1), some_days(200, filing.SPARSE_ROWS)
    assert filing.sparse_days({}) == filing.sparse_days(few) == filing.sparse_days(full) == set()
    mixed = filing.sparse_days(some_days(100, 1) | {"2023-02-01": 10_000})
    assert ("2023-02-01" not in mixed, len(mixed)) == (True, 100 - 1 - filing.SETTLED_DAYS)
    sparse = [files(1, period=str(date(2023, 3, 1) + timedelta(n)), rows=1)[0] for n in range(40)]
    year = replace(sparse[0], period="2023", path="year", first_offset=7)
    (merge,) = plan([*sparse, year])
    assert merge.period == "2023"
    assert set(merge.sources) == {*sparse[:-3], year}  # the last three sparse are not settled


# A directory for each symbol.


@pytest.mark.parametrize(("symbol", "directory"), [
    ("BTC-USD.COINBASE", "BTC-USD.COINBASE"), ("BTC/USD", "BTC%2FUSD"), ("..", ".."), ("A B=%", "A%20B%3D%25"),
    ("Ω", "%CE%A9"), (filing.NO_SYMBOL, "%5F%5F%48%49%56%45%5F%44%45%46%41%55%4C%54%5F%50%41%52%54%49%54%49%4F%4E%5F%5F"),
    (None, filing.NO_SYMBOL),
])  # fmt: skip
def test_what_a_path_could_mistake_is_escaped(symbol: str | None, directory: str) -> None:
    assert filing.series_directory(symbol) == f"symbol={directory}/"


@given(symbol=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_symbol_reads_back_from_its_path_as_we_and_as_hives_readers_do(symbol: str | None) -> None:
    path = f"table=trades/{filing.series_directory(symbol)}date=2024-05-01/market-00-000000000000-000000000001.parquet"
    assert (filing.symbol_of(path), path.count("/")) == (symbol, 3)
    assert len(path.split("/")[1]) < 255
    assert filing.filed_for(path) == "market-00"
    hive = ds.partitioning(pa.schema([("table", pa.string()), ("symbol", pa.string())]), flavor="hive")
    assert ds.get_partition_keys(hive.parse(path))["symbol"] == symbol


@given(symbols=st.lists(st.sampled_from(["A", "B", "a", None, "B/C"]), max_size=40))
def test_every_row_is_filed_once_with_its_symbol_in_the_order_of_the_log(symbols: list[str | None]) -> None:
    rows = pa.table({"symbol": pa.array(symbols, pa.string()), "n": list(range(len(symbols)))})
    parts = filing.split_by_series("trades", rows, "symbol/date")
    found = dict.fromkeys(range(len(symbols)), "not filed")
    for where, part in parts.items():
        found |= dict.fromkeys(part["n"].to_pylist(), filing.symbol_of(f"table=trades/{where}date=x/y"))
    assert list(found.values()) == symbols
    assert all(part["n"].to_pylist() == sorted(part["n"].to_pylist()) for part in parts.values())
    assert all(part.column_names == ["n"] for part in parts.values())
    assert len({where.lower() for where in parts}) == len(parts)  # also where a file system ignores case


DAY = "2024-05-01"
SMALL, MIDDLE, LARGE = 1_000, CLASS_BYTES[0], CLASS_BYTES[1]


def files(count: int, size: int = SMALL, period: str = DAY, table: str = "trades", rows: int = 500) -> list[StoredFile]:
    path = f"{table}/{period}/{size}"
    return [StoredFile(f"{path}/{n}", table, period, n * 10, n * 10 + 10, rows, size) for n in range(count)]


def test_small_files_merge_oldest_first_by_symbol_and_a_day_that_is_over_becomes_one() -> None:
    assert plan([]) == plan(files(FILES_MAX - 1) + files(FILES_MAX - 1, period="2024-05-02")) == []
    own = files(FILES_MAX)
    assert plan(reversed(own)) == [Merge("trades", "2024-05-01", tuple(own))]
    assert plan(own)[0].span == (0, FILES_MAX * 10)
    merges = plan(files(FILES_MAX) + files(FILES_MAX, MIDDLE) + files(FILES_MAX, table="quotes"))
    assert [(m.table, {f.size_bytes for f in m.sources}) for m in merges] == [
        ("quotes", {SMALL}), ("trades", {SMALL}), ("trades", {MIDDLE}),
    ]  # fmt: skip
    assert plan(files(100, LARGE)) == []
    many = [f for n in range(50) for f in files(FILES_MAX, period=str(date(2024, 1, 1) + timedelta(n)))]
    assert len(plan(many)) == MERGES_MAX, "one flush does not merge a whole history"
    ours = [of_symbol("A", "2024-05-01", n) for n in range(FILES_MAX)]
    few = [of_symbol("B", "2024-05-01", n) for n in range(FILES_MAX - 1)]
    assert plan(few + ours) == [Merge("trades", "2024-05-01", tuple(ours), "symbol=A/")]
    over = [of_symbol("A", "2024-05-01", n) for n in range(2)]
    single, large = of_symbol("A", "2024-05-02", 5), of_symbol("A", "2024-05-01", 9, LARGE)
    newest = [of_symbol("A", "2024-05-05", n) for n in range(6, 8)]
    assert plan([*over, single, large, *newest]) == [Merge("trades", "2024-05-01", tuple(over), "symbol=A/")]
    symbols = 1_000  # the files of each are due every FILES_MAX flushes, so a flush must merge that part of them
    many = [of_symbol(str(s), "2024-05-01", n) for s in range(symbols) for n in range(FILES_MAX)]
    assert len(plan(many)) == symbols // SERIES_PER_MERGE > symbols / FILES_MAX


@given(sizes=st.lists(st.integers(10_000, 2_000_000), min_size=1, max_size=400))
def test_a_days_files_stay_few_and_every_row_is_kept_however_many_are_flushed(sizes: list[int]) -> None:
    visible: list[StoredFile] = []
    for n, size in enumerate(sizes):
        visible.append(StoredFile(f"f{n}", "trades", "2024-05-01", n, n + 1, 1, size))
        for number, merge in enumerate(plan(visible)):
            rows, whole = sum(f.rows for f in merge.sources), sum(f.size_bytes for f in merge.sources)
            visible = [f for f in visible if f not in merge.sources]
            visible.append(StoredFile(f"m{n}-{number}", "trades", "2024-05-01", *merge.span, rows, whole))
        assert sum(f.rows for f in visible) == n + 1
    assert sum(f.size_bytes < LARGE for f in visible) < 2 * FILES_MAX


def of_symbol(symbol: str, period: str, first: int, size: int = SMALL) -> StoredFile:
    path = f"table=trades/symbol={symbol}/date={period}/{first}-{size}"
    return StoredFile(path, "trades", period, first, first + 1, 500, size)


def opened(tmp_path: Path, **section: Any) -> Sink:
    return open_archive(Settings(data_dir=tmp_path, sinks={"archive": section}), ManualClock(1_715_000_000 * 10**9))


def store(sink: Sink) -> None:
    for one in stretch("market", 0, 0, 1):
        sink.write(one)
    sink.flush()


FILED = "date=2024-05-01/market-00-000000000000-000000000001"


@pytest.mark.parametrize(("section", "path"), [
    ({}, f"{FILED}.jsonl.gz"), ({"format": "parquet"}, f"{FILED}.parquet"),
    ({"format": "parquet", "layout": "symbol/date"}, f"symbol=S00/{FILED}.parquet"),
])  # fmt: skip
def test_format_and_layout_are_the_settings(tmp_path: Path, section: dict[str, str], path: str) -> None:
    sink = opened(tmp_path, **section)
    sink.resume()
    store(sink)
    archive = tmp_path / "archive"
    assert {p.relative_to(archive).as_posix() for p in archive.glob("table=*/**/*.*")} == {f"table=trades/{path}"}


@pytest.mark.parametrize("changed", [{"format": "parquet"}, {"layout": "symbol/date"}])
def test_another_format_or_layout_at_the_same_place_is_refused(tmp_path: Path, changed: dict[str, str]) -> None:
    store(opened(tmp_path))
    assert_raises(SettingsError, r"another format or layout.*sinks\.archive\.url", opened(tmp_path, **changed).resume)
    assert opened(tmp_path).resume() == {("market", 0): 1}


KEY = ("market", 0)


def test_a_position_is_the_lowest_of_its_tables_and_what_stands_in_the_store_says_where_to_read_on() -> None:
    offsets = {"trades": 12, "quotes": 10}
    assert (position(offsets, ["trades", "quotes"]), position(offsets, ["trades"])) == (10, 12)
    assert position(offsets, ["trades", "quotes", "events"]) is None
    assert position({}, []) is None
    held = HeldRows("lake", TABLES)
    whole = {"trades": 12, "quotes": 10, "events": 11}
    assert (held.begin({KEY: whole, ("market", 1): {"trades": 4}}), held.known(KEY)) == ({KEY: 10}, whole)


def test_rows_are_held_once_and_counted_until_stored_and_a_gap_dropped_rows_and_foreign_tables_are_refused() -> None:
    held = HeldRows("lake", TABLES)
    for one in stretch("market", 0, 0, 10) * 2:
        held.take(one)
    assert held.rows == sum(one.rows.num_rows for one in stretch("market", 0, 0, 10)) > 0
    assert held.bytes > 0
    assert (held.keys(), [b.next_offset for b in held.of(KEY)["trades"]]) == ([KEY], [10])
    held.stored(KEY, {"trades": 10, "quotes": 10, "events": 10})
    assert (held.rows, held.bytes, held.keys()) == (0, 0, [])
    held.take(batch("trades", 0, 5, 12))  # cut where the store stands
    assert [(b.first_offset, b.rows["offset"][0].as_py()) for b in held.of(KEY)["trades"]] == [(10, 10)]
    held = HeldRows("lake", TABLES)
    held.take(batch("trades", 0, 0, 10))
    assert_raises(Retryable, "rows before it are not stored", held.take, batch("trades", 0, 11, 12))
    held.check_whole()
    held.drop(KEY)
    with pytest.raises(Retryable, match=r"in market/0: nothing is lost, reading again"):
        held.check_whole()  # however quiet the partition is now
    assert_raises(Retryable, "rows before it are not stored", held.take, batch("trades", 0, 10, 12))
    held.begin({})
    held.check_whole()
    held.take(batch("trades", 0, 10, 12))
    with pytest.raises(Fatal, match="redis does not store the table 'events', only trades, bars"):
        HeldRows("redis", ("trades", "bars")).take(batch("events", 0, 0, 4))


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
def test_numbers_read_back_exact_any_text_is_a_line(floating: list[float], whole: list[int], texts: list[str]) -> None:
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
