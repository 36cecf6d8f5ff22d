"""Files that lie elsewhere, fetched whole onto the disk before they are read: https:// and s3:// URLs."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pyarrow.fs

from marketpulse.errors import EnvironmentProblem, Fatal, ParameterError, Retryable, disk_is_full
from marketpulse.settings import S3Settings
from marketpulse.sources.files import SUFFIXES, expand, is_data

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0

Say = Callable[[int], None]


def is_url(name: str) -> bool:
    """Whether this names something that is not a file here."""
    return "://" in name


def name_in(url: str) -> str:
    """The file's name: the last part of the URL's path. Raises ParameterError when there is none."""
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    if not name:
        raise ParameterError(f"{_shown(url)} names no file: write the whole URL of one")
    return name


def fetch(url: str, directory: Path, s3: S3Settings, say: Say = lambda _: None) -> Path:
    """The file in this directory, under its own name; `say` is told how many bytes have come.

    Raises Retryable while the far end is away, Fatal when it refuses or has no such file, EnvironmentProblem
    when the disk is full, ParameterError for a URL that is none of https, http and s3.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("https", "http", "s3"):
        raise ParameterError(f"{_shown(url)}: a URL begins with https://, http:// or s3://")
    target = directory / name_in(url)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _from_s3(url, target, s3, say) if scheme == "s3" else _from_http(url, target, say)
    except OSError as error:
        if disk_is_full(error):
            raise EnvironmentProblem(
                f"{directory} has no space left for {_shown(url)}: make some, or set MARKETPULSE_DATA_DIR"
            ) from None
        raise Retryable(f"{_shown(url)} could not be fetched: {error}; try again") from None
    return target


def gather(names: Sequence[str], directory: Path, s3: S3Settings, alive: Callable[[], None]) -> list[Path]:
    """The files that names, globs, directories and URLs stand for, in order, each once; those elsewhere fetched into the
    directory. `alive` is called while they come. Raises as `files.expand`, `objects_under` and `fetch`."""
    paths: list[Path] = []
    for number, name in enumerate(names):
        if not is_url(name):
            paths += expand([name])
            continue
        urls = objects_under(name, s3) if name.startswith("s3://") and name.endswith("/") else [name]
        for place, url in enumerate(urls):
            # A directory for each: objects of several folders may have one name.
            paths.append(fetch(url, directory / str(number) / str(place), s3, lambda _: alive()))
    return list(dict.fromkeys(paths))


def objects_under(url: str, s3: S3Settings) -> list[str]:
    """The URLs of the data files below an s3:// URL that ends in a slash, known by their suffix, in order of their names.

    Raises Retryable while the store is away, Fatal where there are none.
    """
    store, path = _place_in_s3(url, s3)
    try:
        found = store.get_file_info(pyarrow.fs.FileSelector(path.rstrip("/"), recursive=True, allow_not_found=True))
    except OSError as error:
        raise Retryable(f"{_shown(url)} could not be listed: {error}; try again") from None
    names = sorted(one.path for one in found if one.type == pyarrow.fs.FileType.File and is_data(one.base_name))
    if not names:
        raise Fatal(f"{_shown(url)} holds no file that ends in {' '.join(SUFFIXES)}: check bucket and name")
    return [f"s3://{urllib.parse.quote(name)}" for name in names]


def _from_http(url: str, target: Path, say: Say) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:  # noqa: S310  (the scheme was looked at)
            length = answer.headers.get("Content-Length")
            _copy(answer.read, file.write, say)
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            raise Retryable(f"{_shown(url)} answered {error.code} {error.reason}: try again in a while") from None
        raise Fatal(f"{_shown(url)} answered {error.code} {error.reason}: check the address") from None
    if length is not None and target.stat().st_size != int(length):
        raise Retryable(f"{_shown(url)} broke off after {target.stat().st_size:,} of {int(length):,} bytes: try again")


def _place_in_s3(url: str, s3: S3Settings) -> tuple[pyarrow.fs.S3FileSystem, str]:
    """The store, and the path in it: the bucket first."""
    endpoint = urllib.parse.urlsplit(s3.endpoint_url or "")
    elsewhere = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme or "https"} if s3.endpoint_url else {}
    region = {} if s3.region is None else {"region": s3.region}
    store = pyarrow.fs.S3FileSystem(**elsewhere, **region, force_virtual_addressing=not s3.path_style)
    parts = urllib.parse.urlsplit(url)
    return store, parts.netloc + urllib.parse.unquote(parts.path)


def _from_s3(url: str, target: Path, s3: S3Settings, say: Say) -> None:
    store, path = _place_in_s3(url, s3)
    if store.get_file_info(path).type != pyarrow.fs.FileType.File:
        raise Fatal(f"{_shown(url)} is not there: check bucket and name")
    with store.open_input_stream(path, compression=None) as stream, target.open("wb") as file:
        _copy(stream.read, file.write, say)


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object], say: Say) -> None:
    done = 0
    while chunk := read(_CHUNK_BYTES):
        write(chunk)
        done += len(chunk)
        say(done)


def _shown(url: str) -> str:
    """The URL without what may be a secret in it: a login, a signed query."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
