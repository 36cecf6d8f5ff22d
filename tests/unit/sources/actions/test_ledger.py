import json
import random

from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.timeframe import DAY_NS
from marketpulse.sources.actions.ledger import HISTORY_DAYS, Ledger
from marketpulse.sources.actions.told import Action, Told
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.question import Question

SYMBOLS = ("AAPL", "MSFT", "KO")
DAY = 20_000


class Happening:
    """A vendor that knows what happened up to a day, some of it late."""

    def __init__(self, events: dict[str, list[tuple[Action, int]]]) -> None:
        self.events = events
        self.asked: list[tuple[str, int, int]] = []

    def questions(self, symbol: str, since: int, today: int) -> list[Question]:
        self.asked.append((symbol, since, today))
        return [Question("/splits", {"symbol": symbol}), Question("/dividends", {"symbol": symbol})]

    def read(self, symbol: str, answer: Answer) -> Told:
        today, kind = answer.received_ns // DAY_NS, answer.body
        return Told([a for a, known in self.events.get(symbol, []) if known <= today and a.type == kind])


def day_of_all(ledger: Ledger, day: int) -> list[tuple[str, Action]]:
    """Every question of a day, answered."""
    now_ns, found = day * DAY_NS + 7, []
    while (symbol := ledger.due(now_ns)) is not None:
        kind = ledger.question(symbol, now_ns).path
        body = "split" if kind == "/splits" else "dividend"
        actions, _ = ledger.answered(Answer(body, b"", {}, now_ns))
        found += [(symbol, action) for action in actions]
    return found


def test_each_symbol_is_asked_for_once_a_day_first_for_years_and_then_for_two_weeks() -> None:
    vendor = Happening({})
    ledger = Ledger(vendor, "feed", SYMBOLS)
    for day in (DAY, DAY, DAY + 1):
        assert day_of_all(ledger, day) == []
    assert vendor.asked == [
        *((symbol, DAY - HISTORY_DAYS, DAY) for symbol in SYMBOLS),
        *((symbol, DAY - 14, DAY + 1) for symbol in SYMBOLS),
    ]


@given(seed=st.integers(0, 10_000))
def test_each_is_written_once_over_days_restarts_and_late_words(seed: int) -> None:
    rng = random.Random(seed)
    events = {
        symbol: [
            (Action(rng.choice(("split", "dividend")), ex := DAY + rng.randrange(-40, 40), round(rng.uniform(0.1, 9), 3)),
             ex + rng.randrange(-9, 10))
            for _ in range(8)
        ]
        for symbol in SYMBOLS
    }  # fmt: skip
    vendor, found, kept = Happening(events), [], None
    for day in range(DAY, DAY + 60):
        ledger = Ledger(vendor, "feed", SYMBOLS)
        if kept is not None:
            ledger.restore(json.loads(json.dumps(kept)))
        found += day_of_all(ledger, day)
        assert all(action.day <= day for _, action in found), "nothing is told ahead of its day"
        kept = ledger.position()
    wanted = {(symbol, action) for symbol, own in events.items() for action, _ in own}
    assert sorted(found) == sorted(wanted)


def test_what_the_vendor_refuses_is_asked_again_the_next_day() -> None:
    vendor = Happening({"AAPL": [(Action("split", DAY, 4.0), DAY)]})
    ledger = Ledger(vendor, "feed", ("AAPL",))
    ledger.question("AAPL", DAY * DAY_NS)
    ledger.refused(DAY * DAY_NS)
    assert ledger.due(DAY * DAY_NS + 1) is None
    assert ledger.position()["days"] == {}
    assert day_of_all(ledger, DAY + 1) == [("AAPL", Action("split", DAY, 4.0))]


def test_a_word_that_is_another_one_is_written_again() -> None:
    events = {"KO": [(Action("dividend", DAY, 0.5), DAY)]}
    ledger = Ledger(vendor := Happening(events), "feed", ("KO",))
    assert len(day_of_all(ledger, DAY)) == 1
    vendor.events = {"KO": [(Action("dividend", DAY, 0.51), DAY)]}
    assert day_of_all(ledger, DAY + 1) == [("KO", Action("dividend", DAY, 0.51))]
