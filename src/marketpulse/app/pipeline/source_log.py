"""The end of the log that a source writes to. That of a live feed never lets it wait: see kafka/spooled_log.py.

Other sources can wait for the broker, and have what they read asked for again: files, topics, vendors' REST, who pushes by HTTP.
"""

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.clock import Clock
from marketpulse.kafka.producer import KafkaMarketLog
from marketpulse.kafka.spool import Spool
from marketpulse.kafka.spooled_log import SpooledLog
from marketpulse.ports import Source
from marketpulse.settings import Settings
from marketpulse.sources.streaming.live import LiveSource
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.telemetry import SOURCE_ERRORS, get_logger


def open_log(
    settings: Settings,
    life: Lifecycle,
    source: Source,
    carried: str,
    *,
    resumable: bool,
    clock: Clock,
    topic: str = "market",
) -> KafkaMarketLog | SpooledLog:
    """`carried`: the name that the source's rows carry; `topic`: where they go. Raises Fatal for a spool that cannot be read."""
    log = KafkaMarketLog(settings, source=carried, exactly_once=resumable, topic=topic)
    megabytes = settings.kafka.producer.spool_mb
    if not isinstance(source, LiveSource | TimedSource) or not megabytes:
        return log
    file = settings.data_dir / "spool" / f"{settings.kafka.topic_prefix}{carried}.sqlite"

    def trouble(error: str | None) -> None:
        if error is None:
            life.health.set_ready()
            return
        SOURCE_ERRORS.labels(carried).inc()
        life.health.set_not_ready(error)
        get_logger().warning("waiting", source=carried, error=error, note="its rows wait on the disk")

    return SpooledLog(log, Spool(file, carried, megabytes << 20), carried, clock, trouble)
