"""Compile every kernel of the engine once, so that the first real batch does not wait (`make setup`)."""

import numpy as np

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.provisional import changed_symbols, forming_bars
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.indicators.catalogue import CATALOGUE, Spec
from marketpulse.model.market import Kind, MarketBatch, StringTable
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, parse_timeframes

_TIME = 20_000 * DAY_NS


def warm_up() -> None:
    """Run one small batch of every hot kind through all operators."""
    indicators = tuple(Spec(declared, declared.defaults()) for declared in CATALOGUE.values())
    config = EngineConfig(parse_timeframes(("1t", "1s", "1m", "1d")), indicators)
    stepper, state = Stepper(config), new_state(config)
    state, _ = stepper.step(state, _batch())
    forming_bars(state, config, changed_symbols(state))


def _batch() -> MarketBatch:
    kinds = [Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.HEARTBEAT, Kind.CLOCK]
    batch = MarketBatch.empty("market", 0, StringTable(["WARM", "BAR", "warm-up", "1m"]), len(kinds))
    batch.kind[:] = kinds
    batch.symbol[:] = [0, 0, 1, -1, -1]
    batch.source[:] = 2
    batch.timeframe[:] = 3
    batch.event_time_ns[:] = _TIME + np.array([0, 0, 60, 300, 0]) * SECOND_NS
    batch.open_time_ns[:], batch.close_time_ns[:] = _TIME, _TIME + 60 * SECOND_NS
    for column in (batch.a, batch.b, batch.c, batch.d, batch.e):
        column[:] = 1.0
    batch.offset[:] = np.arange(len(kinds))
    batch.log_time_ns[:] = _TIME
    return batch


if __name__ == "__main__":
    warm_up()
