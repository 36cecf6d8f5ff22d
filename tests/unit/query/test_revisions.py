"""Rows that come again, corrected: through the sink and its compaction to the current picture."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from board_rows import row
from marketpulse.catalog import open_visible
from marketpulse.clock import ManualClock
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.ports import SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.recent import RecentRows
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.lake_compaction import FILES_MAX

Rows = list[dict[str, Any]]
NAMES = ["sma_20"]
WITHDRAWN = dict.fromkeys(("open", "high", "low", "close", "vwap", "sma_20")) | {"volume": 0.0, "trade_count": 0}


class Topics:
    """The topics `bars`, `indicators` and `alerts`, a record each row, and a lake behind them."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(data_dir=directory)
        self.end = 0

    def store(self, bars: Rows, values: Rows | None = None, alerts: Rows | None = None) -> None:
        """One flush of a sink that has just been started."""
        sink = open_sink(self.settings, "lake", ManualClock(10**18))
        sink.resume()
        of_indicators = (bars if values is None else values, indicators_schema(NAMES))
        rows = {"bars": (bars, BAR), "indicators": of_indicators, "alerts": (alerts or [], ALERT)}
        end = self.end + max(len(own) for own, _ in rows.values())
        for table, (own, schema) in rows.items():
            sink.write(SinkBatch(table, table, 0, self.end, end, pa.RecordBatch.from_pylist(own, schema=schema)))
        sink.flush()
        sink.close()
        self.end = end

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(LakeQuery(self.settings)) as query:
            return [tuple(found.values()) for found in query.run(sql).to_pylist()]

    def files(self) -> list[Path]:
        return [Path(file.path) for file in open_visible(self.settings).read(["bars"])["bars"].files]


@pytest.fixture
def topics(tmp_path: Path) -> Topics:
    return Topics(tmp_path)


def minute(number: int, close: float, revision: int = 0, **other: Any) -> dict[str, Any]:
    return row("AAA", "1m", 60 * number, close, revision=revision, sma_20=close / 2, **other)


def withdrawn(number: int, revision: int) -> dict[str, Any]:
    return minute(number, 1.0, revision) | WITHDRAWN


CURRENT = "SELECT open_time_ns // 60000000000 AS m, close, revision FROM {} ORDER BY open_time_ns"


@pytest.mark.parametrize("flushes", [1, 7])
def test_the_last_revision_is_shown_in_its_place_and_a_withdrawn_row_is_not(topics: Topics, flushes: int) -> None:
    rows = [
        minute(1, 10.0), minute(2, 20.0), minute(4, 40.0), minute(1, 11.0, 1), withdrawn(2, 1), minute(3, 30.0),
        minute(1, 12.0, 2),
    ]  # fmt: skip
    for n in range(flushes):
        topics.store(rows[n * len(rows) // flushes : (n + 1) * len(rows) // flushes])
    every = [(r["open_time_ns"] // 60_000_000_000, r["close"], r["revision"]) for r in rows]
    for table in ("bars", "indicators"):
        assert topics.ask(CURRENT.format(table)) == [(1, 12.0, 2), (3, 30.0, 0), (4, 40.0, 0)]
        history = topics.ask(CURRENT.format(f"{table}_history") + ", revision")
        assert history == sorted(every, key=lambda found: (found[0], found[2]))


def test_bars_and_indicator_rows_count_their_revisions_apart(topics: Topics) -> None:
    topics.store([minute(1, 10.0)], [minute(1, 10.0), minute(1, 10.0, 1) | {"sma_20": 7.0}])
    assert topics.ask("SELECT revision, close FROM bars") == [(0, 10.0)]
    assert topics.ask("SELECT revision, sma_20 FROM indicators") == [(1, 7.0)]


def test_a_bar_that_comes_back_after_it_was_withdrawn_is_shown(topics: Topics) -> None:
    topics.store([minute(1, 10.0), withdrawn(1, 1)])
    assert topics.ask(CURRENT.format("bars")) == []
    topics.store([minute(1, 9.0, 2)])
    assert topics.ask(CURRENT.format("bars")) == [(1, 9.0, 2)]


def test_a_revision_replaces_no_bar_of_another_series_nor_tick_bars_that_open_together(topics: Topics) -> None:
    others = [row("BBB", "1m", 60, 5.0, sma_20=1.0), row("AAA", "1s", 60, 6.0, sma_20=1.0)]
    ticks = [row("AAA", "1t", 60, float(n), sma_20=1.0) for n in range(3)]
    topics.store([minute(1, 10.0), *others, *ticks, withdrawn(1, 1)])
    assert topics.ask("SELECT symbol, timeframe, close FROM bars ORDER BY ALL") == [
        ("AAA", "1s", 6.0), ("AAA", "1t", 0.0), ("AAA", "1t", 1.0), ("AAA", "1t", 2.0), ("BBB", "1m", 5.0),
    ]  # fmt: skip


def test_compaction_and_restarts_keep_every_revision_once_and_in_the_order_of_the_log(topics: Topics) -> None:
    count = 2 * FILES_MAX + 3
    for n in range(count):  # each flush is a sink started anew: a new bar, and a revision of the second
        topics.store([minute(10 + n, float(n)), minute(1, float(n), n)])
    assert len(topics.files()) < count / 2, "small files were merged"
    history = "SELECT revision, close FROM bars_history WHERE open_time_ns = 60000000000 ORDER BY revision"
    assert topics.ask(history) == [(n, float(n)) for n in range(count)]
    assert topics.ask("SELECT count(*) AS n FROM bars_history") == [(2 * count,)]
    for path in topics.files():
        found = [r for r in pa.parquet.read_table(path).to_pylist() if r["open_time_ns"] == 60 * 10**9]
        assert [r["revision"] for r in found] == sorted(r["revision"] for r in found)
    last = (count - 1, float(count - 1))
    assert topics.ask("SELECT revision, close FROM bars WHERE open_time_ns = 60000000000") == [last]
    assert topics.ask("SELECT count(*) AS n FROM indicators") == [(count + 1,)]


def test_a_page_that_starts_gets_the_last_revisions_and_as_many_bars_as_without_them(topics: Topics) -> None:
    topics.store([minute(n, float(n)) for n in range(1, 9)])
    topics.store([withdrawn(8, 1), *(minute(7, 70.0 + r, r) for r in range(1, 40))])
    for batch in RecentRows(topics.settings, 3).batches():
        found = [(r["close"], r["revision"]) for r in batch.rows.to_pylist()]
        assert found == [(5.0, 0), (6.0, 0), (109.0, 39)]


def alert(time: int, state: str, revision: int = 0, symbol: str = "AAA", rule: str = "dip") -> dict[str, Any]:
    return {"symbol": symbol, "rule": rule, "event_time_ns": time, "state": state, "revision": revision}


def test_of_an_alert_its_last_revision_counts_and_a_withdrawn_one_is_left_out(topics: Topics) -> None:
    topics.store([], alerts=[alert(1_000, "raised"), alert(2_000, "cleared"), alert(1_000, "raised", rule="up")])
    topics.store([], alerts=[alert(1_000, "withdrawn", 1), alert(2_000, "withdrawn", 1)])
    topics.store([], alerts=[alert(2_000, "raised", 2), alert(3_000, "raised"), alert(3_000, "raised", 1)])
    asked = "SELECT rule, event_time_ns, state, revision FROM {} ORDER BY ALL"
    assert topics.ask(asked.format("alerts")) == [
        ("dip", 2_000, "raised", 2), ("dip", 3_000, "raised", 1), ("up", 1_000, "raised", 0),
    ]  # fmt: skip
    assert len(topics.ask(asked.format("alerts_history"))) == 8
