"""What the log says about the pipeline, where its clients do not answer."""

import threading

import pytest

from given_settings import changed
from marketpulse.kafka import pipeline_stats
from marketpulse.kafka.pipeline_stats import StatsProbe
from marketpulse.settings import Settings
from waiting import wait_until


def test_a_client_that_never_answers_again_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    never = threading.Event()

    class Offsets:
        def __init__(self, settings: Settings) -> None:  # noqa: ARG002
            self.number = len(made)
            made.append(self)

        def ask(self) -> pipeline_stats._Answer:
            if self.number < 2:
                never.wait()
            return pipeline_stats._Answer({"market": {0: 9, 1: 5}, "bars": {0: 4}, "dead-letters": {}}, {0: 2, 1: 4})

        def close(self) -> None:
            pass

    monkeypatch.setattr(pipeline_stats, "_Offsets", Offsets)
    monkeypatch.setattr(pipeline_stats, "_LATE_S", 0.05)
    probe = StatsProbe(changed(Settings(), kafka={"bootstrap_servers": "127.0.0.1:1"}))
    assert not probe.stats().broker_reachable
    wait_until(lambda: probe.stats().broker_reachable)
    stats = probe.stats()
    assert (stats.market_records, stats.bars, stats.engine_lag_records, list(stats.stalled)) == (14, 4, 7, [0])
    assert len(made) == 3
    probe.close()
    never.set()
