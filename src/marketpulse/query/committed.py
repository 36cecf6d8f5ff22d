"""Which files of the lake are visible now: its commit logs, read (model/commit_log.py)."""

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.model.commit_log import (
    COMMITS_DIRECTORY,
    PartitionState,
    StoredFile,
    commit_name,
    commit_numbers,
    decode_commit,
    parse_partition_name,
    wanted,
)

_ATTEMPTS = 8


@dataclass(slots=True)
class CommittedFiles:
    """The reading end of a lake's commit logs. Remembers what it has read: commits never change."""

    url: str
    fs: Any
    root: str
    _states: dict[str, PartitionState] = field(default_factory=dict)

    def read(self) -> dict[str, list[StoredFile]]:
        """The visible files by table, oldest first. An empty or missing lake has none.

        Raises Retryable while the store does not answer, Fatal when a commit is damaged.
        """
        with _explained(self.url):
            partitions = self._names(COMMITS_DIRECTORY)
            self._states = {name: self._state(name) for name in sorted(partitions)}
        files: dict[str, list[StoredFile]] = {}
        for state in self._states.values():
            for file in state.files.values():
                files.setdefault(file.table, []).append(file)
        return files

    def positions(self) -> dict[tuple[str, int], int]:
        """As last read: by (topic, partition), the next offset that no table fed by it holds."""
        found: dict[tuple[str, int], int] = {}
        for name, state in self._states.items():
            if state.next_offsets:
                found[parse_partition_name(name)] = min(state.next_offsets.values())
        return found

    def held_up_to(self, name: str) -> int:
        """As last read: the offset of one partition, such as `market-03`, before which every row of every table is here.

        What a partition's tables hold is committed together, so the furthest of them speaks for all."""
        state = self._states.get(name)
        return 0 if state is None else max(state.next_offsets.values(), default=0)

    def of(self, name: str) -> list[StoredFile]:
        """As last read: the visible files of one partition, such as `market-03`, oldest first."""
        state = self._states.get(name)
        return [] if state is None else list(state.files.values())

    @property
    def local(self) -> bool:
        """Whether the files lie on this machine."""
        return "file" in self.fs.protocol

    def at(self, path: str) -> str:
        """The path of a file for the file system `fs`."""
        return f"{self.root}/{path}"

    def _state(self, name: str) -> PartitionState:
        directory = f"{COMMITS_DIRECTORY}/{name}"
        for _ in range(_ATTEMPTS):
            state = self._states.get(name, PartitionState())
            numbers = wanted(commit_numbers(self._names(directory)))
            known = state.number in numbers
            if not known:
                state = PartitionState()
            try:
                for number in range(state.number + 1, numbers.stop) if known else numbers:
                    path = f"{directory}/{commit_name(number)}"
                    state = state.after(decode_commit(self.fs.cat_file(self.at(path)), path))
            except FileNotFoundError:
                continue  # the log was restated meanwhile
            return state
        raise Retryable(f"{self.url}: the commits in {directory} have gaps; try again")

    def _names(self, directory: str) -> list[str]:
        try:
            found = self.fs.ls(self.at(directory), detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]


def open_committed(url: str | Path) -> CommittedFiles:
    """The lake at this directory or URL. Raises EnvironmentProblem when its driver is missing."""
    text = str(url)
    try:
        fs, root = url_to_fs(text, use_listings_cache=False) if "://" in text else url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise EnvironmentProblem(
            f"{text} cannot be opened ({error}): for s3:// `pip install 'marketpulse[s3]'`, "
            "else name a directory or a URL that fsspec knows"
        ) from None
    return CommittedFiles(text, fs, str(root).rstrip("/"))


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    faults: tuple[type[Exception], ...] = (OSError,)
    denied: tuple[type[Exception], ...] = (PermissionError,)
    if url.startswith(("s3://", "s3a://")):
        botocore = importlib.import_module("botocore.exceptions")  # there with the driver
        faults += (botocore.BotoCoreError, botocore.ClientError)
        denied += (botocore.NoCredentialsError, botocore.PartialCredentialsError)
    try:
        yield
    except faults as error:
        if isinstance(error, denied):
            raise Fatal(f"the lake {url} cannot be read ({error}): give this user access") from error
        raise Retryable(f"the lake {url} does not answer ({error}): try again") from error
