"""Seeded faults as this folder holds them: one patch each, which is found in a file by its lines alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class StalePatch(Exception):
    """The lines that a patch changes are not there, or are there more than once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One patch: its file's name, what it says of itself, and for each path the (old, new) text of its hunks."""

    name: str
    sentence: str
    room: str
    changes: Mapping[str, Sequence[tuple[str, str]]]

    def applied(self, path: str, text: str) -> str:
        """The file with the mistake in it. Raises StalePatch."""
        for old, new in self.changes[path]:
            if text.count(old) != 1:
                raise StalePatch(f"{self.name}: {path} holds the lines it changes {text.count(old)} times, not once")
            text = text.replace(old, new)
        return text


def read_faults() -> dict[str, Fault]:
    """All patches by name."""
    return {path.stem: read_fault(path.stem, path.read_text()) for path in sorted(HERE.glob("*.patch"))}


def read_fault(name: str, text: str) -> Fault:
    """A unified diff under the lines `Fault: …` and `Room: …`. Line numbers are not needed: the lines around tell."""
    said = dict(re.findall(r"^(Fault|Room): (.+)$", text, re.MULTILINE))
    changes: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^--- .*\n\+\+\+ b/", text, flags=re.MULTILINE)[1:]:
        path, _, rest = part.partition("\n")
        for hunk in re.split(r"^@@ .*\n", rest, flags=re.MULTILINE)[1:]:
            lines = [line for line in hunk.splitlines(keepends=True) if line[0] in " +-"]
            old, new = ("".join(line[1:] for line in lines if line[0] != side) for side in "+-")
            changes.setdefault(path, []).append((old, new))
    return Fault(name, said["Fault"], said["Room"], changes)
