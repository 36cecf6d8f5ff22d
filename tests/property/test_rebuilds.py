"""However late trades, corrections and cancels come: when they are healed, every row is what the sorted, corrected log
would have given, bit for bit, and is told again only if its bits have changed (docs/semantics.md, 11)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from market_rows import Engine, Row, batch_of, cancel, clock, config_of, correction, heartbeat, logged, quote, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.healing.history import own_rows, past_of
from marketpulse.app.healing.past_trades import Refused
from marketpulse.app.receipts.compare import Table, compare, flat
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import LakeInputs, recompute, sift
from marketpulse.app.receipts.recomputed import Gathered
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.kafka.codec import to_tables
from marketpulse.kafka.rebuild_record import beginning_value, rebuild_values
from marketpulse.model.market import StringTable
from marketpulse.model.rows import ALERT, DEAD_LETTER
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
FILLED = config_of(
    ["5s", "1m"],
    "ema(3),vwap,mid",
    fill=True,
    max_skew_ns=10**13,
    window_ns=10**10,
    alerts=(Rule("up", "close > ema_3"),),
)
EACH = config_of(["1s", "1m"], "ema(3)", revise_each=True, max_skew_ns=10**13, window_ns=15 * 10**9)
CONFIGS = (PLAIN, FILLED, EACH)
COARSE = config_of(
    ["1m", "1h"], "ema(3),vwap", max_skew_ns=10**13, window_ns=5 * 10**9, alerts=(Rule("up", "close > ema_3"),)
)  # fmt: skip
"""Open bars begin before the window does."""
END_S = 620.0
KINDS: tuple[Table, ...] = ("bars", "indicators", "alerts")
_PLACES = {
    "bars": ("symbol", "timeframe", "open_time_ns"),
    "indicators": ("symbol", "timeframe", "open_time_ns"),
    "alerts": ("symbol", "rule", "event_time_ns"),
}


@st.composite
def streams(draw: st.DrawFn, *, again: bool = True) -> tuple[list[Row], list[Row]]:
    """(as it came, as it should have come): some trades long after their time, some of them again, some corrected or
    cancelled long after. Quotes come in time: which of them came too late is written nowhere."""
    arrivals: list[tuple[float, int, Row]] = []
    meant: dict[str, Row] = {}
    for i in range(draw(st.integers(1, 30))):
        time = draw(st.floats(10, 200).map(lambda s: round(s, 2)))
        row = trade(
            draw(st.sampled_from(["A", "B"])), time, draw(st.integers(1, 50)) / 4,
            draw(st.sampled_from([0.0, 0.1, 1.0, 3.7])), draw(st.sampled_from(["feed", "feed", "other"])),
            trade_id=f"{i}", venue=draw(st.sampled_from(["X", "Y"])),
        )  # fmt: skip
        arrived = time + draw(st.sampled_from([0.0, 0.0, 0.0, 3.0, 30.0, 120.0]))
        arrivals.append((arrived, len(arrivals), row))
        meant[f"{i}"] = row
        if again and draw(st.integers(0, 3)) == 0:
            arrivals.append((arrived + draw(st.sampled_from([1.0, 60.0, 150.0])), len(arrivals), row))
        about = (row["symbol"], f"{i}")
        if draw(st.integers(0, 4)) == 0:
            later = arrived + draw(st.sampled_from([0.1, 2.0, 60.0]))
            price, size = draw(st.integers(1, 50)) / 4, draw(st.sampled_from([0.0, 9.0]))
            arrivals.append((later, len(arrivals), correction(*about, price, size, time, row["source"])))
            meant[f"{i}"] = {**row, "price": price, "size": size}
            if draw(st.booleans()):
                arrivals.append((later + 50, len(arrivals), cancel(*about, time, row["source"])))
                del meant[f"{i}"]
    for i in range(draw(st.integers(0, 20))):
        time = draw(st.floats(10, 200).map(lambda s: round(s, 2)))
        bid = draw(st.integers(1, 50)) / 4
        row = quote(draw(st.sampled_from(["A", "B"])), time, bid, bid + draw(st.integers(0, 9)) / 4, quote_id=f"q{i}")
        arrivals.append((time, len(arrivals), row))
        meant[f"q{i}"] = row
    came: list[Row] = []
    for time, _, row in sorted(arrivals, key=lambda a: a[:2]):
        came.append(row)
        if draw(st.booleans()):
            came.append(draw(st.sampled_from([heartbeat(time - 2.0, log=time), heartbeat(time), clock(time)])))
    first: dict[str, int] = {}
    for i, row in enumerate(came):
        if row["type"] in ("trade", "quote"):
            first.setdefault(name_of(row), i)
    ends = [heartbeat(END_S, source) for source in ("feed", "other")]
    ordered = sorted(meant.values(), key=lambda r: (r["event_time_ns"], first[name_of(r)]))
    return [*came, *ends, clock(END_S + 60)], [*ordered, *ends, clock(END_S + 60)]


def name_of(row: Row) -> str:
    return str(row.get("trade_id", row.get("quote_id")))


@dataclass
class Pipeline:
    """An engine, and a lake that holds its inputs and all that it has told."""

    config: EngineConfig
    engine: Engine = field(init=False)
    log: list[Row] = field(default_factory=list)
    told: dict[Table, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    letters: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.config)

    def take(self, rows: list[Row], *, restart: bool = False) -> list[str]:
        """Take rows in, and store what is told of them; gives the reasons of what was refused."""
        begin = len(self.log)
        self.log += rows
        result = self.engine.step(rows)
        state = self.engine.state
        self.told["bars"] += bar_rows(state, self.config, result.closed, "market", 0).to_pylist()
        values = indicator_rows(state, self.config, result.indicated, result.values, "market", 0)
        self.told["indicators"] += values.to_pylist()
        self.told["alerts"] += self.engine.alert_rows(result)
        self.letters += [
            {"reason": r.reason, "topic": "market", "partition": 0, "offset": begin + r.row, "row": None}
            for r in result.refused
        ]
        if restart:
            data = state_to_bytes(self.engine.stepper.trim(state), self.config)
            self.engine.state = state_from_bytes(data, self.config)
        return [r.reason for r in result.refused]

    def stored(self) -> dict[Table, pa.Table]:
        schema = {
            "bars": bar_rows(self.engine.state, self.config, self.engine.step([]).closed, "market", 0).schema,
            "indicators": self._no_values().schema,
            "alerts": ALERT,
        }
        return {table: flat(pa.Table.from_pylist(self.told[table], schema[table])) for table in KINDS}

    def _no_values(self) -> pa.RecordBatch:
        nothing = self.engine.step([])
        return indicator_rows(self.engine.state, self.config, nothing.indicated, nothing.values, "market", 0)

    def inputs(self, symbol: str | None = None) -> tuple[LakeInputs, pa.Table]:
        """What the lake holds: trades and events, and quotes."""
        tables = {k: pa.table(v) for k, v in to_tables(batch_of(self.log, 0, StringTable())).items()}
        letters = pa.Table.from_pylist(self.letters, DEAD_LETTER)
        trades, events = tables.get("trades", pa.table({})), tables.get("events", pa.table({}))
        quotes = tables.get("quotes", pa.table({}))
        if symbol is not None:
            trades, events, quotes = (own_rows(t, symbol) for t in (trades, events, quotes))
        return sift("market", 0, trades, events, letters), quotes

    def heal(self, identity: str, between: Sequence[Row] = (), **how: Any) -> None:
        """Begin; `between` comes in; and when all is stored that was told up to there, the rest, of which there is none
        where there is nothing to heal."""
        symbols = [symbol for symbol in ("A", "B") if self.inputs(symbol)[0].trades.num_rows]
        begins = len(self.log)
        for symbol in symbols:
            assert self.take([self.beginning(symbol, identity + symbol)], **how) == []
        self.take(list(between), **how)
        for symbol in symbols:
            for record in self.records(symbol, identity + symbol, begins):
                assert self.take([record], **how) == []

    def beginning(self, symbol: str, identity: str) -> Row:
        return logged(beginning_value(symbol, identity))

    def records(self, symbol: str, identity: str, begins: int) -> list[Row]:
        """The rebuild that heals what there was to heal of the symbol when it began; none for nothing."""
        inputs, quotes = self.inputs(symbol)
        inputs = inputs.only(~inputs.late | (inputs.trades["offset"].to_numpy() < begins))
        refused = [
            Refused((letter["offset"], 0), letter["reason"], self.log[letter["offset"]])
            for letter in self.letters
            if self.log[letter["offset"]].get("symbol") == symbol and letter["offset"] < begins
        ]
        stored = {table: own_rows(rows, symbol) for table, rows in self.stored().items()}
        past = past_of(symbol, self.config, inputs, refused, stored, quotes, len(self.log) - 1)
        if not (past.trades.late - past.trades.doubles or past.trades.changed):
            return []
        return [logged(value) for value in rebuild_values(past.history, identity)]

    def shown(self) -> dict[Table, dict[tuple[Any, ...], dict[str, Any]]]:
        """The last revision of every row, without its history; revisions come one after the other."""
        found: dict[Table, dict[tuple[Any, ...], dict[str, Any]]] = {}
        for table in KINDS:
            last: dict[tuple[Any, ...], dict[str, Any]] = {}
            for row in self.told[table]:
                if row["timeframe"].endswith("t"):
                    continue  # cut by count: their order is the log's
                key = tuple(row[name] for name in _PLACES[table])
                assert row["revision"] == (last[key]["revision"] + 1 if key in last else 0)
                if key in last and table == "bars":
                    assert values_of(row) != values_of(last[key]) or row["receipt"] != last[key]["receipt"]
                last[key] = row
            found[table] = {key: values_of(row) for key, row in last.items() if is_there(row)}
        return found


def values_of(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("revision", "receipt", "was", "late")}


def is_there(row: dict[str, Any]) -> bool:
    return row.get("close") is not None or row.get("state") in ("raised", "cleared")


def sorted_rows(config: EngineConfig, meant: list[Row]) -> dict[Table, dict[tuple[Any, ...], dict[str, Any]]]:
    clean = Pipeline(config)
    clean.take(meant)
    return clean.shown()


@examples(full=50)
@given(stream=streams(), once=streams(again=False), data=st.data())
def test_what_is_healed_is_as_the_sorted_log_would_have_it(
    stream: tuple[list[Row], list[Row]], once: tuple[list[Row], list[Row]], data: st.DataObject
) -> None:
    for config in (*CONFIGS, COARSE):
        came, meant = once if config is COARSE else stream
        pipeline, restart = Pipeline(config), data.draw(st.booleans())
        at = data.draw(st.integers(0, len(came) - 3))  # the last three come too long after
        parts = data.draw(st.integers(at, len(came) - 3))
        pipeline.take(came[:at], restart=restart)
        pipeline.heal("first", came[at:parts], restart=restart)
        pipeline.take(came[parts:], restart=restart)
        pipeline.heal("second", restart=restart)
        pipeline.take([clock(END_S + 61)])
        found, whole = pipeline.shown(), sorted_rows(config, meant)
        for table in KINDS:
            assert found[table] == whole[table]
        for symbol in {row["symbol"] for row in meant if row["type"] == "trade"}:
            assert pipeline.records(symbol, "third", len(pipeline.log)) == [], "nothing is left to heal"


@examples(full=30)
@given(stream=streams())
def test_the_lake_gives_the_healed_rows_again(stream: tuple[list[Row], list[Row]]) -> None:
    came, _ = stream
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
        last: dict[tuple[Any, ...], int] = {}
        rows = stored[table].to_pylist()
        for place, row in enumerate(rows):
            if not row["timeframe"].endswith("t"):
                last[tuple(row[name] for name in _PLACES[table])] = place
        mine = stored[table].take(pa.array(sorted(last.values()), pa.int64()))
        mine = mine.filter(pa.array([row["close"] is not None for row in mine.to_pylist()], pa.bool_()))
        zeros = pa.array([0] * mine.num_rows, pa.int64())
        mine = mine.set_column(mine.column_names.index("revision"), "revision", zeros)
        told_when = {name for name in mine.column_names if name.startswith("receipt.")}
        found = compare(table, gathered.table(table), mine, (), frozenset(told_when))
        assert found.differences == []
        assert len(found.only_stored) == 0


@examples(full=30)
@given(stream=streams(), data=st.data())
def test_any_cut_and_restart_gives_the_same_rows(stream: tuple[list[Row], list[Row]], data: st.DataObject) -> None:
    came, _ = stream
    whole = Pipeline(PLAIN)
    whole.take(came[: len(came) // 2])
    whole.heal("first", came[len(came) // 2 : -3])
    whole.take(came[-3:])
    whole.heal("second")
    whole.take([clock(END_S + 61)])
    again = Pipeline(PLAIN)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole.log)), max_size=6)))
    for begin, end in zip([0, *cuts], [*cuts, len(whole.log)], strict=True):
        again.take(whole.log[begin:end], restart=True)
    assert again.told == whole.told
    assert again.letters == whole.letters
