"""Any topic of the cluster, also those that are not ours: list, create, describe and delete.

Nothing here changes a topic that exists. Every function raises Retryable while the broker is away, Fatal when
the cluster refuses (with what to do next), and ParameterError when an argument has to change.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ConfigSource,
    NewTopic,
    OffsetSpec,
    PartitionMetadata,
    ResourceType,
    TopicMetadata,
)

from marketpulse.errors import Fatal, MarketPulseError, ParameterError, Retryable
from marketpulse.kafka.client import client_config, error_of, offset_of
from marketpulse.kafka.topics import topic_specs, wait_for_leaders
from marketpulse.settings import Settings

_TIMEOUT_S = 10.0
_INTERNAL = ("__consumer_offsets", "__transaction_state", "__share_group_state")

Owner = Literal["marketpulse", "kafka", "other"]


@dataclass(frozen=True, slots=True)
class TopicSummary:
    """One line of the list."""

    name: str
    owner: Owner
    partitions: int
    replication: int


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Brokers by their ids. The offsets are None while no leader can say them; `end_offset` is the next record's."""

    partition: int
    leader: int | None
    replicas: list[int]
    in_sync: list[int]
    begin_offset: int | None
    end_offset: int | None


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """A setting that the topic or the broker's configuration sets, others are Kafka's defaults; `value` None: a secret."""

    name: str
    value: str | None
    set_by: Literal["topic", "broker"]


@dataclass(frozen=True, slots=True)
class TopicDetails:
    """`configs` is None where this user may not read them."""

    name: str
    owner: Owner
    partitions: list[PartitionState]
    configs: list[TopicConfig] | None

    @property
    def records_max(self) -> int:
        """The sum of all `end - begin`: compaction and the marks of transactions make the true count smaller."""
        return sum((p.end_offset or 0) - (p.begin_offset or 0) for p in self.partitions)


def list_topics(settings: Settings) -> list[TopicSummary]:
    """All topics that this user may see, by name."""
    with _translated_errors("list the topics"):
        topics = _open_admin(settings).list_topics(timeout=_TIMEOUT_S).topics
    return [
        TopicSummary(name, _owner_of(settings, name), len(topic.partitions), _replication_of(topic))
        for name, topic in sorted(topics.items())
    ]


def create_topic(
    settings: Settings,
    name: str,
    *,
    partitions: int | None = None,
    replication: int | None = None,
    configs: Mapping[str, str] | None = None,
    bootstrap_servers: str | None = None,
) -> TopicSummary:
    """Create a topic that is not ours; returns when each partition has a leader.

    Unset numbers are those of the settings (`kafka.partitions`, `kafka.replication_factor`);
    `bootstrap_servers`: the cluster, where it is another than ours.
    """
    _check_name(name)
    if _owner_of(settings, name) != "other" and bootstrap_servers is None:
        raise ParameterError(f"{name} is not created by hand: `marketpulse topics` creates ours as they are declared")
    partitions = partitions or settings.kafka.partitions
    replication = replication or settings.kafka.replication_factor
    with _translated_errors(f"create the topic {name}", name):
        admin = _open_admin(settings, bootstrap_servers)
        try:
            new = NewTopic(name, partitions, replication, config=dict(configs or {}))
            admin.create_topics([new], operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S)[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
                raise
            brokers = len(admin.list_topics(timeout=_TIMEOUT_S).brokers)
            raise Fatal(
                f"the topic {name} cannot have {replication} replicas, the cluster has {brokers} "
                f"broker{'' if brokers == 1 else 's'} now: ask for {brokers} or fewer (--replication, or kafka.replication_factor)"
            ) from None
        wait_for_leaders(admin, [name], _TIMEOUT_S)
    return TopicSummary(name, "other", partitions, replication)


def describe_topic(settings: Settings, name: str) -> TopicDetails:
    """Partitions with leaders, replicas and offsets, and the settings that the topic or the broker sets."""
    _check_name(name)
    with _translated_errors(f"describe the topic {name}", name):
        admin = _open_admin(settings)
        topic = admin.list_topics(name, timeout=_TIMEOUT_S).topics[name]
        if topic.error is not None and topic.error.code() != KafkaError.LEADER_NOT_AVAILABLE:
            raise KafkaException(topic.error)
        partitions = [topic.partitions[number] for number in sorted(topic.partitions)]
        begins = _read_offsets(admin, name, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = _read_offsets(admin, name, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        configs = _read_configs(admin, name)
    states = [
        PartitionState(
            p.id, p.leader if p.leader >= 0 else None, list(p.replicas), list(p.isrs), begins.get(p.id), ends.get(p.id)
        )
        for p in partitions
    ]
    return TopicDetails(name, _owner_of(settings, name), states, configs)


def check_deletable(settings: Settings, name: str, *, force: bool = False) -> None:
    """Raise ParameterError for one of ours without `force`, and for Kafka's own."""
    _check_name(name)
    owner = _owner_of(settings, name)
    if owner == "kafka":
        raise ParameterError(f"{name} is Kafka's own: without it no group keeps its offsets and no transaction ends")
    if owner == "marketpulse" and not force:
        raise ParameterError(
            f"{name} is MarketPulse's own: stored offsets, receipts and the engine's state point into it, and would point "
            "at nothing. Stop everything that uses it, then repeat this with --force"
        )


def delete_topic(settings: Settings, name: str, *, force: bool = False) -> None:
    """Delete a topic and its records. Raises as `check_deletable`, too."""
    check_deletable(settings, name, force=force)
    with _translated_errors(f"delete the topic {name}", name):
        admin = _open_admin(settings)  # must outlive its answer
        admin.delete_topics([name], operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S)[name].result()


def _open_admin(settings: Settings, bootstrap_servers: str | None = None) -> AdminClient:
    elsewhere = {} if bootstrap_servers is None else {"bootstrap_servers": bootstrap_servers}
    return AdminClient(client_config(settings, "admin", **elsewhere))


def _check_name(name: str) -> None:
    """Kafka's own rule for the names of topics."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) or name in (".", ".."):
        raise ParameterError(f"{name!r} is no topic's name: write letters, digits, `.`, `_` and `-`, 249 at most")


def _owner_of(settings: Settings, name: str) -> Owner:
    if name in _INTERNAL:
        return "kafka"
    ours = {spec.name for spec in topic_specs(settings)} | {settings.topic("feeds")}
    return "marketpulse" if name in ours else "other"


def _replication_of(topic: TopicMetadata) -> int:
    return max((len(partition.replicas) for partition in topic.partitions.values()), default=0)


def _read_offsets(
    admin: AdminClient, name: str, partitions: list[PartitionMetadata], spec: OffsetSpec
) -> dict[int, int]:
    """By partition, without those that have no leader: nobody could answer for them."""
    wanted = {TopicPartition(name, p.id): spec for p in partitions if p.leader >= 0}
    if not wanted:
        return {}
    answers = admin.list_offsets(wanted, request_timeout=_TIMEOUT_S)
    return {partition.partition: offset_of(answer) for partition, answer in answers.items()}


def _read_configs(admin: AdminClient, name: str) -> list[TopicConfig] | None:
    resource = ConfigResource(ResourceType.TOPIC, name)
    try:
        entries = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)[resource].result()
    except KafkaException as error:  # DESCRIBE_CONFIGS is a right of its own
        if error.args[0].code() not in _NOT_AUTHORISED:
            raise
        return None
    return [
        TopicConfig(
            entry.name, entry.value, "topic" if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value else "broker"
        )
        for entry in sorted(entries.values(), key=lambda entry: entry.name)
        if entry.source != ConfigSource.DEFAULT_CONFIG.value
    ]


_NOT_AUTHORISED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_WRONG_ARGUMENT = (KafkaError.INVALID_CONFIG, KafkaError.INVALID_PARTITIONS, KafkaError.TOPIC_EXCEPTION)


@contextmanager
def _translated_errors(action: str, name: str = "") -> Iterator[None]:
    """Say what the cluster's refusal means for a person who wants to `action`, and what to do next."""
    try:
        yield
    except KafkaException as raised:
        raise _explain(raised.args[0], action, name) from None


def _explain(error: KafkaError, action: str, name: str) -> MarketPulseError:
    code = error.code()
    if code == KafkaError.TOPIC_ALREADY_EXISTS:
        return Fatal(f"the topic {name} exists already: `marketpulse topics describe {name}` shows it")
    if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return Fatal(
            f"the topic {name} does not exist: `marketpulse topics list` names those that do, "
            f"`marketpulse topics create {name}` creates it"
        )
    if code in _NOT_AUTHORISED:
        return Fatal(
            f"this user may not {action} ({error.str()}): grant CREATE, DESCRIBE or DELETE, or ask someone who may"
        )
    if code in _WRONG_ARGUMENT:
        return ParameterError(f"the cluster cannot {action} as asked: {error.str()}")
    translated = error_of(error)
    if isinstance(translated, Retryable):
        return Retryable(f"cannot {action}: {translated}; try again, or see `marketpulse doctor`")
    return translated
