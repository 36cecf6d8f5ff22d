"""The newest bars of every series out of Redis or Valkey, as recent.py has them out of the lake: the same rows, sooner.

A series has at most `sinks.redis.recent_bars` bars there.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import orjson
import polars as pl
import pyarrow as pa
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.model.redis_keys import Place, RedisKeys, place_of
from marketpulse.model.rows import BAR, INDICATORS_HEAD, RECEIPT, indicators_schema
from marketpulse.model.timeframe import Timeframe
from marketpulse.ports import FeedBatch
from marketpulse.settings import RedisSettings, Settings

_SERIES = 100  # of one round trip: bounded memory here, no long stop there
_TIMEOUT_S = 5.0  # of each; a page that waits longer is better off without
_TABLES: tuple[Literal["bars", "indicators"], ...] = ("bars", "indicators")


class RecentRowsOfRedis:
    """The last `count` bars of each symbol and timeframe, with their indicator values.

    Its methods raise Retryable while the server does not answer, Fatal when it refuses.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings, self._count = settings.sinks.redis, min(count, settings.sinks.redis.recent_bars)
        self._keys = RedisKeys(self._settings.prefix)

    def positions(self) -> dict[Place, int]:
        """The next offset of each topic that is not held, by partition."""
        with self._client() as client:
            found = client.hgetall(self._keys.offsets)
        return {place_of(place): min(orjson.loads(text).values()) for place, text in found.items() if text}

    def batches(self) -> Iterator[FeedBatch]:
        """The rows, each series in order of time."""
        with self._client() as client:
            frames = [Timeframe.parse(name) for name in client.smembers(self._keys.timeframes)]
            for frame in sorted(frames, key=lambda f: (f.cut, f.length)):
                symbols = client.zrange(self._keys.symbols(frame.name), 0, -1)
                for first in range(0, len(symbols), _SERIES):
                    for table in _TABLES:
                        yield from self._rows(client, table, frame.name, symbols[first : first + _SERIES])

    def _rows(
        self, client: Any, table: Literal["bars", "indicators"], timeframe: str, symbols: Sequence[str]
    ) -> Iterator[FeedBatch]:
        pipeline = client.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.zrange(self._keys.recent(table, symbol, timeframe), -self._count, -1)
        lines = [text for texts in pipeline.execute() for text in texts]
        if lines:
            yield from _as_batches(table, _parsed(lines, BAR if table == "bars" else INDICATORS_HEAD))

    @contextmanager
    def _client(self) -> Iterator[Any]:
        settings = self._settings
        password = None if settings.password is None else settings.password.get_secret_value()
        try:
            client = redis.Redis.from_url(
                settings.url, password=password, decode_responses=True, protocol=2, socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0),
            )  # fmt: skip
        except ValueError as error:
            raise ParameterError(f"sinks.redis.url cannot be used ({error}): write redis://host:6379/0") from None
        try:
            with _explained(settings):
                yield client
        finally:
            client.close()


def _parsed(lines: Sequence[str], head: pa.Schema) -> pl.DataFrame:
    """Rows of one table; a column that the head does not name is a number that some rows lack."""
    empty = pl.from_arrow(_with_receipt(head).empty_table())
    assert isinstance(empty, pl.DataFrame)  # a pa.Table never gives a Series  # noqa: S101
    text = io.BytesIO("\n".join(lines).encode())
    frame = pl.read_ndjson(text, schema_overrides=dict(empty.schema), infer_schema_length=None)
    return frame.sort("open_time_ns", maintain_order=True)


def _with_receipt(head: pa.Schema) -> pa.Schema:
    return head if "receipt" in head.names else head.append(pa.field("receipt", RECEIPT))


def _as_batches(table: Literal["bars", "indicators"], frame: pl.DataFrame) -> Iterator[FeedBatch]:
    head = set(indicators_schema([]).names)
    schema = BAR if table == "bars" else indicators_schema([n for n in frame.columns if n not in head])
    for batch in frame.select(schema.names).to_arrow().cast(schema).to_batches():
        yield FeedBatch(table, batch, 0)


@contextmanager
def _explained(settings: RedisSettings) -> Iterator[None]:
    where = f"redis: {settings.url}"
    try:
        yield
    except redis.exceptions.AuthenticationError:
        raise Fatal(
            f"{where} needs a login, or refuses this one: set MARKETPULSE_SINKS__REDIS__PASSWORD in the environment or in "
            ".env to the password of the user in sinks.redis.url"
        ) from None
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Retryable(f"{where} does not answer ({error}): is it running?") from None
    except redis.RedisError as error:
        raise Fatal(f"{where} refuses what was asked ({error}): see docs/stores.md#redis") from None
