"""Alert rules changed while the engine runs, by the command and by the page's desk, on the real broker."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import KafkaException

from bare_clients import BareTopic, bare_producer, rows
from given_settings import Done, changed, child, command
from marketpulse.app.alert_desk import PipelineAlertDesk
from marketpulse.app.pipeline.process import run
from marketpulse.errors import ChangedMeanwhile, ParameterError
from marketpulse.kafka.control_writer import write_change
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings
from refused import assert_raises
from stored_pipeline import HELLO, Working, heartbeat, trade
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

CONFIGURED = {"name": "low", "expression": "close < 5"}
HIGH = {"name": "high", "expression": "close > 100"}
PUT_HIGH = ("put", "--name", "high", "--expression", "close > 100")


class Engine:
    """The engine in a thread, the page's desk beside it, and the command."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.desk = PipelineAlertDesk(settings)
        self._working: Working | None = None

    def start(self) -> None:
        self._working = Working(self.settings, run)

    def stop(self) -> None:
        """A clean stop saves the state, and with it the rules."""
        if self._working is not None:
            self._working.stop()
            self._working = None

    def alerts(self, *words: str, typed: str = "") -> Done:
        return command(self.settings, "alerts", *words, typed=typed)

    def listed(self) -> dict[str, dict[str, Any]]:
        done = self.alerts("list", "--json")
        assert done.returncode == 0, done.stderr
        return {rule["name"]: rule for rule in json.loads(done.stdout)}

    def rule(self, name: str) -> dict[str, Any]:
        return next(dict(rule) for rule in self.desk.rules()["rules"] if rule["name"] == name)

    def change(self, name: str) -> dict[str, Any]:
        return next(dict(change) for change in self.desk.rules()["changes"] if change["name"] == name)

    def until_taken(self, name: str) -> dict[str, Any]:
        wait_until(lambda: self.change(name)["taken"] == self.settings.kafka.partitions, f"{name} is taken")
        return self.change(name)

    def feed(self, *records: dict[str, Any]) -> None:
        BareTopic.of(self.settings).write(records)

    def told(self, wanted: int, third: str) -> list[tuple[Any, ...]]:
        """Rule, state and this column of the alerts so far, `wanted` of them at least."""
        found = rows(BareTopic.of(self.settings, "alerts").wait_for(wanted))
        return [(row["rule"], row["state"], row[third]) for row in found]


@pytest.fixture
def engine(kafka_settings: Settings) -> Iterator[Engine]:
    own = {"timeframes": ("1s", "1m"), "indicators": "sma(2)", "alerts": (CONFIGURED,)}
    engine = Engine(changed(kafka_settings, engine=own))
    yield engine
    engine.desk.close()
    engine.stop()


def test_a_rule_is_put_and_removed_while_the_engine_runs_and_is_listed_meanwhile(engine: Engine) -> None:
    engine.start()
    engine.feed(HELLO, trade("AAA", 1, 200, 1), heartbeat(2))
    BareTopic.of(engine.settings, "bars").wait_for(1)
    text = 'name = "high"\nexpression = "close > 100"'
    put = child(engine.settings, "alerts", "put", "--severity", "critical", "-", typed=text)
    assert put.returncode == 0, put.stderr
    assert put.stdout == "rule 'high' is put: it sees the bars that close from now on\n"
    assert engine.listed() == {
        "low": {**CONFIGURED, "timeframe": "1s", "severity": "warning", "from": "configuration"},
        "high": {**HIGH, "timeframe": "1s", "severity": "critical", "from": "control"},
    }
    engine.feed(trade("AAA", 3, 150, 1), heartbeat(4), trade("AAA", 5, 50, 1), heartbeat(6))
    assert engine.told(2, "value") == [("high", "raised", 150), ("high", "cleared", 50)]
    removed = engine.alerts("remove", "high")
    assert removed.returncode == 0, removed.stderr
    assert list(engine.listed()) == ["low"]
    engine.feed(trade("AAA", 7, 160, 1), heartbeat(8), trade("AAA", 9, 4, 1), heartbeat(10))
    assert engine.told(3, "value")[2:] == [("low", "raised", 4)]


def test_a_change_is_once_in_control_and_in_every_partition_of_market_and_no_other_is_written(engine: Engine) -> None:
    unknown = "rule 'high': unknown column 'sma_3'; did you mean 'sma_2'?\n  sma_3 > 100\n  ^\n"
    for words, code, output, errors in (
        (("put", "--name", "low", "--expression", "close < 5"), 0, "rule 'low' runs already, just so\n", ""),
        (("remove", "high"), 2, "", "alert rules: there is no rule 'high'\n"),
        (("put", "--name", "high", "--expression", "sma_3 > 100"), 2, "", unknown),
    ):
        done = engine.alerts(*words)
        assert (done.returncode, done.stdout, done.stderr) == (code, output, errors)
    assert BareTopic.of(engine.settings).committed() == []
    assert BareTopic.of(engine.settings, "control").committed() == []
    engine.feed(HELLO)
    assert engine.alerts(*PUT_HIGH).returncode == 0
    assert engine.alerts("remove", "low").returncode == 0
    table = engine.alerts("list").stdout.splitlines()
    assert [line.split()[:2] for line in table] == [["name", "timeframe"], ["high", "1s"]]
    told = ({"action": "put_rule", "rule": HIGH}, {"action": "remove_rule", "name": "low"})
    changes = [{"type": "control", "change": change} for change in told]
    records = [record for record in BareTopic.of(engine.settings).committed() if record.row["type"] == "control"]
    places = []
    for partition in range(4):
        found = [record for record in records if record.partition == partition]
        assert rows(found) == changes
        places.append([record.offset for record in found])
    control = BareTopic.of(engine.settings, "control")
    (written,) = control.messages().values()
    assert [m.key() for m in written] == [b"rule/high", b"rule/low"]
    assert rows(control.committed()) == changes
    named = [json.loads(record.headers["market-offsets"]) for record in control.committed()]
    assert named == [list(column) for column in zip(*places, strict=True)]


def test_what_is_listed_is_what_runs_also_after_a_restart_with_another_configuration(engine: Engine) -> None:
    engine.start()
    engine.feed(HELLO, trade("AAA", 1, 200, 1), heartbeat(2))
    assert engine.alerts(*PUT_HIGH).returncode == 0
    assert engine.alerts("put", "--name", "low", "--expression", "close < 3").returncode == 0
    BareTopic.of(engine.settings, "bars").wait_for(1)
    engine.stop()
    assert {n: r["expression"] for n, r in engine.listed().items()} == {"high": "close > 100", "low": "close < 3"}
    engine.settings = changed(engine.settings, engine={"alerts": ({**CONFIGURED, "expression": "close < 4"},)})
    assert {n: r["expression"] for n, r in engine.listed().items()} == {"high": "close > 100", "low": "close < 4"}
    engine.start()
    engine.feed(trade("AAA", 3, 3.5, 1), heartbeat(4))
    assert engine.told(1, "value") == [("low", "raised", 3.5)]


def test_a_change_ends_what_a_killed_writer_has_left_open(engine: Engine) -> None:
    kafka = engine.settings.kafka
    killed = bare_producer(kafka.bootstrap_servers, f"{kafka.topic_prefix}marketpulse-control")
    killed.begin_transaction()
    killed.produce(engine.settings.topic("market"), b'{"type":"control","change":{}}', partition=0)
    assert killed.flush(20) == 0
    assert engine.alerts(*PUT_HIGH).returncode == 0
    changes = [record.row["change"]["rule"]["name"] for record in BareTopic.of(engine.settings).committed()]
    assert changes == ["high"] * 4, "also before the transaction that was open would have timed out"
    assert_raises(KafkaException, "", killed.commit_transaction, 20)


def test_a_change_is_shown_with_its_place_and_whether_taken_and_only_one_of_its_editors_wins(engine: Engine) -> None:
    engine.feed(HELLO)
    made = engine.desk.put(HIGH, "")
    assert engine.change("high")["offsets"] == made["offsets"]
    assert len(made["offsets"]) == 4
    assert engine.change("high")["taken"] == 0  # no engine runs
    engine.start()
    assert engine.until_taken("high")["offsets"] == made["offsets"]
    high, low = engine.rule("high"), engine.rule("low")
    assert (high["from"], high["muted"], high["begins"]) == ("control", False, made["offsets"])
    assert (low["from"], low["begins"]) == ("configuration", [0, 0, 0, 0])

    other, version = PipelineAlertDesk(engine.settings), high["version"]
    other.put({**HIGH, "severity": "critical"}, version)
    with pytest.raises(ChangedMeanwhile, match="somebody else has changed rule 'high' meanwhile"):
        engine.desk.put({**HIGH, "severity": "info"}, version)
    assert_raises(ChangedMeanwhile, "there is a rule 'high' already", engine.desk.put, HIGH, "")
    now = engine.rule("high")
    assert now["severity"] == "critical"
    other.remove("high", now["version"])
    with pytest.raises(ChangedMeanwhile, match="has removed rule 'high'"):
        engine.desk.mute("high", muted=True, version=now["version"])
    assert_raises(ParameterError, "unknown column", engine.desk.put, {"name": "odd", "expression": "rsi_14 < 3"}, "")
    other.close()

    desks = [PipelineAlertDesk(engine.settings) for _ in range(3)]

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
    assert engine.rule("one")["expression"] == f"close > {wrote.index(True)}"


def test_a_muted_rule_goes_on_and_a_restart_keeps_it_muted(engine: Engine) -> None:
    engine.start()
    engine.feed(HELLO, trade("AAA", 1, 50, 1), heartbeat(2))
    engine.desk.put(HIGH, "")
    begun = engine.until_taken("high")["offsets"]
    engine.feed(trade("AAA", 3, 150, 1), heartbeat(4))
    assert engine.told(1, "severity") == [("high", "raised", "warning")]
    for name in ("high", "low"):
        engine.desk.mute(name, muted=True, version=engine.rule(name)["version"])
        engine.until_taken(name)
    muted = engine.rule("high")
    assert (muted["muted"], muted["begins"]) == (True, begun)  # it is the same rule, and its alert still stands
    engine.stop()
    engine.start()
    engine.feed(trade("AAA", 5, 50, 1), heartbeat(6), trade("AAA", 7, 4, 1), heartbeat(8))
    assert engine.told(3, "severity")[1:] == [("high", "cleared", "muted"), ("low", "raised", "muted")]
    low = engine.rule("low")
    assert (low["from"], low["muted"]) == ("configuration", True)
    engine.desk.mute("low", muted=False, version=low["version"])
    engine.until_taken("low")
    engine.feed(trade("AAA", 9, 40, 1), heartbeat(10))
    assert engine.told(4, "severity")[3:] == [("low", "cleared", "warning")]


def test_whoever_looks_after_a_change_sees_it(kafka_settings: Settings) -> None:
    """The broker answers a commit a moment before its readers may see what was committed."""
    log = LogReader(kafka_settings)
    for number in range(40):
        write_change(kafka_settings, "rule/one", {"action": "put_rule", "number": number})
        ends = [log.span(p, "control").end for p in range(log.partitions("control"))]
        assert sum(ends) == 2 * (number + 1)  # each change, and the mark behind it
    log.close()
