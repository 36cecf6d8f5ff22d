"""How the lake's tables are laid out; and what several rooms share: the commit log, the records of a history, what bars
are multiplied by, and the rules of quality."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.catalog import layout
from marketpulse.catalog.offsets import Offsets, held_up_to, positions
from marketpulse.errors import Fatal
from marketpulse.kafka.rebuild_record import ROWS_MOST, rebuild_values
from marketpulse.model import commit_log, quality
from marketpulse.model.adjusting import Action, Step, adjustments
from marketpulse.model.commit_log import COMPLETE_EVERY, Commit, StoredFile, decode_commit, encode_commit, wanted
from marketpulse.model.history import COLUMNS, PAST_QUOTE, PAST_TRADE, History, joined_parts, read_part
from marketpulse.model.market import REASONS, RECORD_BYTES_MAX, SYMBOL_BYTES_MAX
from marketpulse.model.tables import EVENT_TIME_COLUMN, TABLES


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_has_the_contracts_columns_an_id_for_each_and_times(table: str) -> None:
    schema = layout.iceberg_schema(table)
    own = [*TABLES[table][1].names, *(["receipt"] if table == "indicators" else [])]
    assert [field.name for field in schema.fields] == [*own, *layout.TIMES[table]]
    ids = list(schema._lazy_id_to_name)
    assert len(ids) == len(set(ids))
    assert not any(field.required for field in schema.fields)
    assert [schema.find_column_name(f.source_id) for f in layout.sort_order(table, schema).fields] == list(
        layout.SORTED_BY[table]
    )
    time = EVENT_TIME_COLUMN[table]
    parts = [schema.find_column_name(f.source_id) for f in layout.partition_spec(table, schema).fields]
    assert parts == ([] if time is None else [time.removesuffix("_ns")])


def test_indicators_are_columns_beyond_the_tables_own_and_times_are_those_of_the_exact_ones() -> None:
    names = [field.name for field in layout.iceberg_schema("indicators", ["sma_20", "vwap"]).fields]
    assert layout.beyond("indicators", names) == ("sma_20", "vwap")
    assert layout.beyond("bars", layout.arrow_schema("bars").names) == ()
    rows = pa.table({"symbol": ["A", "B"], "event_time_ns": pa.array([1_714_521_600_000_001_999, None], pa.int64())})
    timed = layout.with_times("trades", rows)
    assert timed["event_time"].to_pylist() == [datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC), None]
    assert layout.without_times("trades", timed).equals(rows)


def test_rows_are_sorted_alike_ones_stay_in_the_order_of_the_log_also_with_more_names_than_sixteen_bits() -> None:
    symbols = ["B", "a", "B", "Ä", None, "B", "a"]
    rows = pa.table({
        "symbol": symbols, "event_time_ns": [3, 2, 1, 1, 0, 3, None], "offset": list(range(7)),
    })  # fmt: skip
    # By hand: no symbol first, then by code point, and within a symbol by time, no time first.
    assert layout.in_order("trades", rows)["offset"].to_pylist() == [4, 2, 0, 5, 6, 1, 3]
    assert layout.in_order("trades", rows.slice(0, 0)).num_rows == 0
    named = rows.set_column(0, "symbol", rows["symbol"].dictionary_encode())
    assert layout.in_order("trades", named)["offset"].to_pylist() == [4, 2, 0, 5, 6, 1, 3]
    n = 70_000
    rows = pa.table({"symbol": [f"{n - i:06d}" for i in range(n)], "event_time_ns": np.arange(n)})
    assert layout.in_order("trades", rows)["event_time_ns"].to_pylist() == list(range(n))[::-1]


@pytest.mark.parametrize("symbols", [3, 300, 70_000])
def test_the_order_is_that_of_comparing_whole_rows_however_many_names_there_are(symbols: int) -> None:
    chance = np.random.default_rng(symbols)
    n, names = 2_000, ("timeframe", "symbol", "open_time_ns", "revision")
    rows = pa.table({
        "timeframe": chance.choice(["1m", "5m", "1d"], n), "symbol": [f"S{i}" for i in chance.integers(0, symbols, n)],
        "open_time_ns": chance.integers(0, 5, n), "revision": chance.integers(0, 3, n), "place": np.arange(n),
    })  # fmt: skip
    for told in (rows, rows.sort_by("open_time_ns"), pa.concat_tables([rows] * 3)):
        by_hand = sorted(told.to_pylist(), key=lambda row: tuple(row[name] for name in names))
        assert layout.in_order("bars", told).to_pylist() == by_hand


def test_offsets_read_back_or_are_fatally_damaged_and_move_by_partition_with_empty_tables_where_all_is_held() -> None:
    told = Offsets({("market", 3): 120, ("/data/a b.csv", 0): 7}, {("market", 3): 118})
    for offsets in (told, Offsets()):
        assert Offsets.decode(offsets.encode(), "here") == offsets
    for text in ("", "[]", '{"next": {}}', '{"next": {"a": {"x": 1}}, "held": {}}', '{"next": 3, "held": {}}'):
        with pytest.raises(Fatal, match=r"trades: the property marketpulse\.offsets is damaged"):
            Offsets.decode(text, "trades")
    before = Offsets({("market", 0): 5, ("market", 1): 9}, {("market", 1): 9})
    after = Offsets({("market", 0): 8, ("market", 1): 9}, {("market", 1): 9, ("market", 0): 7})
    assert before.moved({("market", 0): 8}, {("market", 0): 7}) == after
    key = ("market", 0)
    tables = {"trades": Offsets({key: 50}, {key: 48}), "quotes": Offsets({key: 20}), "bars": Offsets({("bars", 0): 3})}
    stands = positions(tables)
    assert (stands[key], stands["bars", 0]) == ({"trades": 50, "quotes": 48, "events": 48}, {"bars": 3})
    assert held_up_to(stands[key]) == 48
    assert [held_up_to(found) for found in ({"trades": 50, "quotes": 48}, {"bars": 3}, {})] == [0, 3, 0]


def stored(path: str, *columns: str) -> StoredFile:
    return StoredFile(path, "indicators", "2024-05-01", 0, 10, 7, 1_000, columns)


def test_a_commit_is_json_for_all_reads_back_as_it_was_and_a_file_of_before_has_no_revised_rows() -> None:
    commit = Commit(7, {"trades": 10}, (stored("a"), stored("b", "sma_20", "rsi_14")), ("c",), "me")
    assert decode_commit(encode_commit(commit), "here") == commit
    file = StoredFile("a", "bars", "2024-05-01", 0, 10, 7, 1_000, revised=3)
    data = encode_commit(Commit(7, {"bars": 10}, (file, stored("b")), (), "me"))
    assert [found.revised for found in decode_commit(data, "here").added] == [3, 0]
    assert data.count(b"revised") == 1
    body = json.loads(encode_commit(Commit(7, {"trades": 10}, (stored("a"),), ("c",), "me")))
    assert body == {
        "version": 1, "number": 7, "next_offsets": {"trades": 10}, "removed": ["c"], "writer": "me",
        "added": [{
            "path": "a", "table": "indicators", "period": "2024-05-01", "first_offset": 0, "next_offset": 10,
            "rows": 7, "size_bytes": 1000,
        }],
    }  # fmt: skip


def test_a_commit_is_read_whole_or_fatally_damaged_and_only_commits_count_from_the_last_complete_one() -> None:
    for data in (b"", b"{", b"[]", b"{}", b'{"version": 1}', b'{"version": 1, "added": [{}]}'):
        with pytest.raises(Fatal, match=r"_commits/market-03/000000000007\.json is damaged.*restore"):
            decode_commit(data, "_commits/market-03/000000000007.json")
    with pytest.raises(Fatal, match=r"version 2.*upgrade"):
        decode_commit(b'{"version": 2}', "x")
    name, parsed = commit_log.partition_name, commit_log.parse_partition_name
    assert (name("dead-letters", 3), parsed("dev.dead-letters-03")) == ("dead-letters-03", ("dev.dead-letters", 3))
    assert parsed(name("market", 117)) == ("market", 117)
    names = [*map(commit_log.commit_name, (10, 9)), "readme.txt", "x.json", ".hidden"]
    assert commit_log.commit_numbers(names) == [9, 10]
    assert [list(wanted([])), list(wanted([0, 1, 2]))] == [[], [0, 1, 2]]
    assert list(wanted(list(range(COMPLETE_EVERY + 3)))) == [COMPLETE_EVERY + i for i in range(3)]
    part = read_part(record())
    (trade,) = part.history.tables["trades"]
    assert (trade["price"], trade["size"], trade["venue"], trade["late"]) == (5.0, 0.25, -1, 3)
    assert (part.is_last, part.history.covers_offset, part.history.names) == (True, 9, NAMES)
    assert len(part.history.tables["quotes"]) == 0
    (value,) = rebuild_values(History("AAA", 5, NAMES, {}), "x")
    assert read_part(orjson.loads(value)).is_last


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3 * COMPLETE_EVERY))
def test_reading_from_the_last_complete_commit_gives_what_reading_all_gives(steps: list[tuple[int, int]]) -> None:
    state, commits = commit_log.PartitionState(), []
    visible: set[str] = set()  # kept by hand
    for number, (add, remove) in enumerate(steps):
        gone = sorted(visible)[:remove]
        new = [stored(f"{number}-{i}") for i in range(add)]
        commits.append(state.next_commit({"trades": number}, new, gone, "me"))
        state = state.after(commits[-1])
        visible = visible - set(gone) | {file.path for file in new}
        assert set(state.files) == visible
    read = commit_log.PartitionState()
    for number in wanted(list(range(len(commits)))):
        read = read.after(decode_commit(encode_commit(commits[number]), "x"))
    assert read == state


TIME_NS = 1_767_225_600 * 10**9
NAMES = {"timeframes": ("1s", "1m"), "sources": ("feed", "other"), "venues": ("XNYS",), "rules": ("high",)}


def record(**changes: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "event_time_ns": [TIME_NS], "price": [5], "size": [0.25], "source": [1], "venue": [-1], "offset": [7],
        "row": [0], "late": [3], "side": [1], "cancelled": [0], "changed_offset": [-1], "changed_row": [0],
    }  # fmt: skip
    columns |= {name: value for name, value in changes.items() if name in columns}
    whole = {
        "type": "rebuild", "symbol": "AAA", "id": "x", "part": 0, "parts": 1, "covers_offset": 9,
        **{name: list(texts) for name, texts in NAMES.items()}, "trades": columns,
    }  # fmt: skip
    return {**whole, **{name: value for name, value in changes.items() if name not in columns}}


@pytest.mark.parametrize(("changes", "said"), [
    ({"part": 1}, "part 1 of 1"), ({"parts": 401}, "at most 400"), ({"part": True}, "part must be a whole number"),
    ({"covers_offset": -1}, "covers_offset must be a whole number, 0 or more"), ({"id": ""}, "id must be a text"),
    ({"sources": ["feed", 5]}, "sources must be a list of texts"), ({"trades": [1]}, "trades must be an object of columns"),
    ({"price": [5, 6]}, "the columns of trades must be of one length, found [1, 2]"),
    *(({"price": price}, "trades.price must be a list of numbers") for price in (["5"], None, [[5]])),
    ({"price": [0]}, "trades.price holds 0.0, which cannot be"), ({"size": [-1]}, "trades.size holds -1.0, which cannot be"),
    ({"event_time_ns": [1]}, "trades.event_time_ns holds 1, which cannot be"),
    ({"event_time_ns": [2**70]}, "trades.event_time_ns must be a list of whole numbers"),
    ({"offset": [7.5]}, "trades.offset must be a list of whole numbers"), ({"side": [3]}, "trades.side holds 3, which cannot be"),
    ({"source": [2]}, "trades.source must name places in sources"), ({"venue": [-2]}, "trades.venue must name places in venues"),
    ({"late": [-1]}, "trades.late must be a list of whole numbers"),
    ({"revisions": {"timeframe": [2], "open_time_ns": [TIME_NS], "bar": [1], "indicators": [0]}}, "revisions.timeframe"),
])  # fmt: skip
def test_what_is_not_whole_is_said_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        read_part(record(**changes))
    assert said in str(raised.value)


def test_a_long_history_comes_back_from_its_records_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    trades = np.zeros(2 * ROWS_MOST + 1, PAST_TRADE)
    trades["event_time_ns"] = TIME_NS + rng.integers(0, 10**15, len(trades))
    trades["price"], trades["size"] = rng.random(len(trades)) + 1e-9, rng.random(len(trades)) * 1e9
    trades["offset"], trades["changed_offset"] = rng.integers(0, 2**62, (2, len(trades)))
    trades["row"], trades["changed_row"] = rng.integers(0, 2**31 - 1, (2, len(trades)))
    trades["late"] = rng.integers(0, 2**32, len(trades))
    quotes = np.zeros(ROWS_MOST, PAST_QUOTE)
    quotes["event_time_ns"], quotes["offset"] = (trades["event_time_ns"][:ROWS_MOST], trades["offset"][:ROWS_MOST])
    for name in ("bid", "ask", "bid_size", "ask_size"):
        quotes[name] = rng.random(ROWS_MOST) + 1
    symbol = "S" * SYMBOL_BYTES_MAX
    history = History(symbol, 2**62, NAMES, {"trades": trades, "quotes": quotes})
    values = rebuild_values(history, "0" * 32)
    assert len(values) == 4
    assert max(map(len, values)) < RECORD_BYTES_MAX * 0.8, "with room for many names"
    parts = [read_part(orjson.loads(value)) for value in values]
    assert all(after.follows(before) for before, after in itertools.pairwise(parts))
    assert [part.is_last for part in parts] == [False, False, False, True]
    again = joined_parts(parts)
    assert (again.symbol, again.covers_offset, again.names) == (symbol, 2**62, NAMES)
    for name, dtype in COLUMNS.items():
        assert again.tables[name].tobytes() == history.tables.get(name, np.empty(0, dtype)).tobytes()


# Yahoo's published example: Microsoft closed at 46.99 and 48.30, split 2 for 1, closed at 24.96, and paid 0.08.
SPLIT, PAID = Action("split", 50, 2.0), Action("dividend", 60, 0.08)


def test_adjusted_closes_are_the_published_ones_and_a_sources_own_bars_and_too_large_dividends_stay() -> None:
    found = adjustments([PAID, SPLIT], "files", {60: (24.96, "files")})
    closes = {0: (46.99, 23.42), 10: (48.30, 24.07), 50: (24.96, 24.88), 60: (24.53, 24.53)}
    for at, (close, published) in closes.items():
        step = found.step("all", at)
        assert round(close * (step.price if step else 1), 2) == published
    assert (found.step("split", 49), found.step("split", 50)) == (Step(50, 0.5, 2.0), None)
    assert (found.step("none", 0), [action.ex_time_ns for action in found.actions]) == (None, [50, 60])
    split = SPLIT._replace(adjusted_by=("yahoo",))
    for source, step in (("yahoo", None), ("alpaca", Step(50, 0.5, 2.0)), (None, Step(50, 0.5, 2.0))):
        assert adjustments([split], source, {}).step("split", 0) == step
    paid = Action("dividend", 50, 2.0)
    assert adjustments([SPLIT, paid], "files", {50: (100.0, "files")}).step("all", 0) == Step(50, 0.48, 2.0)
    assert adjustments([PAID], "files", {}).step("all", 0) in (None, Step(60, 1.0, 1.0))  # nothing before it
    assert adjustments([PAID], "files", {60: (0.08, "files")}).steps["all"] == []


def test_every_rule_has_a_severity_and_is_a_reason_for_a_dead_letter_and_its_number_is_its_place() -> None:
    assert set(quality.DEFAULT_SEVERITY) == set(quality.RULES)
    assert set(quality.DEFAULT_SEVERITY.values()) <= set(quality.SEVERITIES)
    assert set(quality.RULES) <= set(REASONS)
    assert set(quality.RULES) >= quality.NEVER_DROPPED
    assert not any(quality.DEFAULT_SEVERITY[rule] == "drop" for rule in quality.RULES)
    rules, limits = list(quality.RULES), list(quality.DEFAULT_LIMITS)
    assert (rules[quality.SPLIT], rules[quality.OUT_OF_HOURS]) == ("split", "out_of_session")
    assert (limits[quality.DIVIDEND_MAX], limits[quality.VOLUME_FACTOR]) == ("dividend_max", "volume_factor")
