"""The engine over one partition's share of the files: batches -> rows as they are stored.

The engine meets row r of the n-th load at the offset LOADED + n · 2**LOAD_BITS + r: before every record of the log, so that its
state can go on there. What is stored names r; of a receipt's end in another load it names nothing.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from marketpulse.app.counts import count_findings, count_rows
from marketpulse.app.quality_notices import Row, notice_batch, quality_records
from marketpulse.engine.closing import closed_up_to
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEVER, NO_PLACE
from marketpulse.engine.quality import MARK
from marketpulse.engine.records import copied
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import PartitionState
from marketpulse.engine.step import Stepper, StepResult
from marketpulse.kafka.codec import row_as_json, to_tables
from marketpulse.kafka.loaded_rows import IS_STORED
from marketpulse.model.market import (
    ABSENT,
    COMPLETE,
    LOAD_BITS,
    LOADED,
    REASONS,
    ROW_BITS_MASK,
    DeadLetter,
    Kind,
    MarketBatch,
    StringTable,
)
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES

_PLACES = ("first_offset", "last_offset", "quote_offset")
_ELSEWHERE = NO_PLACE - 1  # a record, but none that the receipt can name
_TRIM_ROWS = 250_000  # a fraction of what a worker takes between two snapshots
Rows = dict[str, pa.RecordBatch]


@dataclass(slots=True)
class Given:
    """What one partition has given of a stretch: rows by table (not those of `dead_letters`), and what was refused."""

    partition: int
    rows: Rows
    letters: list[DeadLetter] = field(default_factory=list)


class PartitionLoad:
    """One partition's engine from the source's hello to its goodbye; one thread at a time. `number` is the running load's; `known`
    are places of its dead letters and quality records that the lake has already."""

    def __init__(
        self, config: EngineConfig, topic: str, partition: int, state: PartitionState, strings: StringTable, number: int = 0,
        known: Iterable[tuple[int, int]] = (),
    ) -> None:  # fmt: skip
        self.state = state
        self.counts: Counter[str] = Counter()
        self.changes = False  # whether anything of it may differ from what the lake has
        self._config, self._topic, self._partition = config, topic, partition
        self._strings, self._number, self._known = strings, number, frozenset(known)
        self._stepper = Stepper(config)
        self._since_trim = 0
        self._sources: list[str] = []

    def hear_hello(self, source: str, lateness_ns: int, calendar: str | None) -> None:
        """The source brings history: its event times are its clock. Said again it changes nothing."""
        if source in self._sources:
            return
        hello = {"mode": "historical", "lateness_ns": lateness_ns}
        self._announce(source, Kind.HELLO, hello if calendar is None else {**hello, "calendar": calendar})
        self._sources.append(source)

    def hear_goodbye(self, source: str, *, complete: bool, reached_ns: int | None = None) -> Given:
        """Nothing more comes. Bars that are open stay so, unless the data is said to be complete: what follows in
        the log goes on with them. `reached_ns`: a time up to which the lake has them closed already."""
        final = COMPLETE if complete else reached_ns
        return Given(
            self._partition, self._announce(source, Kind.GOODBYE, {} if final is None else {"watermark_ns": final})
        )

    def take(self, batch: MarketBatch, *, muted: bool) -> Given:
        """Take rows in, and give what is to be stored; nothing when `muted`."""
        letters: list[DeadLetter] = []
        self._since_trim += len(batch)
        if self._since_trim >= _TRIM_ROWS:
            self.finish()
        notices: list[Row] = []
        own = batch.offset >> LOAD_BITS == self._number
        told = replace(batch, offset=batch.offset & ROW_BITS_MASK)
        rows = self._run(replace(batch, offset=batch.offset + LOADED), letters, told, own, notices, muted=muted)
        if len(self._sources) > 1:
            # Each source waits for the slowest of them, and of history that one may have ended long ago.
            last = {"watermark_ns": int(batch.event_time_ns[-1])}
            rows = _joined(
                [rows, *(self._announce(source, Kind.GOODBYE, last, muted=muted) for source in self._sources)]
            )
        if muted:
            return Given(self._partition, {}, letters)
        new = batch.ingest_time_ns != IS_STORED
        tables = to_tables(told, encoded=True) if new.any() else {}
        if not new.all():
            tables = {table: of.filter(pa.array(new[_kinds_of(table, told)])) for table, of in tables.items()}
        if notices:
            tables["events"] = _with_notices(
                tables.get("events"), to_tables(notice_batch(told, notices), encoded=True)["events"]
            )
        return Given(self._partition, {**tables, **rows}, letters)

    def finish(self) -> PartitionState:
        """The state without what the correction window has left behind, as in a snapshot."""
        self.state, self._since_trim = self._stepper.trim(self.state), 0
        return self.state

    def symbols(self) -> list[str]:
        """All that the state knows."""
        return list(self.state.symbols.texts())

    def watermark_ns(self) -> int:
        """Up to where bars have closed of the symbol that is the furthest."""
        return max((int(closed_up_to(self.state.tables, i)) for i in range(len(self.state.symbols))), default=NEVER)

    def forming(self) -> int:
        """How many bars are open and hold something."""
        heads = self.state.tables.heads
        slots = heads[heads >= 0]
        return int(np.count_nonzero(self.state.tables.bars["parts"][slots] > 0))

    def _announce(self, source: str, kind: Kind, record: dict[str, Any], *, muted: bool = False) -> Rows:
        batch = MarketBatch.empty(self._topic, self._partition, self._strings, 1)
        batch.kind[0], batch.source[0], batch.offset[0] = kind, self._strings.intern(source), LOADED
        batch.rare[0] = record
        return self._run(batch, [], batch, np.zeros(1, np.bool_), [], muted=muted)

    def _run(
        self, batch: MarketBatch, letters: list[DeadLetter], told: MarketBatch, own: np.ndarray, notices: list[Row], *,
        muted: bool,
    ) -> Rows:  # fmt: skip
        """`told`: the batch with its places as they are stored. Refusals and what rules mark of the load's `own` rows are added
        to the lists."""
        parts: list[Rows] = []
        for state, result in self._stepper.steps(self.state, batch):
            self.state = state
            if muted:
                continue
            count_rows(result)
            count_findings(result, batch)
            found = result.found[own[result.found["row"]]]
            notices += self._unknown(told, quality_records(told, found))
            self.counts["suspect"] += int(np.count_nonzero(found["severity"] == MARK))
            self.counts["out_of_session"] += result.out_of_session
            self.counts["duplicates"] += result.duplicates
            for refusal in result.set_aside(self._config, batch):
                place = int(told.offset[refusal.row]), int(told.row[refusal.row])
                if not own[refusal.row] or place in self._known:
                    continue
                detail = REASONS[refusal.reason]
                detail += f" in {', '.join(refusal.timeframes)}" if refusal.timeframes else ""
                symbol = int(told.symbol[refusal.row])
                letters.append(DeadLetter(
                    refusal.reason, f"{detail}: {refusal.detail}" if refusal.detail else detail, self._topic,
                    self._partition, place[0], place[1] or ABSENT, None, row_as_json(told, refusal.row),
                    told.strings[symbol] if symbol >= 0 else None, refusal.timeframes,
                ))  # fmt: skip
            parts.append(self._rows(result))
        return _joined(parts)

    def _unknown(self, told: MarketBatch, records: list[Row]) -> list[Row]:
        if not self._known:
            return records
        notices = notice_batch(told, records)
        places = zip(notices.offset.tolist(), (-notices.row).tolist(), strict=True)
        return [record for record, place in zip(records, places, strict=True) if place not in self._known]

    def _rows(self, result: StepResult) -> Rows:
        config, place = self._config, (self._topic, self._partition)
        found: Rows = {}
        if len(result.closed):
            found["bars"] = bar_rows(self.state, config, self._numbered(result.closed), *place)
        if len(result.indicated):
            indicated = self._numbered(result.indicated)
            found["indicators"] = indicator_rows(self.state, config, indicated, result.values, *place)
        alerts = [
            told_alert_rows(self.state, config, told._replace(bars=self._numbered(told.bars)), *place)
            for told in result.alerts
        ]
        if alerts:
            found["alerts"] = pa.concat_batches(alerts)
        return found

    def _numbered(self, closed: np.ndarray) -> np.ndarray:
        """The rows, their places as numbers of the load's rows."""
        rows = copied(closed)
        for name in _PLACES:
            place = rows[name] - LOADED
            loaded = rows[name] < NO_PLACE
            own = loaded & (place >> LOAD_BITS == self._number)
            rows[name][rows[name] != NO_PLACE] = _ELSEWHERE
            rows[name][own] = place[own] & ROW_BITS_MASK
        return rows


def empty_rows(config: EngineConfig) -> Rows:
    """No rows of every table, in its schema."""
    own = {"bars": BAR, "indicators": indicators_schema(config.columns()), "alerts": ALERT}
    return {
        table: pa.RecordBatch.from_pylist([], schema=own.get(table, schema)) for table, (_, schema) in TABLES.items()
    }


def _kinds_of(table: str, batch: MarketBatch) -> np.ndarray:
    """(n,) which rows of a batch stand in the table."""
    kinds = {"trades": Kind.TRADE, "quotes": Kind.QUOTE}
    mask: np.ndarray = batch.kind == kinds[table] if table in kinds else batch.kind >= Kind.BAR
    return mask


def _with_notices(events: pa.RecordBatch | None, notices: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of `events`, each notice behind the row that it is about."""
    tables = [pa.Table.from_batches([batch]) for batch in (events, notices) if batch is not None]
    one = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return one.sort_by([("offset", "ascending"), ("row", "ascending")]).combine_chunks().to_batches()[0]


def _joined(parts: list[Rows]) -> Rows:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: pa.concat_batches([part[name] for part in parts if name in part]) for name in names}
