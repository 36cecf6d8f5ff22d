"""The engine over one partition's share of the files: batches -> rows as they are stored.

The engine meets row r of the files at the offset LOADED + r: before every record of the log, so that its state can go on
there. What is stored names r.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from marketpulse.app.counts import count_findings, count_rows
from marketpulse.app.quality_notices import Row, notice_batch, quality_records
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NO_PLACE
from marketpulse.engine.quality import MARK
from marketpulse.engine.records import copied
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import PartitionState
from marketpulse.engine.step import Stepper, StepResult
from marketpulse.kafka.codec import row_as_json, to_tables
from marketpulse.model.market import ABSENT, COMPLETE, LOADED, REASONS, DeadLetter, Kind, MarketBatch, StringTable
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES

_PLACES = ("first_offset", "last_offset", "quote_offset")
_TRIM_ROWS = 500_000  # about as often as a worker saves its state
Rows = dict[str, pa.RecordBatch]


@dataclass(slots=True)
class Given:
    """What one partition has given of a stretch: rows by table (not those of `dead_letters`), and what was refused."""

    partition: int
    rows: Rows
    letters: list[DeadLetter] = field(default_factory=list)


class PartitionLoad:
    """One partition's engine from the source's hello to its goodbye; one thread at a time."""

    def __init__(
        self, config: EngineConfig, topic: str, partition: int, state: PartitionState, strings: StringTable
    ) -> None:
        self.state = state
        self.counts: Counter[str] = Counter()
        self._config, self._topic, self._partition = config, topic, partition
        self._strings = strings
        self._stepper = Stepper(config)
        self._since_trim = 0

    def hear_hello(self, source: str, lateness_ns: int, calendar: str | None) -> None:
        """The source brings history: its event times are its clock."""
        hello = {"mode": "historical", "lateness_ns": lateness_ns}
        self._announce(source, Kind.HELLO, hello if calendar is None else {**hello, "calendar": calendar})

    def hear_goodbye(self, source: str, *, complete: bool) -> Given:
        """Nothing more comes. Bars that are open stay so, unless the data is said to be complete: what follows in
        the log goes on with them."""
        return Given(
            self._partition, self._announce(source, Kind.GOODBYE, {"watermark_ns": COMPLETE} if complete else {})
        )

    def take(self, batch: MarketBatch, *, muted: bool) -> Given:
        """Take rows in, and give what is to be stored; nothing when `muted`."""
        letters: list[DeadLetter] = []
        self._since_trim += len(batch)
        if self._since_trim >= _TRIM_ROWS:
            self.finish()
        notices: list[Row] = []
        rows = self._run(replace(batch, offset=batch.offset + LOADED), letters, batch, notices, muted=muted)
        if muted:
            return Given(self._partition, {}, letters)
        told = to_tables(batch, encoded=True)
        if notices:
            told["events"] = _with_notices(
                told.get("events"), to_tables(notice_batch(batch, notices), encoded=True)["events"]
            )
        return Given(self._partition, {**told, **rows}, letters)

    def finish(self) -> PartitionState:
        """The state without what the correction window has left behind, as in a snapshot."""
        self.state, self._since_trim = self._stepper.trim(self.state), 0
        return self.state

    def forming(self) -> int:
        """How many bars are open and hold something."""
        heads = self.state.tables.heads
        slots = heads[heads >= 0]
        return int(np.count_nonzero(self.state.tables.bars["parts"][slots] > 0))

    def _announce(self, source: str, kind: Kind, record: dict[str, Any]) -> Rows:
        batch = MarketBatch.empty(self._topic, self._partition, self._strings, 1)
        batch.kind[0], batch.source[0], batch.offset[0] = kind, self._strings.intern(source), LOADED
        batch.rare[0] = record
        return self._run(batch, [], batch, [], muted=False)

    def _run(
        self, batch: MarketBatch, letters: list[DeadLetter], told: MarketBatch, notices: list[Row], *, muted: bool
    ) -> Rows:
        """`told`: the batch with its places as they are stored. Refusals and what rules mark are added to the lists."""
        parts: list[Rows] = []
        for state, result in self._stepper.steps(self.state, batch):
            self.state = state
            if muted:
                continue
            count_rows(result)
            count_findings(result, batch)
            notices += quality_records(told, result.found)
            self.counts["suspect"] += int(np.count_nonzero(result.found["severity"] == MARK))
            self.counts["out_of_session"] += result.out_of_session
            self.counts["duplicates"] += result.duplicates
            for refusal in result.set_aside(self._config, batch):
                detail = REASONS[refusal.reason]
                detail += f" in {', '.join(refusal.timeframes)}" if refusal.timeframes else ""
                symbol = int(told.symbol[refusal.row])
                letters.append(DeadLetter(
                    refusal.reason, f"{detail}: {refusal.detail}" if refusal.detail else detail, self._topic,
                    self._partition, int(told.offset[refusal.row]), int(told.row[refusal.row]) or ABSENT, None,
                    row_as_json(told, refusal.row), told.strings[symbol] if symbol >= 0 else None, refusal.timeframes,
                ))  # fmt: skip
            parts.append(self._rows(result))
        return _joined(parts)

    def _rows(self, result: StepResult) -> Rows:
        config, place = self._config, (self._topic, self._partition)
        found: Rows = {}
        if len(result.closed):
            found["bars"] = bar_rows(self.state, config, _numbered(result.closed), *place)
        if len(result.indicated):
            indicated = _numbered(result.indicated)
            found["indicators"] = indicator_rows(self.state, config, indicated, result.values, *place)
        alerts = [
            told_alert_rows(self.state, config, told._replace(bars=_numbered(told.bars)), *place)
            for told in result.alerts
        ]
        if alerts:
            found["alerts"] = pa.concat_batches(alerts)
        return found


def empty_rows(config: EngineConfig) -> Rows:
    """No rows of every table, in its schema."""
    own = {"bars": BAR, "indicators": indicators_schema(config.columns()), "alerts": ALERT}
    return {
        table: pa.RecordBatch.from_pylist([], schema=own.get(table, schema)) for table, (_, schema) in TABLES.items()
    }


def _numbered(closed: np.ndarray) -> np.ndarray:
    """The rows, their places as numbers of the files' rows."""
    rows = copied(closed)
    for name in _PLACES:
        loaded = rows[name] < NO_PLACE
        rows[name][loaded] -= LOADED
    return rows


def _with_notices(events: pa.RecordBatch | None, notices: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of `events`, each notice behind the row that it is about."""
    tables = [pa.Table.from_batches([batch]) for batch in (events, notices) if batch is not None]
    one = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return one.sort_by([("offset", "ascending"), ("row", "ascending")]).combine_chunks().to_batches()[0]


def _joined(parts: list[Rows]) -> Rows:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: pa.concat_batches([part[name] for part in parts if name in part]) for name in names}
