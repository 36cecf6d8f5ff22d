"""Files that lie elsewhere, fetched whole onto the disk before they are read: https:// and s3:// URLs."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pyarrow.fs

from marketpulse.errors import EnvironmentProblem, Fatal, ParameterError, Retryable, disk_is_full
from marketpulse.settings import S3Settings

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


def _from_http(url: str, target: Path, say: Say) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:  # noqa: S310  (the scheme was looked at)
            length = answer.headers.get("Content-Length")
            _copy(answer.read, file.write, say)
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            raise Retryable(
                f"{_shown(url)} answered {error.code} {error.reason}: try again in a while"
            ) from None
        raise Fatal(f"{_shown(url)} answered {error.code} {error.reason}: check the address") from None
    if length is not None and target.stat().st_size != int(length):
        raise Retryable(
            f"{_shown(url)} broke off after {target.stat().st_size:,} of {int(length):,} bytes: try again"
        )


def _from_s3(url: str, target: Path, s3: S3Settings, say: Say) -> None:
    endpoint = urllib.parse.urlsplit(s3.endpoint_url or "")
    elsewhere = (
        {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme or "https"}
        if s3.endpoint_url
        else {}
    )
    region = {} if s3.region is None else {"region": s3.region}
    store = pyarrow.fs.S3FileSystem(**elsewhere, **region, force_virtual_addressing=not s3.path_style)
    parts = urllib.parse.urlsplit(url)
    path = parts.netloc + urllib.parse.unquote(parts.path)
    if store.get_file_info(path).type != pyarrow.fs.FileType.File:
        raise Fatal(f"{_shown(url)} is not there: check bucket and name")
    with store.open_input_stream(path) as stream, target.open("wb") as file:
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
