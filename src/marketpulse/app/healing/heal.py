"""`heal`: trades that came too late for the correction window, and changes that did, brought in after all.

`late` records and dead letters -> their symbols -> each one's history from the lake -> a rebuild in the log -> the engine

Nothing bypasses the log: the engine builds the rows again when it meets the rebuild there, and so does every replay.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.engine_config import engine_config
from marketpulse.app.healing import REASONS
from marketpulse.app.healing.history import Past, own_rows, past_of
from marketpulse.app.healing.stored import wait_until_stored
from marketpulse.app.receipts.compare import flat
from marketpulse.app.receipts.lake_splits import missed_splits
from marketpulse.app.receipts.lake_trades import LakeInputs, keys_of, sift
from marketpulse.app.receipts.loaded import with_loaded
from marketpulse.app.receipts.report import TABLES
from marketpulse.app.receipts.report_text import difference_text
from marketpulse.app.receipts.running_rules import running_rules
from marketpulse.app.receipts.verify import verify_by_lake
from marketpulse.clock import Clock, SystemClock
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import Retryable
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.rebuild_record import beginning_value, check_length, rebuild_values
from marketpulse.kafka.rebuild_writer import write_rebuild
from marketpulse.model.late import position_key
from marketpulse.query.stored_rows import ALWAYS, StoredRows, Wanted
from marketpulse.settings import Settings

_PATIENCE_S = 60.0
_TAKEN_S = 30.0
_LOOK_EVERY_S = 0.2
_ALL = 2**62  # further than any offset
_CHECKS, _CHECK_EVERY_S = 3, 1.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Healing:
    """What there was to heal of one symbol, and what came of it. `outcome` is one of `healed`, `written` (the engine has
    not come to it yet), `to heal` (a dry run), `nothing` and `refused`, of which `detail` says why."""

    symbol: str
    trades: int  # that came too late
    changed: int  # trades that were corrected or cancelled too late
    again: int  # trades that came too late, and are in already by their id
    from_ns: int | None  # the first event time that changes
    outcome: str
    detail: str = ""
    splits: int = 0  # that a timeframe missed
    quotes: int = 0  # the last ones of their time that came too late


def heal(
    settings: Settings,
    wanted: Wanted,
    say: Say = lambda _: None,
    *,
    dry_run: bool = False,
    rows_max: int | None = None,
    clock: Clock | None = None,
) -> list[Healing]:
    """Heal what came too late of these symbols with an event time in this range; gives what was done, by symbol.
    A symbol of which the lake may hold more than `rows_max` trades is refused.

    Raises Retryable while the broker is away, or the lake does not hold all that the engine has told;
    EnvironmentProblem without a broker.
    """
    clock = clock or SystemClock()
    log = LogReader(settings)
    try:
        stored = StoredRows(settings)
        late = _late_rows(settings, stored, wanted)
        symbols = {symbol: partition for symbol, (partition, _) in late.items()}
        work = _Heal(
            settings, engine_config(settings.engine), log, stored, wanted, clock, frozenset(symbols), rows_max
        )  # fmt: skip
        found = {symbol: work.look(symbol, *late[symbol], dry_run=dry_run) for symbol in sorted(symbols)}
        symbols = {symbol: symbols[symbol] for symbol, one in found.items() if one.outcome == "to heal"}
        if dry_run or not symbols:
            return list(found.values())
        say(f"waiting until the engine has come to the beginning of {len(symbols)} rebuilds")
        work.begin(symbols)
        say(f"waiting until the lake holds what was told of {len(symbols)} symbols")
        covered = wait_until_stored(settings, log, stored, symbols, clock, _PATIENCE_S)
        for number, (symbol, partition) in enumerate(symbols.items(), start=1):
            say(f"{symbol}, {number} of {len(symbols)}")
            found[symbol] = work.heal(symbol, partition, covered[partition])
        return list(found.values())
    finally:
        log.close()


class _Heal:
    """The symbols one after the other."""

    def __init__(
        self,
        settings: Settings,
        config: EngineConfig,
        log: LogReader,
        stored: StoredRows,
        wanted: Wanted,
        clock: Clock,
        symbols: frozenset[str] = frozenset(),
        rows_max: int | None = None,
    ) -> None:
        self._settings, self._config, self._log, self._stored = settings, config, log, stored
        self._wanted, self._clock, self._rows_max = wanted, clock, rows_max
        self._topic = settings.topic("market")
        self._inputs: dict[int, tuple[pa.Table, pa.Table, pa.Table]] = {}
        self._symbols = symbols  # what is read of the lake
        self._missed: list[int] = []  # of the symbol looked at last: ex times of splits that a timeframe missed
        self._begun: dict[str, tuple[str, int]] = {}  # by symbol, its rebuild's id and where it begins

    def begin(self, symbols: Mapping[str, int]) -> None:
        """Have the rebuilds of these symbols, each with its partition, begin. Raises Retryable when no engine comes there."""
        named = [(partition, symbol, uuid.uuid4().hex) for symbol, partition in symbols.items()]
        offsets = write_rebuild(
            self._settings,
            [(partition, symbol, beginning_value(symbol, identity)) for partition, symbol, identity in named],
        )
        for (partition, symbol, identity), offset in zip(named, offsets, strict=True):
            if not self._taken(partition, offset):
                raise Retryable(
                    "the engine does not come to where the log ends: `marketpulse process` is the engine, and runs in "
                    "`marketpulse up`; nothing was changed; try again when it has caught up"
                )
            self._begun[symbol] = identity, offset
        self._symbols = frozenset(symbols)
        self._inputs.clear()  # the lake goes on

    def look(self, symbol: str, partition: int, late: int, *, dry_run: bool = False) -> Healing:
        """What there is to heal, by all that the lake holds now. `late`: how many rows came too late, healed ones too."""
        if self._rows_max is not None and self._stored.rows_at_most("trades", symbol) > self._rows_max:
            detail = f"its history may have more than {self._rows_max:,} trades: run `marketpulse heal {symbol}`"
            return Healing(symbol, late, 0, 0, None, "refused", detail)
        past = self._past(symbol, partition, _ALL, _ALL)
        found = _healing(symbol, past, "to heal", self._missed)
        if past is None or found.outcome == "nothing":
            return found
        try:
            check_length(past.history)
        except ValueError as error:
            return replace(found, outcome="refused", detail=f"its history is too long: {error}")
        fault = dry_run and self._unlike(symbol, partition)
        return replace(found, outcome="refused", detail=fault) if fault else found

    def heal(self, symbol: str, partition: int, end: int) -> Healing:
        """What has begun; `end`: up to which offset the lake holds all."""
        identity, begins = self._begun[symbol]
        past = self._past(symbol, partition, begins, end)
        found = _healing(symbol, past, "healed", self._missed)
        if past is None or found.outcome == "nothing":
            return found
        if fault := self._unlike(symbol, partition):
            return replace(found, outcome="refused", detail=fault)
        try:
            values = rebuild_values(past.history, identity)
        except ValueError as error:
            return replace(found, outcome="refused", detail=f"its history is too long: {error}")
        letters = {p: self._log.span(p, "dead-letters").end for p in range(self._log.partitions("dead-letters"))}
        offset = write_rebuild(self._settings, [(partition, symbol, value) for value in values])[-1]
        if not self._taken(partition, offset):
            return replace(found, outcome="written", detail="the engine has not come to it yet")
        for number, begin in letters.items():
            for letter in self._log.letters(number, begin):
                if (letter["topic"], letter["partition"], letter["offset"]) == (self._topic, partition, offset):
                    return replace(found, outcome="refused", detail=letter["detail"])
        return found

    def _past(self, symbol: str, partition: int, begins: int, end: int) -> Past | None:
        """The symbol's history up to `end`, with what came too late before its rebuild `begins`; None where the lake has
        no trade of it. That a row before `end` came too late is said behind it, so of the events all are read."""
        trades, events, quotes = (own_rows(rows, symbol) for rows in self._of_partition(partition))
        trades, quotes = _until(trades, end), _until(quotes, end)
        if not trades.num_rows:
            return None
        inputs = sift(self._topic, partition, trades, events, self._stored.whole("dead_letters"))
        inputs = self._within(inputs, begins)
        self._missed = missed_splits(inputs.splits, self._config)
        rows = {table: flat(self._stored.table(table, Wanted(*ALWAYS, frozenset({symbol}))).rows) for table in TABLES}
        return past_of(symbol, self._config, inputs, rows, quotes, begins, end - 1)

    def _of_partition(self, partition: int) -> tuple[pa.Table, pa.Table, pa.Table]:
        if partition not in self._inputs:
            tables = ("trades", "events", "quotes") if self._config.reads_quotes else ("trades", "events")
            trades, events, *quotes = (
                with_loaded(
                    self._stored,
                    table,
                    self._stored.of_partition(table, self._topic, partition, self._symbols),
                    self._symbols,
                )
                for table in tables
            )
            self._inputs = {partition: (trades, events, *(quotes or [pa.table({})]))}
        return self._inputs[partition]

    def _within(self, inputs: LakeInputs, begins: int) -> LakeInputs:
        """Without the late trades and changes that are not asked for, or came when the rebuild had begun. Of changes that came
        before an earlier rebuild none is left out: it has taken them."""
        times = inputs.trades["event_time_ns"].to_numpy()
        asked = (times >= self._wanted.from_ns) & (times < self._wanted.to_ns)
        asked &= inputs.trades["offset"].to_numpy() < begins
        inputs = inputs.only(~inputs.late | asked)
        events = inputs.events
        if not events.num_rows:
            return inputs
        offsets, times = events["offset"].to_numpy(), events["event_time_ns"].fill_null(0).to_numpy()
        earlier = max(inputs.healed.begun.values(), default=-1)
        asked = (times >= self._wanted.from_ns) & (times < self._wanted.to_ns) | (offsets < earlier)
        changes = pc.is_in(events["type"], pa.array(["correction", "cancel"])).to_numpy(zero_copy_only=False)
        late = np.isin(keys_of(events), [position_key(*place) for place, r in inputs.refused.items() if r in REASONS])
        return replace(inputs, events=events.filter(pa.array(~(changes & late) | asked)))

    def _unlike(self, symbol: str, partition: int) -> str:
        """Why the lake's trades are not those that the symbol's rows were made of; empty when they are."""
        bars = self._stored.table("bars", Wanted(*ALWAYS, frozenset({symbol}))).rows
        if not bars.num_rows:
            return "the lake holds no bar of it"
        # A closed bar says how far the watermark is at least, and so where the window begins.
        settled = int(pc.max(bars["close_time_ns"]).as_py()) - self._config.window_ns
        wanted = Wanted(ALWAYS[0], settled, frozenset({symbol}))
        running = running_rules(self._log, self._config, partition)
        for _ in range(_CHECKS):
            report = verify_by_lake(self._stored, self._config, wanted, self._topic, partition, running)
            if not report.drift:
                return ""
            self._clock.sleep(_CHECK_EVERY_S)  # a revision may be on its way to the lake
        first = f", such as {difference_text(report.differences[0])}" if report.differences else ""
        return (
            f"{report.drift} of its stored rows are not what the lake's trades give{first}: "
            "the lake does not hold all trades that they were made of, or a row was changed"
        )

    def _taken(self, partition: int, offset: int) -> bool:
        """Whether the engine has come past the record, in a while."""
        give_up = self._clock.monotonic() + _TAKEN_S
        while self._clock.monotonic() < give_up:
            if self._log.committed().get(partition, (0, None))[0] > offset:
                return True
            self._clock.sleep(_LOOK_EVERY_S)
        return False


def _healing(symbol: str, past: Past | None, outcome: str, missed: list[int]) -> Healing:
    """Where there is something to heal, with this outcome. `missed`: the ex times of splits that a timeframe missed."""
    if past is None:
        return Healing(symbol, 0, 0, 0, None, "nothing", "the lake holds no trade of it")
    trades, quotes = past.trades, past.late_quotes
    late = trades.late - trades.doubles
    begins = [*missed, *quotes["event_time_ns"].tolist(), *([trades.begins_ns] if late or trades.changed else [])]
    if not begins:
        return Healing(symbol, 0, 0, trades.doubles, None, "nothing")
    return Healing(
        symbol, late, trades.changed, trades.doubles, min(begins), outcome, splits=len(missed), quotes=len(quotes)
    )


def _late_rows(settings: Settings, stored: StoredRows, wanted: Wanted) -> dict[str, tuple[int, int]]:
    """By symbol, the partition and number of its rows that came too late, of those that are asked for: of history by the
    `late` records, of live sources by the dead letters."""
    topic = settings.topic("market")
    events = stored.of_type("late", topic)
    found: dict[str, tuple[int, int]] = {}
    for row in events.select(["partition", "body"]).to_pylist() if events.num_rows else ():
        record = orjson.loads(row["body"])
        _count(found, wanted, row["partition"], record["rows"], record)
    letters = stored.whole("dead_letters")
    if letters.num_rows:
        letters = letters.filter(pc.is_in(letters["reason"], pa.array(REASONS)))
        letters = letters.filter(pc.equal(letters["topic"], topic))
        for row in letters.select(["partition", "value"]).to_pylist():
            try:
                record = orjson.loads(row["value"] or "")
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                _count(found, wanted, row["partition"], 1, record)
    return found


def _count(
    found: dict[str, tuple[int, int]], wanted: Wanted, partition: int, rows: int, record: dict[str, Any]
) -> None:
    symbol, time = str(record.get("symbol")), record.get("event_time_ns")
    if not isinstance(time, int) or not (wanted.symbols is None or symbol in wanted.symbols):
        return
    if time < wanted.to_ns and int(record.get("to_ns", time)) >= wanted.from_ns:
        found[symbol] = partition, found.get(symbol, (partition, 0))[1] + rows


def _until(rows: pa.Table, end: int) -> pa.Table:
    """Those before an offset of their partition."""
    return rows.filter(pc.less(rows["offset"], end)) if rows.num_rows else rows
