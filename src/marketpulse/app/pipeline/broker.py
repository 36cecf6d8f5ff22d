"""`marketpulse broker`: run the embedded broker until this process shall stop."""

import time

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.errors import EnvironmentProblem, SettingsError
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.broker_settings import check_embedded, describe_heap
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_TURN_S = 0.2
_DISK_EVERY_S = 10.0


def run_broker(settings: Settings, life: Lifecycle) -> None:
    """Start it, make the topics, say where it is, and wait for `life.stop`.

    Raises SettingsError for what one broker cannot be, what EmbeddedBroker.start raises, and, when the broker dies, why it did (with the end of
    its log). A disk that is nearly full is said in the log and on /ready before the broker gives up.
    """
    if settings.kafka.bootstrap_servers:
        raise SettingsError(
            f"kafka.bootstrap_servers is set ({settings.kafka.bootstrap_servers}), so no broker is started here: "
            "remove it (KAFKA_BOOTSTRAP_SERVERS in the environment or .env too) to run the embedded one"
        )
    check_embedded(settings)
    heap = describe_heap(settings.broker)
    if heap is not None:
        get_logger().warning("broker_heap", what=f"the broker {heap}")

    def progress(have: int, wanted: int) -> None:
        life.health.set_not_ready(f"fetching Apache Kafka: {have} of {wanted} jars")

    broker = EmbeddedBroker(settings, progress)
    began = time.monotonic()
    try:
        broker.start()
        ensure_topics(connected_to(settings, broker.bootstrap))
        life.announce(
            bootstrap_servers=broker.bootstrap, data_dir=str(settings.data_dir), log=str(broker.log_file),
            **({} if heap is None else {"note": heap}),
        )  # fmt: skip
        get_logger().info("broker_ready", bootstrap=broker.bootstrap, after_s=round(time.monotonic() - began, 2))
        _look_after(broker, life)
    finally:
        broker.stop()


def _look_after(broker: EmbeddedBroker, life: Lifecycle) -> None:
    disk_at = 0.0
    while not life.stop.wait(_TURN_S):
        life.health.beat()
        if not broker.alive():
            raise broker.why_it_died()
        if (now := time.monotonic()) >= disk_at:
            disk_at = now + _DISK_EVERY_S
            try:
                broker.check_disk()
            except EnvironmentProblem as problem:
                life.health.set_not_ready(str(problem))
                get_logger().error("disk_nearly_full", what=str(problem))
            else:
                life.health.set_ready()
