"""Hears the log, and keeps what a scorecard is made of: bounded for each source and symbol, the same for any cut.

    rows of `market` (and of `feeds`) -> streams, by source and partition: delays, pace, gaps, findings
                                     \\-> series, by source and symbol: minutes with rows, last prices
    dead letters                      -> counts, by source and reason

No clock: the newest append time that it has heard is now.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from marketpulse.app.scoring.series import MINUTE_NS, Heard, SeriesTable
from marketpulse.app.scoring.stream import SLOT_NS, RareCounts, Stream
from marketpulse.model.market import ABSENT, Ints, Kind, MarketBatch

AHEAD_NS = MINUTE_NS
"""An event time further ahead of its append time is a broken clock: such a row counts for no minute."""

_SLACK_MINUTES = 16  # rows of the window's first minutes may come late
_TRADE, _QUOTE, _BAR, _HEARTBEAT = (int(kind) for kind in (Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.HEARTBEAT))

StreamKey = tuple[str, int, str]  # topic, partition, source


class ScoreKeeper:
    """Keeps the last `hours` hours, of at most `series_max` symbols in all. All methods are called from one thread."""

    def __init__(self, hours: int, series_max: int) -> None:
        self.hours = hours
        self.slots = hours * 3_600 * 10**9 // SLOT_NS + 1
        self.series = SeriesTable(60 * hours + _SLACK_MINUTES, series_max)
        self.streams: dict[StreamKey, Stream] = {}
        self.letters: dict[str, RareCounts] = {}  # by source; "": theirs is not known
        self.now_ns = 0

    def hear(self, batch: MarketBatch, appended_ns: Ints) -> None:
        """Rows of one partition in the order of the log; appended_ns (n,) int64: when the log had each."""
        if not len(batch):
            return
        self.now_ns = max(self.now_ns, int(appended_ns.max()))
        hot = batch.kind <= _BAR
        of_source = np.flatnonzero((batch.kind <= _HEARTBEAT) & (batch.source != ABSENT))
        sources = batch.source[of_source]
        for source in np.unique(sources).tolist():
            rows = of_source[sources == source]
            stream = self._stream(batch, batch.strings[source])
            stream.newest_ns = max(stream.newest_ns, int(appended_ns[rows[-1]]))
            rows = rows[hot[rows]]
            if len(rows):
                self._take(batch, source, stream, rows, appended_ns[rows])
        for row, record in batch.rare.items():
            if batch.kind[row] > Kind.CLOCK:
                self._take_rare(batch, record, int(appended_ns[row]))

    def hear_letter(self, value: bytes, appended_ns: int) -> None:
        """A record of `dead-letters`."""
        self.now_ns = max(self.now_ns, appended_ns)
        try:
            letter = orjson.loads(value)
            reason = str(letter["reason"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return  # not of our making
        counts = self.letters.setdefault(_source_of(letter), RareCounts(self.slots))
        counts.add(reason, appended_ns)

    def _stream(self, batch: MarketBatch, source: str) -> Stream:
        key = batch.topic, batch.partition, source
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream(self.slots)
        return stream

    def _take(self, batch: MarketBatch, source: int, stream: Stream, rows: Ints, appended_ns: Ints) -> None:
        kind = batch.kind[rows].astype(np.int64)
        bar = kind == _BAR
        event_ns = np.where(bar, batch.close_time_ns[rows], batch.event_time_ns[rows])
        stream.take(kind, event_ns, appended_ns)
        latest_ns = appended_ns + AHEAD_NS
        if (event_ns <= latest_ns).any():
            stream.newest_event_ns = max(stream.newest_event_ns, int(event_ns[event_ns <= latest_ns].max()))
        begin = np.where(bar, batch.open_time_ns[rows], event_ns) // MINUTE_NS
        last_ns = np.where(bar, event_ns - 1, event_ns)
        price = np.where(bar, batch.d[rows], np.where(kind == _TRADE, batch.a[rows], np.nan))
        price[last_ns > latest_ns] = np.nan  # a bar that has not closed yet
        last_ns = np.minimum(last_ns, latest_ns)
        heard = Heard(
            self.series.places(batch.topic, source, batch.symbol[rows], batch.venue[rows], batch.strings),
            begin, last_ns // MINUTE_NS, price, last_ns,
        )  # fmt: skip
        kept = heard.series >= 0
        self.series.left_out_rows += int((~kept).sum())
        kept &= begin <= heard.end
        if kept.any():
            self.series.take(heard.of(kept))

    def _take_rare(self, batch: MarketBatch, record: Mapping[str, Any], appended_ns: int) -> None:
        if not isinstance(source := record.get("source"), str):
            return
        stream = self._stream(batch, source)
        told = record.get("type")
        if told == "quality":  # the engine says it of a row; the source has not spoken
            stream.wrong.add(str(record.get("rule")), appended_ns)
            return
        stream.newest_ns = max(stream.newest_ns, appended_ns)
        if told == "gap":
            stream.gaps.take(record, appended_ns)
        elif told == "hello":
            stream.mode, stream.ended = str(record.get("mode")), False
            stream.simulated = bool(record.get("simulated"))
            stream.calendar = record.get("calendar")
            stream.starts += 1
        elif told == "goodbye":
            stream.ended = True


def _source_of(letter: Mapping[str, Any]) -> str:
    """The source that the refused record names; that of a whole frame and of no JSON is not known."""
    try:
        record = orjson.loads(letter.get("value") or b"")
    except orjson.JSONDecodeError:
        return ""
    source = record.get("source") if isinstance(record, dict) else None
    return source if isinstance(source, str) else ""
