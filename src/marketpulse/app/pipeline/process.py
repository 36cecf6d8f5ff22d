"""`process`: the engine between `market` and its outputs."""

from marketpulse.app.engine_config import engine_config
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.working import work
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.settings import Settings


def run(settings: Settings, life: Lifecycle, slot: int = 0) -> int:
    """As working.work."""
    config, clock = engine_config(settings.engine), SystemClock()
    return work(life, slot, lambda pace: Worker(settings, config, slot, clock, pace))
