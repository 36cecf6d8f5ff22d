"""The broker's jars: Apache Kafka by exact coordinates and hashes, fetched once per user.

    cache_dir/kafka-4.2.1/            complete when `complete` holds this lock's digest
        kafka-clients-4.2.1.jar …
        complete

Nothing is resolved transitively: the lock names every jar, so the class path is the same everywhere.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from marketpulse.errors import EnvironmentProblem, Retryable, disk_is_full
from marketpulse.telemetry import get_logger

_AT_ONCE = 8
_TRIES = 3
_TIMEOUT_S = 20
_MARKER = "complete"

Progress = Callable[[int, int], None]
"""Called with (jars that are there, jars in all) after each one."""

Fetch = Callable[["Jar", Path], Path]
"""Brings one jar into a directory of this process and returns its path."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One artifact of the lock."""

    group: str
    artifact: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class JarLock:
    """All jars of one Kafka version, and the digest of the list itself."""

    kafka: str
    jars: tuple[Jar, ...]
    digest: str


@cache
def jar_lock() -> JarLock:
    """The lock that this version of the package carries."""
    raw = resources.files("marketpulse.kafka").joinpath("jars.lock.json").read_bytes()
    lock = json.loads(raw)
    return JarLock(lock["kafka"], tuple(Jar(**jar) for jar in lock["jars"]), hashlib.sha256(raw).hexdigest())


def no_progress(have: int, wanted: int) -> None:
    """Nobody watches."""


def _fetch(jar: Jar, into: Path) -> Path:
    # Imported when it is needed: it costs 0.3 s, and only the first start of all fetches anything.
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=into, local_repos=[], timeout=_TIMEOUT_S)
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())


def kafka_jars(
    cache_dir: Path, progress: Progress = no_progress, *, lock: JarLock | None = None, fetch: Fetch = _fetch
) -> list[Path]:
    """The class path of the broker, fetched where it is not there yet (45 MB, about 4 s).

    A jar lies under its name only once its hash is right, so an interrupted fetch goes on where it
    was; two processes that start at once take turns. Afterwards a start only looks whether every
    jar is there (no hashing: 46 calls to stat).

    Raises Retryable when jars cannot be fetched now, EnvironmentProblem when the directory cannot
    be written or what comes is not what the lock names.
    """
    lock = lock or jar_lock()
    home = cache_dir / f"kafka-{lock.kafka}"
    paths = [home / jar.file for jar in lock.jars]
    if _is_complete(home, lock, paths):
        progress(len(paths), len(paths))
        return paths
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _turn(home):
            if not _is_complete(home, lock, paths):
                _complete(home, lock, progress, fetch)
    except OSError as error:
        raise _unwritable(home, error) from None
    return paths


def _is_complete(home: Path, lock: JarLock, paths: list[Path]) -> bool:
    try:
        return (home / _MARKER).read_text() == lock.digest and all(path.is_file() for path in paths)
    except OSError:
        return False


@contextmanager
def _turn(home: Path) -> Iterator[None]:
    """Hold the directory for this process; the system lets go when the process dies."""
    with (home / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _complete(home: Path, lock: JarLock, progress: Progress, fetch: Fetch) -> None:
    for stale in home.glob("fetch-*"):  # of a process that was killed: nobody else holds the turn
        shutil.rmtree(stale, ignore_errors=True)
    missing = [jar for jar in lock.jars if _hash_of(home / jar.file) != jar.sha256]
    have = len(lock.jars) - len(missing)
    progress(have, len(lock.jars))
    work = Path(tempfile.mkdtemp(prefix="fetch-", dir=home))
    try:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jars") as pool:
            running = [pool.submit(_bring, jar, home, work, fetch) for jar in missing]
            try:
                for done in as_completed(running):
                    done.result()
                    have += 1
                    progress(have, len(lock.jars))
            finally:  # after a fault or a Ctrl-C, what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    marker = home / f"{_MARKER}.{os.getpid()}.tmp"
    marker.write_text(lock.digest)
    marker.replace(home / _MARKER)


def _bring(jar: Jar, home: Path, work: Path, fetch: Fetch) -> None:
    """Fetch one jar, check it, and give it its name."""
    fault = ""
    for turn in range(_TRIES):
        into = work / f"{jar.artifact}-{turn}"
        try:
            found = fetch(jar, into)
            digest = _hash_of(found)
        except (OSError, RuntimeError) as error:  # network errors are OSErrors too
            if isinstance(error, OSError) and disk_is_full(error):
                raise
            fault = str(error)
            get_logger().info("jar_fetch_failed", jar=jar.file, turn=turn, error=fault)
            continue
        if digest == jar.sha256:
            found.replace(home / jar.file)
            return
        fault = f"its sha256 is {digest}, the lock says {jar.sha256}"
    if "sha256" in fault:
        raise EnvironmentProblem(
            f"{jar.group}:{jar.artifact}:{jar.version} is not the file it should be ({fault}): "
            "check what stands between this machine and its Maven repository"
        )
    raise Retryable(
        f"{jar.group}:{jar.artifact}:{jar.version} cannot be fetched ({fault}): check the network (the first start needs it), "
        "then start again; what is there already is kept. Or use another broker with KAFKA_BOOTSTRAP_SERVERS"
    )


def _hash_of(path: Path) -> str:
    """The file's sha256 in hex, empty when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _unwritable(home: Path, error: OSError) -> EnvironmentProblem:
    if disk_is_full(error):
        return EnvironmentProblem(
            f"the disk of {home} is full: free 200 MB, or set MARKETPULSE_CACHE_DIR to another disk"
        )
    return EnvironmentProblem(
        f"{home} cannot be written ({error.strerror}): set MARKETPULSE_CACHE_DIR to a directory that can"
    )
