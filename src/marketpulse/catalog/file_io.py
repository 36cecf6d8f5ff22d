"""Files of the lake on a disk: durable when they are closed, so that a commit never names what a power cut took.

Named in the catalogue's properties (`py-io-impl`); other places than a disk are the library's own.
"""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFileIO, PyArrowLocalFileSystem

from marketpulse.durable import force, make_directory


class DurableFileIO(PyArrowFileIO):
    """pyiceberg's own, but for local files, which are forced to the disk."""

    def _initialize_local_fs(self) -> "DurableLocalFiles":
        return DurableLocalFiles()


class DurableLocalFiles(PyArrowLocalFileSystem):
    """A file and the names that lead to it are on the disk when it is closed."""

    def open_output_stream(self, path: str, *_: Any, **__: Any) -> pa.NativeFile:
        for changed in make_directory(Path(path).parent):
            force(changed)
        return pa.PythonFile(_Durable(path), mode="w")


class _Durable:
    """A file for writing that closes durably."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._file = self._path.open("wb")
        self.closed = False

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        force(self._path.parent)
