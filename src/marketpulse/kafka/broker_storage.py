"""The embedded broker's storage: formatted once and at one stroke, and mended when a start finds it half-written.

data_dir/broker/storage/                    Kafka's own directory
    meta.properties                         who this broker is; written last, so it marks a whole format
    __cluster_metadata-0/, market-0/ …      the metadata log, and the topics
data_dir/broker/identity.properties         our copy of meta.properties
"""

import base64
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from marketpulse.errors import EnvironmentProblem
from marketpulse.telemetry import get_logger

NODE_ID = 1
_NEEDED = ("version", "cluster.id", "node.id", "directory.id")
_META = "meta.properties"
_METADATA_LOG = "__cluster_metadata-0"

Format = Callable[[Path, str], None]
"""Formats an empty directory for a cluster id; raises when it cannot."""


def prepare_storage(home: Path, format_storage: Format) -> Path:
    """The directory that the broker keeps its log in, whole: `home/storage`.

    Whole: as it is. No metadata and no topics in it: an interrupted format, formatted anew. Metadata
    but no (or a torn) meta.properties: that file is restored, with new ids if our copy is gone too;
    the topics stay.

    Raises EnvironmentProblem when topics hold data but the metadata that names them is gone: the
    broker would delete them as strays.
    """
    storage, copy = home / "storage", home / "identity.properties"
    _mend_quorum_state(storage)
    if _is_whole(storage / _META):
        _refuse_topics_without_metadata(storage)
        if not copy.is_file() or copy.read_bytes() != (storage / _META).read_bytes():
            write_atomically(copy, (storage / _META).read_text())
        return storage
    if _has_metadata(storage):
        get_logger().warning("broker_storage_mended", file=str(storage / _META))
        if not _is_whole(copy):
            write_atomically(copy, _new_identity())
        write_atomically(storage / _META, copy.read_text())
        return storage
    _refuse_topics_without_metadata(storage)
    if storage.exists():
        get_logger().warning("broker_storage_half_written", directory=str(storage), action="format again")
        shutil.rmtree(storage)
    _format_at_one_stroke(home, storage, format_storage)
    write_atomically(copy, (storage / _META).read_text())
    return storage


def _format_at_one_stroke(home: Path, storage: Path, format_storage: Format) -> None:
    fresh = home / "storage.new"  # of an interrupted format, or about to be made
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    format_storage(fresh, cluster_id())
    if not _is_whole(fresh / _META):
        raise EnvironmentProblem(f"formatting {fresh} left no {_META}: look at the disk, then start again")
    fresh.rename(storage)


def cluster_id() -> str:
    """A random id in Kafka's alphabet. It must not begin with `-`: the tools would take it for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def read_properties(path: Path) -> dict[str, str]:
    """A flat Java properties file; a missing or unreadable one is empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, sep, value in pairs if sep and value.strip()}


def write_atomically(path: Path, text: str) -> None:
    """The whole text or the old file, whatever happens in between."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _is_whole(meta: Path) -> bool:
    found = read_properties(meta)
    return all(name in found for name in _NEEDED) and found["node.id"] == str(NODE_ID)


def _new_identity() -> str:
    """For a storage that lost its identity and our copy. The old ids stand nowhere else in plain text; with new
    ones the partitions have no leader until broker_probe.elect_missing_leaders asks for one."""
    return f"version=1\ncluster.id={cluster_id()}\nnode.id={NODE_ID}\ndirectory.id={cluster_id()}\n"


def _has_metadata(storage: Path) -> bool:
    """Whether the metadata log (or a snapshot of it) holds anything."""
    log = storage / _METADATA_LOG
    return any(file.stat().st_size > 0 for pattern in ("*.log", "*.checkpoint") for file in log.glob(pattern))


def _refuse_topics_without_metadata(storage: Path) -> None:
    topics = sorted(
        {
            file.parent.name.rpartition("-")[0]
            for file in storage.glob("*-*/*.log")
            if file.stat().st_size > 0 and file.parent.name != _METADATA_LOG
        }
    )
    if topics and not _has_metadata(storage):
        raise EnvironmentProblem(
            f"{storage} holds data of the topics {', '.join(topics)} but not the metadata that names them ({_METADATA_LOG}): "
            "put that directory back, or move the storage away to begin anew"
        )


def _mend_quorum_state(storage: Path) -> None:
    """A single voter may forget whom it voted for: a torn file is removed, and it elects itself again."""
    state = storage / _METADATA_LOG / "quorum-state"
    try:
        json.loads(state.read_text())
    except FileNotFoundError:
        return
    except (ValueError, OSError):
        get_logger().warning("broker_storage_mended", file=str(state))
        state.unlink()
