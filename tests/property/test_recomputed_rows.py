"""What was told can be computed again, from any cut of the log, from a snapshot, and from the lake's trades;
and one wrong bit is found."""

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import assume, given
from hypothesis import strategies as st

from examples import examples
from histories import KINDS, History, bar_histories, cuts_of, histories, letters_of, restarted, told_tables
from market_rows import Engine, Row, batch_of, config_of
from marketpulse.alerts.rule import Rule
from marketpulse.app.receipts.compare import Table, compare, flat, key_of
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import recompute, sift
from marketpulse.app.receipts.recomputed import Gathered, ToldBefore, missing_rows
from marketpulse.app.receipts.replay import Replay, Start, part_of
from marketpulse.app.receipts.verify import last_revisions
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.kafka.codec import to_tables
from marketpulse.model.market import StringTable
from marketpulse.model.rows import DEAD_LETTER
from marketpulse.query.stored_rows import ALWAYS, Wanted

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
    lost = stored.filter(pa.array(np.arange(stored.num_rows) != place))
    found = compare(table, gathered, lost)
    assert missing_rows(gathered, found, 1).tolist() == found.only_recomputed.tolist() != []
    doubled = pa.concat_tables([stored, stored.slice(place, 1)])
    found = compare(table, gathered, doubled)
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
