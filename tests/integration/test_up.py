"""`marketpulse up` as a person starts it: the whole tree, its page, its lake, its end, and its orphans."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from running_up import Up, held

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

CHILDREN = ("broker", "process-0", "produce-market", "serve", "sink-lake")


@pytest.fixture
def up(tmp_path: Path, broker_cache: Path) -> Iterator[Up]:
    with held(Up(tmp_path / "data", broker_cache)) as running:
        yield running


def stored(up: Up, table: str) -> int:
    return int(up.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608


def interrupt(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.said()


def assert_every_row_is_there_once(up: Up) -> None:
    for table, key in (("trades", 'partition, "offset", row'), ("bars", "symbol, timeframe, open_time_ns, revision")):
        found = up.rows(f"SELECT count(*) AS n, count(DISTINCT ({key})) AS d FROM {table}")[0]  # noqa: S608
        assert found["n"] == found["d"] > 0, table


def test_killed_children_come_back_a_killed_supervisor_leaves_none_and_the_next_start_goes_on_with_every_row_once(
    up: Up,
) -> None:
    """Meanwhile a second `up` on the same data is refused."""
    up.start()
    up.until("it runs", lambda: (up.data_dir / "run" / "up.lock").is_file())
    second = up.refused()
    assert f"already runs on {up.data_dir} (process {up.process.pid})" in second.stderr
    up.until_ready()
    up.until("there is a page", lambda: b"<html" in up.get("/").lower())
    up.until("the page has symbols", up.symbols)
    up.until_status("ok")
    os.kill(up.facts("process-0")["pid"], signal.SIGUSR1)
    log = up.data_dir / "logs" / "process-0.log"
    up.until("its log says where each of its threads stands", lambda: "most recent call first" in log.read_text())
    broker = psutil.Process(up.facts("broker")["pid"])
    for processes, reason in (
        ([psutil.Process(up.facts("process-0")["pid"])], "process-0 does not do its work: it does not answer"),
        ([broker, *broker.children()], "The log (Kafka) does not answer"),
    ):
        for process in processes:
            process.suspend()
        up.until_status("down", reason)
        doctor = up.marketpulse("doctor").stdout
        assert re.search(rf"FAIL +pipeline +down: .*{re.escape(reason)}", doctor), doctor
        for process in processes:
            process.resume()
        up.until_status("ok")
    for name in CHILDREN:
        up.until("the pipeline moves", up.is_moving)
        before = up.facts(name)["pid"]
        os.kill(before, signal.SIGKILL)
        up.until_back(name, before)
        up.until_said(f"{name} is back")
    up.until_status("degraded", f"{CHILDREN[-1]} died (SIGKILL) and was started again")
    up.until("the pipeline moves again", up.is_moving)
    for name in CHILDREN:
        assert f"{name} ended with SIGKILL; starting it again" in up.output.read_text()

    tree = up.tree()
    up.process.kill()
    up.process.wait()
    gone, alive = psutil.wait_procs(tree, timeout=60)
    assert alive == [], f"orphans: {[p.cmdline() for p in alive]}"
    assert len(gone) == len(tree)
    trades = stored(up, "trades")
    up.start("--for", "6s")
    up.until_ready()
    tree = up.tree()
    assert len(tree) >= len(CHILDREN) + 1  # and the JVM
    assert up.process.wait(120) == 0, up.said()
    assert [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert stored(up, "trades") > trades
    assert_every_row_is_there_once(up)
    assert "Stopped. Everything is kept in" in up.output.read_text()


def test_a_stop_while_kernels_are_compiled_is_clean(up: Up, tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    up.environment["NUMBA_CACHE_DIR"] = str(kernels)
    up.start()
    up.until("kernels are being compiled", lambda: any(kernels.rglob("*.nbi")))
    assert not up.facts("process-0"), "nothing was left to compile"
    interrupt(up)
    said = up.output.read_text()
    assert ("Stopped. Everything is kept in" in said, "killed" in said) == (True, False), said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 500 MiB that a test may fill."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=False)


def fill(disk: Path) -> None:
    with (disk / "filling").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65_536))


def test_on_a_full_disk_everything_rests_and_goes_on_by_itself_with_every_row_once(up: Up, small_disk: Path) -> None:
    up.data_dir = small_disk / "data"
    up.environment["MARKETPULSE_DATA_DIR"] = str(up.data_dir)
    up.start()
    up.until("the pipeline moves", up.is_moving)
    fill(small_disk)
    for words in ("goes on by itself", f"the disk of {up.data_dir} is full", "free some space"):
        up.until_said(words)
    up.until("everything rests", lambda: len(up.tree()) <= 1)  # the nursery waits too
    (small_disk / "filling").unlink()
    up.until("the broker is back", lambda: "broker is back" in up.output.read_text() or up.is_moving())
    up.until("the pipeline moves again", up.is_moving)
    up.until("the lake has rows", lambda: stored(up, "trades") and stored(up, "bars"))
    interrupt(up)
    assert_every_row_is_there_once(up)
    fill(small_disk)
    assert "is full" in up.refused().stderr


def test_a_wrong_setting_is_said_once_before_anything_starts_or_by_a_child_and_stops_everything(up: Up) -> None:
    up.environment["MARKETPULSE_ENGINE__INDICATORS"] = "sma(20),smaa(5)"
    up.start()
    assert up.process.wait(60) == 2, up.said()
    told = "MARKETPULSE_ENGINE__INDICATORS: engine: indicators: unknown indicator 'smaa'; did you mean 'sma'?\n  sma(20),smaa(5)\n          ^\n"
    assert up.output.read_text() == told
    assert not (up.data_dir / "logs").exists()

    del up.environment["MARKETPULSE_ENGINE__INDICATORS"]
    up.environment["MARKETPULSE_SOURCES"] = '{"market": {"kind": "simulate", "start": "soon"}}'
    up.start()
    assert up.process.wait(120) == 2, up.said()
    said = up.output.read_text()
    texts = ("produce-market cannot begin", "change what is said above", "starting it again")
    assert [text in said for text in texts] == [True, True, False], said
    assert said.count("simulate.start 'soon' is not a time") == 1, said
    assert not list((up.data_dir / "run").glob("*.json")), "nothing runs any more"
