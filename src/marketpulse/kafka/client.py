"""How every Kafka client of ours is configured, what its errors mean, and where the broker is."""

import importlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

import psutil
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from marketpulse.errors import EnvironmentProblem, Fatal, Retryable, SettingsError
from marketpulse.kafka.background import in_background
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX, Role, understand
from marketpulse.kafka.handle import remind_of_brokers
from marketpulse.settings import KafkaProducerSettings, Settings
from marketpulse.settings.blocks import Value, is_login
from marketpulse.telemetry import BROKER_ERRORS, get_logger

_DEFAULTS: dict[Role, dict[str, Value]] = {
    "producer": {
        "compression.type": "lz4",
        "linger.ms": 2,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "queue.buffering.max.kbytes": 65_536,
    },
    "consumer": {
        # A fetch costs the broker the same whether it brings one record or a thousand. It waits for so many bytes,
        # 100 ms at most: an open consumer asks again for as long as it lives. Where somebody waits, it says less.
        "fetch.min.bytes": 65_536,
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 2,
        "queued.max.messages.kbytes": 65_536,
        # What a batch may unpack to (zstd), too: 6 KB can hold gigabytes. A batch of ours has 16 MiB at most.
        "receive.message.max.bytes": 64 * 1024 * 1024,
        "fetch.error.backoff.ms": 50,  # behind a batch that is stepped over, reading goes on as soon
    },
    "admin": {},
}
_ALWAYS: dict[Role, dict[str, Value]] = {
    "producer": {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"},
    # A corrupt batch shows by its checksum alone.
    "consumer": {"enable.auto.commit": False, "enable.auto.offset.store": False, "check.crcs": True},
    "admin": {},
}
_BOTH: dict[str, Value] = {
    "client.id": "marketpulse",
    # When no broker answers, the client would drop all it knows and begin anew; the handle of a dropped
    # broker that coordinates a transaction then spins for as long as the process lives.
    "metadata.recovery.strategy": "none",
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,  # a restarted broker is found again within a second
    "log.connection.close": False,
    "enable.metrics.push": False,
    "allow.auto.create.topics": False,
}
_LOOK_EVERY_S = 1.0
_QUIET_S = 10.0  # the same error is logged at most this often


def client_config(settings: Settings, role: Role, **overrides: Any) -> dict[str, Any]:
    """The configuration of one confluent-kafka client.

    Our defaults < `[kafka.client]` < `[kafka.consumer]` (a consumer) < what correctness rests on < `overrides`, which are properties
    with `_` for `.`, such as `group_id="g"`, or callbacks such as `stats_cb`.

    Raises SettingsError for a property that is unknown or cannot be used, EnvironmentProblem when
    there is no broker to talk to.
    """
    blocks = [("[kafka.consumer]", settings.kafka.consumer)] if role == "consumer" else []
    return _configure(settings, role, blocks, overrides)


def source_config(settings: Settings, **overrides: Any) -> dict[str, Any]:
    """The configuration of a client that writes a source's rows: `[kafka.producer]`, where it says something, goes
    before `[kafka.client]`. Raises as `client_config`."""
    chosen = settings.kafka.producer
    ours = {"compression.type": chosen.compression, "linger.ms": chosen.linger_ms, "batch.size": chosen.batch_bytes}
    block = {**chosen.properties, **{name: value for name, value in ours.items() if value is not None}}
    return _configure(settings, "producer", [("[kafka.producer]", block)], overrides)


def check_clients(settings: Settings) -> None:
    """Raises SettingsError for the first property of the configuration that no client can be made with."""
    kafka = settings.kafka
    if not (kafka.client or kafka.consumer or kafka.producer != KafkaProducerSettings()):
        return
    somewhere = connected_to(settings, "127.0.0.1:9")
    for role in _DEFAULTS:
        client_config(somewhere, role)
    source_config(somewhere)


_Block = tuple[str, Mapping[str, Value]]  # where it stands, and what is in it


def _configure(settings: Settings, role: Role, own: Sequence[_Block], overrides: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a client that obeys, beside `[kafka.client]`, the blocks in `own`."""
    kafka = settings.kafka
    pasted: list[_Block] = [("[kafka.producer]", kafka.producer.properties), ("[kafka.consumer]", kafka.consumer)]
    logins: list[_Block] = [(where, {name: block[name] for name in block if is_login(name)}) for where, block in pasted]
    blocks = [*logins, ("[kafka.client]", kafka.client), *own]
    properties: dict[str, Value] = {}
    oauth_cb = None
    for where, block in blocks:
        understood = understand(block, role, where)
        _say_left_out(where, role, understood.left_out)
        properties |= understood.properties
        oauth_cb = understood.oauth_cb or oauth_cb
    config: dict[str, Any] = {**_BOTH, **_DEFAULTS[role], **properties, **_ALWAYS[role]}
    if "fetch.max.bytes" in properties and "receive.message.max.bytes" not in properties:
        config.pop("receive.message.max.bytes", None)  # the library raises it as far as the answers go
    if oauth_cb is not None:
        config["oauth_cb"] = _load_callback(oauth_cb)
    if properties:
        _refuse_unusable(role, ", ".join({where: 0 for where, block in blocks if block}), tuple(config.items()))
    config.update({_property(name): value for name, value in overrides.items()})
    if "bootstrap.servers" not in config:
        config["bootstrap.servers"] = resolve_bootstrap(settings)
    config["error_cb"] = _count_error
    config["logger"] = _LOGGER
    return config


@cache  # a process makes many clients of few configurations
def _refuse_unusable(role: Role, where: str, config: tuple[tuple[str, Any], ...]) -> None:
    """Raises SettingsError with what the library says to these properties, if it takes no client with them."""
    make: Callable[[dict[str, Any]], object] = Consumer if role == "consumer" else Producer
    group = {"group.id": "check"} if role == "consumer" else {}
    quiet = {"logger": _LOGGER, "bootstrap.servers": "", **group}

    def complaint(properties: dict[str, Any]) -> str:
        try:
            make({**properties, **quiet})
        except (KafkaException, TypeError, ValueError) as error:
            return str(error.args[0].str() if isinstance(error, KafkaException) else error).strip()
        return ""

    if not (said := complaint(dict(config))):
        return
    together = "Failed to create"  # each property is good by itself, or the library looks at several before it says so
    for name, value in config:
        if (alone := complaint({name: value})) and not alone.startswith(together):
            raise SettingsError(f"{where}: {name}: {alone}: correct it")
    raise SettingsError(
        f"{where}: {said.partition(': ')[2] if said.startswith(together) else said}: set what is missing, or correct it"
    )


_left_out: set[tuple[str, str]] = set()


def _say_left_out(where: str, role: Role, left_out: dict[str, str]) -> None:
    """Log what has no effect; at once and once where it was written for clients of this role alone."""
    log = get_logger()
    for name, reason in left_out.items():
        said = where == "[kafka.client]" or (where, name) in _left_out
        (log.debug if said else log.warning)(
            "client_property_left_out", name=name, block=where, role=role, reason=reason
        )
        _left_out.add((where, name))


class LogProducer(Producer):
    """The library's producer, but all that its callbacks meet comes out as KafkaException, and a transactional one knows
    whether it lost a connection.

    Where the client gives up while more callbacks wait in the same call, the library loses its own
    exception, and Python says SystemError.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._connections = _LostConnections()
        if "transactional.id" in config:
            logger = logging.Logger(_LOGGER.name, logging.INFO)
            for handler in (self._connections, *_LOGGER.handlers):
                logger.addHandler(handler)
            level = max(6, int(config.get("log_level", 6)))  # at 6 it says that a connection was lost
            config = {
                **config,
                "logger": logger,
                "log_level": level,
                "log.connection.close": True,
                "socket.max.fails": 1,
            }
        super().__init__(config)
        self._bootstrap, self._look_at = config["bootstrap.servers"], 0.0

    def lost_connection(self) -> str:
        """How this transactional producer lost a connection since its newest transaction began; empty if it lost none.

        A request that was under way then may reach the broker at any time, though the library has sent it again and
        says nothing of it: an end of a transaction ends whichever of this producer is open when it comes
        (https://github.com/confluentinc/librdkafka/issues/5423). A new producer of the same name fences it.
        """
        self.poll(0)
        return self._connections.first

    def begin_transaction(self) -> None:
        """As the library's. A connection that was lost between two transactions had no request of theirs under way."""
        self.poll(0)
        self._connections.first = ""
        super().begin_transaction()

    def poll(self, timeout: float = -1) -> int:
        if (now := time.monotonic()) >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            remind_of_brokers(self, self._bootstrap)
        try:
            return super().poll(timeout)
        except SystemError as error:
            _forget_frames(error)
        raise _gave_up()

    def flush(self, timeout: float = -1) -> int:
        try:
            return super().flush(timeout)
        except SystemError as error:
            _forget_frames(error)
        raise _gave_up()


def _forget_frames(error: BaseException | None) -> None:
    """The library never lets such an exception go, nor what its frames hold: a whole worker with its clients."""
    while error is not None:
        error.__traceback__, error = None, error.__cause__ or error.__context__


def _gave_up() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._FATAL, "the client gave up; its log says why"))


def send_offsets(producer: Producer, offsets: list[TopicPartition], consumer: Consumer, timeout_s: float) -> None:
    """Put the consumer's offsets into the open transaction, once all its records are acknowledged or refused.

    The records come first: when some are refused while the client waits for the answer to the
    offsets, `send_offsets_to_transaction` never returns. The consumer's place in its group is asked
    for after that: the group may have changed meanwhile.

    Each of the two waits `timeout_s` at most. Raises KafkaException: _TIMED_OUT when the broker has
    not answered for all records, or not to the offsets, and what it says to them. After a time-out the call may still be
    under way, in a thread that is left behind with the producer.
    """
    if left := producer.flush(timeout_s):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} records are not acknowledged"))

    def send() -> None:
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), timeout_s)

    # While the group's coordinator is away, the library forgets the time it was given
    # (https://github.com/confluentinc/librdkafka/issues/5456).
    try:
        in_background(send, "send offsets").result(timeout_s)
    except TimeoutError:
        message = f"the offsets are not answered after {timeout_s:g} s"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, message)) from None


def _property(keyword: str) -> str:
    return keyword if keyword.endswith("_cb") or keyword == "on_delivery" else keyword.replace("_", ".")


def resolve_bootstrap(settings: Settings) -> str:
    """Where the broker is: configured, or the embedded one that runs on this data directory now.

    Raises EnvironmentProblem when there is neither.
    """
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    run_file = settings.data_dir / "run" / "broker.json"
    try:
        facts = json.loads(run_file.read_text())
        if psutil.pid_exists(int(facts["pid"])):
            return str(facts["bootstrap_servers"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise EnvironmentProblem(
        f"no broker runs on {settings.data_dir}: start it with `marketpulse broker` or `marketpulse up`, "
        "or set KAFKA_BOOTSTRAP_SERVERS"
    )


def connected_to(settings: Settings, bootstrap_servers: str) -> Settings:
    """The same settings, for the broker at this address."""
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})
    return settings.model_copy(update={"kafka": kafka})


def _load_callback(name: str) -> Callable[..., Any]:
    """`package.module:function` -> the function that signs in to the cluster."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"[kafka.client] oauth_cb = {name!r} cannot be loaded ({error}): write package.module:function"
        ) from None
    if not callable(found):
        raise SettingsError(f"[kafka.client] oauth_cb = {name!r} is not a function")
    return found  # type: ignore[no-any-return]


class _ToStructlog(logging.Handler):
    """The client library's own log lines, into the process's log. They name hosts, never secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger().debug("kafka_client", text=record.getMessage())


_LOGGER = logging.Logger("marketpulse.kafka.client", logging.INFO)
_LOGGER.addHandler(_ToStructlog())


class _LostConnections(logging.Handler):
    """Keeps what a client first says of a connection that was lost after it had been made.

    Its log is the only place where the library says so. A connection that could not be made (to a broker of several that
    is away, or by IPv6) had no request under way.
    """

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not self.first and text.startswith("FAIL ") and _WAS_UP.search(text):
            self.first = text


_WAS_UP = re.compile(r"in state (UP|REAUTH)\b")

_said: dict[str, float] = {}
_said_lock = threading.Lock()


def _count_error(error: KafkaError) -> None:
    """What the client reports beside its answers: a broker that is away, a refused login …"""
    code = str(error.name())
    BROKER_ERRORS.labels(code).inc()
    with _said_lock:
        now = time.monotonic()
        if now - _said.get(code, -_QUIET_S) < _QUIET_S:
            return
        _said[code] = now
    get_logger().warning("kafka_error", code=code, text=str(error_of(error)))


_E = KafkaError
_AWAY = {
    _E._TRANSPORT, _E._ALL_BROKERS_DOWN, _E._TIMED_OUT, _E._MSG_TIMED_OUT, _E._TIMED_OUT_QUEUE, _E._WAIT_COORD,
    _E._RETRY, _E._DESTROY, _E.REQUEST_TIMED_OUT, _E.NETWORK_EXCEPTION, _E.BROKER_NOT_AVAILABLE,
    _E.LEADER_NOT_AVAILABLE, _E.NOT_LEADER_FOR_PARTITION, _E.COORDINATOR_NOT_AVAILABLE, _E.NOT_COORDINATOR,
    _E.COORDINATOR_LOAD_IN_PROGRESS, _E.NOT_ENOUGH_REPLICAS, _E.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    _E.REPLICA_NOT_AVAILABLE, _E.CONCURRENT_TRANSACTIONS, _E.THROTTLING_QUOTA_EXCEEDED, _E._QUEUE_FULL,
}  # fmt: skip
FENCED = {_E._FENCED, _E.PRODUCER_FENCED, _E.INVALID_PRODUCER_EPOCH}
"""The broker's word to a producer whose transaction ran out of its time, and to one whose name another one took."""
_WHAT_TO_DO: dict[int, str] = {
    _E._AUTHENTICATION: "the login was refused: check security.protocol, sasl.mechanism, user and password in [kafka.client]",
    _E.SASL_AUTHENTICATION_FAILED: "the login was refused: check user and password in [kafka.client]",
    _E.UNSUPPORTED_SASL_MECHANISM: "the broker does not know this sasl.mechanism: ask for the right one",
    _E._SSL: "TLS failed: check ssl.ca.location (PEM) and whether security.protocol fits this port",
    _E.TOPIC_AUTHORIZATION_FAILED: "this user may not use the topic: grant READ, WRITE and DESCRIBE on it",
    _E.GROUP_AUTHORIZATION_FAILED: "this user may not use the consumer group: grant READ on groups `marketpulse-`*",
    _E.CLUSTER_AUTHORIZATION_FAILED: "this user may not do that on the cluster: grant IDEMPOTENT_WRITE, or CREATE for topics",
    _E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "this user may not use transactions: grant WRITE on transactional ids `marketpulse-`*",
    _E.UNKNOWN_TOPIC_OR_PART: "the topic does not exist: create it with `marketpulse topics`",
    _E._UNKNOWN_TOPIC: "the topic does not exist: create it with `marketpulse topics`",
    _E._UNKNOWN_PARTITION: "the topic has fewer partitions than it had: restart, or check who changed it",
    _E.MSG_SIZE_TOO_LARGE: "a record is larger than the topic takes: raise the topic's max.message.bytes",
    _E.OFFSET_METADATA_TOO_LARGE: "the position is longer than the broker keeps: raise its offset.metadata.max.bytes",
    _E._FENCED: "another process with the same name took over: run only one, or give the source another name",
    _E.PRODUCER_FENCED: "another process with the same name took over: run only one, or give the source another name",
    _E.INVALID_PRODUCER_EPOCH: "another process with the same name took over: run only one, or give the source another name",
    _E.POLICY_VIOLATION: "the cluster's policy forbids it: create the topics by hand, see `marketpulse topics --print`",
    _E.INVALID_TRANSACTION_TIMEOUT: "the cluster allows only shorter transactions: raise its transaction.max.timeout.ms",
}


def offset_of(answer: Future[Any]) -> int:
    """The offset of an answer of `list_offsets`. Raises KafkaException, also for an answer that never came, which the library
    gives as an offset."""
    offset: int = answer.result().offset
    if offset == OFFSET_INVALID:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return offset


def error_of(error: KafkaError | KafkaException) -> Retryable | Fatal:
    """What a client's error means for the caller: wait and do the same again, or stop with a sentence for a person."""
    kafka_error: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    code, said = kafka_error.code(), f"{kafka_error.str()} ({kafka_error.name()})"
    if code in _WHAT_TO_DO:
        return Fatal(f"{_WHAT_TO_DO[code]}; the broker said: {said}")
    if code == _E._FATAL or kafka_error.fatal():
        return Fatal(f"the Kafka client gave up: {said}; restart this process")
    if code == _E._RESOLVE:
        return Retryable(f"a broker's name cannot be resolved: check the bootstrap servers and the network; {said}")
    if code == _E.KAFKA_STORAGE_ERROR:
        return Retryable(f"the broker cannot write: look at its disk and its log; {said}")
    if code in _AWAY or kafka_error.retriable() or kafka_error.txn_requires_abort():
        return Retryable(f"the broker is away or busy: {said}")
    return Fatal(f"the broker refused: {said}")
