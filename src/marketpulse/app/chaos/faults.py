"""The faults themselves: each a generator that injects when it begins, says what it did, waits, and undoes it at its end.

    fault(pipeline, step) -> yields what it injected, then None while it lasts -> its `finally` undoes it, whatever happens

Who drives them closes each one, so nothing stays stopped, full or held back. NotInjected: it cannot be had here.
"""

import contextlib
import errno
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from marketpulse.app.chaos.own import OwnPipeline
from marketpulse.app.chaos.proxy import KafkaProxy, Schedule
from marketpulse.app.chaos.running import NotInjected, RunningPipeline
from marketpulse.app.chaos.schedule import Step
from marketpulse.app.exit_codes import FAILED

Fault = Callable[[RunningPipeline, Step], Iterator[str | None]]
_BACK_S = 40.0
_MEMORY_LEFT = 4 << 20
_LATE_REQUESTS = 6
_IDLE_S = 8.0  # within which a moment comes when no file of the stores is open


def _wait(seconds: float) -> Iterator[None]:
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        yield


def _kill(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    for left in reversed(range(step.times)):
        process = pipeline.process(step.process)
        process.kill()
        yield f"{step.process} (process {process.pid})"
        ends_s = time.monotonic() + _BACK_S
        while left and time.monotonic() < ends_s:
            with contextlib.suppress(NotInjected):
                if pipeline.process(step.process).pid != process.pid:
                    break
            yield None


def _suspended(process: psutil.Process, what: str, for_s: float) -> Iterator[str | None]:
    process.suspend()
    try:
        yield f"{what} for {for_s} s"
        yield from _wait(for_s)
    finally:
        with contextlib.suppress(psutil.Error):
            process.resume()


def _own(pipeline: RunningPipeline, why_not: str) -> OwnPipeline:
    """The pipeline as one of chaos' own. Raises NotInjected where it is somebody's."""
    if not isinstance(pipeline, OwnPipeline):
        raise NotInjected(why_not)
    return pipeline


def _stop(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    process = pipeline.process(step.process)
    yield from _suspended(process, f"{step.process} (process {process.pid})", step.for_s)


def _broker(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    java = pipeline.java()
    if step.pick % 3 == 0:
        yield from _suspended(java, "stopped", step.for_s)
        return
    java.kill()
    try:
        yield f"killed (process {java.pid}), started again {step.for_s} s later"
        yield from _wait(step.for_s)
        yield from _start_again(pipeline)
    finally:
        pipeline.start_kafka().result()


def _start_again(pipeline: RunningPipeline) -> Iterator[None]:
    """Start a killed Kafka, while other faults go on."""
    starting = pipeline.start_kafka()
    while not starting.done():
        yield


def _proxy(pipeline: RunningPipeline) -> KafkaProxy:
    return _own(pipeline, "no proxy stands between this pipeline and its log").proxy


def _delay(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    proxy = _proxy(pipeline)
    proxy.hold()
    try:
        yield f"nothing passed for {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        proxy.release()


def _cut(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    proxy = _proxy(pipeline)
    yield f"{proxy.cut() // 2} connections, and all new ones for {step.for_s} s"
    for _ in _wait(step.for_s):
        proxy.cut()
        yield None


def _late(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    proxy = _proxy(pipeline)
    proxy.schedule = Schedule(step.pick, most=_LATE_REQUESTS)
    try:
        yield f"at most {_LATE_REQUESTS} requests within {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        proxy.schedule = Schedule(0, most=0)
        proxy.deliver_all()


def _disk(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    disks = pipeline.disks()
    disk = disks[step.pick % len(disks)]
    filling = disk / "filling"
    try:
        with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        yield f"{disk.name} was full for {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        filling.unlink(missing_ok=True)


def _slow(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    over, path = threading.Event(), _own(pipeline, "other programs use this disk too").kafka_home / "busy"

    def write() -> None:
        with path.open("wb") as file:
            while not over.is_set():
                file.seek(0)
                file.write(os.urandom(1 << 20))
                file.flush()
                os.fsync(file.fileno())

    writer = threading.Thread(target=write, name="chaos disk", daemon=True)
    writer.start()
    try:
        yield f"forced writes one after the other for {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        over.set()
        writer.join()
        path.unlink(missing_ok=True)


def _store(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    disk = next((d for d in pipeline.disks() if d.name == "stores"), None)
    if disk is None:
        raise NotInjected("the stores are on no disk of their own")
    for _ in _wait(_IDLE_S):
        if _remount(disk, "ro"):  # busy as long as a file is open for writing
            break
        yield None
    else:
        raise NotInjected("the stores were being written all the time")
    try:
        yield f"no writes for {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        _remount(disk, "rw")


def _remount(disk: Path, how: str) -> bool:
    done = subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=False, capture_output=True)
    return done.returncode == 0


def _clock(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    if not pipeline.has_clock:
        raise NotInjected("libfaketime is not on this machine")
    clock, jump_s = _own(pipeline, "its processes have the machine's clock").clock, (step.pick % 241) - 120
    clock.write_text(f"{jump_s:+d}")
    try:
        yield f"by {jump_s:+d} s for {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        clock.write_text("+0")


def _memory(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    process = pipeline.process(step.process)
    if not hasattr(process, "rlimit"):
        raise NotInjected("this system does not limit a running process")
    before = process.rlimit(psutil.RLIMIT_AS)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + _MEMORY_LEFT, before[1]))
    try:
        yield f"{step.process} (process {process.pid}) for {step.for_s} s"
        yield from _wait(step.for_s)
    finally:
        with contextlib.suppress(psutil.Error, OSError):
            process.rlimit(psutil.RLIMIT_AS, before)


def _bytes(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    """What a crash leaves: a run file half written, half a file in a store that no commit names, an index of Kafka's that
    has flipped bits (it is made again from the log)."""
    draw = random.Random(step.pick)
    if step.pick % 3 == 0:
        run_file = pipeline.run / f"{step.process}.json"
        process = pipeline.process(step.process)
        process.kill()
        content = run_file.read_bytes()
        run_file.write_bytes(content[: len(content) // 2])
        yield f"{run_file.name} torn as {step.process} was killed"
    elif step.pick % 3 == 1:
        files = sorted(Path(pipeline.settings.lake_url()).rglob("*.parquet"), key=lambda path: path.stat().st_mtime)
        if not files:
            raise NotInjected("the lake has no file yet")
        content = files[-1].read_bytes()
        torn = files[-1].with_name(f"torn-{step.number}.parquet")
        try:
            torn.write_bytes(content[: draw.randrange(len(content))])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EROFS):
                raise
            raise NotInjected("the lake takes no file at this moment") from None
        yield f"half a copy of the lake's newest file beside it ({torn.parent.name})"
    else:
        own = _own(pipeline, "Kafka's files are not chaos' own")
        own.java().kill()
        own.broker.wait(30)
        try:
            for index in own.kafka_home.rglob("market-*/*index"):
                bits = bytearray(index.read_bytes())
                for _ in range(8 if bits else 0):
                    bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
                index.write_bytes(bits)
            yield "Kafka was killed, and bits of the indexes of `market` flipped"
            yield from _start_again(own)
        finally:
            own.start_kafka().result()


def _poison(pipeline: RunningPipeline, step: Step) -> Iterator[str | None]:
    topics, records = pipeline.poison_topics(), 1 + step.pick % 4
    for n in range(records):
        pipeline.produce(topics[(step.pick + n) % len(topics)], f"{{poison {step.number}.{n}".encode())
    yield f"{records} records"


def _twice(pipeline: RunningPipeline, _: Step) -> Iterator[str | None]:
    own = _own(pipeline, "it could take the place of an `up` that was just stopped")
    first = own.up
    second = own.run_command("up", "--no-browser", "--port", "0", "--for", "1s")
    try:
        yield "a second `up`"
        while (code := second.poll()) is None:
            yield None
        if code != FAILED and own.up is first:  # else it may have come between the first one and the next
            raise RuntimeError(f"a second `up` on the same data ended with code {code}, not {FAILED}")
    finally:
        if second.poll() is None:
            second.kill()


FAULTS: dict[str, Fault] = {
    "kill": _kill, "stop": _stop, "broker": _broker, "delay": _delay, "cut": _cut, "late": _late, "disk": _disk, "slow": _slow,
    "store": _store, "clock": _clock, "memory": _memory, "bytes": _bytes, "poison": _poison, "twice": _twice,
}  # fmt: skip
