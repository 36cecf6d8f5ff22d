import json
import random

from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.timeframe import SECOND_NS
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.told import News, Page
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.question import Question

BEGIN = 1_700_000_000 * SECOND_NS


class Paper:
    """Each piece is published at its time, and told some seconds later."""

    def __init__(self, pieces: list[tuple[News, int]]) -> None:
        self.pieces = pieces
        self.asked: list[tuple[str, int]] = []

    def question(self, symbol: str, since_ns: int, now_ns: int) -> Question:
        self.asked.append((symbol, since_ns))
        return Question(symbol, {"since": str(since_ns), "now": str(now_ns)})

    def read(self, symbol: str, answer: Answer) -> Page:
        since_ns, now_ns = answer.body
        return Page([
            n for n, late in self.pieces
            if symbol in n.symbols and since_ns <= n.time_ns and n.time_ns + late * SECOND_NS <= now_ns
        ])  # fmt: skip


def rounds(ledger: NewsLedger, now_ns: int) -> list[str]:
    found: list[str] = []
    while (symbol := ledger.due(now_ns)) is not None:
        asked = ledger.question(symbol, now_ns)
        body = (int(asked.parameters["since"]), int(asked.parameters["now"]))
        bodies, _ = ledger.answered(Answer(body, b"", {}, now_ns))
        found += [body["id"] for body in bodies]
    return found


@given(seed=st.integers(0, 10_000))
def test_each_piece_is_written_once_over_rounds_and_restarts(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [
        (News(str(i), BEGIN + rng.randrange(60, 9_000) * SECOND_NS, "h", "", symbols=tuple(rng.sample("ABC", rng.randrange(1, 4)))),
         rng.randrange(500))
        for i in range(40)
    ]  # fmt: skip
    paper, kept, found = Paper(pieces), None, []
    ledger = NewsLedger(paper, "feed", "ABC", 300)
    for now in range(0, 12_000, 60):
        found += rounds(ledger, BEGIN + now * SECOND_NS)
        if rng.random() < 0.2:
            kept = json.loads(json.dumps(ledger.position()))
            ledger = NewsLedger(paper, "feed", "ABC", 300)
            ledger.restore(kept)
    assert sorted(found, key=int) == [news.news_id for news, _ in pieces]


def test_a_round_asks_once_for_each_symbol_and_the_next_waits() -> None:
    paper = Paper([])
    ledger = NewsLedger(paper, "feed", "AB", 300)
    for now in (0, 1, 299, 300):
        rounds(ledger, BEGIN + now * SECOND_NS)
    assert [symbol for symbol, _ in paper.asked] == ["A", "B", "A", "B"]


def test_a_flood_keeps_the_position_short_and_tells_nothing_twice() -> None:
    pieces = [(News(str(i), BEGIN + i * SECOND_NS, "h", "", symbols=("A",)), 0) for i in range(1, 2_000)]
    ledger = NewsLedger(Paper(pieces), "feed", "A", 300)
    found: list[str] = []
    for now in range(0, 6_000, 300):
        found += rounds(ledger, BEGIN + now * SECOND_NS)
        assert len(json.dumps(ledger.position())) < 3_000
    assert len(found) == len(set(found))
    assert len(found) == len(pieces)
