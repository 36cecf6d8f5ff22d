"""Files on disk: which ones a setting names, what tells them apart, and their bytes in blocks of lines."""

import glob
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from marketpulse.errors import EnvironmentProblem, Fatal, SettingsError

PACKED = (".gz", ".zip")
SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
BLOCK_BYTES = 32 << 20
_LINE_BYTES_MAX = 1 << 16
_ENCRYPTED = 1  # a member's flag
_WHOLE_DIGEST_BYTES = 256 << 20  # larger files are told apart by samples
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 20


def expand(patterns: Sequence[str]) -> list[Path]:
    """The files that names, globs and directories stand for, in a stable order, each once.

    A directory gives the data files under it, known by their suffix. Raises SettingsError when one
    of them gives nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            some = [p for p in sorted(path.rglob("*")) if p.is_file() and is_data(p.name)]
        elif path.is_file():
            some = [path]
        else:
            some = [Path(p) for p in sorted(glob.glob(str(path), recursive=True)) if Path(p).is_file()]  # noqa: PTH207
        if not some:
            raise SettingsError(
                f"replay: {pattern} is no file, and names none: check the path"
                f" (from a directory, files ending in {' '.join(SUFFIXES)} are taken, the text ones also as .gz)"
            )
        found += some
    if not found:
        raise SettingsError("replay: name at least one file")
    return list(dict.fromkeys(found))


def is_data(name: str) -> bool:
    """Whether a file of this name is taken from a directory."""
    if name.startswith("."):
        return False
    plain = name.lower()
    return plain.removesuffix(".gz").endswith(SUFFIXES) or plain.endswith(".zip")


def stem(path: Path) -> str:
    """The file's name without its data suffixes: `AAPL.csv.gz` -> `AAPL`, `BRK.B.csv` -> `BRK.B`."""
    name = path.name
    for packing in PACKED:
        if name.lower().endswith(packing):
            name = name[: -len(packing)]
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def fingerprint(paths: Sequence[Path], *facts: str) -> str:
    """What stays equal while the files' contents (and the facts about reading them) do: 32 hex digits.

    Files above 256 MiB are told apart by their size and 64 samples of 1 MiB.
    """
    digest = hashlib.blake2b(digest_size=16)
    for fact in facts:
        digest.update(fact.encode() + b"\0")
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as stream:
            if size <= _WHOLE_DIGEST_BYTES:
                while block := stream.read(_SAMPLE_BYTES):
                    digest.update(block)
                continue
            for i in range(_SAMPLES):
                stream.seek((size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, unzipped, in UTF-8 without a byte-order mark. Raises EnvironmentProblem."""
    try:
        stream: IO[bytes] = path.open("rb")
        magic = stream.peek(4)[:4]  # type: ignore[attr-defined]
        if magic[:2] == b"\x1f\x8b":
            stream.close()
            stream = io.BufferedReader(gzip.open(path, "rb"))  # noqa: SIM115  the caller closes it
        elif magic == b"PK\x03\x04":
            stream.close()
            stream = io.BufferedReader(_only_member(path))  # type: ignore[type-var]
        head: bytes = stream.peek(4)[:4]  # type: ignore[attr-defined]
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise Fatal(f"{path} is damaged: {error}; fetch it again") from None
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be read: {error.strerror or error}") from None
    if head.startswith(b"\xef\xbb\xbf"):
        stream.read(3)
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = stream.read().decode("utf-16")
        stream.close()
        return io.BytesIO(text.encode())
    return stream


def _only_member(path: Path) -> IO[bytes]:
    """The one data file of an archive. Raises Fatal when there are more, or none, or it wants a password."""
    archive = zipfile.ZipFile(path)
    members = [m for m in archive.infolist() if not m.is_dir() and is_data(PurePosixPath(m.filename).name)]
    if len(members) != 1:
        found = ", ".join(m.filename for m in members[:5]) or "none"
        raise Fatal(
            f"{path} must hold one data file, found {len(members)} ({found}): unpack it, and name the directory"
        )
    if members[0].flag_bits & _ENCRYPTED:
        raise Fatal(f"{path} is locked by a password: unpack it first")
    try:
        return archive.open(members[0])
    except NotImplementedError as error:
        raise Fatal(f"{path} is packed in a way that cannot be read ({error}): unpack it first") from None


def blocks_of_lines(stream: IO[bytes], path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The stream in blocks that end where a line ends (the last one: where the file ends).

    A line break inside double quotes ends no line.
    """
    rest = b""
    while True:
        try:
            fresh = stream.read(block_bytes)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise Fatal(f"{path} is damaged: {error}; fetch it again") from None
        block = rest + fresh
        if len(fresh) < block_bytes:
            if block:
                yield block
            return
        cut = _last_line_end(block)
        rest = block[cut:]
        if cut:
            yield block[:cut]


def _last_line_end(block: bytes) -> int:
    cut = block.rfind(b"\n") + 1
    if block.count(b'"', 0, cut) % 2:
        ends = line_ends(np.frombuffer(block, np.uint8)[:cut])
        return int(ends[-1]) + 1 if ends.size else 0
    return cut


def line_ends(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where the lines of `data` end: the places of its line breaks, but for those inside double quotes.

    Quotes that stretch over more than 64 kB are stray ones: then every line break ends a line.
    """
    ends = np.flatnonzero(data == 10)
    quotes = np.flatnonzero(data == 34)
    if not quotes.size:
        return ends
    outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
    widest = np.diff(outside, prepend=-1, append=len(data)).max()
    return outside if widest < max(_LINE_BYTES_MAX, np.diff(ends, prepend=-1).max(initial=0) + 1) else ends


class Lines:
    """Finds the n-th line that is not blank; the block is searched at the first question only."""

    def __init__(self, block: bytes, first_line: int, quoted: bool = True) -> None:
        self._block = block
        self._quoted = quoted  # whether a line break inside quotes ends no line
        self._first_line = first_line
        self._bounds: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def at(self, ordinal: int) -> tuple[int, bytes]:
        """(line number in the file, its bytes without the line break)."""
        starts, ends = self._bounds or self._find()
        start, end = int(starts[ordinal]), int(ends[ordinal])
        return self._first_line + self._block.count(b"\n", 0, start), self._block[start:end].rstrip(b"\r")

    def count(self) -> int:
        return len((self._bounds or self._find())[0])

    def numbers(self) -> NDArray[np.int64]:
        """The line number in the file of every line that is not blank."""
        starts, _ = self._bounds or self._find()
        breaks = np.flatnonzero(np.frombuffer(self._block, np.uint8) == 10)
        return self._first_line + np.searchsorted(breaks, starts)

    def start_of(self, ordinal: int) -> int:
        """Where the n-th line begins; the block's end when it has fewer."""
        starts, _ = self._bounds or self._find()
        return int(starts[ordinal]) if ordinal < len(starts) else len(self._block)

    def _find(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        data = np.frombuffer(self._block, np.uint8)
        ends = line_ends(data) if self._quoted else np.flatnonzero(data == 10)
        if not self._block.endswith(b"\n"):
            ends = np.append(ends, len(data))
        starts = np.concatenate([[0], ends[:-1] + 1])
        length = ends - starts
        blank = (length == 0) | ((length == 1) & (data[np.minimum(starts, len(data) - 1)] == 13))
        self._bounds = (starts[~blank], ends[~blank])
        return self._bounds
