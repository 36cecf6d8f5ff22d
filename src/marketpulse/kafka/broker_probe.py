"""Looking at a port of this machine: is it free, does a broker answer there."""

import contextlib
import socket
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

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
                [
                    NewTopic(name, 1, 1, config={**config, **_COORDINATOR_TOPICS[name]})
                    for name in sorted(missing)
                ]
            )
            for future in running.values():
                future.result(timeout_s)


def _admin(port: int) -> AdminClient:
    return AdminClient(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "log_level": 0,
        }
    )
