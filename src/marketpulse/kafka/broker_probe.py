"""Looking at a port of this machine: is it free, does a broker answer there, and can all its topics be read."""

import contextlib
import socket
import time

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from marketpulse.telemetry import get_logger

_COORDINATOR_TOPICS = {
    "__consumer_offsets": {"compression.type": "producer", "segment.bytes": "104857600"},
    "__transaction_state": {
        "compression.type": "uncompressed",
        "segment.bytes": "104857600",
        "min.insync.replicas": "1",
        "unclean.leader.election.enable": "false",
    },
}
"""The settings with which the broker itself would make them."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a broker could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka binds it
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Whether something listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def answers(port: int, timeout_s: float) -> bool:
    """Whether a broker on this port tells its metadata, itself among it."""
    deadline = time.monotonic() + timeout_s
    admin = _admin(port)
    while (left_s := deadline - time.monotonic()) > 0:
        with contextlib.suppress(KafkaException):
            if admin.list_topics(timeout=left_s).brokers:
                return True
        time.sleep(0.02)
    return False


def make_coordinator_topics(port: int, timeout_s: float = 10) -> None:
    """Make the topics of groups and transactions now (0.1 s). The broker would make them for the first
    reader, who waits 3 s for it. That they exist already, or cannot be made, is no fault."""
    have = _admin(port)
    with contextlib.suppress(KafkaException):
        missing = set(_COORDINATOR_TOPICS) - set(have.list_topics(timeout=timeout_s).topics)
        if missing:
            config = {"cleanup.policy": "compact"}
            running = have.create_topics(
                [NewTopic(name, 1, 1, config={**config, **_COORDINATOR_TOPICS[name]}) for name in sorted(missing)]
            )
            for future in running.values():
                future.result(timeout_s)


def elect_missing_leaders(port: int, timeout_s: float = 20) -> None:
    """Have a leader for every partition, or say in the log how many have none. Usually all have one: 1 ms.

    Behind a mended meta.properties none has. The metadata log says that the partitions lie in the
    directory of the old id, so they stay offline when the broker comes; it then reports that they lie
    in the new one, but no election follows by itself before the next start.
    """
    admin = _admin(port)
    deadline = time.monotonic() + timeout_s
    missing = _without_leader(admin)
    while missing and time.monotonic() < deadline:
        # Only a replica that has everything is elected; refused until its directory was reported.
        with contextlib.suppress(KafkaException):
            admin.elect_leaders(ElectionType.PREFERRED, missing).result(5)
        time.sleep(0.1)
        missing = _without_leader(admin)
    if missing:
        get_logger().warning("partitions_without_leader", partitions=len(missing), after_s=timeout_s)


def _without_leader(admin: AdminClient) -> list[TopicPartition]:
    with contextlib.suppress(KafkaException):
        return [
            TopicPartition(name, number)
            for name, topic in admin.list_topics(timeout=5).topics.items()
            for number, partition in topic.partitions.items()
            if partition.leader < 0
        ]
    return []


def _admin(port: int) -> AdminClient:
    return AdminClient(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "log_level": 0,
        }
    )
