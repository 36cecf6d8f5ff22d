"""Waiting for the embedded broker. A supervised process starts beside it, imports what it needs
meanwhile, and begins when the broker is there: that is what makes a start short."""

import os

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.errors import EnvironmentProblem
from marketpulse.kafka.client import resolve_bootstrap
from marketpulse.settings import Settings

VARIABLE = "MARKETPULSE_AWAIT_BROKER"  # set by `up` for its children
_LOOK_EVERY_S = 0.05


def await_broker(settings: Settings, life: Lifecycle) -> None:
    """Return when there is a broker to talk to, or when the process shall stop.

    Started by hand, without a supervisor, nothing is waited for: the absence is reported at once.
    """
    if VARIABLE not in os.environ:
        return
    life.health.set_not_ready("waiting for the broker")
    while not life.stop.is_set():
        try:
            resolve_bootstrap(settings)
        except EnvironmentProblem:
            life.health.beat()
            life.stop.wait(_LOOK_EVERY_S)
        else:
            return
