"""Directories whose entries survive a power cut: a file is only there when its name is on the disk too."""

import os
from pathlib import Path


def make_directory(directory: Path) -> list[Path]:
    """Create it; the directories that have a new entry by that, outermost first, which are to be forced to disk."""
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return [made.parent for made in reversed(missing)]


def force(directory: Path) -> None:
    """Put a directory's entries on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
