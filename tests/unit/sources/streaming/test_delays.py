"""How late a feed is: its longest typical delay of the last minute."""

from marketpulse.sources.streaming.delays import Delays


def test_the_longest_median_of_a_minute_counts_and_no_feed_is_ahead() -> None:
    delays = Delays()
    assert delays.longest_ns() == 0
    found = [5, 7, 900]
    delays.note(0.0, found)
    assert (delays.longest_ns(), found) == (7, [])
    delays.note(30.0, [3])
    assert delays.longest_ns() == 7
    delays.note(61.0, [])
    assert delays.longest_ns() == 3
    delays.note(200.0, [-50])
    assert delays.longest_ns() == 0
