"""However late trades, quotes, corrections and cancels come, inside the window or healed behind it: in the end every
row is what the sorted, corrected log would have given, bit for bit, and is told again only if its bits have changed
(docs/semantics.md, 10 to 12)."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import histories
from examples import examples
from histories import KINDS, PLACES, History, Last, cut, cuts_of, letters_of, take_revisions, told_tables
from market_rows import MIDNIGHT_NS, Engine, Row, batch_of, clock, config_of, heartbeat, hello, logged, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.healing.history import own_rows, past_of
from marketpulse.app.late_notices import late_notices
from marketpulse.app.receipts.compare import Table, compare, flat
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import LakeInputs, recompute, sift
from marketpulse.app.receipts.recomputed import Gathered
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import kept_trades
from marketpulse.kafka.codec import to_tables
from marketpulse.kafka.rebuild_record import beginning_value, rebuild_values
from marketpulse.model.market import StringTable
from marketpulse.model.rows import DEAD_LETTER
from marketpulse.query.stored_rows import ALWAYS, Wanted

RULES = (
    Rule("cross", "close crosses_above ema_3"),
    Rule("high", "close > 6", for_s=2, cooldown_s=20),
    Rule("minute", "close > close@1m or volume > prev(volume)", clear="close < 4"),
    Rule("wide", "spread > 1", timeframe="1m", symbols=("A",)),
)
PLAIN = config_of(
    ["3t", "1s", "5s", "1m"], "sma(3),ema(3),rsi(3),macd(2,4,3),vwap,atr(3),spread,ofi(2)", max_skew_ns=10**13,
    window_ns=20 * 10**9, alerts=RULES,
)  # fmt: skip
UP = (Rule("up", "close > ema_3"),)
FILLED = config_of(["5s", "1m"], "ema(3),vwap,mid", fill=True, max_skew_ns=10**13, window_ns=10**10, alerts=UP)
EACH = config_of(["1s", "1m"], "ema(3)", revise_each=True, max_skew_ns=10**13, window_ns=15 * 10**9)
CONFIGS = (PLAIN, FILLED, EACH)
COARSE = config_of(["1m", "1h"], "ema(3),vwap", max_skew_ns=10**13, window_ns=5 * 10**9, alerts=UP)
"""Open bars begin before the window does."""
END_S = 620.0
late_histories = partial(
    histories.histories,
    trades=(1, 30),
    delays=(0, 0, 0, 3, 30, 120),
    quotes_max=20,
    sources=("feed", "other"),
    end=END_S,
)
"""Some trades come, are told again, corrected or cancelled long after their time. Quotes of live sources come in time: which of
them came too late is written nowhere."""
some_histories, none_twice = late_histories(again=(1, 60, 150)), late_histories(again=())
quotes_late_too = late_histories(again=(1, 60, 150), quote_delays=(0, 0, 3, 30, 120))


@dataclass
class Pipeline:
    """An engine, and a lake that holds its inputs and all that it has told."""

    config: EngineConfig
    history: bool = False
    engine: Engine = field(init=False)
    log: list[Row] = field(default_factory=list)
    told: dict[Table, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    letters: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.config)
        if self.history:
            self.take([hello(source, "historical", lateness_ns=0) for source in ("feed", "other")])

    def take(self, rows: list[Row], *, restart: bool = False) -> list[str]:
        """Take rows in, and store what is told of them; gives the reasons of what was refused."""
        begin = len(self.log)
        self.log += rows
        result = self.engine.step(rows)
        for table, told in told_tables(self.engine, result).items():
            self.told[table] += told.to_pylist()
        self.letters += letters_of(result, begin)
        if len(result.behind):
            batch = batch_of(rows, begin, self.engine.strings)
            self.take([logged(value) for _, value in late_notices(self.config, batch, result.behind)])
        if restart:
            self.engine = histories.restarted(self.engine)
        return [r.reason for r in result.refused]

    def stored(self) -> dict[Table, pa.Table]:
        tables = told_tables(self.engine, self.engine.step([]))
        return {name: flat(pa.Table.from_pylist(self.told[name], table.schema)) for name, table in tables.items()}

    def inputs(self, symbol: str | None = None) -> tuple[LakeInputs, pa.Table]:
        """What the lake holds: trades and events, and quotes."""
        tables = to_tables(batch_of(self.log, 0, StringTable()))
        letters = pa.Table.from_pylist(self.letters, DEAD_LETTER)
        trades, events, quotes = (pa.table(tables.get(name, {})) for name in ("trades", "events", "quotes"))
        if symbol is not None:
            trades, events, quotes = (own_rows(t, symbol) for t in (trades, events, quotes))
        return sift("market", 0, trades, events, letters), quotes

    def heal(self, identity: str, between: Sequence[Row] = (), **how: Any) -> None:
        """Begin; `between` comes in; and when all is stored that was told up to there, the rest, of which there is none
        where there is nothing to heal."""
        symbols = [symbol for symbol in ("A", "B") if self.inputs(symbol)[0].trades.num_rows]
        begins = len(self.log)
        for symbol in symbols:
            assert self.take([logged(beginning_value(symbol, identity + symbol))], **how) == []
        self.take(list(between), **how)
        for symbol in symbols:
            for record in self.records(symbol, identity + symbol, begins):
                assert self.take([record], **how) == []

    def records(self, symbol: str, identity: str, begins: int) -> list[Row]:
        """The rebuild that heals what there was to heal of the symbol when it began; none for nothing."""
        inputs, quotes = self.inputs(symbol)
        inputs = inputs.only(~inputs.late | (inputs.trades["offset"].to_numpy() < begins))
        stored = {table: own_rows(rows, symbol) for table, rows in self.stored().items()}
        past = past_of(symbol, self.config, inputs, stored, quotes, begins, len(self.log) - 1)
        if not (past.trades.late - past.trades.doubles or past.trades.changed or len(past.late_quotes)):
            return []
        return [logged(value) for value in rebuild_values(past.history, identity)]

    def shown(self) -> Last:
        last = Last()
        for table in KINDS:
            take_revisions(last, table, self.told[table])
        return histories.shown(last)


@examples(full=50)
@given(some=some_histories, once=none_twice, quotes=quotes_late_too, data=st.data())
def test_the_healed_is_as_the_sorted_log(some: History, once: History, quotes: History, data: st.DataObject) -> None:
    """Of a historical source nothing of it is a dead letter, and quotes are healed too."""
    for config in (*CONFIGS, COARSE):
        pipeline, restart = Pipeline(config, data.draw(st.booleans())), data.draw(st.booleans())
        came, meant = once if config is COARSE else quotes if pipeline.history else some
        at = data.draw(st.integers(0, len(came) - 3))  # the last three come too long after
        parts = data.draw(st.integers(at, len(came) - 3))
        pipeline.take(came[:at], restart=restart)
        pipeline.heal("first", came[at:parts], restart=restart)
        pipeline.take(came[parts:], restart=restart)
        pipeline.heal("second", restart=restart)
        pipeline.take([clock(END_S + 61)])
        assert not (pipeline.history and {letter["reason"] for letter in pipeline.letters} - {"unknown_trade"})
        clean = Pipeline(config, pipeline.history)
        clean.take(meant)
        assert pipeline.shown() == clean.shown()
        for symbol in {row["symbol"] for row in meant if row["type"] == "trade"}:
            assert pipeline.records(symbol, "third", len(pipeline.log)) == [], "nothing is left to heal"


@examples(full=30)
@given(history=some_histories)
def test_the_lake_gives_the_healed_rows_again(history: History) -> None:
    came, _ = history
    pipeline = Pipeline(PLAIN)
    pipeline.take(came)
    pipeline.heal("first")
    pipeline.take([clock(END_S + 61)])
    inputs, _ = pipeline.inputs()
    gathered = Gathered()
    for rows in recompute(PLAIN, inputs, Wanted(*ALWAYS), lake_rules(PLAIN, inputs, None)):
        gathered.take(rows)
    stored = pipeline.stored()
    for table in ("bars", "indicators"):
        told = [(place, row) for place, row in enumerate(stored[table].to_pylist()) if row["timeframe"][-1] != "t"]
        last = {tuple(row[name] for name in PLACES[table]): (place, row) for place, row in told}
        there = sorted(place for place, row in last.values() if row["close"] is not None)
        mine = stored[table].take(pa.array(there, pa.int64()))
        zeros = pa.array([0] * mine.num_rows, pa.int64())
        mine = mine.set_column(mine.column_names.index("revision"), "revision", zeros)
        told_when = {name for name in mine.column_names if name.startswith("receipt.")}
        found = compare(table, gathered.table(table), mine, (), frozenset(told_when))
        assert (found.differences, len(found.only_stored)) == ([], 0)


@examples(full=30)
@given(history=some_histories, data=st.data())
def test_any_cut_and_restart_gives_the_same_rows(history: History, data: st.DataObject) -> None:
    came, _ = history
    whole = Pipeline(PLAIN)
    whole.take(came[: len(came) // 2])
    whole.heal("first", came[len(came) // 2 : -3])
    whole.take(came[-3:])
    whole.heal("second")
    whole.take([clock(END_S + 61)])
    again = Pipeline(PLAIN)
    for _, part in cut(whole.log, cuts_of(data, whole.log)):
        again.take(list(part), restart=True)
    assert (again.told, again.letters) == (whole.told, whole.letters)


INDICATORS = "sma(3),ema(3),rsi(3),macd(2,4,3),vwap,atr(3),volume_sma(3),mid,spread,microprice,imbalance,ofi(2)"
ANY_CLOCK = 10**14  # the log's own time plays no part here
TOLD = (
    *RULES[:3],
    Rule("swing", "abs(change_pct(close, 1)) > 20", timeframe="1m", symbols=("A",)),
    Rule("few", "trade_count < 3", severity="info"),
)
PLAIN_BARS = config_of(["1s", "5s", "1m", "1h"], INDICATORS, max_skew_ns=ANY_CLOCK, alerts=TOLD)
FILLED_BARS = config_of(["5s", "1m"], "sma(3),ema(3),vwap,spread", fill=True, max_skew_ns=ANY_CLOCK, alerts=TOLD)
EACH_BAR = config_of(["1s", "1m"], "ema(3),spread", revise_each=True, max_skew_ns=ANY_CLOCK, alerts=TOLD)
COARSE_BARS = config_of(["3t", "1m"], "ema(3)", max_skew_ns=ANY_CLOCK, alerts=TOLD)
SHORT = config_of(
    ["1s", "5s", "1m"], INDICATORS, max_skew_ns=ANY_CLOCK, window_ns=25 * 10**9, window_trades=12, alerts=TOLD
)
BARS = config_of(["1m", "5m", "1h"], INDICATORS, max_skew_ns=ANY_CLOCK, alerts=TOLD)
BARS_GIVEN = config_of(["1m", "5m", "1h"], INDICATORS, max_skew_ns=ANY_CLOCK, alerts=TOLD, larger_bars="given")
BARS_EACH = config_of(["1m", "5m", "1h"], "ema(3),vwap", revise_each=True, max_skew_ns=ANY_CLOCK, alerts=TOLD)
OHLCV = ("open", "high", "low", "close", "volume")
late_quotes = histories.histories(quote_delays=(0, 0, 0.5, 3, 20, 90))


def last_rows(config: EngineConfig, rows: list[Row], cuts: list[int], *, restart: bool = False) -> Last:
    """The last revision of every bar, indicator row and change of an alert."""
    engine, last = Engine(config), Last()
    for _, part in cut(rows, cuts):
        result = engine.step(part)
        assert config is SHORT or result.refused == []
        for table, told in told_tables(engine, result).items():
            take_revisions(last, table, told.to_pylist())
        engine = histories.restarted(engine) if restart else engine
    return last


@examples(full=200)
@given(history=late_quotes, data=st.data())
def test_any_order_and_any_correction_end_as_the_sorted_log(history: History, data: st.DataObject) -> None:
    came, meant = history
    for config in (PLAIN_BARS, FILLED_BARS, EACH_BAR, COARSE_BARS):
        healed = last_rows(config, came, cuts_of(data, came, 3), restart=data.draw(st.booleans()))
        assert histories.shown(healed) == histories.shown(last_rows(config, meant, []))


@examples(full=100)
@given(history=late_quotes, data=st.data())
def test_any_cut_and_restart_gives_the_same_revisions_of_a_short_window(history: History, data: st.DataObject) -> None:
    came, _ = history
    assert last_rows(SHORT, came, cuts_of(data, came, 5), restart=True) == last_rows(SHORT, came, [])


def bars_by_hand(rows: list[Row], *, given: bool) -> dict[tuple[str, str, int], list[float]]:
    """Each bar from the next smaller ones in it; where there are none, or if `given`, as its source gave it."""
    source = {(r["symbol"], r["timeframe"], r["open_time_ns"]): list(r["ohlcv"]) for r in rows if r["type"] == "bar"}
    found = dict(source)
    for smaller, larger in pairwise(histories.SECONDS):
        length, groups = histories.SECONDS[larger] * 10**9, defaultdict(list)
        for symbol, frame, opens in sorted(found):
            if frame == smaller:
                groups[symbol, larger, (opens - MIDNIGHT_NS) // length * length + MIDNIGHT_NS].append(
                    found[symbol, frame, opens]
                )
        for key, parts in groups.items():
            opened, high, low, close, volume = zip(*parts, strict=True)
            built = [opened[0], max(high), min(low), close[-1], math.fsum(volume)]
            found[key] = source.get(key, built) if given else built
    return found


@examples(full=200)
@given(history=histories.bar_histories(), data=st.data())
def test_bars_of_sources_in_any_order_end_as_the_sorted_log(history: History, data: st.DataObject) -> None:
    """However late they are, whatever their lengths, and wherever the log is cut."""
    came, meant = history
    for config in (BARS, BARS_EACH, BARS_GIVEN):
        healed = last_rows(config, came, cuts_of(data, came, 4), restart=data.draw(st.booleans()))
        assert histories.shown(healed) == histories.shown(last_rows(config, meant, []))
        assert healed == last_rows(config, came, [])
        if config is not BARS_EACH:
            bars = {key: [row[n] for n in OHLCV] for key, row in histories.shown(healed)["bars"].items()}
            by_hand = bars_by_hand(meant, given=config is BARS_GIVEN)
            assert bars == {key: pytest.approx(row) for key, row in by_hand.items()}


def test_the_window_lets_go_of_what_it_has_left() -> None:
    engine = Engine(config_of(["1s", "1m"], "ema(3)", window_ns=30 * 10**9, max_skew_ns=ANY_CLOCK))
    rng = np.random.default_rng(1)
    for start in range(0, 200_000, 1_000):
        now = 10 + start / 100
        late = rng.random(1_000) < 0.1
        engine.step([trade("A", now + i / 100 - 2.5 * late[i], 1 + i % 7, 1) for i in range(1_000)])
        engine.step([heartbeat(now + 9)])
    assert engine.state.tables.window.size <= 16_384, "30 s hold 3,000 trades"
    assert len(engine.state.told.rows(1)[0]) <= 16_384
    state = engine.stepper.trim(engine.state)
    kept = kept_trades(state)
    assert kept["event_ns"].min() >= MIDNIGHT_NS + (2_009 - 30) * 10**9
    assert len(kept) <= 4_100
    assert state.size_bytes() < 8_000_000
