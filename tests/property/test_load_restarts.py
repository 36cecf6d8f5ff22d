"""A load gives the same lake however its rows are cut, wherever it dies, and over however many files and loads; a
replay the same rows however it is polled and restarted; and what was told can be computed again."""

import json
import math
import struct
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from examples import examples
from histories import KINDS, History, bar_histories, cuts_of, histories, letters_of, restarted, told_tables
from market_rows import Engine, Row, batch_of, config_of
from marketpulse.alerts.rule import Rule
from marketpulse.app.loading import load as loading
from marketpulse.app.loading import storing
from marketpulse.app.receipts.compare import Table, compare, flat, key_of
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import recompute, sift
from marketpulse.app.receipts.recomputed import Gathered, ToldBefore, missing_rows
from marketpulse.app.receipts.replay import Replay, Start, part_of
from marketpulse.app.receipts.verify import last_revisions
from marketpulse.clock import ManualClock
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.kafka.codec import to_tables
from marketpulse.model.market import StringTable
from marketpulse.model.rows import DEAD_LETTER
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink
from marketpulse.query.duck import LakeQuery
from marketpulse.query.stored_rows import ALWAYS, StoredRows, Wanted
from marketpulse.settings import ReplaySettings, Settings
from marketpulse.sinks import open_sink
from marketpulse.sources import history
from marketpulse.sources.replay import ReplaySource

T0 = 1_767_366_000 * 10**9
Put = tuple[int, str, int, str]

ROWS = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from("ABCDE"), st.integers(1, 20), st.sampled_from(["trade", "quote", "bad"])),
    min_size=8, max_size=60,
)  # fmt: skip


class Died(BaseException):
    """The process is gone: nothing is caught and nothing is tidied up."""


class Dying:
    """A sink whose process dies at its n-th write or flush."""

    def __init__(self, sink: Sink, calls: int) -> None:
        self._sink, self._left = sink, calls

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush"):
            self._left -= 1
            if self._left < 0:
                raise Died
        return getattr(self._sink, name)


def as_line(n: int, row: Put) -> str:
    """Trades with an id and without, quotes, a bar of a second with its end, and what cannot be used."""
    second, symbol, price, kind = row
    head = {"timestamp": T0 + second * 10**9 + n, "symbol": symbol}
    if kind == "quote":
        return json.dumps({**head, "bid": price, "bid_size": 1, "ask": price + 1, "ask_size": 1})
    named = {"trade_id": f"{n}"} if n % 3 else {}
    return json.dumps({**head, "price": -1 if kind == "bad" else price, "size": n % 4, **named})


def run(home: Path, files: list[Path], stretch: int, dies_at: int | None = None) -> None:
    engine = {
        "timeframes": ["3t", "1s", "1m"], "indicators": "sma(2),ema(3),spread",
        "alerts": [{"name": "high", "expression": "close > 10", "timeframe": "1s"}],
    }  # fmt: skip
    settings = Settings(data_dir=home, kafka={"partitions": 2}, engine=engine)

    def opened(at: Settings, which: str) -> Any:
        sink = open_sink(at, which)
        return sink if dies_at is None else Dying(sink, dies_at)

    with (
        patch.object(loading, "stretches", lambda runs, **_: history.stretches(runs, stretch)),
        patch.object(history, "_SAMPLE", 1),
        patch.object(storing, "_WAITING_ROWS", 10),
        patch.object(loading, "open_sink", opened),
    ):
        loading.load(settings, loading.Request([*map(str, files)], lake_only=True, complete=True))


def lake(home: Path) -> dict[str, list[str]]:
    stored = StoredRows(Settings(data_dir=home))
    rows = {table: stored.whole(table).to_pylist() for table in TABLES}
    return {table: sorted(json.dumps(row, default=str, sort_keys=True) for row in of) for table, of in rows.items()}


@pytest.mark.usefixtures("kernels")
@examples(full=20)
@given(rows=ROWS, stretch=st.integers(1, 40), deaths=st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_the_lake_is_the_same_wherever_a_load_is_cut_or_dies(rows: list[Put], stretch: int, deaths: list[int]) -> None:
    rows = [(1, "A", 5, "trade"), *rows]
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder), Path(folder) / "rows.jsonl"
        file.write_text("\n".join(as_line(n, row) for n, row in enumerate(rows)) + "\n")
        run(home / "whole", [file], 1_000)
        for at in deaths:
            with suppress(Died):
                run(home / "cut", [file], stretch, at)
        run(home / "cut", [file], stretch)
        assert lake(home / "cut") == (expected := lake(home / "whole"))
        assert len(expected["trades"]) == sum(row[3] == "trade" for row in rows)
        assert len(expected["dead_letters"]) == sum(row[3] == "bad" for row in rows)


def current(home: Path) -> dict[str, list[str]]:
    """What readers see, but for where it came from and how often it was revised."""
    of_origin = "topic,partition,offset,row,receipt,revision,late,was,message"
    query, found = LakeQuery(Settings(data_dir=home)), {}
    for view in ("trades", "quotes", "bars", "indicators", "alerts"):
        rows = query.run(f"SELECT * FROM {view}").to_pylist()  # noqa: S608  (our own name)
        kept = [{name: value for name, value in row.items() if name not in of_origin.split(",")} for row in rows]
        found[view] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    query.close()
    return found


@pytest.mark.usefixtures("kernels")
@examples(full=20)
@given(rows=ROWS, stretch=st.integers(15, 60), dies_at=st.integers(0, 30), data=st.data())
def test_loads_in_any_order_are_one_load_of_all_files(rows: list[Put], stretch: int, dies_at: int, data: Any) -> None:
    rows = [*rows, (91, "A", 5, "trade")]
    part = st.sets(st.integers(0, len(rows) - 2), min_size=1)
    parts = data.draw(st.tuples(part, part), label="the rows of each file")
    with tempfile.TemporaryDirectory() as folder:
        home, files = Path(folder), [Path(folder) / f"{number}.jsonl" for number in range(len(parts))]
        for file, own in zip(files, parts, strict=True):
            file.write_text("\n".join(as_line(n, rows[n]) for n in sorted(own | {len(rows) - 1})) + "\n")
        run(home / "at once", files, 1_000)
        with suppress(Died):
            run(home / "one by one", files[-1:], stretch, dies_at)
        for file in files:
            run(home / "one by one", [file], stretch)
        assert current(home / "one by one") == current(home / "at once")


Steps = list[tuple[float, bool]]
"""Seconds until the next poll, and whether the process is killed before it."""
STEPS = st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("files")
    trades = "".join(f"{1_767_366_000 + i * 7 % 20},A,{i + 1},{i}\n" for i in range(20))
    (home / "a.csv").write_text("time,symbol,price,trade_id\n" + trades + "broken\n")
    quotes = "".join(f'{{"ts":{1_767_366_000 + i},"sym":"B","bid":{i + 1},"ask":{i + 2}}}\n' for i in range(15))
    (home / "b.jsonl").write_text(quotes)
    return home


def start(folder: Path, clock: ManualClock, speed: str, position: str | None) -> ReplaySource:
    source = ReplaySource(ReplaySettings(files=(str(folder),), speed=speed), "r", lateness_ns=0, clock=clock)
    source.start(position)
    return source


def collected(folder: Path, speed: str, steps: Steps) -> tuple[list[dict[str, Any]], int]:
    """Every row and the number of set-aside ones, through these polls and kills and then to the end."""
    clock = ManualClock(0)
    source, position = start(folder, clock, speed, None), None
    rows: list[dict[str, Any]] = []
    rejected = 0
    for wait, killed in [*steps, *[(1.0, False)] * 200]:
        if killed:
            source = start(folder, clock, speed, position)
        polled = source.poll(wait)
        position = polled.position or position
        rejected += len(polled.rejected)
        rows += [{**row, "ingest_time_ns": 0} for batch in polled.batches for row in batch.to_pylist()]
        if polled.ended:
            return rows, rejected
    raise AssertionError("the replay did not end")


@given(steps=STEPS, speed=st.sampled_from(["recorded", "3x", "4/s", "max"]))
@examples(full=40)
def test_any_cut_and_any_restart_give_the_uninterrupted_rows(folder: Path, steps: Steps, speed: str) -> None:
    whole, rejected = collected(folder, "max", [])
    assert (len(whole), rejected) == (35, 1)
    assert [row["event_time_ns"] for row in whole] == sorted(row["event_time_ns"] for row in whole)
    assert collected(folder, speed, steps) == (whole, rejected)


@given(steps=STEPS)
@examples(full=20)
def test_no_row_is_older_than_the_last_promise(folder: Path, steps: Steps) -> None:
    source = start(folder, ManualClock(0), "recorded", None)
    promised = 0
    for wait, _ in [*steps, *[(1.0, False)] * 30]:
        for batch in source.poll(wait).batches:
            assert min(batch.column("event_time_ns").to_pylist()) > promised
        now = source.watermark_ns() or 0
        assert now >= promised, "a watermark never goes back"
        promised = now


RULES = (
    Rule("crossing", "close crosses_above sma_3", message="{close} beside {spread}"),
    Rule("minute", "close@1m > prev(close) and volume >= 0", timeframe="5s", clear="close@1m < close", for_s=5),
    Rule("ticks", "abs(change_pct(close, 1)) > 10", timeframe="3t"),
    Rule("resting", "close > 8", cooldown_s=20, symbols=("A",)),
    Rule("quoted", "spread > 0.1"),
)
CONFIG = config_of(
    ["3t", "1s", "5s", "1m"], "sma(3),ema(3),rsi(3),macd(2,4,3),bbands(3,2),vwap,atr(3),spread,imbalance",
    max_skew_ns=10**13, window_ns=60 * 10**9, alerts=RULES,
)  # fmt: skip
RISING = (Rule("rising", "close > ema_3"),)
FILLED = config_of(["5s", "1m"], "ema(3),vwap", fill=True, max_skew_ns=10**13, alerts=RISING)
logs = histories(
    trades=(2, 40), delays=(0, 0, 0.3, 3, 30, 90), quote_delays=(0, 0, 20), sources=("feed", "other"), again=(0.5, 20, 60),
).map(lambda history: history[0])  # fmt: skip
"""Trades that come late, twice, corrected, cancelled and far too late; quotes, heartbeats and clocks between."""


@dataclass
class Told:
    """What an engine has told of a log, as it lies in a store, and what it has refused."""

    tables: dict[Table, pa.Table]
    letters: pa.Table


def told(config: EngineConfig, rows: list[Row]) -> Told:
    engine = Engine(config)
    result = engine.step(rows)
    tables = {name: flat(table) for name, table in told_tables(engine, result).items()}
    return Told(tables, pa.Table.from_pylist(letters_of(result), DEAD_LETTER))


def again(config: EngineConfig, rows: list[Row], cuts: list[int], start: Start | None = None) -> Gathered:
    """A replay of the log, cut at these rows."""
    start = start or Start(new_state(config), 0, from_snapshot=False)
    batch = batch_of(rows, 0, StringTable())
    run = Replay(config, "market", 0, start.state)
    gathered = Gathered()
    for first, end in pairwise([start.offset, *(cut for cut in cuts if cut > start.offset), len(rows)]):
        for found in run.take(part_of(batch, first, end)):
            gathered.take(found)
    return gathered


@examples(full=80)
@given(rows=logs, data=st.data())
def test_every_row_comes_again_from_any_cut_of_the_log(rows: list[Row], data: st.DataObject) -> None:
    cuts = cuts_of(data, rows, 4)
    for config in (CONFIG, FILLED):
        stored = told(config, rows)
        gathered = again(config, rows, cuts)
        for table in KINDS:
            found = compare(table, gathered.table(table), stored.tables[table])
            assert (found.differences, found.same) == ([], stored.tables[table].num_rows)
            assert len(found.only_recomputed) == len(found.only_stored) == 0


@examples(full=80)
@given(rows=logs, data=st.data())
def test_from_a_snapshot_later_rows_come_again_and_the_rest_is_known(rows: list[Row], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    engine = Engine(CONFIG)
    engine.step(rows[:cut])
    start = Start(restarted(engine).state, cut, from_snapshot=True)
    known, stored = ToldBefore.of(start, CONFIG), told(CONFIG, rows)
    before = told(CONFIG, rows[:cut])
    gathered = again(CONFIG, rows, [], start)
    for table in KINDS:
        recomputed = gathered.table(table)
        if not recomputed.num_columns:
            continue
        found = compare(table, recomputed, stored.tables[table])
        assert (found.differences, len(found.only_recomputed)) == ([], 0)
        rest = stored.tables[table].take(pa.array(found.only_stored))
        assert rest.num_rows == before.tables[table].num_rows
        assert known.before(rest).all()


@examples(full=100)
@given(rows=logs, data=st.data())
def test_one_flipped_bit_is_found_and_named(rows: list[Row], data: st.DataObject) -> None:
    stored, gathered = told(CONFIG, rows), again(CONFIG, rows, [])
    table: Table = data.draw(st.sampled_from(KINDS))
    good = stored.tables[table]
    name = data.draw(st.sampled_from([f.name for f in good.schema if pa.types.is_floating(f.type)]))
    values = good[name].to_pylist()
    there = [i for i, value in enumerate(values) if value is not None]
    assume(there)
    place = data.draw(st.sampled_from(there))
    (bits,) = struct.unpack("<q", struct.pack("<d", values[place]))
    (values[place],) = struct.unpack("<d", struct.pack("<q", bits ^ (1 << data.draw(st.integers(0, 51)))))
    wrong = good.set_column(good.column_names.index(name), name, pa.array(values, pa.float64()))
    found = compare(table, gathered.table(table), wrong)
    assert [(d.column, d.stored) for d in found.differences] == [(name, values[place])]
    key = {n: good[n][place].as_py() for n in key_of(table)}
    assert {n: getattr(found.differences[0], n) for n in key} == key
    assert found.same == good.num_rows - 1


@examples(full=60)
@given(rows=logs, data=st.data())
def test_a_lost_row_is_missing_and_a_doubled_one_is_given_by_nothing(rows: list[Row], data: st.DataObject) -> None:
    table: Table = data.draw(st.sampled_from(KINDS))
    stored, gathered = told(CONFIG, rows).tables[table], again(CONFIG, rows, []).table(table)
    assume(stored.num_rows > 1)
    place = data.draw(st.integers(0, stored.num_rows - 2))
    found = compare(table, gathered, stored.filter(pa.array(np.arange(stored.num_rows) != place)))
    assert missing_rows(gathered, found, 1).tolist() == found.only_recomputed.tolist() != []
    found = compare(table, gathered, pa.concat_tables([stored, stored.slice(place, 1)]))
    assert (len(found.only_stored), len(found.only_recomputed)) == (1, 0)


@examples(full=80)
@given(rows=logs)
def test_the_last_revisions_come_again_from_the_lakes_trades(rows: list[Row]) -> None:
    tables = to_tables(batch_of(rows, 0, StringTable()))
    events = pa.table(tables["events"]) if "events" in tables else pa.table({})
    for config in (CONFIG, FILLED):
        stored = told(config, rows)
        inputs = sift("market", 0, pa.table(tables["trades"]), events, stored.letters)
        gathered = Gathered()
        rules = lake_rules(config, inputs, None)
        for found in recompute(config, inputs, Wanted(*ALWAYS), rules):
            gathered.take(found)
        assert [rule.name for rule in config.alerts if rule.name != "quoted"] == [r.name for r in rules.rules]
        _assert_same_alerts(stored.tables["alerts"], gathered.table("alerts"), config)
        for table in ("bars", "indicators"):
            last = stored.tables[table].filter(pa.array(last_revisions(table, *[stored.tables[table]] * 2)))
            of_quotes = [name for name in ("spread", "imbalance") if name in last.column_names]
            expected, actual = _by_key(last.drop(of_quotes)), _by_key(gathered.table(table))
            if config is FILLED:  # it goes on until the last heartbeat; the lake's trades end before
                expected = {key: row for key, row in expected.items() if key in actual or row["close"] is None}
            assert actual == {key: row for key, row in expected.items() if row["close"] is not None}


@examples(full=80)
@given(history=bar_histories())
def test_rows_of_source_bars_of_any_lengths_come_again_from_the_lake(history: History) -> None:
    rows = history[0]
    config = config_of(["1m", "5m", "1h"], "ema(3)", max_skew_ns=10**14)
    stored, events = told(config, rows), pa.table(to_tables(batch_of(rows, 0, StringTable()))["events"])
    gathered = Gathered()
    inputs = sift("market", 0, pa.table({}), events, stored.letters)
    for found in recompute(config, inputs, Wanted(*ALWAYS)):
        gathered.take(found)
    for table in ("bars", "indicators"):
        last = stored.tables[table].filter(pa.array(last_revisions(table, *[stored.tables[table]] * 2)))
        assert _by_key(gathered.table(table)) == _by_key(last)


def _assert_same_alerts(stored: pa.Table, recomputed: pa.Table, config: EngineConfig) -> None:
    """Those that stand after the last revision, as sets: no two are of one rule, symbol and bar."""
    names = ["symbol", "rule", "timeframe", "open_time_ns", "event_time_ns", "state", "value"]
    last = stored.filter(pa.array(last_revisions("alerts", stored, stored)))
    stand = [row for row in last.to_pylist() if row["state"] != "withdrawn" and row["rule"] != "quoted"]
    expected = {tuple(row[n] for n in names) for row in stand}
    actual = {tuple(row.values()) for row in recomputed.select(names).to_pylist()}
    assert actual <= expected if config is FILLED else actual == expected  # see above


def _by_key(rows: pa.Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Values by symbol, timeframe, open time, and number among bars that share these; NaN-free."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    if not rows.num_columns:
        return found
    names = [n for n in rows.column_names if not n.startswith("receipt.") and n != "revision"]
    for row in rows.select(names).to_pylist():
        number = 0
        while (key := (row["symbol"], row["timeframe"], row["open_time_ns"], number)) in found:
            number += 1
        assert not any(isinstance(v, float) and math.isnan(v) for v in row.values())
        found[key] = row
    return found
