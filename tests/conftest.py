"""What tests of several kinds share: one real broker per test process, settings with topics of their own, and which
process runs which test.

With pytest-xdist every worker has its own broker (about 200 MB each): they need nothing from each
other, and none has to be the last one to stop it.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from aws_server import aws_account, aws_server  # noqa: F401  (fixtures that several rooms share)
from bare_clients import own_topics
from influx_store import influx_server, influx_store  # noqa: F401  (fixtures)
from marketpulse.app.warm import warm_up
from marketpulse.cache import cache_dir
from marketpulse.compiled import has_kernels
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.settings import Settings
from s3_server import s3_bucket, s3_server  # noqa: F401

# `quick` (make test) draws the same few examples each time; `full` (make soak) draws many, anew each time.
# No deadline: kernels compile at their first call, which says nothing about the code's speed.
common = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("quick", common, max_examples=10, derandomize=True, database=None)
hypothesis_settings.register_profile("full", common, max_examples=200)
hypothesis_settings.load_profile(os.environ.get("MARKETPULSE_HYPOTHESIS", "quick"))


# A broker of a test lives for seconds or minutes: what the second compiler costs never comes back.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

IN_MEMORY = Path("/dev/shm/marketpulse-tests")
ROOM = 6 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files into memory where there is room: brokers and stores force every write, and wait for a disk
    half of their time. A killed process loses nothing that it wrote, on either.

    They go with the run; what a run that failed or died has left goes with the next.
    """
    if hasattr(config, "workerinput") or "TMPDIR" in os.environ or not IN_MEMORY.parent.is_dir():
        return
    for left in IN_MEMORY.glob("*"):
        if not psutil.pid_exists(int(left.name)):
            shutil.rmtree(left, ignore_errors=True)
    if min(shutil.disk_usage(IN_MEMORY.parent).free, psutil.virtual_memory().available) >= ROOM:
        home = IN_MEMORY / str(os.getpid())
        home.mkdir(parents=True)
        os.environ["TMPDIR"], tempfile.tempdir = str(home), None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    home = IN_MEMORY / str(os.getpid())
    for path in home.glob("*") if exitstatus == pytest.ExitCode.OK else ():
        if not path.name.startswith("pymp-"):  # multiprocessing removes its own
            shutil.rmtree(path, ignore_errors=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported and collected lives to the end: the garbage collector need not walk it again and again."""
    gc.collect()
    gc.freeze()


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Run a file's tests in one worker, in order, so that what they share is started once; the longest files first.

    A file whose tests share nothing is dealt out test by test, and one over several stores store by store. Browser
    tests, which keep both of a laptop's cores busy, run in one worker: one page is open at a time.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file in DEALT_OUT:
            return nodeid
        if file.startswith("tests/browser/"):
            return "tests/browser"
        if file in BY_PARAMETER:
            return f"{file}[{test.partition('[')[2].partition('-')[0].rstrip(']')}"
        return file


_OWN = ("integration/test_real_broker", "integration/test_up", "chaos/test_engine_kills")
DEALT_OUT = {f"tests/{name}.py" for name in _OWN}
"""Each test starts what it kills."""
BY_PARAMETER = {"tests/conformance/test_every_sink.py"}
"""The first parameter names the store."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    return ByFile(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--again", type=int, default=1, metavar="N", help="run each test N times (make again)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if (times := metafunc.config.getoption("again")) > 1:
        metafunc.fixturenames.append("_again")
        metafunc.parametrize("_again", range(times))


@pytest.fixture
def _again(request: pytest.FixtureRequest) -> int:
    """Which time it is, where a test runs many times."""
    return int(request.param)


@pytest.fixture(scope="session")
def broker_cache() -> Path:
    """The user's cache, so that a test run fetches the broker's jars once per machine, not per run."""
    return cache_dir()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, broker_cache: Path) -> Iterator[EmbeddedBroker]:
    """The real broker; `broker.bootstrap` is its address."""
    home = tmp_path_factory.mktemp("broker")
    settings = Settings(data_dir=home, cache_dir=broker_cache, broker={"heap_mb": 256, "port": 0})
    with EmbeddedBroker(settings) as running:
        yield running


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compiled before the clock of a test or of a worker runs: `make dev` has done it, unless the cache is gone."""
    if not has_kernels("engine", "indicators", "alerts", "kafka", "failover"):
        warm_up()


@pytest.fixture
def kafka_settings(broker: EmbeddedBroker, broker_cache: Path, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a data directory and topics of their own (4 partitions), on the shared broker."""
    with own_topics(broker, broker_cache, tmp_path / "data") as settings:
        yield settings
