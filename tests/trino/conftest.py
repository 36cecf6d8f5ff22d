from collections.abc import Iterator

import pytest

from marketpulse.ports import SqlQuestion
from marketpulse.query.desk import LakeDesk
from real_rows import store_real_rows
from trino_server import Trino


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    """The real rows in our lake."""
    desk = LakeDesk(store_real_rows(tmp_path_factory.mktemp("lake")))
    yield desk
    desk.close()


@pytest.fixture(scope="session")
def trino(tmp_path_factory: pytest.TempPathFactory, lake: LakeDesk) -> Iterator[Trino]:
    """The same rows in Trino, as our views show them."""
    server = Trino(tmp_path_factory.mktemp("trino"))
    for table, columns in {
        "bars": "symbol, timeframe, open_time, open_time_ns, close_time_ns, open, high, low, close, volume, vwap, trade_count, revision",
        "trades": "timestamp, symbol, event_time_ns, price, size, source",
        "stock_data": "symbol, timestamp, price, volume, kind",
    }.items():
        rows = lake.answer(SqlQuestion(f"SELECT {columns} FROM {table}")).rows  # noqa: S608
        server.load(table, rows)
    yield server
    server.stop()
