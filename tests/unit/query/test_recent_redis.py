"""The newest rows out of Redis: the same as out of the lake, for the same stored stream."""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from board_rows import row
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.ports import FeedBatch, SinkBatch
from marketpulse.query.recent import RecentRows
from marketpulse.query.recent_redis import RecentRowsOfRedis
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.web.board import Board
from refused import assert_raises
from valkey_store import ValkeyServer, valkey  # noqa: F401

pytestmark = pytest.mark.integration

COUNT = 50
NAMES = ["sma_20", "vwap"]
LENGTHS = {"1s": 1, "1m": 60, "1d": 86_400}
Row = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path, valkey: ValkeyServer) -> Settings:  # noqa: F811
    section = valkey.settings(recent_bars=COUNT)
    return Settings(data_dir=tmp_path, sinks={"redis": section}, serve={"first_picture": "redis"})


def store(settings: Settings, rows: list[Row], cut: int) -> None:
    """The same topics into both stores, a record a row."""
    for which in ("lake", "redis"):
        sink = open_sink(settings, which, ManualClock(10**18))
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


@pytest.mark.parametrize(("seed", "cut"), [(1, 900), (2, 37), (3, 45)])
def test_every_figure_of_the_first_picture_is_what_the_lake_gives(settings: Settings, seed: int, cut: int) -> None:
    store(settings, random_stream(seed, 900), cut)
    lake, quick = RecentRows(settings, COUNT), RecentRowsOfRedis(settings, COUNT)
    assert quick.positions() == lake.positions()
    from_lake, from_redis = list(lake.batches()), list(quick.batches())
    assert (as_rows(from_redis), board_of(from_redis)) == (as_rows(from_lake), board_of(from_lake))


def test_an_empty_store_gives_nothing_rows_their_schemas_and_a_server_away_advice(settings: Settings) -> None:
    recent = RecentRowsOfRedis(settings, COUNT)
    assert (recent.positions(), list(recent.batches())) == ({}, [])
    store(settings, [row("AAA", "1s", 10 + i, 1.0, sma_20=None, vwap=2.0) for i in range(3)], 3)
    bars, values = RecentRowsOfRedis(settings, COUNT).batches()
    assert (bars.rows.schema, values.rows.schema) == (BAR, indicators_schema(NAMES))

    def with_section(**other: Any) -> RecentRowsOfRedis:
        section = settings.sinks.redis.model_copy(update=other)
        return RecentRowsOfRedis(Settings(data_dir=settings.data_dir, sinks={"redis": section}), COUNT)

    assert_raises(Retryable, "is it running", with_section(url="redis://127.0.0.1:1/0").positions)
    assert_raises(Fatal, "MARKETPULSE_SINKS__REDIS__PASSWORD", with_section(password=None).positions)
