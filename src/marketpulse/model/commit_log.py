"""The commit log of a store of files: which files hold a partition's rows, and up to where.

Each partition of a topic has a directory of numbered commits, `_commits/market-03/000000000042.json`,
each written once and never changed. A commit says which files it adds and removes and which offset
every table wants next; every COMPLETE_EVERY-th restates all files, so that older ones can go. The
stores write it, the queries read it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from marketpulse.errors import Fatal

COMMITS_DIRECTORY = "_commits"
TEMPORARY_DIRECTORY = "_tmp"
COMPLETE_EVERY = 32  # part of the format: readers begin at a multiple of it
VERSION = 1


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One visible file. `path` is relative to the store; `columns` are those beyond the table's schema.

    `revised` counts its rows of a revision above 0: a query looks for what they replace, and nowhere else.
    """

    path: str
    table: str
    period: str  # the UTC day, such as 2024-05-01, or, for sparse history, the year (2024) or `old`
    first_offset: int
    next_offset: int
    rows: int
    size_bytes: int
    columns: tuple[str, ...] = ()
    revised: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """One step of a partition's log. `added` of a complete commit is every visible file."""

    number: int
    next_offsets: Mapping[str, int]  # table -> the next offset wanted
    added: tuple[StoredFile, ...] = ()
    removed: tuple[str, ...] = ()
    writer: str = ""  # tells two writers of the same number apart

    @property
    def complete(self) -> bool:
        return self.number % COMPLETE_EVERY == 0


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What a partition's commits add up to. `number` is the last commit's; -1 before the first."""

    number: int = -1
    next_offsets: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, StoredFile] = field(default_factory=dict)  # by path, oldest first

    def after(self, commit: Commit) -> "PartitionState":
        """The state with one more commit on it."""
        files = {} if commit.complete else {p: f for p, f in self.files.items() if p not in set(commit.removed)}
        files |= {f.path: f for f in commit.added}
        return PartitionState(commit.number, commit.next_offsets, files)

    def next_commit(
        self, next_offsets: Mapping[str, int], added: Iterable[StoredFile], removed: Iterable[str], writer: str
    ) -> Commit:
        """The commit that makes these changes; restates every file when it is due."""
        number, gone, new = self.number + 1, tuple(removed), tuple(added)
        if number % COMPLETE_EVERY:
            return Commit(number, next_offsets, new, gone, writer)
        kept = tuple(f for f in self.files.values() if f.path not in set(gone))
        return Commit(number, next_offsets, kept + new, (), writer)


def partition_name(topic: str, partition: int) -> str:
    """`market`, 3 -> `market-03`."""
    return f"{topic}-{partition:02d}"


def parse_partition_name(name: str) -> tuple[str, int]:
    topic, _, partition = name.rpartition("-")
    return topic, int(partition)


def commit_name(number: int) -> str:
    return f"{number:012d}.json"


def commit_numbers(names: Iterable[str]) -> list[int]:
    """The numbers of the commits in a directory, ascending; other names are passed over."""
    stems = (n.removesuffix(".json") for n in names if n.endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def wanted(numbers: list[int]) -> range:
    """The commits to read, in order: from the last complete one on. Empty without commits."""
    if not numbers:
        return range(0)
    return range(numbers[-1] - numbers[-1] % COMPLETE_EVERY, numbers[-1] + 1)


def encode_commit(commit: Commit) -> bytes:
    body: dict[str, Any] = {"version": VERSION, **asdict(commit)}
    for file in body["added"]:
        for name in ("columns", "revised"):
            if not file[name]:
                del file[name]
    return json.dumps(body, separators=(",", ":")).encode()


def decode_commit(data: bytes, where: str) -> Commit:
    """The inverse of `encode_commit`. Raises Fatal for a damaged commit, or one of a later version."""
    try:
        body = json.loads(data)
        version = body["version"]
        if version == VERSION:
            added = tuple(StoredFile(**{**f, "columns": tuple(f.get("columns", ()))}) for f in body["added"])
            return Commit(body["number"], body["next_offsets"], added, tuple(body["removed"]), body["writer"])
    except (ValueError, KeyError, TypeError) as error:
        raise Fatal(f"commit {where} is damaged ({error!r}): restore this file from a copy") from None
    raise Fatal(f"commit {where} has version {version}, this program knows {VERSION}: upgrade it")
