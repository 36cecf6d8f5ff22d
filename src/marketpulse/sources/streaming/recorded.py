"""A recording as a source: the same parser, the same check of ids, the times of the recording as its clock.

Nothing is asked for by REST: what is missing in the recording shows as gaps.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from marketpulse.errors import Fatal
from marketpulse.model.market import COMPLETE
from marketpulse.ports import Hello, Polled
from marketpulse.settings import RecordingSettings
from marketpulse.sources.files import expand
from marketpulse.sources.streaming.intake import Intake
from marketpulse.sources.streaming.parsed import Bar, Parsed, Print, Quote, Trade
from marketpulse.sources.streaming.recording import Recorded, read
from marketpulse.sources.streaming.timed_intake import TimedIntake
from marketpulse.sources.streaming.vendor import TimedVendor, Vendor
from marketpulse.sources.streaming.vendors import TIMED, VENDORS

_LINES = 5_000  # of one poll
_LOOKED_AT = 200
_AFTER_ALL = 2**62


class RecordedSource:
    """A `Source` over recorded messages. Its position counts lines: a restart reads them again, and sends what follows."""

    def __init__(self, settings: RecordingSettings, source: str, *, lateness_ns: int) -> None:
        self._settings = settings
        self._source = source
        self._lateness_ns = max(1, lateness_ns)
        self._line = 0
        self._over = False

    def start(self, position: str | None) -> Hello:
        """Raises Fatal when there is no recording, or nobody can tell whose it is."""
        paths = expand(self._settings.files)
        name = self._vendor_of(paths)
        known = f"{name}/{self._settings.with_venue}/{self._settings.symbol or ''}/" + "/".join(
            f"{p.name}:{p.stat().st_size}" for p in paths
        )
        self._digest = hashlib.blake2b(known.encode(), digest_size=8).hexdigest()
        self._intake = self._taking(name, paths)
        self._lines = self._every_line(paths)
        self._line, self._over = 0, False
        if position is not None and (at := json.loads(position))["recording"] == self._digest:
            while self._line < at["line"] and not self._over:
                self._read(min(_LINES, at["line"] - self._line))
                self._intake.drain()
            self._over = self._over or bool(at.get("over"))
        return Hello(
            self._source, "historical", run_id=self._digest, lateness_ns=self._lateness_ns,
            calendar="24x7" if name in VENDORS else None,
        )  # fmt: skip

    def poll(self, timeout_s: float) -> Polled:  # noqa: ARG002
        if self._over:
            return Polled(ended=True)
        self._read(_LINES)
        batches, rejected = self._intake.drain()
        place = {"recording": self._digest, "line": self._line, "over": int(self._over)}
        return Polled(
            batches, json.dumps(place), rejected=rejected, ended=self._over,
            goodbye_watermark_ns=COMPLETE if self._over else None,
        )  # fmt: skip

    def watermark_ns(self) -> int | None:
        newest = self._intake.newest_ns
        return newest - self._lateness_ns if newest else None

    def close(self) -> None:
        self._lines = iter(())

    @property
    def finished_before(self) -> bool:
        """Whether the position that it started from was the end."""
        return self._over

    def _read(self, most: int) -> None:
        """Take in lines; at the end, declare what is still missing."""
        count = 0
        for recorded in islice(self._lines, most):
            count += 1
            if isinstance(self._intake, TimedIntake) and recorded.event == "connected":
                self._intake.connected()
            if recorded.message is not None:
                self._intake.message(recorded.message, recorded.received_ns, recorded.line)
            self._intake.settle(recorded.received_ns or self._intake.newest_ns)
            if isinstance(self._intake, TimedIntake):
                self._give_up(self._intake)
        self._line += count
        if count < most:
            self._over = True
            self._intake.settle(_AFTER_ALL)

    def _give_up(self, intake: TimedIntake) -> None:
        """Nothing tells what was lost while the recorded connection was away: it stays a gap."""
        for symbol, lost in intake.declared:
            intake.given_up(symbol, lost, "the recording has no more")
        intake.declared.clear()

    def _every_line(self, paths: list[Path]) -> Iterator[Recorded]:
        for path in paths:
            yield from read(path)

    def _taking(self, name: str, paths: list[Path]) -> Intake | TimedIntake:
        if name in TIMED:
            timed = TIMED[name]
            return TimedIntake(timed, self._source, str(paths[0]), None, parse=self._reading(timed))
        vendor = VENDORS[name]
        return Intake(
            vendor, self._source, str(paths[0]), None, with_venue=self._settings.with_venue,
            singles=self._singles(paths, vendor), parse=self._reading(vendor),
        )  # fmt: skip

    def _singles(self, paths: list[Path], vendor: Vendor) -> frozenset[str] | None:
        """Symbols whose trades were recorded one by one, where aggregates were recorded too: these would count them twice."""
        messages = (line.message for line in self._every_line(paths) if line.message)
        if not any(b"aggTrade" in message for message in messages):
            return None
        found = (
            self._reading(vendor)(line.message)
            for line in self._every_line(paths)
            if line.message and b'"trade"' in line.message
        )
        return frozenset(p.symbol for said in found for p in said if isinstance(p, Trade) and not p.aggregate)

    def _reading(self, vendor: Vendor | TimedVendor) -> Callable[[bytes], Sequence[Parsed]]:
        """How its lines are read: as messages, or with a symbol set as answers by REST, which do not name theirs."""
        symbol = self._settings.symbol
        if symbol is None:
            return vendor.parse
        if isinstance(vendor, Vendor):
            return lambda message: vendor.parse_trades(vendor.to_vendor(symbol), message)
        return lambda message: [
            row for row in vendor.parse_page(vendor.to_vendor(symbol), message).rows if not isinstance(row, Bar)
        ]  # an answer does not tell how long its bars are

    def _vendor_of(self, paths: list[Path]) -> str:
        """As set, as the lines say, or the vendor whose parser finds trades or quotes in the first of them."""
        if self._settings.vendor != "auto":
            return self._settings.vendor
        first = list(islice(self._every_line(paths), _LOOKED_AT))
        for line in first:
            if line.vendor in VENDORS or line.vendor in TIMED:
                return str(line.vendor)
        known: dict[str, Vendor | TimedVendor] = {**VENDORS, **TIMED}
        for name, vendor in known.items():
            for line in first:
                if line.message and any(
                    isinstance(p, Trade | Print | Bar | Quote) for p in self._reading(vendor)(line.message)
                ):
                    return name
        raise Fatal(f"{paths[0]}: nobody's messages are known in its first lines: set the recording's vendor")
