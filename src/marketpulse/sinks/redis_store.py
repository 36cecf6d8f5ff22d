"""Redis or Valkey, for fast readers: the newest rows, the day's rankings and what changes, as docs/stores.md#redis lists them.

One flush is one transaction (MULTI) of one script call for each partition. The script stores a partition's rows and its
offsets together, and nothing when the offsets that stand there are not those that this process knows: then
another has stored rows since, or the server has lost some. Questions are asked before it; what they answered
is still true then, for the same reason.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketpulse.errors import Fatal, MarketPulseError, ParameterError, Retryable
from marketpulse.model.redis_keys import RedisKeys, place_of, place_text
from marketpulse.settings import RedisSettings
from marketpulse.sinks.held import HeldSink, Key
from marketpulse.sinks.redis_plan import PartitionPlan, Question, asked
from marketpulse.telemetry import ROWS_STORED, get_logger

TABLES_KEPT = ("trades", "quotes", "bars", "indicators", "alerts")
_SCRIPT = files("marketpulse.sinks").joinpath("redis_store.lua").read_text()
_CONNECT_S, _ANSWER_S = 5.0, 30.0
_KEPT = "nothing is lost, the rows are stored as soon as it takes them"
_CODE = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOPERM|WRONGTYPE|MOVED|ASK|CROSSSLOT|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|BUSY)\b"
)
_CODE_OF = {  # the client's library takes the code of some errors away
    redis.exceptions.OutOfMemoryError: "OOM", redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.NoPermissionError: "NOPERM", redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.MasterDownError: "MASTERDOWN", redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT", redis.exceptions.AskError: "MOVED",
    redis.exceptions.TryAgainError: "CLUSTERDOWN", redis.exceptions.AuthenticationError: "LOGIN",
}  # fmt: skip


class RedisSink(HeldSink):
    """A Sink over one server. It keeps what is newest, so most rows leave nothing behind but a newer value."""

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__("redis", f"{settings.url} ({settings.prefix}*)", TABLES_KEPT)
        self._settings, self._keys = settings, RedisKeys(settings.prefix)
        self._texts: dict[Key, str] = {}  # each partition's offsets, as they stand in the store
        self._client = _connect(settings)
        self._sha = ""

    def resume(self) -> dict[Key, int]:
        """The next offset wanted by (topic, partition). A server that lost its data names none: all is read again."""
        with self._counting_faults(), explained(self._settings):
            found = self._client.hgetall(self._keys.offsets)
            self._sha = self._client.script_load(_SCRIPT)
        self._texts = {place_of(place): text for place, text in found.items() if text}
        return self._held.begin({key: orjson.loads(text) for key, text in self._texts.items()})

    def flush(self) -> None:
        """Make all that waits readable. Partitions succeed one by one: those that another has stored rows of are
        dropped, and wanted again by `resume`."""
        keys = self._held.keys()
        if not keys:
            with self._counting_faults():
                self._held.check_whole()
            return
        with self._flushing():
            with explained(self._settings):
                answers = self._store(keys)
            for key, answer in zip(keys, answers, strict=True):
                self._settle(key, answer)
            self._held.check_whole()

    def close(self) -> None:
        super().close()
        self._client.close()

    def _store(self, keys: Sequence[Key]) -> list[str]:
        """One answer of the script for each partition."""
        plans = [PartitionPlan(self._settings, self._keys, self._held.of(key)) for key in keys]
        answers = self._ask([plan.questions() for plan in plans])
        more = self._ask([plan.more_questions(a) for plan, a in zip(plans, answers, strict=True)])
        calls = [
            (place_text(key), self._texts.get(key, ""), self._following(key), self._settings.expire_s, plan.operations(a))
            for key, plan, a in zip(keys, plans, more, strict=True)
        ]  # fmt: skip
        try:
            return self._call(calls)
        except redis.exceptions.NoScriptError:  # the server was started anew, or its scripts were flushed
            self._sha = self._client.script_load(_SCRIPT)
            return self._call(calls)

    def _call(self, calls: Sequence[tuple[Any, ...]]) -> list[str]:
        if not calls:
            return []
        transaction = self._client.pipeline(transaction=True)
        for call in calls:
            transaction.evalsha(self._sha, 1, self._keys.offsets, *call)
        answers = list(transaction.execute(raise_on_error=False))
        if (error := next((a for a in answers if isinstance(a, Exception)), None)) is not None:
            raise error
        return answers

    def _ask(self, questions: Sequence[Sequence[Question]]) -> list[list[Any]]:
        """The answers to each plan's questions, in one round trip."""
        every = asked(questions)
        if not every:
            return [[] for _ in questions]
        pipeline = self._client.pipeline(transaction=False)
        for question in every:
            pipeline.execute_command(*question)
        answers = iter(pipeline.execute())
        return [[next(answers) for _ in of_one] for of_one in questions]

    def _following(self, key: Key) -> str:
        """The partition's offsets once what waits is stored."""
        ends = {table: batches[-1].next_offset for table, batches in self._held.of(key).items()}
        return orjson.dumps({**self._held.known(key), **ends}, option=orjson.OPT_SORT_KEYS).decode()

    def _settle(self, key: Key, answer: str) -> None:
        if answer == "elsewhere":
            get_logger().warning("stands_elsewhere", sink=self.name, topic=key[0], partition=key[1])
            self._held.drop(key)
            return
        for table, batches in self._held.of(key).items():
            ROWS_STORED.labels(self.name, table).inc(sum(batch.rows.num_rows for batch in batches))
        self._texts[key] = self._following(key)
        self._held.stored(key, orjson.loads(self._texts[key]))


def open_redis(settings: RedisSettings) -> RedisSink:
    """The sink on this server; no connection is made yet."""
    return RedisSink(settings)


def _connect(settings: RedisSettings) -> Any:
    password = None if settings.password is None else settings.password.get_secret_value()
    try:
        return redis.Redis.from_url(
            settings.url, password=password, decode_responses=True, protocol=2, socket_timeout=_ANSWER_S,
            socket_connect_timeout=_CONNECT_S, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
    except ValueError as error:
        raise ParameterError(f"sinks.redis.url cannot be used ({error}): write redis://host:6379/0") from None


@contextmanager
def explained(settings: RedisSettings) -> Iterator[None]:
    """Tell what the server's errors mean for a person. No message holds a password."""
    try:
        yield
    except redis.RedisError as error:
        raise fault_of(settings, error) from None


def fault_of(settings: RedisSettings, error: redis.RedisError) -> MarketPulseError:
    """What to do about an error of the client's library: Retryable where it passes by itself or by making room."""
    server, text = f"redis: {settings.url}", str(error)
    code = next((code for kind, code in _CODE_OF.items() if isinstance(error, kind)), "")
    if not code and (found := _CODE.search(text)):
        code = found[1]
    if code == "LOGIN":
        how = "a login is needed" if settings.password is None else "the login is refused"
        return Fatal(
            f"{server}: {how}: set MARKETPULSE_SINKS__REDIS__PASSWORD in the environment or in .env to the password of "
            "the user in sinks.redis.url (without one: `default`), then start again; nothing is lost"
        )
    if code == "NOPERM":
        return Fatal(
            f"{server}: the user in sinks.redis.url may not do this ({text}): give it the commands, keys "
            f"(~{settings.prefix}*) and channels (&{settings.prefix}*) that docs/stores.md#redis lists; nothing is lost"
        )
    match code:
        case "OOM":
            return Retryable(
                f"{server} has reached its maxmemory and evicts nothing: raise maxmemory, delete keys, or keep less "
                f"(sinks.redis.recent_bars, sinks.redis.expire); {_KEPT}"
            )
        case "READONLY":
            return Retryable(f"{server} is a replica: set sinks.redis.url to its primary; {_KEPT}")
        case "MISCONF":
            return Retryable(
                f"{server} cannot save to its disk and takes no writes: free space there (its log says why); {_KEPT}"
            )
        case "LOADING":
            return Retryable(f"{server} is loading its data; {_KEPT}")
        case "MASTERDOWN" | "NOREPLICAS" | "BUSY":
            return Retryable(f"{server} takes no writes at the moment ({text}); {_KEPT}")
        case "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN":
            return Fatal(
                f"{server} is a node of a cluster, where one transaction cannot span all keys: set sinks.redis.url to a "
                "server of its own, with replicas if you like; nothing is lost"
            )
        case "WRONGTYPE":
            return Fatal(
                f"{server}: a key below {settings.prefix!r} holds something else ({text}): set sinks.redis.prefix to "
                "another, or delete these keys; nothing is lost"
            )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Fatal(
            f"{server}: its certificate is not trusted: name its CA in sinks.redis.url (?ssl_ca_certs=/path/ca.pem); "
            "nothing is lost"
        )
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return Retryable(f"{server} does not answer ({text}): is it running? {_KEPT}")
    return Fatal(f"{server} refuses what was asked ({text}): see docs/stores.md#redis; nothing is lost")
