"""`select`: from `feeds`, where sources that can bring the same symbols write, into `market`."""

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.working import work
from marketpulse.app.selecting.groups import failover_config
from marketpulse.app.selecting.worker import SelectWorker
from marketpulse.clock import SystemClock
from marketpulse.settings import Settings


def run(settings: Settings, life: Lifecycle, slot: int = 0) -> int:
    """As working.work."""
    config, clock = failover_config(settings), SystemClock()
    return work(life, slot, lambda pace: SelectWorker(settings, config, slot, clock, pace))
