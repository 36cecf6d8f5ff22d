"""Alert rules changed while the engine runs, as a person does it: the command, the real broker, a bare reader."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaException

import market_rows
from bare_clients import BareTopic, bare_producer, rows
from market_rows import at
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.process import run
from marketpulse.settings import Settings
from marketpulse.telemetry import Health

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

HELLO = {"type": "hello", "source": "test", "mode": "historical", "run_id": "1", "event_time_ns": at(0)}
CONFIGURED = {"name": "low", "expression": "close < 5"}
HIGH = {"name": "high", "expression": "close > 100", "severity": "critical"}
trade = partial(market_rows.trade, source="test")


def heartbeat(seconds: float) -> dict[str, Any]:
    return {"type": "heartbeat", "source": "test", "event_time_ns": at(seconds)}


class Desk:
    """The engine in a thread of its own, and the command beside it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._life: Lifecycle | None = None

    def start(self) -> None:
        run_file = self.settings.data_dir / "run" / "process.json"
        self._life = Lifecycle("process", threading.Event(), Health(), run_file, 0)
        self._done = ThreadPoolExecutor(1).submit(run, self.settings, self._life)

    def stop(self) -> None:
        """A clean stop saves the state, and with it the rules."""
        if self._life is not None:
            self._life.stop.set()
            assert self._done.result(60) == 0
            self._life = None

    def alerts(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        s = self.settings
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))},
            "MARKETPULSE_DATA_DIR": str(s.data_dir), "MARKETPULSE_KAFKA__BOOTSTRAP_SERVERS": str(s.kafka.bootstrap_servers),
            "MARKETPULSE_KAFKA__TOPIC_PREFIX": s.kafka.topic_prefix,
            "MARKETPULSE_ENGINE__TIMEFRAMES": json.dumps(s.engine.timeframes),
            "MARKETPULSE_ENGINE__INDICATORS": s.engine.indicators,
            "MARKETPULSE_ENGINE__ALERTS": json.dumps(s.engine.alerts),
        }  # fmt: skip
        command = [sys.executable, "-m", "marketpulse", "alerts", *words]
        return subprocess.run(
            command, capture_output=True, text=True, input=typed, env=environment, timeout=120, check=False
        )

    def listed(self) -> dict[str, dict[str, Any]]:
        done = self.alerts("list", "--json")
        assert done.returncode == 0, done.stderr
        return {rule["name"]: rule for rule in json.loads(done.stdout)}

    def feed(self, *records: dict[str, Any]) -> None:
        BareTopic.of(self.settings).write(records)

    def told(self, wanted: int) -> list[tuple[str, str, float]]:
        """The alerts so far, `wanted` of them at least."""
        found = rows(BareTopic.of(self.settings, "alerts").wait_for(wanted))
        return [(row["rule"], row["state"], row["value"]) for row in found]


@pytest.fixture
def desk(kafka_settings: Settings) -> Iterator[Desk]:
    engine = kafka_settings.engine.model_copy(
        update={"timeframes": ("1s", "1m"), "indicators": "sma(2)", "alerts": (CONFIGURED,)}
    )
    desk = Desk(kafka_settings.model_copy(update={"engine": engine}))
    yield desk
    desk.stop()


def test_a_rule_is_put_and_removed_while_the_engine_runs_and_is_listed_meanwhile(desk: Desk) -> None:
    desk.start()
    desk.feed(HELLO, trade("AAA", 1, 200, 1), heartbeat(2))
    BareTopic.of(desk.settings, "bars").wait_for(1)
    put = desk.alerts("put", "--severity", "critical", "-", typed='name = "high"\nexpression = "close > 100"')
    assert put.returncode == 0, put.stderr
    assert put.stdout == "rule 'high' is put: it sees the bars that close from now on\n"
    assert desk.listed() == {
        "low": {**CONFIGURED, "timeframe": "1s", "severity": "warning", "from": "configuration"},
        "high": {**HIGH, "timeframe": "1s", "from": "control"},
    }
    desk.feed(trade("AAA", 3, 150, 1), heartbeat(4), trade("AAA", 5, 50, 1), heartbeat(6))
    assert desk.told(2) == [("high", "raised", 150), ("high", "cleared", 50)]
    removed = desk.alerts("remove", "high")
    assert removed.returncode == 0, removed.stderr
    assert list(desk.listed()) == ["low"]
    desk.feed(trade("AAA", 7, 160, 1), heartbeat(8), trade("AAA", 9, 4, 1), heartbeat(10))
    assert desk.told(3)[2:] == [("low", "raised", 4)]


def test_a_change_stands_once_in_control_and_once_in_every_partition_of_market(desk: Desk) -> None:
    desk.feed(HELLO)
    assert desk.alerts("put", "--name", "high", "--expression", "close > 100").returncode == 0
    assert desk.alerts("remove", "low").returncode == 0
    rule = {"name": "high", "expression": "close > 100"}
    table = desk.alerts("list").stdout.splitlines()
    assert [line.split()[:2] for line in table] == [["name", "timeframe"], ["high", "1s"]]
    changes = [
        {"type": "control", "change": {"action": "put_rule", "rule": rule}},
        {"type": "control", "change": {"action": "remove_rule", "name": "low"}},
    ]
    records = BareTopic.of(desk.settings).messages()
    assert len(records) == 4
    places = []
    for messages in records.values():
        found = [m for m in messages if json.loads(m.value() or b"")["type"] == "control"]
        assert [json.loads(m.value() or b"") for m in found] == changes
        places.append([m.offset() for m in found])
    control = BareTopic.of(desk.settings, "control")
    (written,) = control.messages().values()
    assert [m.key() for m in written] == [b"rule/high", b"rule/low"]
    assert [record.row for record in control.committed()] == changes
    named = [json.loads(record.headers["market-offsets"]) for record in control.committed()]
    assert named == [list(column) for column in zip(*places, strict=True)]


def test_what_is_listed_is_what_runs_also_after_a_restart_with_another_configuration(desk: Desk) -> None:
    desk.start()
    desk.feed(HELLO, trade("AAA", 1, 200, 1), heartbeat(2))
    assert desk.alerts("put", "--name", "high", "--expression", "close > 100").returncode == 0
    assert desk.alerts("put", "--name", "low", "--expression", "close < 3").returncode == 0
    BareTopic.of(desk.settings, "bars").wait_for(1)
    desk.stop()
    assert {n: r["expression"] for n, r in desk.listed().items()} == {"high": "close > 100", "low": "close < 3"}
    edited = {"name": "low", "expression": "close < 4"}
    engine = desk.settings.engine.model_copy(update={"alerts": (edited,)})
    desk.settings = desk.settings.model_copy(update={"engine": engine})
    assert {n: r["expression"] for n, r in desk.listed().items()} == {"high": "close > 100", "low": "close < 4"}
    desk.start()
    desk.feed(trade("AAA", 3, 3.5, 1), heartbeat(4))
    assert desk.told(1) == [("low", "raised", 3.5)]


def test_a_change_ends_what_a_killed_writer_has_left_open(desk: Desk) -> None:
    kafka = desk.settings.kafka
    killed = bare_producer(kafka.bootstrap_servers, f"{kafka.topic_prefix}marketpulse-control")
    killed.begin_transaction()
    killed.produce(desk.settings.topic("market"), b'{"type":"control","change":{}}', partition=0)
    assert killed.flush(20) == 0
    assert desk.alerts("put", "--name", "high", "--expression", "close > 100").returncode == 0
    changes = [record.row["change"]["rule"]["name"] for record in BareTopic.of(desk.settings).committed()]
    assert changes == ["high"] * 4, "also before the transaction that was open would have timed out"
    with pytest.raises(KafkaException):
        killed.commit_transaction(20)


def test_what_changes_nothing_or_cannot_be_is_not_written(desk: Desk) -> None:
    same = desk.alerts("put", "--name", "low", "--expression", "close < 5")
    assert (same.returncode, same.stdout) == (0, "rule 'low' runs already, just so\n")
    unknown = desk.alerts("remove", "high")
    assert unknown.returncode == 2
    assert unknown.stderr == "alert rules: there is no rule 'high'\n"
    wrong = desk.alerts("put", "--name", "high", "--expression", "sma_3 > 100")
    assert wrong.returncode == 2
    assert wrong.stderr == ("rule 'high': unknown column 'sma_3'; did you mean 'sma_2'?\n  sma_3 > 100\n  ^\n")
    assert BareTopic.of(desk.settings).committed() == []
    assert BareTopic.of(desk.settings, "control").committed() == []
