"""Pages of bars, the newest rows of every series and the newest alerts, out of a lake, also after revisions; and out of
Redis, the same for the same stored stream."""

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from board_rows import SECOND_NS, alert, row
from lake_store import LakeRows
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.ports import AlertSpan, BarSpan, FeedBatch, SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.history import LakeHistory
from marketpulse.query.newest_alerts import newest_alerts
from marketpulse.query.recent import RecentRows
from marketpulse.query.recent_redis import RecentRowsOfRedis
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.lake_compaction import FILES_MAX
from marketpulse.web.board import Board
from refused import assert_raises
from valkey_store import ValkeyServer, valkey  # noqa: F401

NAMES = ["sma_20", "vwap"]


@pytest.fixture
def history(lake: LakeRows) -> Iterator[LakeHistory]:
    with closing(LakeHistory(lake.settings)) as history:
        yield history


def add(lake: LakeRows, *rows: dict[str, Any]) -> None:
    lake.add("bars", rows)
    lake.add("indicators", rows, NAMES)


def minutes(symbol: str, count: int, first: int = 0, **other: Any) -> list[dict[str, Any]]:
    return [row(symbol, "1m", 60 * i, float(i + 1), sma_20=i + 0.5, **other) for i in range(first, first + count)]


def closes(page: pa.Table) -> list[float]:
    found: list[float] = page["close"].to_pylist()
    return found


def test_the_newest_before_a_time_come_oldest_first_with_their_values(lake: LakeRows, history: LakeHistory) -> None:
    assert history.bars(BarSpan("AAA", "1m")).num_rows == 0, "an empty lake has no bars"
    assert_raises(ParameterError, "", history.bars, BarSpan("AAA", "1x"))
    add(lake, *minutes("AAA", 9), *minutes("BBB", 9))
    page = history.bars(BarSpan("AAA", "1m", before_ms=300_000, limit=3))
    assert (closes(page), page["sma_20"].to_pylist()) == ([3.0, 4.0, 5.0], [2.5, 3.5, 4.5])
    assert page.column_names[-2:] == ["sma_20", "session_vwap"]
    assert closes(history.bars(BarSpan("AAA", "1m", from_ms=120_000, before_ms=240_000))) == [3.0, 4.0]
    assert closes(history.bars(BarSpan("AAA", "5m"))) == []
    assert closes(history.bars(BarSpan("A' OR 'A' = 'A", "1m"))) == []


def test_a_bar_is_as_last_revised_and_a_withdrawn_one_is_left_out(lake: LakeRows, history: LakeHistory) -> None:
    add(lake, *minutes("AAA", 4))
    nothing = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "trade_count"))
    lake.add("bars", [row("AAA", "1m", 60, 20.0, revision=1), row("AAA", "1m", 120, 0.0, revision=1) | nothing])
    page = history.bars(BarSpan("AAA", "1m"))
    assert (closes(page), page["revision"].to_pylist()) == ([1.0, 20.0, 4.0], [0, 1, 0])
    lake.add("bars", minutes("BBB", 2))
    lake.add("indicators", minutes("BBB", 1), NAMES)
    assert history.bars(BarSpan("BBB", "1m"))["sma_20"].to_pylist() == [0.5, None], "values that are not stored"


def test_tick_bars_of_one_time_are_told_apart_and_keep_their_values(lake: LakeRows, history: LakeHistory) -> None:
    ticks = [row("AAA", "1t", 100, float(i), sma_20=i + 0.5) for i in (3, 1, 2)]
    add(lake, *(tick | {"receipt": tick["receipt"] | {"last_offset": int(tick["close"])}} for tick in ticks))
    page = history.bars(BarSpan("AAA", "1t"))
    opens = [100 * 10**9, 100 * 10**9 + 1_000, 100 * 10**9 + 2_000]
    found = [page[name].to_pylist() for name in ("open_time_ns", "close", "sma_20")]
    assert found == [opens, [1.0, 2.0, 3.0], [1.5, 2.5, 3.5]]
    assert closes(history.bars(BarSpan("AAA", "1t", before_ms=opens[2] / 1e6, limit=1))) == [2.0]


def test_a_page_is_read_anew_once_the_lake_has_more_alerts_come_by_key(lake: LakeRows, history: LakeHistory) -> None:
    add(lake, *minutes("AAA", 3))
    first = history.bars(BarSpan("AAA", "1m"))
    assert history.bars(BarSpan("AAA", "1m")) is first
    add(lake, *minutes("AAA", 1, first=3))
    assert closes(history.bars(BarSpan("AAA", "1m"))) == [1.0, 2.0, 3.0, 4.0]
    every = [
        (time * SECOND_NS, symbol, rule) for time in (1, 2, 3) for symbol in ("AAA", "BBB") for rule in ("high", "low")
    ]
    lake.add("alerts", [alert(time // SECOND_NS, "raised", *of) for time, *of in reversed(every)])

    def keys(span: AlertSpan) -> list[tuple[Any, ...]]:
        return [(r["event_time_ns"], r["symbol"], r["rule"]) for r in history.alerts(span).to_pylist()]

    assert (keys(AlertSpan()), keys(AlertSpan(below=every[5], limit=3))) == (every, every[2:5])
    assert (
        keys(AlertSpan(from_ns=every[4][0], to_ns=every[8][0], symbol="AAA")),
        keys(AlertSpan(rule="low'; --")),
    ) == (every[4:6], [])
    assert "receipt" not in history.alerts(AlertSpan()).column_names


def series(symbol: str, timeframe: str, length_s: int, count: int, start_s: int = 0) -> list[dict[str, Any]]:
    opens = [start_s + i * length_s for i in range(count)]
    return [row(symbol, timeframe, at, i + 1.0, sma_20=i + 0.5, vwap=None) for i, at in enumerate(opens)]


def test_each_series_gives_its_newest_bars_however_many_the_others_have(lake: LakeRows) -> None:
    add(
        lake, *series("AAA", "1s", 1, 900, start_s=10**9), *series("AAA", "1m", 60, 70, start_s=10**9),
        *series("OLD", "1m", 60, 60), *series("OLD", "1d", 86_400, 7),
    )  # fmt: skip
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for batch in RecentRows(lake.settings, 50).batches():
        for line in batch.rows.to_pylist():
            number = line["close"] if batch.topic == "bars" else line["sma_20"] + 0.5
            found[batch.topic, line["symbol"], line["timeframe"]].append(number)
    counts = {("AAA", "1s"): 900, ("AAA", "1m"): 70, ("OLD", "1m"): 60, ("OLD", "1d"): 7}
    newest = {key: [float(i) for i in range(max(1, count - 49), count + 1)] for key, count in counts.items()}
    assert found == {(topic, *key): values for topic in ("bars", "indicators") for key, values in newest.items()}


def test_rows_come_with_the_contracts_schemas_and_say_how_far_each_partition_is_held(settings: Settings) -> None:
    recent = RecentRows(settings, 50)
    assert (recent.positions(), list(recent.batches())) == ({}, []), "a lake without bars"
    sink = open_sink(settings, "lake")
    sink.resume()
    for table, schema in (("bars", BAR), ("indicators", indicators_schema(NAMES))):
        sink.write(SinkBatch(table, table, 2, 5, 8, pa.RecordBatch.from_pylist(series("AAA", "1s", 1, 3), schema)))
    sink.flush()
    sink.close()
    bars, values = RecentRows(settings, 50).batches()
    assert (bars.rows.schema, values.rows.schema) == (BAR, indicators_schema(NAMES))
    assert RecentRows(settings, 50).positions() == {("bars", 2): 8, ("indicators", 2): 8}


ROWS = [
    alert(1, "raised"), alert(2, "cleared"), alert(3, "raised", "B", "low", severity="critical"),
    alert(4, "raised"), alert(4, "withdrawn", revision=1, was="raised"), alert(5, "raised", "B's", "odd"),
    alert(5, "raised", "B's", "odd", revision=1, value=2.0, was="raised"),
    *(alert(10 + i, "raised" if i % 2 == 0 else "cleared", "C") for i in range(20)),
]  # fmt: skip


def test_a_page_begins_with_the_newest_and_with_what_stands(lake: LakeRows, query: LakeQuery) -> None:
    assert list(newest_alerts(query, 3)) == [], "an empty lake has none"
    lake.add("alerts", ROWS)
    rows = [row for batch in newest_alerts(query, 3) for row in batch.to_pylist()]
    assert [(row["event_time_ns"] // SECOND_NS, row["symbol"]) for row in rows] == [
        (1, "A"), (2, "A"), (3, "B"), (5, "B's"), (27, "C"), (28, "C"), (29, "C"),
    ]  # fmt: skip


# Rows that come again, corrected: through the sink and its compaction to the current picture.

Rows = list[dict[str, Any]]
INDICATORS = ["sma_20"]
WITHDRAWN = dict.fromkeys(("open", "high", "low", "close", "vwap", "sma_20")) | {"volume": 0.0, "trade_count": 0}


class Topics:
    """The topics `bars`, `indicators` and `alerts`, and a lake behind them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.lake = settings, LakeRows(settings)

    def store(self, bars: Rows, values: Rows | None = None, alerts: Rows | None = None) -> None:
        """Each table by a sink that has just been started."""
        for table, rows in {"bars": bars, "indicators": bars if values is None else values, "alerts": alerts}.items():
            if rows:
                self.lake.add(table, rows, INDICATORS)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(LakeQuery(self.settings)) as query:
            return [tuple(found.values()) for found in query.run(sql).to_pylist()]


@pytest.fixture
def topics(settings: Settings) -> Topics:
    return Topics(settings)


def minute(number: int, close: float, revision: int = 0, **other: Any) -> dict[str, Any]:
    return row("AAA", "1m", 60 * number, close, revision=revision, sma_20=close / 2, **other)


def withdrawn(number: int, revision: int) -> dict[str, Any]:
    return minute(number, 1.0, revision) | WITHDRAWN


CURRENT = "SELECT open_time_ns // 60000000000 AS m, close, revision FROM {} ORDER BY open_time_ns"


@pytest.mark.parametrize("flushes", [1, 7])
def test_the_last_revision_is_shown_in_its_place_and_a_withdrawn_row_is_not(topics: Topics, flushes: int) -> None:
    rows = [
        minute(1, 10.0), minute(2, 20.0), minute(4, 40.0), minute(1, 11.0, 1), withdrawn(2, 1), minute(3, 30.0),
        minute(1, 12.0, 2), minute(5, 50.0), withdrawn(5, 1), minute(5, 9.0, 2),
    ]  # fmt: skip
    for n in range(flushes):
        topics.store(rows[n * len(rows) // flushes : (n + 1) * len(rows) // flushes])
    every = [(r["open_time_ns"] // 60_000_000_000, r["close"], r["revision"]) for r in rows]
    for table in ("bars", "indicators"):
        assert topics.ask(CURRENT.format(table)) == [(1, 12.0, 2), (3, 30.0, 0), (4, 40.0, 0), (5, 9.0, 2)]
        history = topics.ask(CURRENT.format(f"{table}_history") + ", revision")
        assert history == sorted(every, key=lambda found: (found[0], found[2]))


def test_bars_and_indicator_rows_count_their_revisions_apart(topics: Topics) -> None:
    topics.store([minute(1, 10.0)], [minute(1, 10.0), minute(1, 10.0, 1) | {"sma_20": 7.0}])
    assert topics.ask("SELECT revision, close FROM bars") == [(0, 10.0)]
    assert topics.ask("SELECT revision, sma_20 FROM indicators") == [(1, 7.0)]


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
    assert len(topics.lake.files("bars")) < count / 2, "small files were merged"
    history = "SELECT revision, close FROM bars_history WHERE open_time_ns = 60000000000 ORDER BY revision"
    assert topics.ask(history) == [(n, float(n)) for n in range(count)]
    assert topics.ask("SELECT count(*) AS n FROM bars_history") == [(2 * count,)]
    for path in topics.lake.files("bars"):
        found = [r for r in pa.parquet.read_table(path).to_pylist() if r["open_time_ns"] == 60 * 10**9]
        assert [r["revision"] for r in found] == sorted(r["revision"] for r in found)
    last = (count - 1, float(count - 1))
    assert topics.ask("SELECT revision, close FROM bars WHERE open_time_ns = 60000000000") == [last]
    assert topics.ask("SELECT count(*) AS n FROM indicators") == [(count + 1,)]


def test_a_page_that_starts_gets_the_last_revisions_and_as_many_bars_as_without_them(topics: Topics) -> None:
    topics.store([minute(n, float(n)) for n in range(1, 9)])
    topics.store([withdrawn(8, 1), *(minute(7, 70.0 + r, r) for r in range(1, 40))])
    for batch in RecentRows(topics.settings, 3).batches():
        assert [(r["close"], r["revision"]) for r in batch.rows.to_pylist()] == [(5.0, 0), (6.0, 0), (109.0, 39)]


def test_of_an_alert_its_last_revision_counts_and_a_withdrawn_one_is_left_out(topics: Topics) -> None:
    raised, cleared, up = alert(1_000, "raised"), alert(2_000, "cleared"), alert(1_000, "raised", rule="up")
    topics.store([], alerts=[raised, cleared, up])
    topics.store([], alerts=[alert(time, "withdrawn", revision=1) for time in (1_000, 2_000)])
    again = ((2_000, 2), (3_000, 0), (3_000, 1))
    topics.store([], alerts=[alert(time, "raised", revision=revision) for time, revision in again])
    asked = "SELECT rule, event_time_ns // 1000000000 AS s, state, revision FROM {} ORDER BY ALL"
    assert topics.ask(asked.format("alerts")) == [
        ("high", 2_000, "raised", 2), ("high", 3_000, "raised", 1), ("up", 1_000, "raised", 0),
    ]  # fmt: skip
    assert len(topics.ask(asked.format("alerts_history"))) == 8


COUNT = 50

LENGTHS = {"1s": 1, "1m": 60, "1d": 86_400}
Row = dict[str, Any]


@pytest.fixture
def both_stores(tmp_path: Path, valkey: ValkeyServer) -> Settings:  # noqa: F811
    section = valkey.settings(recent_bars=COUNT)
    return Settings(data_dir=tmp_path, sinks={"redis": section}, serve={"first_picture": "redis"})


def store(both_stores: Settings, rows: list[Row], cut: int) -> None:
    """The same topics into both stores, a record a row."""
    for which in ("lake", "redis"):
        sink = open_sink(both_stores, which, ManualClock(10**18))
        sink.resume()
        for first in range(0, len(rows), cut):
            some = rows[first : first + cut]
            for table, schema in (("bars", BAR), ("indicators", indicators_schema(NAMES))):
                batch = pa.RecordBatch.from_pylist(some, schema)
                sink.write(SinkBatch(table, table, 3, first, first + len(some), batch))
            sink.flush()
        sink.close()


def random_stream(seed: int, length: int) -> list[Row]:
    """Bars of several series in order of time, some of which are revised, withdrawn, or come late."""
    chance = random.Random(seed)
    stream: list[Row] = []
    told: dict[tuple[str, str, int], Row] = {}
    clock: dict[tuple[str, str], int] = defaultdict(lambda: 1_699_920_000)
    for n in range(length):
        symbol, timeframe = chance.choice(("AAA", "BTC/USD:X", "Ünïcode")), chance.choice(list(LENGTHS))
        if told and chance.random() < 0.15:
            old = told[chance.choice(list(told)[-30:])]
            changed = {**old, "revision": old["revision"] + 1, "close": chance.random() / 3, "sma_20": float(n)}
            if chance.random() < 0.3:
                gone = ("open", "high", "low", "close", "volume", "vwap", "sma_20")
                changed |= dict.fromkeys(gone) | {"trade_count": 0}
        else:
            clock[symbol, timeframe] += LENGTHS[timeframe] * chance.choice((1, 1, 1, 3))
            open_s = clock[symbol, timeframe] - LENGTHS[timeframe] * chance.choice((0, 0, 0, 0, 2))
            if (symbol, timeframe, open_s * 10**9) in told:
                continue
            values = {"sma_20": chance.choice((None, 1 / 7 + n)), "vwap": 1e-17 * n}
            changed = row(symbol, timeframe, open_s, chance.random() * 1e5, **values)
        told[changed["symbol"], changed["timeframe"], changed["open_time_ns"]] = changed
        stream.append(changed)
    return stream


def as_rows(batches: list[FeedBatch]) -> list[tuple[str, str]]:
    return sorted((b.topic, str(sorted(r.items()))) for b in batches for r in b.rows.to_pylist())


def board_of(batches: list[FeedBatch]) -> dict[str, Any]:
    board = Board(COUNT, clock=ManualClock(2 * 10**18))
    for batch in batches:
        board.take(batch)
    charts = {(s, t): board.chart(s, t) for s in board.symbols() for t in board.timeframes}
    return {"charts": str(charts), "columns": board.columns(), "quotes": str(board.quote_rows()),
            "sparks": str(sorted(board.sparks().items())), "timeframes": board.timeframes}  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize(("seed", "cut"), [(1, 900), (2, 37), (3, 45)])
def test_every_figure_of_the_first_picture_is_what_the_lake_gives(both_stores: Settings, seed: int, cut: int) -> None:
    store(both_stores, random_stream(seed, 900), cut)
    lake, quick = RecentRows(both_stores, COUNT), RecentRowsOfRedis(both_stores, COUNT)
    assert quick.positions() == lake.positions()
    from_lake, from_redis = list(lake.batches()), list(quick.batches())
    assert (as_rows(from_redis), board_of(from_redis)) == (as_rows(from_lake), board_of(from_lake))


@pytest.mark.integration
def test_an_empty_store_gives_nothing_rows_their_schemas_and_a_server_away_advice(both_stores: Settings) -> None:
    recent = RecentRowsOfRedis(both_stores, COUNT)
    assert (recent.positions(), list(recent.batches())) == ({}, [])
    store(both_stores, [row("AAA", "1s", 10 + i, 1.0, sma_20=None, vwap=2.0) for i in range(3)], 3)
    bars, values = RecentRowsOfRedis(both_stores, COUNT).batches()
    assert (bars.rows.schema, values.rows.schema) == (BAR, indicators_schema(NAMES))

    def with_section(**other: Any) -> RecentRowsOfRedis:
        section = both_stores.sinks.redis.model_copy(update=other)
        return RecentRowsOfRedis(Settings(data_dir=both_stores.data_dir, sinks={"redis": section}), COUNT)

    assert_raises(Retryable, "is it running", with_section(url="redis://127.0.0.1:1/0").positions)
    assert_raises(Fatal, "MARKETPULSE_SINKS__REDIS__PASSWORD", with_section(password=None).positions)
