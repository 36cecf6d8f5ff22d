"""What the decoder's interned ids mean in a partition's state.

A decoder serves many partitions and numbers strings as it meets them; a partition's state numbers
its own, in the order of its own log, so that a replay gives the same numbers.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import VENUES_MAX, MarketColumns
from marketpulse.engine.registry import add_source, add_symbol
from marketpulse.engine.state import PartitionState
from marketpulse.engine.taking import REFUSED, UNMAPPED
from marketpulse.model.market import MarketBatch, StringTable

UNKNOWN_FRAME = -1

Ids = NDArray[np.int32]


def _none() -> Ids:
    return np.empty(0, np.int32)


@dataclass(slots=True)
class Translation:
    """Id maps between one decoder's strings and one partition's state; UNMAPPED where not met yet."""

    strings: StringTable
    state: PartitionState
    symbol_of: Ids = field(default_factory=_none)
    source_of: Ids = field(default_factory=_none)
    venue_of: Ids = field(default_factory=_none)
    frame_of: Ids = field(default_factory=_none)

    def columns(self, batch: MarketBatch) -> MarketColumns:
        """The batch as the kernels take it."""
        missing = len(self.strings) - self.symbol_of.size
        if missing > 0:
            more = np.full(max(missing, 64), UNMAPPED, np.int32)
            self.symbol_of = np.concatenate([self.symbol_of, more])
            self.source_of = np.concatenate([self.source_of, more])
            self.venue_of = np.concatenate([self.venue_of, more])
            self.frame_of = np.concatenate([self.frame_of, more])
        b = batch
        return MarketColumns(
            b.kind, b.symbol, b.source, b.venue, b.event_time_ns, b.ingest_time_ns, b.a, b.b, b.c, b.d, b.e, b.f,
            b.timeframe, b.open_time_ns, b.close_time_ns, b.trade_count, b.final, b.session_date,
            b.trade_id_start, b.trade_id_length, b.data, b.offset, b.row,
            b.log_time_ns, self.symbol_of, self.source_of, self.venue_of, self.frame_of,
        )  # fmt: skip

    def learn_source(self, config: EngineConfig, known: int) -> int:
        """Give the source its place, or refuse it when the partition is full."""
        index = add_source(self.state, config, self.strings[known])
        self.source_of[known] = index if index >= 0 else REFUSED
        return int(self.source_of[known])

    def learn_venue(self, known: int) -> None:
        venues, name = self.state.venues, self.strings[known]
        index = venues.intern(name) if len(venues) < VENUES_MAX else venues.find(name)
        self.venue_of[known] = index if index >= 0 else REFUSED

    def learn_frame(self, config: EngineConfig, known: int) -> None:
        names = [frame.name for frame in config.frames]
        text = self.strings[known]
        self.frame_of[known] = names.index(text) if text in names else UNKNOWN_FRAME

    def learn_symbol(self, config: EngineConfig, batch: MarketBatch, row: int) -> None:
        """Give the row's symbol its place, or refuse it when the partition is full."""
        known = int(batch.symbol[row])
        name = self.strings[known]
        index = self.state.symbols.find(name)
        if index < 0:
            venue = int(batch.venue[row])
            source = int(self.source_of[batch.source[row]])
            index = add_symbol(self.state, config, name, self.strings[venue] if venue >= 0 else None, source)
        self.symbol_of[known] = index if index >= 0 else REFUSED
