"""Which fault comes when: a pure function of the seed, the length, the kinds and the processes that there are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

KINDS: dict[str, str] = {
    "kill": "kill a process with -9, sometimes three times in a row",
    "stop": "stop a process (SIGSTOP) for some seconds",
    "broker": "kill Kafka with -9 and restart it, or stop it for some seconds",
    "delay": "hold all traffic between Kafka and its clients",
    "cut": "cut all connections to Kafka, repeatedly",
    "late": "drop, delay or repeat requests of transactions",
    "disk": "fill the disk of the data directory or of the stores",
    "slow": "keep the disk of Kafka's log busy with forced writes",
    "store": "make the stores read-only",
    "clock": "shift the clock of the processes, and back",
    "memory": "limit the memory of a process to what it has",
    "bytes": "tear newest files or flip bits in them, as after a crash",
    "poison": "write unreadable records to the log and to a source's topic",
    "twice": "start a second `up` on the same data",
}
"""What there is, by name, in words."""

_WEIGHTS = {"kill": 5, "stop": 3, "broker": 3, "late": 2}  # of the others 1
_LONGEST_S = {"stop": 5.0, "broker": 4.0, "delay": 4.0, "cut": 2.0, "late": 6.0, "slow": 5.0}  # of the others 3
_GAP_S = (1.0, 7.0)
_RUSH = 0.15  # how often a killed process is killed two times more: then the supervisor calls it failing


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: when it begins, its kind, which process it meets (kinds that meet none: any), for how long, how often. `pick`
    decides what else is open."""

    number: int
    at_s: float
    kind: str
    process: str
    for_s: float
    times: int
    pick: int

    def __str__(self) -> str:
        detail = {
            "kill": f"{self.process}{f', {self.times} times' if self.times > 1 else ''}",
            "bytes": f"beside {self.process}",
            "poison": "",
            "twice": "",
        }
        of_process = f"{self.process}, " if self.kind in ("stop", "memory") else ""
        return f"{self.number:3}  {self.at_s:7.1f} s  {self.kind:7} " + detail.get(
            self.kind, f"{of_process}for {self.for_s:.1f} s"
        )


def draw_schedule(seed: int, minutes: float, kinds: Sequence[str], processes: Sequence[str]) -> list[Step]:
    """Steps in order of time, the first within two seconds and at least one."""
    draw = random.Random(seed)
    steps: list[Step] = []
    at_s = draw.uniform(0.5, 2.0)
    while not steps or at_s < 60 * minutes:
        kind = draw.choices(kinds, [_WEIGHTS.get(name, 1) for name in kinds])[0]
        steps.append(
            Step(
                len(steps) + 1, round(at_s, 1), kind, draw.choice(processes),
                for_s=round(draw.uniform(0.3, _LONGEST_S.get(kind, 3.0)), 1),
                times=3 if draw.random() < _RUSH else 1, pick=draw.randrange(1_000),
            )
        )  # fmt: skip
        at_s += draw.uniform(*_GAP_S)
    return steps
