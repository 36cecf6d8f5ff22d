"""The parts 'market' and 'alerts' of what a page is sent."""

import math
import statistics
from typing import Any

import pytest

from board_rows import alert, alerts, bars, live, row
from marketpulse.ports import FeedBatch
from marketpulse.web.alerts_feed import WHOLE, AlertsFeed
from marketpulse.web.board import Board
from marketpulse.web.market import BARS_MAX, COLUMNS, MarketPart
from marketpulse.web.quote import Quote, Seen

DAY_S = 86_400


class Market(MarketPart):
    """Its sequence counts the batches."""

    seq = 0

    def told(self, batch: FeedBatch) -> bool:
        self.seq += 1
        return self.take(batch, self.seq)

    def row(self, symbol: str, since: int = -1) -> dict[str, Any]:
        return rows_of(self.changes(since))[symbol]


def rows_of(changes: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """By symbol."""
    assert changes is not None
    lists = [changes[name] for name in COLUMNS]
    return {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in zip(*lists, strict=True)}


def test_a_session_bar_tells_the_session_a_new_one_begins_at_nothing_and_without_them_the_longest_are_added() -> None:
    part = Market()
    day = row("AAPL", "1d", DAY_S, 105.0, open=100.0, high=110.0, low=95.0, volume=30.0, vwap=102.0, trade_count=7)
    assert part.told(bars(day))
    assert part.row("AAPL") == {
        "symbol": "AAPL", "date": 1, "open": 100.0, "high": 110.0, "low": 95.0, "volume": 30.0, "value": 3_060.0, "trades": 7,
        "volatility": None, "volatility_of": None,
    }  # fmt: skip
    part = Market()
    part.told(bars(row("AAPL", "1d", 0, 100.0)))
    part.told(live([], row("AAPL", "1s", DAY_S, 7.0, volume=1.0, vwap=7.0)))
    told = part.row("AAPL", since=1)
    assert (told["date"], told["volume"], told["value"]) == (1, 1.0, 7.0)
    assert not part.told(live([], row("AAPL", "1d", 0, 100.0)))  # yesterday's
    part = Market()
    minutes = [row("KO", "1m", 60 * i, 10.0 + i, volume=5.0, vwap=10.0) for i in range(3)]
    part.told(bars(*minutes, row("KO", "1s", 0, 99.0)))
    told = part.row("KO")
    assert [told[name] for name in ("open", "high", "low", "volume", "value", "trades")] == [10, 13, 9, 15, 150, 6]
    part.told(live([], row("KO", "1h", 0, 12.0, volume=20.0, vwap=11.0)))
    assert part.row("KO", since=1)["value"] == 220.0
    part.told(live([], row("EURUSD", "1h", 0, 12.0, volume=None)))
    told = part.row("EURUSD", since=2)
    assert (math.isnan(told["volume"]), math.isnan(told["value"]), told["high"]) == (True, True, 13.0)


def test_a_forming_bar_follows_its_trades_until_it_closes_revisions_replace_it_and_withdrawals_remove_it() -> None:
    def day(volume: float, **other: Any) -> dict[str, Any]:
        return row("AAPL", "1d", 0, 50.0, volume=volume, **other)

    part = Market()
    for volume in (10.0, 20.0):
        part.told(live([], day(volume, vwap=50.0)))
    assert part.row("AAPL", since=1)["volume"] == 20.0
    part.told(bars(day(30.0)))
    assert not part.told(live([], day(25.0)))
    part.told(bars(day(31.0, revision=1)))
    assert not part.told(bars(day(30.0)))
    assert part.row("AAPL", since=3)["volume"] == 31.0
    part = Market()
    part.told(bars(*(row("KO", "1m", 60 * i, 10.0) for i in range(2))))
    part.told(bars(row("KO", "1m", 60, 10.0, revision=1) | {"close": None}))
    assert part.row("KO", since=1)["volume"] == 10.0


def test_only_what_changed_is_told_short_bars_are_one_sum_and_volatility_is_the_hourly_deviation() -> None:
    board = Board(parts={"market": MarketPart()})
    part = board.parts["market"]
    board.take(bars(row("AAPL", "1d", 0, 1.0), row("KO", "1d", 0, 2.0)))
    whole = part.changes(-1)
    assert whole is not None
    assert (whole["whole"], set(rows_of(whole))) == (True, {"AAPL", "KO"})
    assert part.changes(board.seq) is None
    board.take(bars(row("KO", "1d", 0, 3.0, revision=1)))
    step = part.changes(board.seq - 1)
    assert step is not None
    assert (step["whole"], list(rows_of(step))) == (False, ["KO"])
    assert MarketPart().changes(-1) == {"whole": True, **{name: [] for name in COLUMNS}}
    part = Market()
    part.told(bars(*(row("KO", "1s", i, 10.0, volume=1.0, vwap=10.0) for i in range(BARS_MAX + 500))))
    assert part.row("KO")["volume"] == BARS_MAX + 500
    assert not part.told(bars(row("KO", "1s", 3, 10.0, volume=1.0, revision=1)))  # too old to be told apart
    part = Market(symbols_max=2)
    part.told(bars(*(row(name, "1d", 0, 1.0) for name in ("A", "B", "C"))))
    assert set(rows_of(part.changes(-1))) == {"B", "C"}
    assert not part.told(bars(row("A", "1t", 0, 1.0)))
    part = Market()
    closes = [100.0 + math.sin(i) for i in range(30)]
    part.told(bars(*(row("KO", "1m", 60 * i, close) for i, close in enumerate(closes))))
    returns = [math.log(b / a) for a, b in zip(closes[-21:], closes[-20:], strict=False)]
    hourly = 100 * statistics.stdev(returns) * math.sqrt(60)
    assert (part.row("KO")["volatility"], part.row("KO")["volatility_of"]) == (pytest.approx(hourly, rel=1e-5), "1m")
    part = Market()
    part.told(bars(*(row("KO", "1d", DAY_S * i, 100.0 + i % 2) for i in range(9)), row("IBM", "1m", 0, 1.0)))
    assert (part.row("KO")["volatility_of"], part.row("IBM")["volatility"]) == ("1d", None)
    assert part.row("KO")["volatility"] > 0


# Alerts.


def test_a_row_is_told_once_and_whole_to_who_has_nothing() -> None:
    feed = AlertsFeed()
    assert feed.changes(-1) == [WHOLE]
    assert feed.take(alerts(alert(10, "raised")), 1)
    assert feed.take(alerts(alert(12, "cleared", value=None)), 2)
    raised = ["A", "high", "10000000000", "warning", "1s", 9000.0, "raised", None, False, 1.5, "A: high is raised at 1.5", 0, 0, 10]  # fmt: skip
    (second,) = feed.changes(1) or []
    assert (feed.changes(0), second[6], second[9]) == ([raised, second], "cleared", None)
    assert feed.changes(2) is None
    assert feed.changes(-1) == [WHOLE, raised, second]
    feed = AlertsFeed()
    feed.take(alerts(alert(10, "raised", receipt=None)), 1)
    assert (feed.changes(0) or [])[0][12:] == [None, None], "without a receipt it names no place"
    feed = AlertsFeed()
    assert not feed.take(bars(row("A", "1m", 0, 1.0)), 1), "rows of other topics are not its own"
    assert feed.changes(0) is None


def test_what_came_already_changes_nothing_a_revision_takes_its_place_and_the_oldest_go_but_what_stands() -> None:
    feed = AlertsFeed()
    feed.take(alerts(alert(10, "raised"), alert(11, "raised", "B")), 1)
    assert not feed.take(alerts(alert(10, "raised")), 2)
    assert feed.take(alerts(alert(10, "withdrawn", revision=1, was="raised")), 3)
    assert not feed.take(alerts(alert(10, "raised")), 4)
    assert [(r[0], r[6], r[11]) for r in feed.changes(2) or []] == [("A", "withdrawn", 1)]
    assert [(r[0], r[6]) for r in (feed.changes(-1) or [])[1:]] == [("B", "raised"), ("A", "withdrawn")]
    feed = AlertsFeed(kept=10)
    feed.take(alerts(alert(1, "raised", "OLD"), alert(2, "raised", "GONE"), alert(3, "cleared", "GONE")), 1)
    for i in range(60):
        feed.take(alerts(alert(10 + i, "raised" if i % 2 == 0 else "cleared", "BUSY")), 2 + i)
    rows = [(r[0], r[6]) for r in (feed.changes(-1) or [])[1:]]
    assert {("OLD", "raised"), ("GONE", "cleared")} <= set(rows)
    assert len(rows) <= 10 * 1.25 + 4
    assert sum(symbol == "BUSY" for symbol, _ in rows) >= 10


def seen(
    date: int, open_s: int, time_s: int, close: float, *, open_: float = 10.0, high: float = 12.0, low: float = 8.0,
    day: bool = False, volume: float = 1.0,
) -> Seen:  # fmt: skip
    return Seen(date, open_s * 10**9, time_s * 10**9, open_, high, low, close, volume, day)


def quote_of(*bars: Seen) -> Quote:
    quote = Quote()
    for bar in bars:
        quote.take(bar)
    return quote


def test_the_last_price_is_the_newest_in_any_order_and_the_change_is_since_the_session_before_or_the_open() -> None:
    quote = quote_of(seen(1, 60, 120, 11.0), seen(1, 0, 60, 9.0))
    assert quote.last == 11.0
    quote.take(seen(1, 60, 120, 11.5))  # a revision of the newest bar
    assert quote.last == 11.5
    assert math.isnan(Quote().last)
    assert math.isnan(Quote().reference)
    quote = quote_of(seen(5, 0, 60, 9.0, high=20.0, low=1.0))
    assert quote.session is not None
    assert math.isnan(quote.session.volume)
    quote.take(seen(5, 0, 70, 9.5, high=12.0, low=8.0, volume=500.0, day=True))  # a cancelled trade set 20
    assert (quote.session.high, quote.session.low, quote.session.volume) == (12.0, 8.0, 500.0)
    quote = quote_of(seen(5, 60, 120, 11.0, open_=10.5), seen(5, 0, 60, 9.0, open_=10.0))
    assert (quote.reference, quote.reference_kind) == (10.0, "session_open")
    late = quote_of(seen(9, 1_000, 1_060, 11.0), seen(3, 0, 60, 3.0), seen(8, 500, 560, 8.0), seen(2, 0, 60, 2.0))
    assert late.reference == 8.0
    quote = quote_of(seen(5, 0, 60, 9.0), seen(5, 60, 120, 9.5), seen(6, 1_000, 1_060, 11.0))
    assert (quote.reference, quote.reference_kind) == (9.5, "previous_close")
    quote.take(seen(5, 60, 120, 9.25))  # revised later
    assert quote.reference == 9.25
