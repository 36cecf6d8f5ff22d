import json
import os
import threading
from pathlib import Path

import pytest

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.patience import VARIABLE, await_broker
from marketpulse.settings import Settings, load_settings
from marketpulse.telemetry import Health


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    return load_settings(data_dir=tmp_path)


def a_life(settings: Settings) -> Lifecycle:
    return Lifecycle("serve", threading.Event(), Health(), settings.data_dir / "run" / "serve.json", 0)


def test_a_supervised_process_waits_until_the_broker_announces_itself(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    life = a_life(settings)
    waiting = threading.Thread(target=await_broker, args=(settings, life), daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert life.health.ready() == (False, "waiting for the broker")
    run = settings.data_dir / "run"
    run.mkdir()
    (run / "broker.json").write_text(json.dumps({"pid": os.getpid(), "bootstrap_servers": "127.0.0.1:1"}))
    waiting.join(5)
    assert not waiting.is_alive()


def test_waiting_ends_when_the_process_shall_stop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    life = a_life(settings)
    life.stop.set()
    await_broker(settings, life)


def test_a_process_started_by_hand_does_not_wait(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    await_broker(settings, a_life(settings))
