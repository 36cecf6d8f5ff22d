"""How long a trade takes to become a row that a reader sees, beside the same client's way from producer to consumer.

    python bench/latency.py [--rates 10000 50000] [--seconds 15] [--warm 5] [--symbols 100] [--rounds 3]

A source writes on a fixed schedule, and every latency counts from when a trade was due, not from when it was
sent. Full work: two timeframes (`1t`, where each trade closes a bar, and `1s`), the default indicators, exactly once.
A row of `1t` counts from its trade, a row of `1s` from the trade whose time closed it, a live row from its
symbol's newest trade. Percentiles are of all rows behind the first seconds; the best of some rounds is told, by the
99th of the uncommitted rows (of the live ones, where these are asked for), and the spread over all of them.
"""

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from arrivals import BAR, FORMING, TICK_BAR, TRADE, Arrivals, Ints, Isolation, watch
from own_broker import own_broker
from paced import Schedule, send, send_hello
from results import report

from marketpulse.app.engine_config import engine_config
from marketpulse.app.lifecycle import keep_out_of_the_collector
from marketpulse.app.warm import compile_parts
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from marketpulse.telemetry import COMMIT_SECONDS

LOOK_S = 0.02  # shorter than between two commits
CATCH_UP_S = 90.0
QUIET_S = 2.0
PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9, "max": 100}
TO_MS = 1e-6


@dataclass(frozen=True, slots=True)
class Reader:
    """What a reader of a topic looks for; `whole`: it sees a row of each trade."""

    topic: str
    isolation: Isolation
    patterns: dict[str, str]
    whole: bool = True


BARE = Reader("market", "read_uncommitted", {"bare": TRADE})
CLOSED = (
    BARE,
    Reader("bars", "read_uncommitted", {"1t_uncommitted": TICK_BAR, "bar_uncommitted": BAR}),
    Reader("bars", "read_committed", {"1t_committed": TICK_BAR, "bar_committed": BAR}),
)
LIVE = (BARE, Reader("live", "read_uncommitted", {"live": FORMING}, whole=False))


def work(settings: Settings, owned: Any, over: Any, answer: Connection) -> None:
    """The engine's worker until `over` is set; then its commits: (n, 2), when each was seen to be done, and its seconds."""
    compile_parts("engine", "wire")
    keep_out_of_the_collector()
    worker = Worker(settings, engine_config(settings.engine), 0, SystemClock())
    worker.start()
    commits: list[tuple[float, float]] = []
    looked, count, total = 0.0, 0.0, 0.0
    while not over.is_set():
        worker.turn()
        owned.value = len(worker.partitions)
        if (now := time.time()) - looked >= LOOK_S:
            looked = now
            values = {s.name.rpartition("_")[2]: s.value for metric in COMMIT_SECONDS.collect() for s in metric.samples}
            if values["count"] > count:
                commits.append((now, (values["sum"] - total) / (values["count"] - count)))
                count, total = values["count"], values["sum"]
    worker.stop()
    answer.send(np.array(commits).reshape(-1, 2))


class Stage:
    """The processes of one run."""

    def __init__(self, settings: Settings, readers: tuple[Reader, ...]) -> None:
        self.settings, self._readers = settings, readers
        self._context = multiprocessing.get_context("spawn")
        self._over = self._context.Event()
        self._owned = self._context.Value("i", 0)
        self._seen = [self._context.Value("q", 0) for _ in readers]
        self._answers: list[Connection] = []
        self._processes: list[Any] = []
        ensure_topics(settings)
        send_hello(settings)
        for reader, seen in zip(readers, self._seen, strict=True):
            self._start(watch, reader.topic, reader.isolation, reader.patterns, seen, self._over)
        for answer in self._answers:
            answer.recv()
        self._start(work, self._owned, self._over)
        while self._owned.value < settings.kafka.partitions:
            time.sleep(0.01)

    def _start(self, target: Any, *arguments: Any) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=target, args=(self.settings, *arguments, theirs), daemon=True)
        process.start()
        self._answers.append(ours)
        self._processes.append(process)

    def play(self, schedule: Schedule) -> tuple[Schedule, dict[str, Arrivals], np.ndarray]:
        """Write the trades; the schedule as it was, what all readers saw, and the worker's commits.

        Raises TimeoutError when rows are missing.
        """
        begun, theirs = self._context.Pipe(duplex=False)
        source = self._context.Process(target=send, args=(self.settings, schedule, theirs), daemon=True)
        source.start()
        schedule = begun.recv()
        source.join()
        deadline = time.monotonic() + CATCH_UP_S
        whole = [seen for reader, seen in zip(self._readers, self._seen, strict=True) if reader.whole]
        while min(seen.value for seen in whole) < schedule.count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"of {schedule.count} trades the readers saw {[s.value for s in whole]}")
            time.sleep(0.05)
        self._wait_until_quiet()
        self._over.set()
        *found, commits = [answer.recv() for answer in self._answers]
        for process in self._processes:
            process.join()
        return schedule, {name: arrivals for part in found for name, arrivals in part.items()}, commits

    def _wait_until_quiet(self) -> None:
        """Readers count all rows of a topic, those of other timeframes too; `market` never rests."""
        rows = [s for reader, s in zip(self._readers, self._seen, strict=True) if reader is not BARE]
        before: list[int] = []
        while before != (before := [seen.value for seen in rows]):
            time.sleep(QUIET_S)


def closing_ns(arrivals: Arrivals, schedule: Schedule, settings: Settings) -> Ints:
    """When the trade was due whose time closed each bar: the first of its partition that late. -1: none was."""
    due, of = schedule.due_ns(), schedule.partitions(settings.kafka.partitions)
    out = np.full(len(arrivals.seen_ns), -1)
    late = arrivals.known_by_ns + settings.engine.lateness_ms * 1_000_000
    for partition in np.unique(arrivals.partition):
        own, here = due[of == partition], arrivals.partition == partition
        place = np.searchsorted(own, late[here])
        out[here] = np.append(own, -1)[place]
    return out


def figures(stage: Stage, schedule: Schedule, warm_s: float) -> dict[str, float]:
    """One run, in milliseconds by name; what was due in its first seconds is left out."""
    schedule, arrivals, commits = stage.play(schedule)
    warm_ns = schedule.start_ns + round(warm_s * 1e9)
    out: dict[str, float] = {}
    for name, rows in arrivals.items():
        if name.startswith(("bare", "1t")) and len(rows.seen_ns) != schedule.count:
            raise AssertionError(f"{name}: {len(rows.seen_ns)} rows of {schedule.count} trades")
        since = closing_ns(rows, schedule, stage.settings) if name.startswith("bar_") else rows.known_by_ns
        latency_ms = (rows.seen_ns - since)[since >= warm_ns] * TO_MS
        for percentile, share in PERCENTILES.items():
            out[f"{name}_{percentile}"] = float(np.percentile(latency_ms, share))
    if "1t_committed" in arrivals:
        end_ns = arrivals["1t_committed"].seen_ns[-1]
        while_busy = commits[(commits[:, 0] >= warm_ns / 1e9) & (commits[:, 0] <= end_ns / 1e9)]
        if len(while_busy) < 2:
            raise AssertionError("the worker made fewer than two commits while trades came: ask for more --seconds")
        own_ms = while_busy[:, 1] * 1_000
        out["commit_mean"], out["commit_p99"] = float(own_ms.mean()), float(np.percentile(own_ms, 99))
        out["commit_interval"] = float(np.diff(while_busy[:, 0]).mean() * 1_000)
    return out


def promised(found: dict[str, float]) -> Iterator[tuple[str, str, float]]:
    """Which figures are promised to stay below what: name, the promise in words, milliseconds."""
    uncommitted = 2 * found["bare_p99"] + found["commit_mean"]
    yield "1t_uncommitted_p99", "2.0 x bare p99 + a commit's mean time", uncommitted
    committed = uncommitted + 1.5 * found["commit_interval"]
    yield "1t_committed_p99", "2.0 x bare p99 + a commit's mean time + 1.5 x the commit interval", committed


def tell(rounds: list[dict[str, float]], best_by: str, only: tuple[str, ...], rate: int) -> None:
    """The best round's figures that begin with one of `only`, and how far all rounds lie apart."""
    best = min(rounds, key=lambda found: found[best_by])
    load_name = f"{rate // 1_000}k" if rate >= 1_000 else str(rate)
    for name, value in best.items():
        if not name.startswith(only):
            continue
        bare = best.get(f"bare_{name.rpartition('_')[2]}")
        beside = bare is not None and not name.startswith(("bare", "commit"))
        values = [found[name] for found in rounds]
        report({
            "name": f"latency_{name}_{load_name}", "value": round(value, 2), "unit": "ms",
            "ratio": round(value / bare, 2) if beside and bare else None,
            "ratio_to": f"{bare:.2f} ms from producer to consumer" if beside else None,
            "spread": [round(min(values), 2), round(max(values), 2)],
        })  # fmt: skip
    for name, words, limit in promised(best) if best_by in best and "1t_uncommitted_p99" in best else ():
        report({
            "name": f"latency_{name}_{load_name}_to_limit", "value": round(best[name], 2), "unit": "ms",
            "ratio": round(best[name] / limit, 3), "ratio_to": f"{limit:.2f} ms: {words}",
        })  # fmt: skip


def measure(base: Settings, given: argparse.Namespace, rate: int, readers: tuple[Reader, ...], live_per_s: float) -> list[dict[str, float]]:  # fmt: skip
    """All rounds of one load, each on topics of its own."""
    rounds = []
    for turn in range(given.rounds):
        name = f"{'live' if readers is LIVE else 'closed'}-{rate}-{turn}-"
        settings = base.model_copy(update={
            "kafka": base.kafka.model_copy(update={"topic_prefix": name}),
            "engine": base.engine.model_copy(update={"timeframes": ("1t", "1s")}),
            "process": base.process.model_copy(update={"live_per_s": live_per_s}),
        })  # fmt: skip
        count = round((given.warm + given.seconds) * rate)
        stage = Stage(settings, readers)
        rounds.append(figures(stage, Schedule(0, rate, count, given.symbols), given.warm))
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--warm", type=float, default=5, help="seconds before them that are not counted")
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with own_broker() as base:
        for rate in given.rates:
            found = measure(base, given, rate, CLOSED, base.process.live_per_s)
            tell(found, "1t_uncommitted_p99", ("bare", "1t", "bar_", "commit"), rate)
        found = measure(base, given, given.rates[0], LIVE, 1e9)
        tell(found, "live_p99", ("live",), given.rates[0])


if __name__ == "__main__":
    main()
