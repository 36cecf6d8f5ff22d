"""A worker of the log with the smallest engine that has a state: it adds numbers up, and writes each sum."""

import itertools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bare_clients import BareTopic
from marketpulse.kafka.snapshot import Pointer
from marketpulse.kafka.transaction import BEGINNING, Taken, TransactionalLog
from marketpulse.settings import Settings

MOST = 4  # records of a transaction
Numbers = Mapping[int, Sequence[int]]  # by partition


def draw_numbers(partitions: int, count: int, seed: int) -> Numbers:
    """So many numbers for each partition."""
    draw = random.Random(seed)
    return {partition: [draw.randrange(1, 1_000) for _ in range(count)] for partition in range(partitions)}


def write_numbers(market: BareTopic, numbers: Numbers, begin: int = 0, end: int | None = None) -> None:
    """Write them, or a part of each partition's, outside transactions: the n-th has offset n."""
    for partition, those in numbers.items():
        market.write([str(number).encode() for number in those[begin:end]], partition)


def sums_of(numbers: Numbers) -> dict[int, list[int]]:
    """What a worker has to write."""
    return {partition: list(itertools.accumulate(those)) for partition, those in numbers.items()}


def written_sums(bars: BareTopic, partitions: Iterable[int]) -> dict[int, list[int]]:
    """What readers of committed rows see, in order."""
    found: dict[int, list[int]] = {partition: [] for partition in partitions}
    for record in bars.committed():
        found[record.partition].append(int(record.value))
    return found


@dataclass(slots=True)
class Sum:
    """The state of a partition; the sums of records before `muted_until` are written."""

    total: int = 0
    next_offset: int = 0
    muted_until: int = 0
    pointer: Pointer | None = None
    commits: int = 0


class SummingWorker:
    """A LogWorker (app.pipeline.working). `done` is told when all numbers are committed or `on_take` when partitions come."""

    def __init__(
        self,
        settings: Settings,
        numbers: Numbers,
        slot: int = 0,
        *,
        done: Callable[[], None] = lambda: None,
        on_take: Callable[[], None] = lambda: None,
        transaction_s: float = 5,
    ) -> None:
        self._ends = {partition: len(those) for partition, those in numbers.items()}
        self._done, self._on_take = done, on_take
        self.sums: dict[int, Sum] = {}
        self.log = TransactionalLog(settings, slot, self._take, self._give, self._places, transaction_s=transaction_s)

    def start(self) -> None:
        self.log.start()

    def turn(self) -> int:
        taken = 0
        for records in self.log.poll(0.02, MOST):
            state = self.sums[records.partition]
            for i in range(len(records)):
                state.total += int(records.value(i) or b"")
                state.next_offset = int(records.offsets[i]) + 1
                if state.next_offset > state.muted_until:
                    self.log.write("bars", [(None, str(state.total).encode())], records.partition)
            taken += len(records)
        self.log.serve()
        self.log.commit()
        if {partition: state.next_offset for partition, state in self.sums.items()} == self._ends:
            self._done()
        return taken

    def stop(self) -> None:
        self.close()

    def close(self) -> None:
        self.log.close()

    def _take(self, partitions: Sequence[Taken]) -> dict[int, int]:
        self._on_take()
        for taken in partitions:
            state = self.sums[taken.partition] = Sum(muted_until=taken.committed or 0, pointer=taken.pointer)
            if taken.pointer is not None:
                state.total = int(self.log.read_snapshot(taken.partition, taken.pointer))
                state.next_offset = taken.pointer.covered
        return {taken.partition: self.sums[taken.partition].next_offset or BEGINNING for taken in partitions}

    def _give(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self.sums.pop(partition, None)

    def _places(self) -> dict[int, tuple[int, Pointer | None]]:
        """Every second commit of a partition saves its state; the others leave something to replay."""
        places: dict[int, tuple[int, Pointer | None]] = {}
        for partition, state in self.sums.items():
            if state.next_offset > state.muted_until:
                if state.commits % 2 == 0:
                    state.pointer = self.log.write_snapshot(partition, state.next_offset, str(state.total).encode())
                state.commits += 1
                state.muted_until = state.next_offset
                places[partition] = (state.next_offset, state.pointer)
        return places
