"""Where files go: a local directory, a bucket behind an S3 API (s3.py), or any store that fsspec knows.

All keep the two promises that the commit log rests on: a file appears whole or not at all, and of
two writers that create the same name one is told that it came second.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from fsspec.core import url_to_fs

from marketpulse.durable import force, make_directory
from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.model.commit_log import TEMPORARY_DIRECTORY
from marketpulse.settings import S3Settings

_WRITERS = 8  # files of one call that are written at a time: each waits until the disk has it
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Storage(Protocol):
    """Files by their path below the root, with `/` between the parts.

    Every method raises Retryable while the store is away or full, Fatal when it forbids the access.
    `owner` names the partition that a file is written for, so that what an interrupted write left
    behind can be told from another partition's write in progress.
    """

    where: str
    """The root, for people to read."""

    def put(self, files: Mapping[str, bytes], owner: str) -> None:
        """Write these files, replacing what is there. Durable on return."""
        ...

    def create(self, path: str, data: bytes, owner: str) -> bool:
        """Write a file that is not there yet. Durable on return; False when it is there."""
        ...

    def read(self, path: str) -> bytes:
        """A file's content. Raises FileNotFoundError."""
        ...

    def names(self, directory: str) -> list[str]:
        """The names in a directory; none when it does not exist."""
        ...

    def find(self) -> list[str]:
        """The paths of all data files: those under no directory whose name begins with `_`."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Remove these files; one that is not there is no fault."""
        ...

    def clear_interrupted(self, owner: str) -> None:
        """Remove what interrupted writes of this owner left behind."""
        ...


def open_storage(url: str | Path, s3: S3Settings | None = None) -> Storage:
    """The store at this place. Raises EnvironmentProblem when its driver is missing."""
    text = str(url)
    if "://" not in text or text.startswith("file://"):
        return LocalStorage(Path(text.removeprefix("file://")).expanduser().absolute())
    if text.startswith(("s3://", "s3a://")):
        from marketpulse.sinks.s3 import S3Storage  # its client takes a while to import

        return S3Storage(text, s3 or S3Settings())
    try:
        return RemoteStorage(text)
    except (ImportError, ValueError) as error:
        raise EnvironmentProblem(
            f"{text} cannot be opened ({error}): name a directory, s3://bucket/prefix, or a URL whose fsspec driver "
            "is installed"
        ) from None


class LocalStorage:
    """A directory. Files are written aside, forced to disk, and moved into place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def put(self, files: Mapping[str, bytes], owner: str) -> None:
        with _explained(str(self.root)):
            directories = {(self.root / path).parent for path in files}
            changed = {entered for directory in sorted(directories) for entered in make_directory(directory)}
            with ThreadPoolExecutor(min(_WRITERS, len(files) or 1)) as pool:
                for _ in pool.map(lambda item: self._put(item[0], item[1], owner), files.items()):
                    pass
            for directory in sorted(changed | directories):
                force(directory)

    def create(self, path: str, data: bytes, owner: str) -> bool:
        target = self.root / path
        with _explained(str(self.root)), self._written_aside(data, owner) as temporary:
            changed = make_directory(target.parent)
            if not _link(temporary, target):
                return False
            for directory in (*changed, target.parent):
                force(directory)
            return True

    def read(self, path: str) -> bytes:
        with _explained(str(self.root), reading=True):
            return (self.root / path).read_bytes()

    def names(self, directory: str) -> list[str]:
        with _explained(str(self.root)):
            try:
                return [path.name for path in (self.root / directory).iterdir()]
            except FileNotFoundError:
                return []

    def find(self) -> list[str]:
        found: list[str] = []
        with _explained(str(self.root)):
            for directory, below, names in os.walk(self.root):
                below[:] = [name for name in below if not name.startswith("_")]
                relative = Path(directory).relative_to(self.root)
                found += [(relative / name).as_posix() for name in names]
        return found

    def delete(self, paths: Iterable[str]) -> None:
        with _explained(str(self.root)):
            for path in paths:
                (self.root / path).unlink(missing_ok=True)

    def clear_interrupted(self, owner: str) -> None:
        aside = f"{TEMPORARY_DIRECTORY}/{owner}"
        self.delete(f"{aside}/{name}" for name in self.names(aside))

    @contextlib.contextmanager
    def _written_aside(self, data: bytes, owner: str) -> Iterator[Path]:
        """The data, on disk, under a name that no reader looks at; gone at the end."""
        temporary = self.root / TEMPORARY_DIRECTORY / owner / uuid.uuid4().hex
        for directory in make_directory(temporary.parent):
            force(directory)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, path: str, data: bytes, owner: str) -> None:
        with self._written_aside(data, owner) as temporary:
            temporary.replace(self.root / path)


class RemoteStorage:
    """A store behind another fsspec URL, such as gs://bucket/prefix: an object appears when its PUT ends.

    Whether a name that is taken is refused, is the driver's business: Kafka's own assignment of partitions is the first lock.
    """

    def __init__(self, url: str) -> None:
        self.where = url
        self._fs, root = url_to_fs(url, use_listings_cache=False)
        self._root = str(root).rstrip("/")

    def put(self, files: Mapping[str, bytes], owner: str) -> None:  # noqa: ARG002
        with _explained(self.where):
            for path, data in files.items():
                self._fs.pipe_file(self._at(path), data)

    def create(self, path: str, data: bytes, owner: str) -> bool:  # noqa: ARG002
        with _explained(self.where):
            try:
                self._fs.pipe_file(self._at(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def read(self, path: str) -> bytes:
        with _explained(self.where, reading=True):
            return bytes(self._fs.cat_file(self._at(path)))

    def names(self, directory: str) -> list[str]:
        with _explained(self.where):
            try:
                found = self._fs.ls(self._at(directory), detail=False)
            except FileNotFoundError:
                return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def find(self) -> list[str]:
        with _explained(self.where):
            try:
                found = [str(path) for path in self._fs.find(self._root)]
            except FileNotFoundError:
                return []
        paths = [path.removeprefix(self._root + "/") for path in found]
        return [path for path in paths if not path.startswith("_")]

    def delete(self, paths: Iterable[str]) -> None:
        with _explained(self.where):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._at(path))

    def clear_interrupted(self, owner: str) -> None:
        """Nothing to do: an object that was not finished never appears."""

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def _link(temporary: Path, target: Path) -> bool:
    """Give the file its name unless that is taken; whether it was free."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # A file system without hard links (exFAT, some network mounts) cannot refuse a second writer
        # by itself: look first. Kafka gives a partition to one process, so this is the second lock.
        if target.exists():
            return False
        temporary.replace(target)
    return True


@contextlib.contextmanager
def _explained(where: str, *, reading: bool = False) -> Iterator[None]:
    """Turn a store's fault into what the reader does next."""
    try:
        yield
    except OSError as error:
        number = error.errno
        if reading and isinstance(error, FileNotFoundError):
            raise
        if isinstance(error, FileNotFoundError) and "://" in where:
            raise Fatal(f"{where} does not exist ({error}): create the bucket, or set another url") from error
        if isinstance(error, PermissionError) or number in _FORBIDDEN:
            raise Fatal(
                f"{where} cannot be written or read ({error}): give this user access, or set another url; "
                "nothing is lost, the rows are still in the topics"
            ) from error
        if number in _FULL:
            raise Retryable(
                f"{where} is full ({error}): free some space; nothing is lost, storing goes on by itself"
            ) from error
        raise Retryable(f"{where} does not answer ({error}): trying again, nothing is lost") from error
