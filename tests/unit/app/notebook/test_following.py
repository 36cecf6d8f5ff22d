"""A frame that follows a feed."""

import time
from collections.abc import Iterator

import pytest

from board_rows import bars, row
from marketpulse.app.notebook.following import Live
from marketpulse.errors import Fatal, Retryable
from marketpulse.ports import FeedBatch, PipelineStats


class Feed:
    """A LiveFeed that brings what a test puts in, one batch at a time."""

    def __init__(self, *steps: FeedBatch | Exception) -> None:
        self.steps = list(steps)
        self.closed = False

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        if not self.steps:
            time.sleep(min(timeout_s, 0.01))
            return
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        yield step

    def stats(self) -> PipelineStats:
        return PipelineStats(0, 0, 0, 0, True)

    def close(self) -> None:
        self.closed = True


def test_rows_of_the_symbol_are_there_in_order_and_revised() -> None:
    late = bars(row("AAPL", "1m", 60, 9.0, revision=1))
    feed = Feed(bars(row("AAPL", "1m", 0, 1.0), row("KO", "1m", 0, 5.0), row("AAPL", "1m", 60, 2.0)), late)
    with Live(feed, "AAPL", "1m", 100) as live:
        assert live.wait(changes=1, timeout_s=30) or len(live.frame())
        deadline = time.monotonic() + 30
        while live.frame()["close"].to_list() != [1.0, 9.0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        frame = live.frame()
    assert live.heard() == ["AAPL", "KO"]
    assert frame["symbol"].unique().to_list() == ["AAPL"]
    assert frame["open_time_ns"].to_list() == [0, 60 * 10**9]
    assert frame["closed"].to_list() == [True, True]
    assert feed.closed


def test_no_more_than_so_many_bars_are_held() -> None:
    feed = Feed(bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(50))))
    with Live(feed, "AAPL", "1m", 12) as live:
        deadline = time.monotonic() + 30
        while not len(live.frame()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert live.frame()["close"].to_list() == [float(i) for i in range(39, 51)]


def test_a_log_that_is_away_is_waited_for() -> None:
    with Live(Feed(Retryable("away"), bars(row("AAPL", "1m", 0, 1.0))), "AAPL", "1m", 10) as live:
        deadline = time.monotonic() + 30
        while not len(live.frame()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_before_the_first_row_the_frame_is_empty_and_waiting_ends() -> None:
    with Live(Feed(), "AAPL", "1m", 10) as live:
        assert live.wait(timeout_s=0.05) is False
        assert (len(live.frame()), "close" in live.frame().columns) == (0, True)
        assert "following" in repr(live)
    assert "closed" in repr(live)


@pytest.mark.parametrize("fault", [Fatal("the topics may not be read"), ValueError("odd")])
def test_what_ends_the_reading_reaches_who_looks(fault: Exception) -> None:
    live = Live(Feed(fault), "AAPL", "1m", 10)
    with pytest.raises(Fatal, match=r"may not be read|odd"):
        live.wait(timeout_s=30)
    with pytest.raises(Fatal):
        live.frame()
    live.close()
