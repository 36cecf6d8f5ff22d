"""Every message as it came, with its receive time: written while a feed runs, and read again.

One file a source and hour, gzip, one JSON object a line: {"received_ns", "vendor", "message"}, or "event" where the
connection came or went. What was written up to a second before a kill is there: a file that ends within a
line is read up to it. A line that is the vendor's message itself, without our envelope, is read too, with a time before it
or none, and so is a `.json` file that is one message, or one answer by REST, over many lines.
"""

import gzip
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from marketpulse.errors import Fatal
from marketpulse.foreign_json import parse_json
from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS
from marketpulse.sources.streaming.connection import Item
from marketpulse.telemetry import STREAM_RECORDER_ERRORS, get_logger

_FLUSH_NS = 500_000_000
_DOCUMENT_BYTES_MAX = 64 << 20
_HOUR_NS = 3_600 * 10**9
_TIME_BYTES_MAX = 64
_ADDRESSES = (b"wss://", b"ws://", b"https://", b"http://")
_AROUND_A_TIME = b" \t,;|:[]()"
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))  # below it: the nanoseconds of its unit
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Recorder:
    """Writes from the connection's thread. A disk that is full stops the recording, not the feed."""

    def __init__(self, directory: Path, source: str, vendor: str) -> None:
        self._directory, self._source, self._vendor = directory, source, vendor
        self._file: gzip.GzipFile | None = None
        self._hour = -1
        self._flushed_ns = 0
        self._broken = False

    def keep(self, item: Item) -> None:
        """Write one item; about twice a second, whenever something comes, everything goes to the system."""
        if self._broken:
            return
        try:
            if item.received_ns // _HOUR_NS != self._hour or self._file is None:
                self._begin(item.received_ns)
            assert self._file is not None  # noqa: S101  begun above
            self._file.write(self._line(item))
            self._flush(item.received_ns)
        except OSError as error:
            self._broken = True
            STREAM_RECORDER_ERRORS.labels(self._source).inc()
            get_logger().error(
                "recording_stopped", source=self._source, error=str(error), todo="make space, and start again"
            )

    def idle(self, now_ns: int) -> None:
        """Nothing comes: what is written goes to the system all the same."""
        if self._file is not None and not self._broken:
            try:
                self._flush(now_ns)
            except OSError:
                return  # the next item meets it again, and says it

    def _flush(self, now_ns: int) -> None:
        if now_ns - self._flushed_ns >= _FLUSH_NS and self._file is not None:
            self._flushed_ns = now_ns
            self._file.flush()

    def close(self) -> None:
        if self._file is not None and not self._broken:
            self._file.close()
        self._file = None

    def _begin(self, at_ns: int) -> None:
        if self._file is not None:
            self._file.close()
        self._hour = at_ns // _HOUR_NS
        self._directory.mkdir(parents=True, exist_ok=True)
        begun = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at_ns // 10**9))
        name = f"{self._source}-{begun}.{at_ns % 10**9:09d}Z.jsonl.gz"
        # Binary appending keeps what stands there; level 1 costs a tenth of the default's time.
        self._file = gzip.open(self._directory / name, "ab", compresslevel=1)  # noqa: SIM115  closed by close()

    def _line(self, item: Item) -> bytes:
        fields: dict[str, Any] = {"received_ns": item.received_ns, "vendor": self._vendor}
        if item.kind != "message":
            fields |= {"event": item.kind, "why": item.text}
        else:
            fields["message"] = item.data.decode("utf-8", "surrogateescape")
            try:
                return orjson.dumps(fields) + b"\n"
            except orjson.JSONEncodeError:  # no UTF-8
                fields["message"] = item.data.hex()
                fields["hex"] = True
        return orjson.dumps(fields) + b"\n"


class Recorded(NamedTuple):
    """One line: a message with its receive time (None: the line has none), or what befell the connection."""

    line: int
    received_ns: int | None
    message: bytes | None
    vendor: str | None
    event: str | None = None  # connected, lost, sent


def read(path: Path) -> Iterator[Recorded]:
    """The lines of a recording, up to where a kill has cut it. Raises Fatal when it cannot be opened."""
    if ".json" in path.suffixes and (whole := _document(path)) is not None:
        yield Recorded(1, None, whole, None)
        return
    for number, line in enumerate(_lines(path), start=1):
        if text := line.strip():
            yield _recorded(number, text)


def _document(path: Path) -> bytes | None:
    """A file that is one JSON value; None: it is lines, or too large to tell."""
    text = b""
    for line in _lines(path):
        text += line
        if len(text) > _DOCUMENT_BYTES_MAX:
            return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return text.strip()


def _recorded(number: int, text: bytes) -> Recorded:
    try:
        value = parse_json(text)
    except orjson.JSONDecodeError:
        return _note(number, text) if text.startswith(_ADDRESSES) else _behind_a_time(number, text)
    if not isinstance(value, dict) or not isinstance(value.get("received_ns"), int):
        return Recorded(number, None, text, None)
    vendor = value.get("vendor") if isinstance(value.get("vendor"), str) else None
    message = value.get("message")
    if isinstance(message, str):
        raw = bytes.fromhex(message) if value.get("hex") else message.encode()
    elif message is not None:
        raw = orjson.dumps(message)
    else:
        event = value.get("event")
        return Recorded(number, value["received_ns"], None, vendor, event if isinstance(event, str) else None)
    return Recorded(number, value["received_ns"], raw, vendor)


def _note(number: int, text: bytes) -> Recorded:
    """What a recorder of others wrote for itself: the address, and when it connected there, or what it sent."""
    _, connected, rest = text.partition(b" <-> ")
    received_ns = _time_ns(rest.strip().decode("ascii", "replace")) if connected else None
    return Recorded(number, received_ns, None, None, "connected" if connected else "sent")


def _behind_a_time(number: int, text: bytes) -> Recorded:
    """A line of others' recorders: when it came, in a form of ISO or since 1970, and the message behind it."""
    begin = min((at for at in (text.find(b"{"), text.find(b"[{")) if at > 0), default=0)
    written = text[:begin].strip(_AROUND_A_TIME)
    if not written or len(written) > _TIME_BYTES_MAX or not _is_json(text[begin:]):
        return Recorded(number, None, text, None)
    received_ns = _time_ns(written.decode("ascii", "replace"))
    return Recorded(number, received_ns, text if received_ns is None else text[begin:], None)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _time_ns(written: str) -> int | None:
    """Without a zone it is UTC; a number is of the unit that its size tells. None: it is no time."""
    try:
        number = Decimal(written)
    except InvalidOperation:
        try:
            at = datetime.fromisoformat(written)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return (at - _EPOCH) // timedelta(microseconds=1) * 1_000
    unit = next((unit for below, unit in _UNITS if abs(number) < below), 1) if number.is_finite() else 0
    time_ns = int(number * unit)
    return time_ns if EARLIEST_TIME_NS <= time_ns <= LATEST_TIME_NS else None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain, "rb") if zipped else plain as stream:
                while line := stream.readline():
                    if zipped and not line.endswith(b"\n"):
                        return
                    yield line
    except (EOFError, zlib.error):
        return  # cut by a kill
    except OSError as error:
        raise Fatal(f"{path} cannot be read: {error}") from None
