"""Which symbols are to be asked for today, and which of what vendors tell stands in the log already.

A day begins at midnight UTC, before any session of its date. Vendors tell some things late, so each question reaches two
weeks back, and what was written of those weeks is known by a mark, over restarts.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from marketpulse.model.timeframe import DAY_NS
from marketpulse.ports import RejectedInput
from marketpulse.sources.actions.told import Action, Told
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.question import Question
from marketpulse.telemetry import CORPORATE_ACTIONS

HISTORY_DAYS = 3_653
"""How far back the first question reaches."""

_AGAIN_DAYS = 14
_MARKS_MAX = 60


class ActionsVendor(Protocol):
    """What is different from vendor to vendor."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:
        """How to ask for what has its ex date in `[since, today]`, days since 1970."""
        ...

    def read(self, symbol: str, answer: Answer) -> Told:
        """What one of the answers says; never raises for what a vendor may send."""
        ...


class Ledger:
    """One source's. `source` is the name that its rows carry."""

    def __init__(self, vendor: ActionsVendor, source: str, symbols: Sequence[str]) -> None:
        self._vendor, self._source = vendor, source
        self._symbols = tuple(symbols)
        self._asked: dict[str, int] = {}  # the day of the last whole answer
        self._refused: dict[str, int] = {}  # the day on which the vendor would not answer
        self._marks: dict[int, int] = {}  # of what was written -> its ex date
        self._round: tuple[str, int, deque[Question]] | None = None
        self._found: list[Action] = []

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on behind a position."""
        self._asked = {
            symbol: int(day)
            for day, names in kept.get("days", {}).items()
            for symbol in names.split(" ")
            if symbol in self._symbols
        }
        self._marks = {int(mark): int(day) for mark, day in kept.get("marks", ())}

    def position(self) -> dict[str, Any]:
        """For `restore`."""
        days: dict[str, list[str]] = {}
        for symbol, day in self._asked.items():
            days.setdefault(str(day), []).append(symbol)
        return {
            "days": {day: " ".join(sorted(names)) for day, names in sorted(days.items())},
            "marks": [list(item) for item in sorted(self._marks.items())],
        }

    def due(self, now_ns: int) -> str | None:
        """A symbol that is to be asked for; None: all are known for today."""
        if self._round is not None:
            return self._round[0]
        return next((symbol for symbol in self._symbols if self.is_due(symbol, now_ns)), None)

    def is_due(self, symbol: str, now_ns: int) -> bool:
        today = now_ns // DAY_NS
        return max(self._asked.get(symbol, 0), self._refused.get(symbol, 0)) < today

    def question(self, symbol: str, now_ns: int) -> Question:
        """The next question for a symbol that is due."""
        today = now_ns // DAY_NS
        if self._round is None or self._round[0] != symbol:
            since = self._asked.get(symbol, today - HISTORY_DAYS + _AGAIN_DAYS) - _AGAIN_DAYS
            self._round = symbol, since, deque(self._vendor.questions(symbol, since, today))
            self._found = []
        return self._round[2][0]

    def answered(self, answer: Answer) -> tuple[list[Action], Sequence[RejectedInput]]:
        """What is new, oldest first, once all questions for the symbol are answered."""
        assert self._round is not None  # noqa: S101  an answer comes after its question
        symbol, since, questions = self._round
        told = self._vendor.read(symbol, answer)
        self._found += told.actions
        questions.popleft()
        if questions:
            return [], told.rejected
        self._round = None
        today = answer.received_ns // DAY_NS
        return self._take(symbol, since, today), told.rejected

    def refused(self, now_ns: int) -> None:
        """The vendor does not answer this: it is asked again tomorrow."""
        assert self._round is not None  # noqa: S101  as above
        self._refused[self._round[0]] = now_ns // DAY_NS
        self._round = None

    def _take(self, symbol: str, since: int, today: int) -> list[Action]:
        """What has happened by now and is not written; what lies ahead is told again."""
        wanted = {action.mark(symbol): action for action in self._found if since <= action.day <= today}
        fresh = {mark: action for mark, action in wanted.items() if mark not in self._marks}
        self._asked[symbol] = today
        oldest = min(self._asked.values()) - _AGAIN_DAYS
        kept = {mark: action.day for mark, action in fresh.items() if action.day >= today - _AGAIN_DAYS}
        self._marks = {mark: day for mark, day in {**self._marks, **kept}.items() if day >= oldest}
        while len(self._marks) > _MARKS_MAX:  # the oldest may come twice; the last record of an ex time counts
            del self._marks[min(self._marks, key=lambda mark: self._marks[mark])]
        CORPORATE_ACTIONS.labels(self._source).inc(len(fresh))
        return sorted(fresh.values(), key=lambda action: (action.day, action.type))
