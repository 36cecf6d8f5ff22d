"""Waiting for the log before the work begins.

A supervised process starts beside the embedded broker, imports what it needs meanwhile, and begins
when the broker is there: that is what makes a start short. On a cluster of others, the topics that
are missing are created first (the embedded broker does that by itself).
"""

import os

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.errors import EnvironmentProblem, Retryable
from marketpulse.kafka.client import resolve_bootstrap
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

VARIABLE = "MARKETPULSE_AWAIT_BROKER"  # set by `up` for its children
_LOOK_EVERY_S = 0.05
_ANSWER_WITHIN_S = 10.0
_ASK_AGAIN_S = 2.0


def await_broker(settings: Settings, life: Lifecycle) -> None:
    """Return when there is a broker to talk to, or when the process shall stop.

    Started by hand, without a supervisor, the embedded broker is not waited for: that it does not run
    is reported at once. Raises Fatal when the cluster does not let us create its topics.
    """
    if settings.kafka.bootstrap_servers:
        _ensure_topics(settings, life)
    elif VARIABLE in os.environ:
        _await_embedded(settings, life)


def _await_embedded(settings: Settings, life: Lifecycle) -> None:
    life.health.set_not_ready("waiting for the broker")
    while not life.stop.is_set():
        try:
            resolve_bootstrap(settings)
        except EnvironmentProblem:
            life.health.beat()
            life.stop.wait(_LOOK_EVERY_S)
        else:
            return


def _ensure_topics(settings: Settings, life: Lifecycle) -> None:
    while not life.stop.is_set():
        try:
            ensure_topics(settings, timeout_s=_ANSWER_WITHIN_S)
        except Retryable as error:
            life.health.set_not_ready(str(error))
            get_logger().warning("cluster_away", error=str(error))
            life.stop.wait(_ASK_AGAIN_S)
        else:
            return
