"""Which symbol's news are to be asked for, and which stand in the log already."""

from collections.abc import Mapping, Sequence
from typing import Any

from marketpulse.model.timeframe import SECOND_NS
from marketpulse.ports import RejectedInput
from marketpulse.sources.news.told import News
from marketpulse.sources.news.vendors import NewsVendor
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.question import Question
from marketpulse.telemetry import NEWS

_AGAIN_NS = 900 * SECOND_NS  # some are told late: each question reaches so much further back
_MARKS_MAX = 100


class NewsLedger:
    """One source's rounds: every symbol once in `every_s`. The first reaches a quarter of an hour back."""

    def __init__(self, vendor: NewsVendor, source: str, symbols: Sequence[str], every_s: float) -> None:
        self._vendor, self._source = vendor, source
        self._symbols = tuple(symbols)
        self._every_ns = int(every_s * SECOND_NS)
        self._left: list[str] = []
        self._began_ns = 0  # this round
        self._since_ns = 0  # everything older is written
        self._marks: dict[int, int] = {}  # of what was written -> when it was published

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on behind a position."""
        self._since_ns = int(kept.get("since", 0))
        self._marks = {int(mark): int(at) * SECOND_NS for mark, at in kept.get("marks", ())}

    def position(self) -> dict[str, Any]:
        """For `restore`."""
        marks = [[mark, at // SECOND_NS] for mark, at in self._marks.items()]
        return {"since": self._since_ns, "marks": marks}

    def due(self, now_ns: int) -> str | None:
        """A symbol that is to be asked for; None: the next round has not begun."""
        if not self._since_ns:
            self._since_ns = now_ns
        if not self._left and now_ns - self._began_ns >= self._every_ns:
            self._began_ns, self._left = now_ns, list(self._symbols)
        return self._left[0] if self._left else None

    def question(self, symbol: str, now_ns: int) -> Question:
        return self._vendor.question(symbol, self._since_ns - _AGAIN_NS, now_ns)

    def answered(self, answer: Answer) -> tuple[list[dict[str, Any]], Sequence[RejectedInput]]:
        """The records of what is new, oldest first."""
        symbol = self._left.pop(0)
        page = self._vendor.read(symbol, answer)
        fresh: dict[int, News] = {}
        for news in page.news:
            if news.time_ns >= self._since_ns - _AGAIN_NS and news.mark() not in self._marks:
                fresh[news.mark()] = news
        self._marks |= {mark: news.time_ns for mark, news in fresh.items()}
        self._end_of_round()
        NEWS.labels(self._source).inc(len(fresh))
        order = sorted(fresh.values(), key=lambda news: (news.time_ns, news.news_id))
        return [news.body(symbol, self._source) for news in order], page.rejected

    def refused(self) -> None:
        """The vendor does not answer this: the next round asks again."""
        self._left.pop(0)
        self._end_of_round()

    def _end_of_round(self) -> None:
        if self._left:
            return
        self._since_ns = max(self._since_ns, self._began_ns)
        oldest = self._since_ns - _AGAIN_NS
        self._marks = {mark: at for mark, at in self._marks.items() if at >= oldest}
        while len(self._marks) > _MARKS_MAX:  # more than a position holds: the oldest are asked for no more
            self._marks.pop(min(self._marks, key=lambda mark: self._marks[mark]))
            self._since_ns = max(self._since_ns, min(self._marks.values()) + _AGAIN_NS)
