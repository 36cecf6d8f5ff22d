"""Fetching the broker's jars: whole or not at all, by hash, by several processes at once."""

import errno
import hashlib
import multiprocessing
import re
import time
from pathlib import Path

import pytest

from marketpulse.errors import EnvironmentProblem, Retryable
from marketpulse.kafka.jars import Jar, JarLock, jar_lock, kafka_jars

NAMES = ("alpha", "beta", "gamma")


def content(artifact: str) -> bytes:
    return f"the jar of {artifact}".encode() * 100


JARS = tuple(Jar("g", n, "1", f"{n}-1.jar", hashlib.sha256(content(n)).hexdigest()) for n in NAMES)
LOCK = JarLock("9.9.9", JARS, "digest-of-the-lock")


class Registry:
    """A registry in memory that counts what it was asked for and can be away or wrong."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away: set[str] = set()
        self.wrong: set[str] = set()

    def fetch(self, jar: Jar, into: Path) -> Path:
        self.asked.append(jar.artifact)
        if jar.artifact in self.away:
            raise ConnectionError("no route to the registry")
        into.mkdir(parents=True, exist_ok=True)
        path = into / jar.file
        path.write_bytes(b"half" if jar.artifact in self.wrong else content(jar.artifact))
        return path


def test_every_jar_lies_under_its_name_with_its_content(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = kafka_jars(tmp_path, lambda have, of: seen.append((have, of)), lock=LOCK, fetch=Registry().fetch)
    assert [p.name for p in paths] == ["alpha-1.jar", "beta-1.jar", "gamma-1.jar"]
    assert [p.read_bytes() for p in paths] == [content(n) for n in NAMES]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert not list((tmp_path / "kafka-9.9.9").glob("fetch-*"))


def test_a_second_start_fetches_only_what_is_missing_and_hashes_nothing_until_the_lock_changes(tmp_path: Path) -> None:
    registry = Registry()
    paths = kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    registry.asked.clear()
    paths[0].write_bytes(b"a hash would tell")
    assert kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch) == paths
    assert registry.asked == []
    paths[0].write_bytes(content("alpha"))
    paths[1].unlink()
    kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    assert (registry.asked, paths[1].read_bytes()) == (["beta"], content("beta"))
    registry.asked.clear()
    paths[0].write_bytes(b"of the old lock")
    kafka_jars(tmp_path, lock=JarLock(LOCK.kafka, LOCK.jars, "another digest"), fetch=registry.fetch)
    assert (registry.asked, paths[0].read_bytes()) == (["alpha"], content("alpha"))


def test_an_interrupted_fetch_goes_on_where_it_was(tmp_path: Path) -> None:
    registry = Registry()
    registry.away = {"gamma"}
    with pytest.raises(Retryable, match=r"g:gamma:1 cannot be fetched.*start again"):
        kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    (tmp_path / "kafka-9.9.9" / "fetch-of-a-killed-process").mkdir()
    registry.away = set()
    registry.asked.clear()
    kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    assert set(registry.asked) == {"gamma"}
    assert not list((tmp_path / "kafka-9.9.9").glob("fetch-*"))


def test_a_jar_with_another_hash_is_refused_and_never_kept(tmp_path: Path) -> None:
    registry = Registry()
    registry.wrong = {"beta"}
    with pytest.raises(EnvironmentProblem, match="g:beta:1 is not the file it should be"):
        kafka_jars(tmp_path, lock=LOCK, fetch=registry.fetch)
    assert not (tmp_path / "kafka-9.9.9" / "beta-1.jar").exists()


def test_a_full_disk_is_said_in_plain_words(tmp_path: Path) -> None:
    def full(jar: Jar, into: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EnvironmentProblem, match="is full: free 200 MB"):
        kafka_jars(tmp_path, lock=LOCK, fetch=full)


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
