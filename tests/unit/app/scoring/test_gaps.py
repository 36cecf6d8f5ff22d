"""Each gap stands as its newest record says."""

from marketpulse.app.scoring.gaps import GAPS_MAX, GapLedger


def gap(
    state: str | None, trades: int | None = 3, ids: tuple[int, int] | None = (5, 7), to_ns: int = 9
) -> dict[str, object]:
    record: dict[str, object] = {"type": "gap", "symbol": "BTC-USD", "from_ns": 1, "to_ns": to_ns, "reason": "lost"}
    if state is not None:
        record["state"] = state
    if trades is not None:
        record["trades"] = trades
    return record if ids is None else {**record, "from_id": str(ids[0]), "to_id": str(ids[1])}


def states(ledger: GapLedger) -> list[tuple[str, int | None]]:
    return [(one.state, one.trades) for one in ledger.since(0)]


def test_a_gap_that_is_healed_is_one_gap() -> None:
    ledger = GapLedger()
    ledger.take(gap("found"), 10)
    assert states(ledger) == [("found", 3)]
    ledger.take(gap("healed"), 20)
    assert states(ledger) == [("healed", 3)]


def test_parts_that_are_given_up_one_by_one_are_added() -> None:
    ledger = GapLedger()
    for state, trades in (("found", 3), ("open", 1), ("open", 2)):
        ledger.take(gap(state, trades), 10)
    assert states(ledger) == [("open", 3)]


def test_a_gap_of_time_is_known_by_its_end() -> None:
    ledger = GapLedger()
    ledger.take(gap("found", None, ids=None), 10)
    ledger.take({**gap("healed", 12, ids=None), "from_ns": 4}, 20)
    ledger.take(gap("found", None, ids=None, to_ns=30), 30)
    assert states(ledger) == [("healed", 12), ("found", None)]


def test_an_answer_that_does_not_reach_back_is_open() -> None:
    ledger = GapLedger()
    ledger.take(gap(None, None, ids=None), 10)
    assert states(ledger) == [("open", None)]


def test_only_so_many_are_kept_and_those_told_since_are_given() -> None:
    ledger = GapLedger()
    for i in range(GAPS_MAX + 5):
        ledger.take(gap("found", ids=(i, i)), i)
    assert (len(ledger.since(0)), ledger.forgotten) == (GAPS_MAX, 5)
    assert len(ledger.since(GAPS_MAX)) == 5
