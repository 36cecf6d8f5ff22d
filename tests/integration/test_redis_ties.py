"""Two rows of one instant in Redis: the later one in the log is the newest, whatever its offset looks like as text."""

import pyarrow as pa

from marketpulse.model.redis_keys import RedisKeys
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.sinks.redis_store import open_redis
from valkey_store import ValkeyServer


def test_of_one_instant_offset_10_is_newer_than_offset_9(valkey: ValkeyServer) -> None:
    settings = valkey.settings()
    sink, client, key = open_redis(settings), valkey.client(), RedisKeys(settings.prefix).price("A")
    trade = {"type": "trade", "symbol": "A", "source": "test", "event_time_ns": 10**18, "size": 1.0, "topic": "market"}
    for first, offset, price in ((0, 9, 1.0), (10, 10, 2.0), (11, 100, 3.0)):
        for table, rows in (
            ("trades", [{**trade, "price": price, "partition": 0, "offset": offset, "row": 0}]),
            ("quotes", []),
        ):
            batch = pa.RecordBatch.from_pylist(rows, TABLES[table][1])
            sink.write(SinkBatch(table, "market", 0, first, offset + 1, batch))
        sink.flush()
        assert client.hmget(key, "price", "offset") == [str(price), str(offset)]
    sink.close()
