"""The archive's places: a directory, and a bucket of a real S3 server that is killed and comes back."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_store import current
from log_of_rows import of_flat_line
from s3_server import Bucket
from sink_stores import OnServer, Row, Store


class ArchiveStore(Store):
    """What both have in common: their files, read as any tool would, without the commit log."""

    name = "archive"

    def __init__(self, form: str, layout: str) -> None:
        self._form, self._layout = form, layout

    def section(self) -> Mapping[str, Any]:
        return {"url": self.url(), "format": self._form, "layout": self._layout}

    def url(self) -> str:
        raise NotImplementedError

    def files(self) -> dict[str, bytes]:
        """The data files' content, by their path."""
        raise NotImplementedError

    def rows(self, table: str) -> list[Row]:
        """The current rows: of those that come again the highest revision, and none that was withdrawn."""
        return current(table, [row for path, data in self.files().items() for row in self._parsed(table, path, data)])

    def _parsed(self, table: str, path: str, data: bytes) -> list[Row]:
        parts = dict(part.split("=", 1) for part in path.split("/")[:-1])
        if parts["table"] != table:
            return []
        if path.endswith(".parquet"):
            rows: list[Row] = pq.read_table(pa.BufferReader(data)).to_pylist()
        else:
            lines = [json.loads(line) for line in gzip.decompress(data).decode().split("\n") if line]
            rows = [*map(of_flat_line, lines)]
        if "symbol" in parts:
            assert not any("symbol" in row for row in rows)
            rows = [{"symbol": unquote(parts["symbol"]), **row} for row in rows]
        return rows


class DirectoryStore(ArchiveStore):
    """A directory. It goes away as a mount does whose path leads nowhere."""

    def __init__(self, root: Path, form: str, layout: str) -> None:
        super().__init__(form, layout)
        self._root = root

    def url(self) -> str:
        return str(self._root)

    def files(self) -> dict[str, bytes]:
        found = self._root.glob("table=*/**/*.*")
        return {path.relative_to(self._root).as_posix(): path.read_bytes() for path in found}

    def stop(self) -> None:
        """A path that leads nowhere: every call fails, and what was stored stays."""
        self._root.rename(self._root.with_name("away"))
        self._root.symlink_to(self._root)

    def start(self) -> None:
        self._root.unlink()
        self._root.with_name("away").rename(self._root)


class BucketStore(ArchiveStore, OnServer):
    """A bucket, below a prefix."""

    _PREFIX = "market/archive/"

    def __init__(self, bucket: Bucket, form: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(form, layout)
        self._bucket, self.server, self._monkeypatch = bucket, bucket.server, monkeypatch

    def url(self) -> str:
        return f"{self._bucket.url}/{self._PREFIX}"

    def files(self) -> dict[str, bytes]:
        keys = self._bucket.keys(f"{self._PREFIX}table=")
        return {key.removeprefix(self._PREFIX): self._bucket.read(key) for key in keys}

    def refused(self) -> Mapping[str, Any] | None:
        """The login is no setting: it stands in the environment."""
        self._monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-one")
        return self.section()


@pytest.fixture
def archive_by_date(tmp_path: Path) -> DirectoryStore:
    """JSON lines in a directory."""
    return DirectoryStore(tmp_path / "archive", "json-lines", "date")


@pytest.fixture
def archive_by_symbol(tmp_path: Path) -> DirectoryStore:
    """Parquet in a directory, a symbol's days together."""
    return DirectoryStore(tmp_path / "archive", "parquet", "symbol/date")


@pytest.fixture
def archive_in_a_bucket(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    """Parquet on S3, as Glue and Athena read it."""
    for name, value in s3_bucket.settings().items():
        monkeypatch.setenv(f"MARKETPULSE_S3__{name.upper()}", str(value))
    return BucketStore(s3_bucket, "parquet", "symbol/date", monkeypatch)
