"""One partition's commit log, from the writer's side: whose turn it is, what is visible, what is left over.

The steps of a flush, and what a process killed between two of them leaves:

    1. claim     (once per owner)   an empty commit; from here on every earlier owner's commit fails
    2. clean     (once per owner)   data files that no commit names are deleted
    3. data files                   left over: files without a commit, cleaned by the next owner
    4. commit                       the rows are stored, their offsets with them
    5. delete what compaction replaced    left over: files that a commit removed, cleaned as well
"""

import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from marketpulse.errors import Fatal, Retryable
from marketpulse.model.commit_log import (
    COMMITS_DIRECTORY,
    COMPLETE_EVERY,
    PartitionState,
    StoredFile,
    commit_name,
    commit_numbers,
    decode_commit,
    encode_commit,
    parse_partition_name,
    partition_name,
    wanted,
)
from marketpulse.sinks.filing import filed_for
from marketpulse.sinks.storage import Storage

READERS = 8  # partitions read at a time: a bucket's answers take their time
_ATTEMPTS = 8


def read_states(storage: Storage) -> dict[tuple[str, int], PartitionState]:
    """Every partition's state, as the store holds it now."""
    names = sorted(n for n in storage.names(COMMITS_DIRECTORY) if n.rpartition("-")[2].isdigit())
    with ThreadPoolExecutor(READERS) as pool:
        states = pool.map(lambda name: read_state(storage, name), names)
        return {parse_partition_name(name): state for name, state in zip(names, states, strict=True)}


def read_state(storage: Storage, name: str) -> PartitionState:
    """The state of the partition with this name. Raises Retryable when its log moves on too fast."""
    directory = f"{COMMITS_DIRECTORY}/{name}"
    for _ in range(_ATTEMPTS):
        state = PartitionState()
        try:
            for number in wanted(commit_numbers(storage.names(directory))):
                path = f"{directory}/{commit_name(number)}"
                state = state.after(decode_commit(storage.read(path), path))
        except FileNotFoundError:
            continue  # its owner restated the log meanwhile and removed this commit
        return state
    raise Retryable(f"the commits in {directory} have gaps: trying again")


class PartitionLog:
    """The log of one partition that this process owns."""

    def __init__(self, storage: Storage, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.name = partition_name(topic, partition)
        self._storage = storage
        self._writer = uuid.uuid4().hex
        self.state = PartitionState()

    def claim(self) -> None:
        """Take the partition over: whoever held it before cannot commit any more. Raises Retryable."""
        for _ in range(_ATTEMPTS):
            self.state = read_state(self._storage, self.name)
            if self._append(self.state.next_offsets, (), ()):
                return
        raise Retryable(f"another process keeps writing {self.name}: trying again")

    def commit(self, next_offsets: Mapping[str, int], added: Iterable[StoredFile], removed: Iterable[str] = ()) -> None:
        """Make files visible and move the offsets, in one step.

        Raises Retryable when another process took the partition over: nothing was committed.
        """
        if not self._append(next_offsets, added, removed):
            raise Retryable(f"another process took {self.name} over: reading again from where it stands")

    def left_over(self, paths: Iterable[str]) -> list[str]:
        """Those of the data files `paths` that are this partition's and that no commit names."""
        return [p for p in paths if filed_for(p) == self.name and p not in self.state.files]

    def clean(self, paths: Iterable[str]) -> None:
        """Delete what interrupted flushes of this partition left behind. Only after `claim`."""
        self._storage.delete(self.left_over(paths))
        self._storage.clear_interrupted(self.name)

    def _append(self, next_offsets: Mapping[str, int], added: Iterable[StoredFile], removed: Iterable[str]) -> bool:
        """Write the next commit; False when that number is taken by another writer."""
        commit = self.state.next_commit(next_offsets, added, removed, self._writer)
        directory = f"{COMMITS_DIRECTORY}/{self.name}"
        numbers = commit_numbers(self._storage.names(directory))
        if numbers[-1:] != ([] if self.state.number < 0 else [self.state.number]):
            # Another writer went on (perhaps so far that this number was removed and is free again),
            # or the store was emptied behind our back.
            return False
        path = f"{directory}/{commit_name(commit.number)}"
        if not self._storage.create(path, encode_commit(commit), self.name) and not self._is_mine(path):
            return False
        self.state = self.state.after(commit)
        if commit.complete:
            old = [n for n in numbers if n < commit.number - COMPLETE_EVERY]
            self._storage.delete(f"{directory}/{commit_name(n)}" for n in old)
        return True

    def _is_mine(self, path: str) -> bool:
        """Whether a commit that was refused is our own, from an answer that got lost on the way."""
        try:
            return decode_commit(self._storage.read(path), path).writer == self._writer
        except FileNotFoundError as error:
            raise Fatal(f"{path} was removed while it was written: nothing may delete commits") from error
