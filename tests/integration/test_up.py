"""`marketpulse up` as a person starts it: the whole tree, its page, its lake, its end, and its orphans."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from running_up import Up, held

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CHILDREN = ("broker", "process-0", "produce-market", "serve", "sink-lake")


@pytest.fixture(scope="module", autouse=True)
def kernels(broker_cache: Path) -> None:
    """Compiled before, as `make setup` does: it takes minutes on a busy machine, and a start waits for it."""
    variables = {**os.environ, "MARKETPULSE_CACHE_DIR": str(broker_cache)}
    subprocess.run([sys.executable, "-m", "marketpulse.app.warm"], env=variables, timeout=280, check=True)


@pytest.fixture
def up(tmp_path: Path, broker_cache: Path) -> Iterator[Up]:
    with held(Up(tmp_path / "data", broker_cache)) as running:
        yield running


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_up_for_a_while_fills_the_lake_and_stops_cleanly_by_itself(up: Up) -> None:
    up.start("--for", "15s")
    up.until_ready()
    tree = up.tree()
    assert len(tree) >= len(CHILDREN) + 1  # and the JVM
    assert up.process.wait(120) == 0, up.said()
    assert still_running(tree) == []
    assert up.rows("SELECT count(*) AS n FROM trades")[0]["n"] > 0
    assert up.rows("SELECT count(*) AS n FROM bars WHERE timeframe = '1s'")[0]["n"] > 0
    assert "Stopped. Everything is kept in" in up.output.read_text()


def test_every_killed_child_comes_back_and_the_lake_has_every_row_once(up: Up) -> None:
    up.start()
    up.until_ready()
    up.until("there is a page", lambda: b"<html" in up.get("/").lower())
    up.until("the page has symbols", up.symbols)
    for name in CHILDREN:
        up.until("the pipeline moves", up.is_moving)
        before = up.facts(name)["pid"]
        os.kill(before, signal.SIGKILL)
        up.until_back(name, before)
        said_back = f"{name} is back"
        up.until("it is said", lambda said_back=said_back: said_back in up.output.read_text())  # type: ignore[misc]
    up.until("the pipeline moves again", up.is_moving)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.said()
    said = up.output.read_text()
    for name in CHILDREN:
        assert f"{name} ended with SIGKILL; starting it again" in said
        assert f"{name} is back" in said
    for table, key in (("trades", 'partition, "offset", row'), ("bars", "symbol, timeframe, open_time_ns, revision")):
        found = up.rows(f"SELECT count(*) AS n, count(DISTINCT ({key})) AS d FROM {table}")[0]  # noqa: S608
        assert found["n"] == found["d"] > 0, table


def test_a_stop_while_kernels_are_compiled_is_clean_and_takes_seconds(up: Up, tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    up.environment["NUMBA_CACHE_DIR"] = str(kernels)
    up.start()
    up.until("kernels are being compiled", lambda: any(kernels.rglob("*.nbi")))
    assert not up.facts("process-0"), "nothing was left to compile"
    began = time.monotonic()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.said()
    assert time.monotonic() - began < 20
    said = up.output.read_text()
    assert "Stopped. Everything is kept in" in said
    assert "killed" not in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 500 MiB that a test may fill."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=False)


def fill(disk: Path) -> None:
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError:
            return


def stored(up: Up, table: str) -> bool:
    """Whether the lake holds rows of the table by now."""
    return bool(up.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608


def test_on_a_full_disk_everything_rests_and_goes_on_by_itself_with_every_row_once(up: Up, small_disk: Path) -> None:
    up.data_dir = small_disk / "data"
    up.environment["MARKETPULSE_DATA_DIR"] = str(up.data_dir)
    up.start()
    up.until("the pipeline moves", up.is_moving)
    fill(small_disk)
    up.until("it is said", lambda: "goes on by itself" in up.output.read_text())
    said = up.output.read_text()
    assert f"the disk of {up.data_dir} is full" in said
    assert "free some space" in said
    up.until("everything rests", lambda: len(up.tree()) <= 1)  # the nursery waits too
    (small_disk / "filling").unlink()
    up.until("the pipeline moves again", lambda: "broker is back" in up.output.read_text() or up.is_moving())
    up.until("the pipeline moves again", up.is_moving)
    up.until("the lake has rows", lambda: stored(up, "trades") and stored(up, "bars"))
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.said()
    for table, key in (("trades", 'partition, "offset", row'), ("bars", "symbol, timeframe, open_time_ns, revision")):
        found = up.rows(f"SELECT count(*) AS n, count(DISTINCT ({key})) AS d FROM {table}")[0]  # noqa: S608
        assert found["n"] == found["d"] > 0, table
    fill(small_disk)
    refused = subprocess.run(up.command(), capture_output=True, text=True, env=up.environment, timeout=60, check=False)
    assert refused.returncode == 1
    assert "is full" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_second_up_on_the_same_data_is_refused_with_a_clear_message(up: Up) -> None:
    up.start()
    up.until("the first one runs", lambda: (up.data_dir / "run" / "up.lock").is_file())
    second = subprocess.run(up.command(), capture_output=True, text=True, env=up.environment, timeout=60, check=False)
    assert second.returncode == 1
    assert f"already runs on {up.data_dir} (process {up.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_setting_of_the_engine_is_said_once_before_anything_starts(up: Up) -> None:
    up.environment["MARKETPULSE_ENGINE__INDICATORS"] = "sma(20),smaa(5)"
    up.start()
    assert up.process.wait(60) == 2, up.said()
    assert up.output.read_text() == (
        "engine: indicators: unknown indicator 'smaa'; did you mean 'sma'?\n  sma(20),smaa(5)\n          ^\n"
    )
    assert not (up.data_dir / "logs").exists()


def test_a_wrong_setting_that_a_child_finds_is_said_once_and_stops_everything(up: Up) -> None:
    up.environment["MARKETPULSE_SOURCES"] = '{"market": {"kind": "simulate", "start": "soon"}}'
    up.start()
    assert up.process.wait(120) == 2, up.said()
    said = up.output.read_text()
    assert "produce-market cannot begin" in said
    assert said.count("simulate.start 'soon' is not a time") == 1, said
    assert "starting it again" not in said
    assert "change what is said above" in said
    assert not list((up.data_dir / "run").glob("*.json")), "nothing runs any more"


def test_a_killed_supervisor_leaves_no_process_behind_and_the_next_start_goes_on(up: Up) -> None:
    up.start()
    up.until_ready()
    up.until("the pipeline moves", up.is_moving)
    tree = up.tree()
    up.process.kill()
    up.process.wait()
    gone, alive = psutil.wait_procs(tree, timeout=60)
    assert alive == [], f"orphans: {[p.cmdline() for p in alive]}"
    assert len(gone) == len(tree)
    stored = up.rows("SELECT count(*) AS n FROM trades")[0]["n"]
    up.start("--for", "6s")
    assert up.process.wait(120) == 0, up.said()
    assert up.rows("SELECT count(*) AS n FROM trades")[0]["n"] > stored
