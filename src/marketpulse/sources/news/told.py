"""One piece of news, as the log has it."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from marketpulse.ports import RejectedInput

HEADLINE_MAX, SUMMARY_MAX, URL_MAX, NAME_MAX, SYMBOLS_MAX = 500, 4_000, 2_000, 100, 50
"""Characters that are kept of each text, and how many symbols."""


class News(NamedTuple):
    """`news_id` is the vendor's own. `symbols` are ours, as many as it is about."""

    news_id: str
    time_ns: int
    headline: str
    url: str
    publisher: str = ""
    summary: str = ""
    symbols: tuple[str, ...] = ()

    def mark(self) -> int:
        """A short name for it, to stand in a position."""
        return zlib.crc32(self.news_id.encode())

    def body(self, symbol: str, source: str) -> dict[str, Any]:
        """The record for the log, under the symbol that it was asked for by."""
        body: dict[str, Any] = {
            "type": "news", "symbol": symbol, "source": source, "event_time_ns": self.time_ns, "id": self.news_id[:NAME_MAX],
            "headline": self.headline[:HEADLINE_MAX], "url": self.url[:URL_MAX],
        }  # fmt: skip
        if self.publisher:
            body["publisher"] = self.publisher[:NAME_MAX]
        if self.summary:
            body["summary"] = self.summary[:SUMMARY_MAX]
        if self.symbols:
            body["symbols"] = [name for name in self.symbols if len(name) <= NAME_MAX][:SYMBOLS_MAX]
        return body


@dataclass(frozen=True, slots=True)
class Page:
    """What an answer says."""

    news: Sequence[News] = ()
    rejected: Sequence[RejectedInput] = ()
