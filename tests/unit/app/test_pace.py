"""How much a worker takes at once follows from what its turns cost."""

from marketpulse.app.pace import RECORDS_MOST, Pace

FAST_S, FIXED_S = 5e-6, 0.005  # what a record and a commit cost on a core of one's own


def turns(pace: Pace, count: int, core: float) -> list[float]:
    """How long each of so many turns takes where records wait without end, at this share of a core."""
    lasted = []
    for _ in range(count):
        lasted.append((FIXED_S + pace.records * FAST_S) / core)
        pace.note(pace.share_of(pace.records, 0), lasted[-1])
    return lasted


def test_at_full_speed_a_turn_takes_all_after_four_and_on_a_slow_machine_no_turn_is_long() -> None:
    pace = Pace()
    turns(pace, 4, core=1)
    assert pace.records == RECORDS_MOST
    (surprised, *after) = turns(pace, 60, core=0.02)
    assert surprised > pace.transaction_s, "the machine has become slow meanwhile"
    assert max(after) <= 1.2 * pace.turn_s
    assert sum(after[-10:]) > 5 * pace.turn_s, "and none is much shorter than it may be"
    assert max(turns(Pace(), 60, core=0.02)) <= 1.2 * pace.turn_s
    turns(pace, 40, core=1)
    assert pace.records == RECORDS_MOST


def test_a_few_records_say_nothing_and_a_transaction_that_ran_out_halves_the_share_and_gets_more_time() -> None:
    pace = Pace()
    turns(pace, 4, core=1)
    pace.note(pace.share_of(3, 600), 0.1)  # 33 ms a record, had a full turn as many such
    assert pace.share == 1
    for share, factor in ((1 / 2, 4), (1 / 4, 16), (1 / 8, 16)):
        pace.slow_down()
        assert (pace.share, pace.transaction_s) == (share, 10 * factor)
    assert pace.turn_s == 2, "what a turn may last is a fifth of the first time"
    for _ in range(20):
        pace.slow_down()
    assert (pace.records, pace.bars) == (10, 1_000)
