"""The embedded broker, for real: starts, restarts, kills and wreckage, one after another on one data directory."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from bare_clients import BareTopic
from given_settings import changed, outside
from marketpulse.errors import EnvironmentProblem, SettingsError
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.broker_settings import known_properties
from marketpulse.kafka.client import connected_to, resolve_bootstrap
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from waiting import wait_until

pytestmark = pytest.mark.integration

VALUES = [b"one", b"two", b"three"]


@pytest.fixture
def home(tmp_path: Path, broker_cache: Path) -> Iterator[Settings]:
    """Settings for a broker with a data directory of its own; whatever still runs there is killed at the end."""
    data = tmp_path / "data"
    yield Settings(data_dir=data, cache_dir=broker_cache, broker={"heap_mb": 192}, kafka={"partitions": 2})
    for process in psutil.process_iter(["cmdline"]):
        if str(data) in " ".join(process.info["cmdline"] or ()):
            process.kill()


def kept(bootstrap: str) -> list[bytes]:
    return [record.value for record in BareTopic(bootstrap, "market").committed()]


def read(bootstrap: str, count: int) -> list[bytes]:
    """The next values of the topic, through a consumer group."""
    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest", "log_level": 0}
    consumer = Consumer(config)
    consumer.subscribe(["market"])
    found: list[bytes] = []

    def enough() -> bool:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value() or b"")
        return len(found) >= count

    wait_until(enough, f"{count} values")
    consumer.close()
    return found


def topics(bootstrap: str) -> dict[str, int]:
    found = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


@contextmanager
def taken(port: int = 0) -> Iterator[int]:
    """Another program has the port."""
    with socket.socket() as program:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        program.bind(("127.0.0.1", port))
        program.listen()
        yield program.getsockname()[1]


def test_restarts_a_kill_a_broken_format_a_lost_identity_and_a_taken_port_lose_nothing(home: Settings) -> None:
    folder = home.data_dir / "broker"
    (folder / "storage").mkdir(parents=True)
    (folder / "storage" / "bootstrap.checkpoint").write_bytes(b"\x00\x01")  # a format that was interrupted
    with EmbeddedBroker(changed(home, broker={"properties": {"num.io.threads": 5}})) as first:
        address, pid = first.bootstrap, first.pid
        admin = AdminClient({"bootstrap.servers": address})
        (asked,) = admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")]).values()
        properties = asked.result(10)
        assert properties["num.io.threads"].value == "5"
        assert set(properties) <= set(known_properties()), "a name that the broker has is not a misspelt one"
        ensure_topics(connected_to(home, address))
        BareTopic(address, "market").write(VALUES)  # that must never be lost
        assert {"__consumer_offsets", "__transaction_state"} <= set(topics(address))
        assert read(address, 3) == VALUES
        second = EmbeddedBroker(home)
        with pytest.raises(EnvironmentProblem, match=f"KAFKA_BOOTSTRAP_SERVERS={address}"):
            second.start()  # and says where the first one is
        second.stop()
        assert first.alive()
        assert topics(address)
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert "Kafka Server started" in first.log_file.read_text()
    assert not (folder / "process.json").exists()

    broker = EmbeddedBroker(home)
    assert broker.start() == address, "the port is kept"
    assert topics(address)["market"] == 2, "the topics are kept"
    BareTopic(address, "market").write([b"four"])
    assert read(address, 1) == [b"four"], "the group's offsets are kept: only the new record is left to read"
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    assert broker.wait(10), "a kill is noticed"
    assert "killed by signal 9" in str(broker.why_it_died())
    assert broker.start() == address
    assert kept(address) == [*VALUES, b"four"]
    broker.stop()

    (folder / "storage" / "meta.properties").write_text("version=1\nclus")
    (folder / "identity.properties").unlink()
    with taken(int(address.partition(":")[2])), EmbeddedBroker(home) as broker:
        assert broker.bootstrap != address, "the last port gives way to another program that has it now"
        assert kept(broker.bootstrap) == [*VALUES, b"four"], "without its identity the storage keeps its topics"
        BareTopic(broker.bootstrap, "market").write([b"five"])
        assert read(broker.bootstrap, 1) == [b"five"]


def test_a_taken_port_is_named_before_any_start_and_a_wrong_property_in_the_jvms_words(home: Settings) -> None:
    with taken() as port, pytest.raises(EnvironmentProblem, match=f"port {port} on 127.0.0.1 is taken.*broker.port"):
        EmbeddedBroker(changed(home, broker={"port": port})).start()
    said = r"broker\.properties\.num\.io\.threads: .*ConfigException: Invalid value many for configuration num\.io\.threads: Not a number"
    with pytest.raises(SettingsError, match=said):
        EmbeddedBroker(changed(home, broker={"properties": {"num.io.threads": "many"}})).start()


OWNER = """
    import sys, time
    from pathlib import Path
    from marketpulse.kafka import broker_owner
    from marketpulse.kafka.broker import EmbeddedBroker
    from marketpulse.settings import Settings

    broker_owner.ORPHAN_S = float(sys.argv[3])
    settings = Settings(data_dir=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), broker={"heap_mb": 192})
    broker = EmbeddedBroker(settings)
    print(broker.start(), broker.pid, flush=True)
    time.sleep(600)
"""


def killed_owner(settings: Settings, orphan_s: float) -> tuple[str, int]:
    """Start a broker in another process and kill that process with -9; returns address and Java's pid."""
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(settings.data_dir), str(settings.cache_dir)]
    owner = subprocess.Popen([*command, str(orphan_s)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    address, pid = owner.stdout.readline().split()
    owner.kill()
    owner.communicate()
    return address, int(pid)


def test_a_broker_whose_owner_was_killed_is_taken_over_without_a_restart_or_else_ends(home: Settings) -> None:
    address, pid = killed_owner(home, orphan_s=60)
    with EmbeddedBroker(home) as broker:
        assert (broker.bootstrap, broker.pid) == (address, pid)
        assert broker.alive()
        ensure_topics(connected_to(home, address))
        BareTopic(address, "market").write(VALUES)
    assert not psutil.pid_exists(pid)

    address, pid = killed_owner(home, orphan_s=0.5)
    wait_until(lambda: not psutil.pid_exists(pid), "nobody takes it over: it ends")
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=1)


@contextmanager
def running_command(settings: Settings) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`marketpulse broker` once it has announced itself, and what it announced."""
    environment = {
        **outside(), "MARKETPULSE_DATA_DIR": str(settings.data_dir), "MARKETPULSE_CACHE_DIR": str(settings.cache_dir),
        "MARKETPULSE_KAFKA__PARTITIONS": str(settings.kafka.partitions),
    }  # fmt: skip
    words = [sys.executable, "-m", "marketpulse", "broker"]
    command = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    run_file = settings.data_dir / "run" / "broker.json"
    wait_until(lambda: run_file.exists() or command.poll() is not None, "it announces itself")
    yield command, json.loads(run_file.read_text())
    command.kill()
    command.communicate()


def test_the_command_announces_the_broker_ends_with_the_reason_if_it_dies_and_stops_it_cleanly(home: Settings) -> None:
    with running_command(home) as (command, facts):
        assert facts["pid"] == command.pid
        assert resolve_bootstrap(home) == facts["bootstrap_servers"]
        contract = {"market", "bars", "indicators", "alerts", "live", "dead-letters", "state", "control"}
        assert contract <= set(topics(facts["bootstrap_servers"]))
        BareTopic(facts["bootstrap_servers"], "market").write(VALUES)
        java = json.loads((home.data_dir / "broker" / "process.json").read_text())["pid"]
        os.kill(java, signal.SIGKILL)
        assert command.wait(30) == 1
        assert command.stderr is not None
        assert "killed by signal 9" in command.stderr.read()
    (home.data_dir / "broker" / "storage" / "meta.properties").write_text("version=1\nclus")
    with running_command(home) as (command, facts):
        assert kept(facts["bootstrap_servers"]) == VALUES, "our copy of its identity is enough"
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 0
    assert not (home.data_dir / "run" / "broker.json").exists()
