"""Which fault comes when: a pure function of the seed, the length, the kinds and the processes that there are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

KINDS: dict[str, str] = {
    "kill": "a process is killed with -9, at times again and again as soon as it is back",
    "stop": "a process is stopped (SIGSTOP) for a while",
    "broker": "Kafka is killed with -9 and started again, or stopped for a while",
    "delay": "between Kafka and its clients nothing passes for a while",
    "cut": "all connections to Kafka are cut, again and again for a while",
    "late": "requests of transactions are lost, come late or come twice for a while",
    "disk": "the disk of the data directory, or of the stores, is full for a while",
    "slow": "the disk under Kafka's log is kept busy with forced writes for a while",
    "store": "the stores take no writes for a while",
    "clock": "the processes' clock jumps and comes back after a while",
    "memory": "a process gets no more memory for a while",
    "bytes": "newest files are torn or have flipped bits, as after a crash",
    "poison": "records that cannot be read come into the log and into a source's topic",
    "twice": "a second `up` is started on the same data",
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
