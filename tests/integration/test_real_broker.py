"""The embedded broker, for real: starts, restarts, kills and wreckage."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic
from marketpulse.errors import EnvironmentProblem
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to, resolve_bootstrap
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings

pytestmark = pytest.mark.integration

Home = Callable[..., Settings]


@pytest.fixture
def home(tmp_path: Path, broker_cache: Path) -> Iterator[Home]:
    """Settings for a broker with a data directory of its own; whatever still runs there is killed at the end."""

    def settings(**broker: object) -> Settings:
        return Settings(
            data_dir=tmp_path / "data", cache_dir=broker_cache, broker={"heap_mb": 192, **broker}, kafka={"partitions": 2}
        )  # fmt: skip

    yield settings
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path / "data") in " ".join(process.info["cmdline"] or ()):
            process.kill()


def write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    BareTopic(bootstrap, topic).write(values)


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """The first values of a topic, through a consumer group."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.subscribe([topic])
    found: list[bytes | None] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value())
    consumer.close()
    return found


def topics(bootstrap: str) -> dict[str, int]:
    found = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


def fill(broker: EmbeddedBroker, settings: Settings) -> list[bytes]:
    """Make the topics and write three records that must never be lost."""
    ensure_topics(connected_to(settings, broker.bootstrap))
    values = [b"one", b"two", b"three"]
    write(broker.bootstrap, "market", values)
    return values


def test_a_restart_continues_with_port_topics_and_data(home: Home) -> None:
    settings = home()
    with EmbeddedBroker(settings) as first:
        address = first.bootstrap
        values = fill(first, settings)
        assert {"__consumer_offsets", "__transaction_state"} <= set(topics(address))
        assert read(address, "market", 3) == values
        pid = first.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)
    with EmbeddedBroker(settings) as second:
        assert second.bootstrap == address
        assert topics(address)["market"] == 2
        write(address, "market", [b"four"])
        # The group's offsets were kept too: only the new record is left to read.
        assert read(address, "market", 1) == [b"four"]
    log = second.log_file.read_text()
    assert "Kafka Server started" in log
    assert not (settings.data_dir / "broker" / "process.json").exists()


def test_a_killed_broker_is_noticed_and_its_restart_keeps_topics_and_data(home: Home) -> None:
    settings = home()
    broker = EmbeddedBroker(settings)
    address = broker.start()
    values = fill(broker, settings)
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    assert broker.wait(10)
    assert "killed by signal 9" in str(broker.why_it_died())
    assert broker.start() == address
    assert read(address, "market", 3) == values
    broker.stop()


@pytest.mark.parametrize("also_our_copy", [False, True])
def test_storage_that_lost_its_identity_keeps_its_topics(home: Home, also_our_copy: bool) -> None:
    settings = home()
    with EmbeddedBroker(settings) as broker:
        values = fill(broker, settings)
    (settings.data_dir / "broker" / "storage" / "meta.properties").write_text("version=1\nclus")
    if also_our_copy:
        (settings.data_dir / "broker" / "identity.properties").unlink()
    with EmbeddedBroker(settings) as broker:
        assert read(broker.bootstrap, "market", 3) == values
        write(broker.bootstrap, "market", [b"four"])
        assert read(broker.bootstrap, "market", 1) == [b"four"]


def test_a_format_that_was_interrupted_is_done_again(home: Home) -> None:
    settings = home()
    half = settings.data_dir / "broker" / "storage"
    half.mkdir(parents=True)
    (half / "bootstrap.checkpoint").write_bytes(b"\x00\x01")
    with EmbeddedBroker(settings) as broker:
        assert "__consumer_offsets" in topics(broker.bootstrap)


def test_a_second_start_on_the_same_directory_says_where_the_first_one_is(home: Home) -> None:
    settings = home()
    with EmbeddedBroker(settings) as first:
        second = EmbeddedBroker(settings)
        with pytest.raises(EnvironmentProblem, match=f"KAFKA_BOOTSTRAP_SERVERS={first.bootstrap}"):
            second.start()
        second.stop()
        assert first.alive()
        assert topics(first.bootstrap)


def test_a_taken_port_is_named_before_anything_is_started(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} on 127.0.0.1 is taken.*broker.port"):
            EmbeddedBroker(home(port=port)).start()


def test_the_last_port_gives_way_when_another_program_has_it_now(home: Home) -> None:
    settings = home()
    with EmbeddedBroker(settings) as broker:
        last = int(broker.bootstrap.partition(":")[2])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", last))
        taken.listen()
        with EmbeddedBroker(settings) as broker:
            assert broker.bootstrap != f"127.0.0.1:{last}"
            assert topics(broker.bootstrap)


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


def test_a_broker_whose_owner_was_killed_is_taken_over_without_a_restart(home: Home) -> None:
    settings = home()
    address, pid = killed_owner(settings, orphan_s=30)
    with EmbeddedBroker(settings) as broker:
        assert (broker.bootstrap, broker.pid) == (address, pid)
        assert broker.alive()
        fill(broker, settings)
    assert not psutil.pid_exists(pid)


def test_a_broker_whose_owner_was_killed_ends_when_nobody_takes_it_over(home: Home) -> None:
    address, pid = killed_owner(home(), orphan_s=0.5)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=1)


@contextlib.contextmanager
def running_command(settings: Settings) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`marketpulse broker` once it has announced itself, and what it announced."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    environment["MARKETPULSE_DATA_DIR"] = str(settings.data_dir)
    environment["MARKETPULSE_CACHE_DIR"] = str(settings.cache_dir)
    environment["MARKETPULSE_KAFKA__PARTITIONS"] = str(settings.kafka.partitions)
    command = subprocess.Popen(
        [sys.executable, "-m", "marketpulse", "broker"], env=environment, stderr=subprocess.PIPE, text=True
    )
    run_file = settings.data_dir / "run" / "broker.json"
    deadline = time.monotonic() + 90
    while not run_file.exists() and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    yield command, json.loads(run_file.read_text())
    command.kill()
    command.communicate()


def test_the_command_announces_the_broker_and_stops_it_cleanly(home: Home) -> None:
    settings = home()
    with running_command(settings) as (command, facts):
        assert facts["pid"] == command.pid
        assert resolve_bootstrap(settings) == facts["bootstrap_servers"]
        contract = {"market", "bars", "indicators", "alerts", "live", "dead-letters", "state", "control"}
        assert contract <= set(topics(facts["bootstrap_servers"]))
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 0
    assert not (settings.data_dir / "run" / "broker.json").exists()


def test_the_command_ends_with_the_reason_when_the_broker_dies(home: Home) -> None:
    settings = home()
    with running_command(settings) as (command, _):
        java = json.loads((settings.data_dir / "broker" / "process.json").read_text())["pid"]
        os.kill(java, signal.SIGKILL)
        assert command.wait(30) == 1
        assert command.stderr is not None
        assert "killed by signal 9" in command.stderr.read()
