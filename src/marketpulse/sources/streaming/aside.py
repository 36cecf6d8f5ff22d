"""What a keyed feed's vendor is asked beside the feed: splits and dividends once a day, news in rounds.

    due -> a question, in a thread of its own -> the answer -> records for the log, and their position

One question is under way at a time, through a client of its own: a path that fails pauses no refill.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marketpulse.errors import RejectedRecord, Retryable, WrongKey
from marketpulse.ports import RejectedInput
from marketpulse.sources.actions.ledger import Ledger
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.question import Question
from marketpulse.telemetry import get_logger

_AGAIN_S = 5.0


class Brought(NamedTuple):
    """Records for the log, and what could not be read."""

    bodies: Sequence[Mapping[str, Any]] = ()
    rejected: Sequence[RejectedInput] = ()


@dataclass(slots=True)
class Aside:
    """`poll` and `position` belong to one thread. `again_s`: the pause after a fault."""

    source: str
    client: RestClient
    actions: Ledger | None
    news: NewsLedger | None
    again_s: float = _AGAIN_S
    _wishes: "queue.Queue[Question | None]" = field(default_factory=lambda: queue.Queue(1))
    _answers: "queue.Queue[Answer | str]" = field(default_factory=lambda: queue.Queue(1))
    _stop: threading.Event = field(default_factory=threading.Event)
    _asked: tuple[Ledger | NewsLedger, str] | None = None
    _thread: threading.Thread | None = None

    def start(self, kept: Mapping[str, Any]) -> None:
        """Go on behind what `position` said."""
        if self.actions is not None:
            self.actions.restore(kept.get("actions", {}))
        if self.news is not None:
            self.news.restore(kept.get("news", {}))
        self._thread = threading.Thread(target=self._run, name=f"aside-{self.source}", daemon=True)
        self._thread.start()

    def poll(self, now_ns: int) -> Brought:
        """What has come, and the next question on its way."""
        brought = Brought()
        if self._asked is not None:
            try:
                answer = self._answers.get_nowait()
            except queue.Empty:
                return brought
            (ledger, symbol), self._asked = self._asked, None
            brought = self._take(ledger, symbol, answer, now_ns)
        for each in (self.actions, self.news):
            wanted = None if each is None or self._asked is not None else each.due(now_ns)
            if each is not None and wanted is not None:
                self._asked = each, wanted
                self._wishes.put(each.question(wanted, now_ns))
        return brought

    def position(self) -> dict[str, Any]:
        """For `start`."""
        parts = {"actions": self.actions, "news": self.news}
        return {name: ledger.position() for name, ledger in parts.items() if ledger is not None}

    def close(self) -> None:
        """The client is closed by its owner."""
        self._stop.set()
        with contextlib.suppress(queue.Full):  # then the thread takes that one, and sees that it shall stop
            self._wishes.put_nowait(None)
        if self._thread is not None:
            self._thread.join(5.0)

    def _take(self, ledger: Ledger | NewsLedger, symbol: str, answer: Answer | str, now_ns: int) -> Brought:
        if isinstance(answer, str):
            get_logger().warning(
                "question_refused", source=self.source, symbol=symbol, error=answer,
                todo="set corporate_actions or news of this source to false if its plan does not have them",
            )  # fmt: skip
            if isinstance(ledger, Ledger):
                ledger.refused(now_ns)
            else:
                ledger.refused()
            return Brought()
        if isinstance(ledger, Ledger):
            actions, rejected = ledger.answered(answer)
            return Brought([action.body(symbol, self.source, now_ns) for action in actions], rejected)
        return Brought(*ledger.answered(answer))

    def _run(self) -> None:
        while not self._stop.is_set():
            question = self._wishes.get()
            if question is None:
                return
            answer = self._get(question)
            if answer is not None:
                self._answers.put(answer)

    def _get(self, question: Question) -> Answer | str | None:
        """The answer, or why there will be none; None: asked to stop."""
        while not self._stop.is_set():
            try:
                return self.client.get(question.path, question.parameters, patience_s=3_600.0, stop=self._stop)
            except (WrongKey, RejectedRecord) as error:
                return str(error)
            except Retryable as error:
                get_logger().info("question_waits", source=self.source, error=str(error))
                self._stop.wait(self.again_s)
        return None


OpenAside = Callable[[RestClient, Sequence[str]], Aside]
"""Makes one for a source's symbols, over its client."""
