"""What tells one load from another: the files' names and contents, and how they are read. The lake knows it by that."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from marketpulse.errors import Fatal
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.sources.files import fingerprint

_FORMAT = "2"

BEGUN, WHOLE = 1, 10**15
"""Where partition 0 of a load stands; behind WHOLE, when all of it is stored, by its place in the order of the loads."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`topic` is what stored rows name as theirs: `file:trades.csv@<contents>.<settings>`, of several files
    `file:first.csv+2@…`."""

    name: str
    contents: str
    settings: str

    @property
    def topic(self) -> str:
        return f"{self.name}@{self.contents}.{self.settings}"


def identify(paths: Sequence[Path], facts: Iterable[str], name: str | None = None) -> Identity:
    """`facts` say how the files are read and what is computed; `name` stands for that of the first file."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name or paths[0].name)
    more = f"+{len(paths) - 1}" if len(paths) > 1 else ""
    digest = hashlib.blake2b("\0".join([_FORMAT, *facts]).encode(), digest_size=3).hexdigest()
    return Identity(f"{LOADED_TOPIC}{plain}{more}", fingerprint(paths)[:8], digest)


def check_settings(identity: Identity, stored: Iterable[tuple[str, int]]) -> None:
    """Raises Fatal when the lake holds the same contents read in another way. `stored`: topics and partitions."""
    for topic in sorted({topic for topic, _ in stored}):
        contents, _, settings = topic.partition("@")[2].partition(".")
        if contents == identity.contents and settings != identity.settings:
            raise Fatal(
                f"the same contents were loaded before with other settings ({topic}): rows that are read in another way would be "
                "stored beside those. Settings count that decide what is computed or how rows are read (engine, mapping, "
                "--source, --complete)"
            )
