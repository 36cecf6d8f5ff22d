"""One partition's engine over rows of files: places before the log inside it, line numbers in what is stored."""

import numpy as np
import pytest

import market_rows
from marketpulse.app.loading.engine import Given, PartitionLoad, empty_rows
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import kept_trades, new_state
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.model.market import LOADED, Kind, MarketBatch, StringTable
from marketpulse.model.tables import TABLES
from marketpulse.model.timeframe import parse_timeframes

TOPIC = "file:t.csv@1.2"
pytestmark = pytest.mark.usefixtures("kernels")


def trades(strings: StringTable, first: int, seconds: list[float]) -> MarketBatch:
    n = len(seconds)
    batch = MarketBatch.empty(TOPIC, 0, strings, n)
    batch.kind[:], batch.symbol[:], batch.source[:] = Kind.TRADE, strings.intern("A"), strings.intern("old")
    batch.event_time_ns[:] = [market_rows.at(s) for s in seconds]
    batch.a[:], batch.b[:], batch.offset[:] = 10 + np.arange(n), 1, first + np.arange(n)
    return batch


class Engine:
    """An engine after hello, and trades for it."""

    def __init__(self, fill: bool = False) -> None:
        self.strings = StringTable()
        self.strings.intern("old")
        config = EngineConfig(frames=parse_timeframes(["1s", "1m"]), indicators=parse_indicators("sma(2)"), fill=fill)
        self.load = PartitionLoad(config, TOPIC, 0, new_state(config), self.strings)
        self.load.hear_hello("old", 1, None)

    def take(self, first: int, seconds: list[float], *, muted: bool = False) -> Given:
        return self.load.take(trades(self.strings, first, seconds), muted=muted)


def test_stored_rows_name_lines_and_the_state_places_before_the_log() -> None:
    engine = Engine()
    given = engine.take(2, [0.5, 1.5, 2.5])
    bars = given.rows["bars"].to_pylist()
    assert [(b["receipt"]["first_offset"], b["receipt"]["topic"]) for b in bars] == [(2, TOPIC), (3, TOPIC)]
    assert given.rows["trades"]["offset"].to_pylist() == [2, 3, 4]
    assert kept_trades(engine.load.state)["offset"].tolist() == [LOADED + 2, LOADED + 3, LOADED + 4]


def test_a_filled_bar_names_no_line() -> None:
    bars = Engine(fill=True).take(2, [0.5, 3.5]).rows["bars"].to_pylist()
    assert [b["receipt"]["first_offset"] for b in bars] == [2, None, None]


def test_what_is_open_stays_open_but_for_data_that_is_complete() -> None:
    engine, complete = Engine(), Engine()
    engine.take(2, [0.5])
    complete.take(2, [0.5])
    assert "bars" not in engine.load.hear_goodbye("old", complete=False).rows
    assert engine.load.forming() == 1  # the minute over it holds nothing before the second closes
    closed = complete.load.hear_goodbye("old", complete=True).rows["bars"]
    assert closed["timeframe"].to_pylist() == ["1s", "1m"]
    assert complete.load.forming() == 0


def test_muted_rows_move_the_state_alone() -> None:
    engine, other = Engine(), Engine()
    assert engine.take(2, [0.5, 1.5], muted=True).rows == {}
    other.take(2, [0.5, 1.5])
    ours, theirs = (one.take(4, [2.5, 3.5]).rows["indicators"] for one in (engine, other))
    assert ours.equals(theirs)


def test_every_table_has_an_empty_form_of_its_own_schema() -> None:
    config = EngineConfig(frames=parse_timeframes(["1m"]), indicators=parse_indicators("sma(2)"))
    rows = empty_rows(config)
    assert rows.keys() == TABLES.keys()
    assert "sma_2" in rows["indicators"].schema.names
    assert not any(batch.num_rows for batch in rows.values())
