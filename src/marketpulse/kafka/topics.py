"""The contract's topics: declared once, created where they are missing, reported where they differ, never altered."""

import contextlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_MIB = 1024 * 1024
_HOUR_MS = 3_600_000
_WEEK_MS = 7 * 24 * _HOUR_MS
_TIMEOUT_S = 30.0
_COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "300000",
    "delete.retention.ms": "300000",
}
_KEPT_A_WEEK = {"cleanup.policy": "delete", "retention.ms": str(_WEEK_MS)}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be on the broker."""

    name: str  # with the prefix
    partitions: int
    configs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an existing topic is not as the contract has it."""

    topic: str
    setting: str  # a topic setting, or `partitions`
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, the contract has {self.wanted}"


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """All topics, in the order of the way of the data.

    `state` has as many partitions as `market`: a worker keeps the state of a partition in the
    partition of the same number. Its segments are small so that old snapshots go soon.
    """
    big = {"max.message.bytes": str(8 * _MIB)}
    declared: list[tuple[str, dict[str, str]]] = [
        ("market", {**_KEPT_A_WEEK, **big, "message.timestamp.type": "LogAppendTime"}),
        ("bars", {**_KEPT_A_WEEK, **big}),
        ("indicators", {**_KEPT_A_WEEK, **big}),
        ("alerts", {**_KEPT_A_WEEK, **big}),
        ("live", {"cleanup.policy": "delete", "retention.ms": str(_HOUR_MS), **big,
                  "segment.bytes": str(16 * _MIB), "segment.ms": "600000"}),
        ("dead-letters", {**_KEPT_A_WEEK, "max.message.bytes": str(MESSAGE_BYTES_MAX)}),
        ("state", {**_COMPACTED, **big, "segment.bytes": str(16 * _MIB)}),
        ("control", {**_COMPACTED, "segment.bytes": str(_MIB)}),
    ]  # fmt: skip
    if settings.failover.groups:
        kept = {"cleanup.policy": "delete", "retention.ms": str(settings.failover.retention_h * _HOUR_MS)}
        declared.append(("feeds", {**kept, **big, "message.timestamp.type": "LogAppendTime"}))
    return tuple(
        TopicSpec(settings.topic(name), 1 if name == "control" else settings.kafka.partitions, configs)
        for name, configs in declared
    )


def ensure_topics(settings: Settings, *, timeout_s: float = _TIMEOUT_S) -> list[Difference]:
    """Create the topics that are missing, and return where existing ones differ (also logged).

    Returns when every topic can be written to. Raises Fatal when this user may not create topics
    (the message names the command that prints how to), SettingsError when there are fewer brokers than
    copies, Retryable while the broker is away.
    """
    specs = topic_specs(settings)
    try:
        admin = AdminClient(client_config(settings, "admin"))
        partitions = _partitions_by_topic(admin, timeout_s)
        missing = [spec for spec in specs if spec.name not in partitions]
        if missing:
            _check_replication(admin, settings, timeout_s)
            _create(admin, missing, settings.kafka.replication_factor, timeout_s)
            wait_for_leaders(admin, [spec.name for spec in missing], timeout_s)
        differences = _differences(admin, specs, partitions, timeout_s)
    except KafkaException as error:
        raise error_of(error) from None
    for difference in differences:
        get_logger().warning("topic_differs", topic=difference.topic, setting=difference.setting,
                             wanted=difference.wanted, found=difference.found)  # fmt: skip
    return differences


def inspect_topics(settings: Settings, *, timeout_s: float = _TIMEOUT_S) -> tuple[list[str], list[Difference]]:
    """The names of the topics that are missing, and where existing ones differ. Changes nothing.

    Raises as `ensure_topics` does.
    """
    specs = topic_specs(settings)
    try:
        admin = AdminClient(client_config(settings, "admin"))
        partitions = _partitions_by_topic(admin, timeout_s)
        differences = _differences(admin, specs, partitions, timeout_s)
    except KafkaException as error:
        raise error_of(error) from None
    return [spec.name for spec in specs if spec.name not in partitions], differences


def print_commands(settings: Settings) -> str:
    """The commands that create all topics, for those who may: one `kafka-topics.sh` line each."""
    servers = settings.kafka.bootstrap_servers or "$KAFKA_BOOTSTRAP_SERVERS"
    lines = []
    for spec in topic_specs(settings):
        configs = " ".join(f"--config {shlex.quote(f'{k}={v}')}" for k, v in spec.configs.items())
        lines.append(
            f"kafka-topics.sh --bootstrap-server {servers} --create --if-not-exists --topic {shlex.quote(spec.name)} "
            f"--partitions {spec.partitions} --replication-factor {settings.kafka.replication_factor} {configs}"
        )
    return "\n".join(lines) + "\n"


def _partitions_by_topic(admin: AdminClient, timeout_s: float) -> dict[str, int]:
    found = admin.list_topics(timeout=timeout_s).topics
    return {
        name: len(topic.partitions)
        for name, topic in found.items()
        if topic.error is None or topic.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART
    }


def _create(admin: AdminClient, specs: Sequence[TopicSpec], replicas: int, timeout_s: float) -> None:
    """Create them all in one request. A topic that someone else has just created is good too."""
    running = admin.create_topics(
        [NewTopic(s.name, s.partitions, replicas, config=s.configs) for s in specs], operation_timeout=timeout_s
    )
    for name, future in running.items():
        try:
            future.result(timeout_s + 5)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _not_created(name, error.args[0]) from None


_BY_HAND = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG, KafkaError.INVALID_PARTITIONS,
}  # fmt: skip


def _not_created(name: str, error: KafkaError) -> Fatal | Retryable:
    if error.code() in _BY_HAND:
        return Fatal(
            f"the cluster does not let us create the topic {name} ({error.str()}): run `marketpulse topics --print` "
            "and have its commands run by someone who may, then start again"
        )
    return error_of(error)


def check_replication(settings: Settings, *, timeout_s: float = 3.0) -> None:
    """Raises SettingsError when topics are missing and the cluster has fewer brokers than each is to have copies.

    A cluster that does not answer in time is left to who waits for it.
    """
    if settings.kafka.replication_factor == 1:
        return
    admin = AdminClient(client_config(settings, "admin"))
    with contextlib.suppress(KafkaException):
        partitions = _partitions_by_topic(admin, timeout_s)
        if any(spec.name not in partitions for spec in topic_specs(settings)):
            _check_replication(admin, settings, timeout_s)


def _check_replication(admin: AdminClient, settings: Settings, timeout_s: float) -> None:
    copies, brokers = settings.kafka.replication_factor, len(admin.list_topics(timeout=timeout_s).brokers)
    if copies > brokers:
        raise SettingsError(
            f"kafka.replication_factor is {copies}, and the cluster has {brokers} broker{'' if brokers == 1 else 's'} now: set it "
            f"to {brokers} or less, or start the missing ones"
        )


def wait_for_leaders(admin: AdminClient, names: Sequence[str], timeout_s: float) -> None:
    """A new topic can be written to once each of its partitions has a leader."""
    deadline = time.monotonic() + timeout_s
    waiting = set(names)
    while waiting:
        topics = admin.list_topics(timeout=timeout_s).topics
        waiting = {
            name
            for name in waiting
            if name not in topics
            or topics[name].error is not None
            or any(p.leader < 0 for p in topics[name].partitions.values())
        }
        if waiting and time.monotonic() > deadline:
            raise Retryable(
                f"new topics have no leader after {timeout_s:g} s: {', '.join(sorted(waiting))}; look at the broker's log"
            )
        if waiting:
            time.sleep(0.02)


def _differences(
    admin: AdminClient, specs: Sequence[TopicSpec], partitions: dict[str, int], timeout_s: float
) -> list[Difference]:
    """Compare the topics that existed (those in `partitions`) with what is declared."""
    found: list[Difference] = []
    specs = [spec for spec in specs if spec.name in partitions]
    if not specs:
        return found
    running = admin.describe_configs([ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs])
    configs = {resource.name: future for resource, future in running.items()}
    for spec in specs:
        if partitions[spec.name] != spec.partitions:
            found.append(Difference(spec.name, "partitions", str(spec.partitions), str(partitions[spec.name])))
        try:
            actual = configs[spec.name].result(timeout_s)
        except KafkaException as error:  # DESCRIBE_CONFIGS is a right of its own; without it we cannot tell
            get_logger().info("topic_settings_unreadable", topic=spec.name, error=error.args[0].str())
            continue
        for setting, wanted in spec.configs.items():
            entry = actual.get(setting)
            if entry is not None and not _same(entry.value, wanted):
                found.append(Difference(spec.name, setting, wanted, str(entry.value)))
    return found


def _same(found: str | None, wanted: str) -> bool:
    try:
        return float(found or "nan") == float(wanted)
    except ValueError:
        return found == wanted
