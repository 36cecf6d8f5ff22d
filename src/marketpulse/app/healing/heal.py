"""`heal`: trades that came too late for the correction window, and changes that did, brought in after all.

dead letters -> the symbols that they are of -> each one's history from the lake -> a rebuild in the log -> the engine

Nothing bypasses the log: the engine builds the rows again when it meets the rebuild there, and so does every replay.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.engine_config import engine_config
from marketpulse.app.healing.history import Past, own_rows, past_of
from marketpulse.app.healing.past_trades import Refused
from marketpulse.app.healing.stored import wait_until_stored
from marketpulse.app.receipts.compare import flat
from marketpulse.app.receipts.lake_trades import LakeInputs, sift
from marketpulse.app.receipts.report import TABLES
from marketpulse.app.receipts.report_text import difference_text
from marketpulse.app.receipts.running_rules import running_rules
from marketpulse.app.receipts.verify import verify_by_lake
from marketpulse.clock import Clock, SystemClock
from marketpulse.engine.config import EngineConfig
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.rebuild_record import rebuild_values
from marketpulse.kafka.rebuild_writer import write_rebuild
from marketpulse.query.stored_rows import ALWAYS, StoredRows, Wanted
from marketpulse.settings import Settings

_REASONS = ("too_late", "unknown_trade")
_PATIENCE_S = 60.0
_TAKEN_S = 30.0
_LOOK_EVERY_S = 0.2
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


def heal(
    settings: Settings,
    wanted: Wanted,
    say: Say = lambda _: None,
    *,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> list[Healing]:
    """Heal what came too late of these symbols with an event time in this range; gives what was done, by symbol.

    Raises Retryable while the broker is away, or the lake does not hold all that the engine has told;
    EnvironmentProblem without a broker.
    """
    clock = clock or SystemClock()
    log = LogReader(settings)
    try:
        stored = StoredRows(settings)
        symbols = {symbol: late[0].partition for symbol, late in _letters(settings, stored, wanted).items()}
        if not symbols:
            return []
        say(f"waiting until the lake holds what was told of {len(symbols)} symbols")
        covered = wait_until_stored(settings, log, stored, symbols, clock, _PATIENCE_S)
        work = _Heal(settings, engine_config(settings.engine), log, stored, wanted, covered, clock)
        found = []
        for number, (symbol, refused) in enumerate(
            sorted(_letters(settings, stored, wanted).items()), start=1
        ):
            say(f"{symbol}, {number} of {len(symbols)}")
            if symbol in symbols:
                found.append(work.heal(symbol, refused, dry_run=dry_run))
        return found
    finally:
        log.close()


class _Heal:
    """The symbols one after the other. `covered`: by partition, up to where the lake holds all."""

    def __init__(
        self,
        settings: Settings,
        config: EngineConfig,
        log: LogReader,
        stored: StoredRows,
        wanted: Wanted,
        covered: dict[int, int],
        clock: Clock,
    ) -> None:
        self._settings, self._config, self._log, self._stored = settings, config, log, stored
        self._wanted, self._covered, self._clock = wanted, covered, clock
        self._topic = settings.topic("market")
        self._inputs: dict[int, tuple[pa.Table, pa.Table, pa.Table]] = {}

    def heal(self, symbol: str, refused: list["_Letter"], *, dry_run: bool) -> Healing:
        partition = refused[0].partition
        past = self._past(symbol, partition, refused)
        if past is None:
            return Healing(symbol, 0, 0, 0, None, "nothing", "the lake holds no trade that they name")
        trades = past.trades
        late, begins_ns = trades.late - trades.doubles, None
        if late or trades.changed:
            begins_ns = trades.begins_ns

        def done(outcome: str, detail: str = "") -> Healing:
            return Healing(symbol, late, trades.changed, trades.doubles, begins_ns, outcome, detail)

        if begins_ns is None:
            return done("nothing")
        if fault := self._unlike(symbol, partition):
            return done("refused", fault)
        try:
            values = rebuild_values(past.history, uuid.uuid4().hex)
        except ValueError as error:
            return done("refused", f"its history is too long: {error}")
        if dry_run:
            return done("to heal")
        letters = {
            p: self._log.span(p, "dead-letters").end for p in range(self._log.partitions("dead-letters"))
        }
        offset = write_rebuild(self._settings, partition, symbol, values)
        if not self._taken(partition, offset):
            return done(
                "written", "no engine has come to it yet: `marketpulse process` takes it, as `up` runs it"
            )
        for number, begin in letters.items():
            for letter in self._log.letters(number, begin):
                if (letter["topic"], letter["partition"], letter["offset"]) == (
                    self._topic,
                    partition,
                    offset,
                ):
                    return done("refused", letter["detail"])
        return done("healed")

    def _past(self, symbol: str, partition: int, refused: list["_Letter"]) -> Past | None:
        """The symbol's history up to where the lake holds all; None where it has no trade of it."""
        end = self._covered[partition]
        trades, events, quotes = (
            _until(own_rows(rows, symbol), end) for rows in self._of_partition(partition)
        )
        if not trades.num_rows:
            return None
        inputs = self._within(
            sift(self._topic, partition, trades, events, self._stored.whole("dead_letters"))
        )
        rows = {
            table: flat(self._stored.table(table, Wanted(*ALWAYS, frozenset({symbol}))).rows)
            for table in TABLES
        }
        letters = [Refused(one.place, one.reason, one.record) for one in refused if one.place[0] < end]
        return past_of(symbol, self._config, inputs, letters, rows, quotes, end - 1)

    def _of_partition(self, partition: int) -> tuple[pa.Table, pa.Table, pa.Table]:
        if partition not in self._inputs:
            self._inputs = {
                partition: (
                    self._stored.of_partition("trades", self._topic, partition),
                    self._stored.of_partition("events", self._topic, partition),
                    self._stored.of_partition("quotes", self._topic, partition)
                    if self._config.reads_quotes
                    else pa.table({}),
                )
            }
        return self._inputs[partition]

    def _within(self, inputs: LakeInputs) -> LakeInputs:
        """Without the late trades that are not asked for."""
        times = inputs.trades["event_time_ns"].to_numpy()
        asked = (times >= self._wanted.from_ns) & (times < self._wanted.to_ns)
        stay = ~inputs.late | asked
        return inputs.only(stay)

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


@dataclass(frozen=True, slots=True)
class _Letter:
    """A dead letter of a trade, a correction or a cancel that came too late."""

    partition: int
    place: tuple[int, int]
    reason: str
    record: dict[str, object]


def _letters(settings: Settings, stored: StoredRows, wanted: Wanted) -> dict[str, list[_Letter]]:
    """What came too late, by symbol, of those that are asked for."""
    rows = stored.whole("dead_letters")
    found: dict[str, list[_Letter]] = {}
    if not rows.num_rows:
        return found
    rows = rows.filter(pc.is_in(rows["reason"], pa.array(_REASONS)))
    rows = rows.filter(pc.equal(rows["topic"], settings.topic("market")))
    for letter, record in _records(rows):
        symbol, time = str(record.get("symbol")), record.get("event_time_ns")
        asked = wanted.symbols is None or symbol in wanted.symbols
        if asked and isinstance(time, int) and wanted.from_ns <= time < wanted.to_ns:
            found.setdefault(symbol, []).append(letter)
    return found


def _records(rows: pa.Table) -> Iterator[tuple[_Letter, dict[str, object]]]:
    columns = ("partition", "offset", "row", "reason", "value")
    for row in rows.select(list(columns)).to_pylist():
        try:
            record = orjson.loads(row["value"] or "")
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict):
            yield _Letter(row["partition"], (row["offset"], row["row"] or 0), row["reason"], record), record


def _until(rows: pa.Table, end: int) -> pa.Table:
    """Those before an offset of their partition."""
    return rows.filter(pc.less(rows["offset"], end)) if rows.num_rows else rows
