"""Two sources of the same symbols on the real broker, and `select` between them: processes are killed, and each trade of
the one that owns its time stands in `market` once."""

import json
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bare_clients import BareTopic
from feed_processes import produce, select
from forked import Forked
from given_settings import outside
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("kernels")]

FIRST, SECOND = "simulate-first", "simulate-second"
Row = dict[str, Any]


class Stage:
    """The processes of a test, each killed and started by its name."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self._folder = settings, folder
        self._running: dict[str, Forked] = {}

    def start(self, *names: str) -> None:
        for name in names:
            work = (select,) if name == "select" else (produce, self.settings.sources[name], name)
            self._running[name] = Forked(
                work[0], self.settings, *work[1:], environment=outside(), cwd=self._folder,
                output=self._folder / f"{name}.log",
            )  # fmt: skip

    def kill(self, name: str) -> None:
        self._running[name].kill()
        self._running.pop(name).wait()

    def stop(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGTERM)
        assert self._running.pop(name).wait(60) == 0, self.said()

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def said(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self._folder.glob("*.log"))

    def rows(self, topic: str = "market") -> list[Row]:
        found: list[Row] = []
        for record in BareTopic.of(self.settings, topic).committed():
            if record.value.startswith(b"{"):
                found.append(record.row)
            else:
                rows = pa.ipc.open_stream(record.value).read_all().to_pylist()
                found += [{name: value for name, value in row.items() if value is not None} for row in rows]
        return found

    def switches(self) -> list[Row]:
        return [row for row in self.rows() if row["type"] == "switch"]

    def until(self, what: str, condition: Callable[[], Any], within_s: float = 150) -> None:
        give_up = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < give_up, f"not within {within_s} s: {what}\n{self.said()}"
            time.sleep(1)


@pytest.fixture(params=["json", "arrow"])
def stage(kafka_settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    settings = Settings.model_validate({
        **kafka_settings.model_dump(),
        "kafka": {**kafka_settings.kafka.model_dump(), "wire": request.param},
        "sources": {
            "first": {"kind": "simulate", "symbols": 4, "rate": 40, "quotes": False, "seed": 1},
            "second": {"kind": "simulate", "symbols": 4, "rate": 40, "quotes": False, "seed": 2},
        },
        "failover": {
            "groups": {"both": {"sources": ["first", "second"]}},
            "after_s": 20, "lost_after_s": 4, "back_after_s": 1, "snapshot_records": 500,
        },
    })  # fmt: skip
    ensure_topics(settings)
    running = Stage(settings, tmp_path)
    try:
        yield running
    finally:
        running.end()


def owners(switches: list[Row]) -> dict[str, list[tuple[int, str]]]:
    """By symbol: from which event time on it is whose, as the `switch` records say it."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(lambda: [(0, FIRST)])
    for row in switches:
        stretches = found[row["symbol"]]
        while stretches and stretches[-1][0] >= row["event_time_ns"]:
            stretches.pop()
        stretches.append((row["event_time_ns"], row["source"]))
    return found


def owner_at(stretches: list[tuple[int, str]], time_ns: int) -> str:
    return next(source for begins, source in reversed(stretches) if begins <= time_ns)


def test_whoever_dies_each_trade_of_its_times_owner_stands_in_the_log_once(stage: Stage) -> None:
    def all_of(source: str) -> bool:
        symbols = {row["symbol"] for row in stage.rows() if row["type"] == "trade"}
        stretches = owners(stage.switches())
        return len(symbols) == 4 and all(stretches[symbol][-1][1] == source for symbol in symbols)

    stage.start("first", "second", "select")
    stage.until("the first feeds all", lambda: all_of(FIRST))
    stage.kill("select")
    time.sleep(1)
    stage.start("select")
    time.sleep(3)
    stage.kill("first")
    stage.until("the second took over", lambda: all_of(SECOND))
    stage.kill("select")
    stage.start("select", "first")
    stage.until("the first is back", lambda: all_of(FIRST))
    time.sleep(2)
    stage.kill("select")
    stage.stop("first")
    stage.stop("second")
    stage.start("select")
    stage.until("all is taken", lambda: _taken(stage))
    stage.stop("select")
    market, feeds = stage.rows(), stage.rows("feeds")
    stretches = owners(stage.switches())
    came = [row for row in market if row["type"] == "trade"]
    assert {row["source"] for row in came} == {FIRST, SECOND}
    expected = [
        row for row in feeds
        if row["type"] == "trade" and owner_at(stretches[row["symbol"]], row["event_time_ns"]) == row["source"]
    ]  # fmt: skip
    assert sorted(map(_text, came)) == sorted(map(_text, expected))
    assert {row["reason"] for row in stage.switches()} <= {"lost", "quiet", "back", "goodbye"}
    assert {row["source"] for row in market if row["type"] == "heartbeat"} == {FIRST, SECOND}


def _text(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def _taken(stage: Stage) -> bool:
    """Whether the goodbyes, which were written last, have come through in all partitions."""
    return len([row for row in stage.rows() if row["type"] == "goodbye"]) >= 2 * stage.settings.kafka.partitions
