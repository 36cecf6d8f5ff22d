"""`verify`: every stored row of a range again, from the log or past its retention from the lake's trades.

stored rows by partition -> replay of that partition -> compare -> a tally, and the first differences
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.engine_config import engine_config
from marketpulse.app.receipts.compare import PLACES, SPAN, Mask, Table, compare, flat, only_one_side
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import read_inputs, recompute
from marketpulse.app.receipts.loaded import file_of
from marketpulse.app.receipts.recomputed import Gathered, ToldBefore, holes, missing_rows
from marketpulse.app.receipts.replay import Replay, find_start
from marketpulse.app.receipts.report import TABLES, Progress, Report
from marketpulse.app.receipts.running_rules import RunningRules, begin_as, running_rules, told_by
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import EnvironmentProblem, Fatal
from marketpulse.kafka.log_reader import LogReader
from marketpulse.model.rows import ENGINE_VERSION
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.query.stored_rows import SHAPE, Stored, StoredRows, Wanted
from marketpulse.settings import Settings

_WHEN_TOLD = frozenset({
    "receipt.first_offset", "receipt.first_row", "receipt.last_offset", "receipt.last_row", "receipt.late_count",
    "receipt.topic", "receipt.partition", "late", "was", "message", "severity",
})  # fmt: skip
"""What the lake's trades cannot say again: spans reach to corrections, lateness is a matter of heartbeats, and an
alert's words are those of when it was told."""

_AT_ONCE = 400_000
"""Rows that are compared at once: half a gigabyte. More of a partition take further replays of its log."""

Say = Callable[[Progress], None]


def verify(settings: Settings, wanted: Wanted, say: Say = lambda _: None) -> Report:
    """Recompute and compare. Raises Fatal when nothing is stored in the range, Retryable while the log or
    the lake does not answer. Without a broker, the lake's trades serve for everything."""
    stored, report = StoredRows(settings), Report()
    shares = _shares(stored, wanted, settings.topic("market"))
    if not shares:
        raise Fatal(
            f"{settings.lake_url()} holds no bars, indicator rows or alerts of this range and these symbols: "
            "look with `marketpulse sql` for what `bars` holds"
        )
    config = engine_config(settings.engine)
    log = _open_log(settings, report)
    try:
        for number, share in enumerate(shares, start=1):

            def progress(done: int, end: int, number: int = number) -> None:
                say(Progress(number, len(shares), done, end, sum(tally.same for tally in report.tallies.values())))

            progress(0, 0)
            mine = wanted if share.of == 1 else Wanted(wanted.from_ns, wanted.to_ns, share.symbols)
            place = share.topic, share.partition
            own = _held(stored, report, mine, place)
            is_ours = any(_in_topic(rows.rows, share.topic).any() for rows in own.values())
            its_log = log if is_ours and share.topic == settings.topic("market") else None
            running = running_rules(its_log, config, share.partition) if its_log is not None else None
            work = _Partition(config, wanted, *place, own, running, report, stored.is_kept)
            if its_log is not None:
                work.from_log(its_log, progress, share.takes if share.of > 1 else None)
            work.from_lake(stored, whole=True)
            pa.default_memory_pool().release_unused()
    finally:
        if log is not None:
            log.close()
    report.differences.sort(key=lambda d: (d.open_time_ns, d.symbol, d.timeframe, d.table, d.revision, d.column))
    return report


@dataclass(frozen=True, slots=True)
class _Share:
    """What is checked at once: the rows of a topic's partition, of the symbols that fall to number `number` of `of`. `symbols`
    are those of them that have rows."""

    topic: str
    partition: int
    number: int
    of: int
    symbols: frozenset[str]

    def takes(self, symbol: str) -> bool:
        return crc32(symbol.encode()) % self.of == self.number


def _shares(stored: StoredRows, wanted: Wanted, market: str) -> list[_Share]:
    """All that is stored, in shares of about _AT_ONCE rows; what was loaded came before the log's partition."""
    rows: dict[tuple[str, int], Counter[str]] = {}
    for table in TABLES:
        for row in stored.counted(table, wanted).to_pylist():
            topic = row["topic"] if file_of(row["topic"]) is None else market
            rows.setdefault((topic, row["partition"]), Counter())[row["symbol"]] += row["count_all"]
    shares = []
    for (topic, partition), of_symbol in sorted(rows.items()):
        of = -(-of_symbol.total() // _AT_ONCE)
        for number in range(of):
            share = _Share(topic, partition, number, of, frozenset())
            shares.append(replace(share, symbols=frozenset(filter(share.takes, of_symbol))))
    return shares


def verify_by_lake(
    stored: StoredRows, config: EngineConfig, wanted: Wanted, topic: str, partition: int, running: RunningRules | None
) -> Report:
    """The last revisions of one partition's rows, held against the lake's trades alone."""
    report = Report()
    place = topic, partition
    own = _held(stored, report, wanted, place)
    _Partition(config, wanted, topic, partition, own, running, report, stored.is_kept).from_lake(stored)
    return report


class _Partition:
    """The stored rows of one partition of `market`, from which those go that are accounted for."""

    def __init__(
        self,
        config: EngineConfig,
        wanted: Wanted,
        topic: str,
        partition: int,
        held: dict[Table, Stored],
        running: RunningRules | None,
        report: Report,
        is_kept: Callable[[str, pa.Table], Mask],
    ) -> None:
        self._is_kept = is_kept
        self._config, self._wanted, self._report = config, wanted, report
        self._topic, self._partition, self._running = topic, partition, running
        self._held, self._left = held, dict(held)
        for table, rows in held.items():
            report.tallies[table].stored += rows.rows.num_rows

    def from_log(
        self, log: LogReader, say: Callable[[int, int], None], takes: Callable[[str], bool] | None = None
    ) -> None:
        """Account for what a replay of the log can tell. `takes`: whether a symbol's rows are at hand (None: all are)."""
        start = find_start(log, self._config, self._partition)
        if start is None:
            self._report.note(
                "the log no longer holds its beginning, and no snapshot lies before what it holds: "
                "the lake's trades serve instead"
            )
            return
        end = log.span(self._partition).end
        known = ToldBefore.of(start, self._config)
        begins = {} if self._running is None else begin_as(start.state, self._running)
        run = Replay(self._config, self._topic, self._partition, start.state, self._wanted, takes)
        gathered = Gathered()
        for decoded in log.read(self._partition, start.offset, end):
            for rows in run.take(decoded.batch):
                gathered.take(rows)
            say(decoded.next_offset, end)
        for table in TABLES:
            extra = self._account(table, gathered.table(table), known, log.partitions(table))
            if table == "alerts":
                extra = self._pass_over(extra, told_by(extra, run.rules, begins))
            self._report.tallies[table].extra += extra.num_rows
            self._report.add(only_one_side(table, extra, np.arange(extra.num_rows), stored=True))

    def _account(self, table: Table, recomputed: pa.Table, known: ToldBefore, outputs: int) -> pa.Table:
        """The stored rows that should have come again and have not."""
        held, tally = self._left[table], self._report.tallies[table]
        mine = _in_topic(held.rows, self._topic)
        loaded = held.rows.filter(pa.array(~mine))
        held = Stored(held.rows.filter(pa.array(mine)), held.shapes)
        found = compare(table, recomputed, held.rows, held.shapes)
        tally.same += found.same
        tally.differing += found.differing
        self._report.add(found.differences)
        self._note_columns(held.rows, recomputed)
        missing = missing_rows(recomputed, found, outputs)
        missing = missing[self._is_kept(table, recomputed.take(pa.array(missing)))]
        tally.missing += len(missing)
        self._report.add(only_one_side(table, recomputed, missing, stored=False))
        rest = held.rows.take(pa.array(found.only_stored))
        before = known.before(rest)
        left = (
            pa.concat_tables([rest.filter(pa.array(before)), loaded])
            if loaded.num_rows
            else rest.filter(pa.array(before))
        )
        self._left[table] = Stored(left, held.shapes)
        return rest.filter(pa.array(~before))

    def _pass_over(self, alerts: pa.Table, checkable: Mask) -> pa.Table:
        """The checkable ones of these alerts."""
        others = int(np.count_nonzero(~checkable))
        if others:
            self._report.tallies["alerts"].unchecked += others
            self._report.note(
                "alerts were passed over whose rule was another one then, runs no more, reads quotes that only the log "
                "can judge, or began at a place that only the log knows"
            )
        return alerts.filter(pa.array(checkable))

    def from_lake(self, stored: StoredRows, *, whole: bool = False) -> None:
        """Account for the rest by the lake's trades: the last revision of each row. `whole`: what should be stored among it,
        and is not, is missing."""
        rest = {table: held.rows for table, held in self._left.items() if held.rows.num_rows}
        if not rest:
            return
        symbols = frozenset(s for rows in rest.values() for s in rows["symbol"].unique().to_pylist())
        wanted = Wanted(self._wanted.from_ns, self._wanted.to_ns, symbols)
        gathered = Gathered()
        inputs = read_inputs(stored, self._topic, self._partition, symbols)
        rules = lake_rules(self._config, inputs, self._running)
        for rows in recompute(self._config, inputs, wanted, rules):
            gathered.take(rows)
        if "alerts" in rest:
            names = [rule.name for rule in rules.rules]
            rest["alerts"] = self._pass_over(rest["alerts"], told_by(rest["alerts"], names, rules.begins_ns))
        for table, rows in rest.items():
            self._account_last(table, gathered.table(table), rows, self._left[table], whole and table != "alerts")

    def _account_last(self, table: Table, recomputed: pa.Table, rows: pa.Table, held: Stored, whole: bool) -> None:
        tally = self._report.tallies[table]
        last = last_revisions(table, rows, self._held[table].rows)
        tally.unchecked += int(np.count_nonzero(~last))
        rows = rows.filter(pa.array(last))
        withdrawn = np.asarray(pc.equal(rows["state"], "withdrawn") if table == "alerts" else pc.is_null(rows["close"]))
        recomputed = _without_file_rows(recomputed)
        found = compare(table, recomputed, _as_first(_without_file_rows(rows)), held.shapes, _WHEN_TOLD)
        tally.same += found.same
        tally.from_lake += found.same
        tally.differing += found.differing
        self._report.add(found.differences)
        self._note_columns(rows, recomputed)
        extra = found.only_stored[~withdrawn[found.only_stored]]
        gone = len(found.only_stored) - len(extra)
        tally.same += gone
        tally.from_lake += gone
        tally.extra += len(extra)
        self._report.add(only_one_side(table, rows, extra, stored=True))
        if whole and table not in self._report.mixed:
            missing = holes(
                recomputed.take(pa.array(found.only_recomputed)), self._held[table].rows, self._config.grace_ns
            )
            missing = missing.filter(pa.array(self._is_kept(table, missing)))
            tally.missing += missing.num_rows
            self._report.add(only_one_side(table, missing, np.arange(missing.num_rows), stored=False))

    def _note_columns(self, stored: pa.Table, recomputed: pa.Table) -> None:
        if stored.num_rows and recomputed.num_columns:
            self._report.not_computed |= set(stored.column_names) - set(recomputed.column_names) - {SHAPE}


def last_revisions(table: Table, rows: pa.Table, among: pa.Table) -> Mask:
    """(n,) which rows no later one `among` these replaces; those of bars cut by count that share an open time are
    all the last."""
    places = list(PLACES[table])
    newest = among.select([*places, "revision"]).group_by(places).aggregate([("revision", "max")])
    numbered = rows.select([*places, "revision"]).append_column("number", pa.array(np.arange(rows.num_rows)))
    found = numbered.join(newest, places, join_type="inner").sort_by("number")
    mask: Mask = np.asarray(pc.equal(found["revision"], found["revision_max"]))
    return mask


def _as_first(rows: pa.Table) -> pa.Table:
    zeros = pa.array(np.zeros(rows.num_rows, np.int64))
    return rows.set_column(rows.column_names.index("revision"), "revision", zeros)


def _without_file_rows(rows: pa.Table) -> pa.Table:
    """Ends of receipts are left out where one is a row of a file: of several files they have no order."""
    if not rows.num_rows:
        return rows
    beyond = pc.or_(pc.is_null(rows["receipt.first_offset"]), pc.is_null(rows["receipt.last_offset"]))
    loaded = pc.or_(pc.starts_with(rows["receipt.topic"], LOADED_TOPIC), beyond)
    for name in SPAN:
        ends = pc.if_else(loaded, pa.scalar(None, rows[name].type), rows[name])
        rows = rows.set_column(rows.column_names.index(name), name, ends)
    return rows


def _held(stored: StoredRows, report: Report, wanted: Wanted, place: tuple[str, int]) -> dict[Table, Stored]:
    return {table: _this_version(report, table, stored.table(table, wanted, place)) for table in TABLES}


def _this_version(report: Report, table: Table, stored: Stored) -> Stored:
    """The rows that this engine version made; what others made cannot be computed again."""
    rows = flat(stored.rows)
    if not rows.num_rows:
        return Stored(rows, stored.shapes)
    mine = pc.fill_null(pc.equal(rows["receipt.engine_version"], ENGINE_VERSION), False)
    other = rows.num_rows - int(pc.sum(mine).as_py() or 0)
    if other:
        tally = report.tallies[table]
        tally.stored += other
        tally.unchecked += other
        report.mixed.add(table)
        report.note(f"rows of another engine version than {ENGINE_VERSION} were passed over")
    return Stored(rows.filter(mine), stored.shapes)


def _in_topic(rows: pa.Table, topic: str) -> Mask:
    """(n,) which rows the engine has made of this topic."""
    if not rows.num_rows:
        return np.zeros(0, np.bool_)
    mask: Mask = np.asarray(pc.equal(rows["receipt.topic"], topic))
    return mask


def _open_log(settings: Settings, report: Report) -> LogReader | None:
    try:
        return LogReader(settings)
    except EnvironmentProblem:
        report.note("no broker runs: the lake's trades serve instead of the log, for last revisions only")
        return None
