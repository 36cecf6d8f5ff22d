"""What tells one load from another: the files' names and contents, and how they are read. The lake knows it by that."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marketpulse.errors import Fatal
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.sources.files import fingerprint

FORMAT = "2"
"""Changes when the same files give other stretches: positions in the lake would mean something else then. (How long a
stretch is stands among the facts.)"""

WHOLE = 10**15
"""Partition 0 stands here when all of a load is stored: further than files have rows."""


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
    digest = hashlib.blake2b("\0".join([FORMAT, *facts]).encode(), digest_size=3).hexdigest()
    return Identity(f"{LOADED_TOPIC}{plain}{more}", fingerprint(paths)[:8], digest)


def check_unchanged(identity: Identity, stored: Mapping[tuple[str, int], int]) -> None:
    """Raises Fatal when the lake holds other contents under this name, or the same ones read in another way.

    `stored`: the lake's positions, by topic and partition.
    """
    for topic in sorted({topic for topic, _ in stored}):
        name, _, rest = topic.partition("@")
        contents, _, settings = rest.partition(".")
        same = (name == identity.name, contents == identity.contents, settings == identity.settings)
        if same == (True, False, same[2]):
            raise Fatal(
                f"a file of this name, but with other contents, was loaded before ({topic}). If it is another one, give it "
                "a name of its own: --as NAME. If the file has grown, load what is new from a file of its own: what is "
                "stored stays"
            )
        if same[1] and not (same[0] and same[2]):
            how = "under another name" if same[2] else "with other settings"
            raise Fatal(
                f"the same contents were loaded before {how} ({topic}): loading them again would store every row twice. "
                "Settings count that decide what is computed or how rows are read (engine, mapping, --source, --complete)"
            )
