"""The page's desk on the real broker, with the engine beside it: changes, their places, and two people at one rule."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import market_rows
from bare_clients import BareTopic, rows
from market_rows import at
from marketpulse.app.alert_desk import PipelineAlertDesk
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.process import run
from marketpulse.errors import ChangedMeanwhile, ParameterError
from marketpulse.kafka.control_writer import write_change
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings
from marketpulse.telemetry import Health

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

HELLO = {"type": "hello", "source": "test", "mode": "historical", "run_id": "1", "event_time_ns": at(0)}
HIGH = {"name": "high", "expression": "close > 100"}
trade = partial(market_rows.trade, source="test")


def heartbeat(seconds: float) -> dict[str, Any]:
    return {"type": "heartbeat", "source": "test", "event_time_ns": at(seconds)}


class Pipeline:
    """The engine in a thread, and desks beside it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.desk = PipelineAlertDesk(settings)
        self._life: Lifecycle | None = None

    def start(self) -> None:
        run_file = self.settings.data_dir / "run" / "process.json"
        self._life = Lifecycle("process", threading.Event(), Health(), run_file, 0)
        self._done = ThreadPoolExecutor(1).submit(run, self.settings, self._life)

    def stop(self) -> None:
        if self._life is not None:
            self._life.stop.set()
            assert self._done.result(60) == 0
            self._life = None

    def rule(self, name: str) -> dict[str, Any] | None:
        return next((dict(rule) for rule in self.desk.rules()["rules"] if rule["name"] == name), None)

    def change(self, name: str) -> dict[str, Any]:
        return next(dict(change) for change in self.desk.rules()["changes"] if change["name"] == name)

    def until_taken(self, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while (found := self.change(name))["taken"] < self.settings.kafka.partitions:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def feed(self, *records: dict[str, Any]) -> None:
        BareTopic.of(self.settings).write(records)

    def told(self, wanted: int) -> list[tuple[str, str, str]]:
        found = rows(BareTopic.of(self.settings, "alerts").wait_for(wanted))
        return [(row["rule"], row["state"], row["severity"]) for row in found]


@pytest.fixture
def pipeline(kafka_settings: Settings) -> Iterator[Pipeline]:
    engine = kafka_settings.engine.model_copy(
        update={"timeframes": ("1s",), "indicators": "", "alerts": ({"name": "low", "expression": "close < 5"},)}
    )
    pipeline = Pipeline(kafka_settings.model_copy(update={"engine": engine}))
    yield pipeline
    pipeline.desk.close()
    pipeline.stop()


def test_a_change_is_shown_with_its_place_and_whether_the_engine_has_taken_it(pipeline: Pipeline) -> None:
    pipeline.feed(HELLO)
    made = pipeline.desk.put(HIGH, "")
    change = pipeline.change("high")
    assert change["offsets"] == made["offsets"]
    assert len(made["offsets"]) == 4
    assert change["taken"] == 0  # no engine runs
    pipeline.start()
    assert pipeline.until_taken("high")["offsets"] == made["offsets"]
    found = pipeline.rule("high")
    assert found is not None
    assert (found["from"], found["muted"], found["begins"]) == ("control", False, made["offsets"])
    low = pipeline.rule("low")
    assert low is not None
    assert (low["from"], low["begins"]) == ("configuration", [0, 0, 0, 0])


def test_of_two_people_who_edit_one_rule_the_later_one_is_told(pipeline: Pipeline) -> None:
    pipeline.feed(HELLO)
    other = PipelineAlertDesk(pipeline.settings)
    pipeline.desk.put(HIGH, "")
    read = pipeline.rule("high")
    assert read is not None
    other.put({**HIGH, "severity": "critical"}, read["version"])
    with pytest.raises(ChangedMeanwhile, match="somebody else has changed rule 'high' meanwhile"):
        pipeline.desk.put({**HIGH, "severity": "info"}, read["version"])
    with pytest.raises(ChangedMeanwhile, match="there is a rule 'high' already"):
        pipeline.desk.put(HIGH, "")
    now = pipeline.rule("high")
    assert now is not None
    assert now["severity"] == "critical"
    other.remove("high", now["version"])
    with pytest.raises(ChangedMeanwhile, match="has removed rule 'high'"):
        pipeline.desk.mute("high", muted=True, version=now["version"])
    with pytest.raises(ParameterError, match="unknown column"):
        pipeline.desk.put({"name": "odd", "expression": "rsi_14 < 3"}, "")
    other.close()


def test_of_many_at_the_same_moment_one_writes_and_nobody_overwrites_it_unknowingly(pipeline: Pipeline) -> None:
    pipeline.feed(HELLO)
    desks = [PipelineAlertDesk(pipeline.settings) for _ in range(3)]

    def put(number: int) -> bool:
        try:
            desks[number].put({"name": "one", "expression": f"close > {number}"}, "")
        except Exception:  # noqa: BLE001  (told that another was first, or that another took over)
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        wrote = list(pool.map(put, range(3)))
    for desk in desks:
        desk.close()
    assert sum(wrote) == 1
    found = pipeline.rule("one")
    assert found is not None
    assert found["expression"] == f"close > {wrote.index(True)}"


def test_a_muted_rule_goes_on_and_a_restart_keeps_it_muted(pipeline: Pipeline) -> None:
    pipeline.start()
    pipeline.feed(HELLO, trade("AAA", 1, 50, 1), heartbeat(2))
    pipeline.desk.put(HIGH, "")
    begun = pipeline.until_taken("high")["offsets"]
    pipeline.feed(trade("AAA", 3, 150, 1), heartbeat(4))
    assert pipeline.told(1) == [("high", "raised", "warning")]
    for name in ("high", "low"):
        rule = pipeline.rule(name)
        assert rule is not None
        pipeline.desk.mute(name, muted=True, version=rule["version"])
        pipeline.until_taken(name)
    muted = pipeline.rule("high")
    assert muted is not None
    assert (muted["muted"], muted["begins"]) == (True, begun)  # it is the same rule, and its alert still stands
    pipeline.stop()
    pipeline.start()
    pipeline.feed(trade("AAA", 5, 50, 1), heartbeat(6), trade("AAA", 7, 4, 1), heartbeat(8))
    assert pipeline.told(3)[1:] == [("high", "cleared", "muted"), ("low", "raised", "muted")]
    low = pipeline.rule("low")
    assert low is not None
    assert (low["from"], low["muted"]) == ("configuration", True)
    pipeline.desk.mute("low", muted=False, version=low["version"])
    pipeline.until_taken("low")
    pipeline.feed(trade("AAA", 9, 40, 1), heartbeat(10))
    assert pipeline.told(4)[3:] == [("low", "cleared", "warning")]


def test_whoever_looks_after_a_change_sees_it(pipeline: Pipeline) -> None:
    """The broker answers a commit a moment before its readers may see what was committed."""
    log = LogReader(pipeline.settings)
    for number in range(40):
        write_change(pipeline.settings, "rule/one", {"action": "put_rule", "number": number})
        ends = [log.span(p, "control").end for p in range(log.partitions("control"))]
        assert sum(ends) == 2 * (number + 1)  # each change, and the mark behind it
    log.close()
