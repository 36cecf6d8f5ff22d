import math
import statistics
from typing import Any

import pytest

from board_rows import bars, live, row
from marketpulse.web.board import Board
from marketpulse.web.market import BARS_MAX, COLUMNS, MarketPart

DAY_S = 86_400


def rows_of(changes: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """By symbol."""
    assert changes is not None
    lists = [changes[name] for name in COLUMNS]
    return {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in zip(*lists, strict=True)}


def test_a_session_bar_tells_the_session() -> None:
    part = MarketPart()
    day = row("AAPL", "1d", DAY_S, 105.0, open=100.0, high=110.0, low=95.0, volume=30.0, vwap=102.0, trade_count=7)
    assert part.take(bars(day), 1)
    told = rows_of(part.changes(-1))["AAPL"]
    assert told == {
        "symbol": "AAPL", "date": 1, "open": 100.0, "high": 110.0, "low": 95.0, "volume": 30.0, "value": 3_060.0, "trades": 7,
        "volatility": None, "volatility_of": None,
    }  # fmt: skip


def test_without_session_bars_the_longest_ones_are_added_up_and_shorter_ones_count_for_nothing() -> None:
    part = MarketPart()
    minutes = [row("KO", "1m", 60 * i, 10.0 + i, volume=5.0, vwap=10.0) for i in range(3)]
    part.take(bars(*minutes, row("KO", "1s", 0, 99.0)), 1)
    told = rows_of(part.changes(-1))["KO"]
    assert (told["open"], told["high"], told["low"], told["volume"], told["value"], told["trades"]) == (
        10,
        13,
        9,
        15,
        150,
        6,
    )
    part.take(live([], row("KO", "1h", 0, 12.0, volume=20.0, vwap=11.0)), 2)
    assert rows_of(part.changes(1))["KO"]["value"] == 220.0


def test_a_new_session_begins_at_nothing() -> None:
    part = MarketPart()
    part.take(bars(row("AAPL", "1d", 0, 100.0)), 1)
    part.take(live([], row("AAPL", "1s", DAY_S, 7.0, volume=1.0, vwap=7.0)), 2)
    told = rows_of(part.changes(1))["AAPL"]
    assert (told["date"], told["volume"], told["value"]) == (1, 1.0, 7.0)
    assert not part.take(live([], row("AAPL", "1d", 0, 100.0)), 3)  # yesterday's


def test_a_forming_bar_follows_its_trades_until_it_closes_and_revisions_replace_it() -> None:
    part = MarketPart()
    for seq, volume in enumerate((10.0, 20.0), 1):
        part.take(live([], row("AAPL", "1d", 0, 50.0, volume=volume, vwap=50.0)), seq)
    assert rows_of(part.changes(1))["AAPL"]["volume"] == 20.0
    part.take(bars(row("AAPL", "1d", 0, 50.0, volume=30.0)), 3)
    assert not part.take(live([], row("AAPL", "1d", 0, 50.0, volume=25.0)), 4)
    part.take(bars(row("AAPL", "1d", 0, 50.0, volume=31.0, revision=1)), 5)
    assert not part.take(bars(row("AAPL", "1d", 0, 50.0, volume=30.0)), 6)
    assert rows_of(part.changes(3))["AAPL"]["volume"] == 31.0


def test_a_withdrawn_bar_takes_its_trades_with_it() -> None:
    part = MarketPart()
    part.take(bars(*(row("KO", "1m", 60 * i, 10.0) for i in range(2))), 1)
    part.take(bars(row("KO", "1m", 60, 10.0, revision=1) | {"close": None}), 2)
    assert rows_of(part.changes(1))["KO"]["volume"] == 10.0


def test_very_many_short_bars_become_one_sum() -> None:
    part = MarketPart()
    part.take(bars(*(row("KO", "1s", i, 10.0, volume=1.0, vwap=10.0) for i in range(BARS_MAX + 500))), 1)
    assert rows_of(part.changes(-1))["KO"]["volume"] == BARS_MAX + 500
    assert not part.take(bars(row("KO", "1s", 3, 10.0, volume=1.0, revision=1)), 2)  # too old to be told apart


def test_volatility_is_the_deviation_of_the_newest_returns_scaled_to_an_hour() -> None:
    part = MarketPart()
    closes = [100.0 + math.sin(i) for i in range(30)]
    part.take(bars(*(row("KO", "1m", 60 * i, close) for i, close in enumerate(closes))), 1)
    told = rows_of(part.changes(-1))["KO"]
    returns = [math.log(b / a) for a, b in zip(closes[-21:], closes[-20:], strict=False)]
    assert told["volatility"] == pytest.approx(100 * statistics.stdev(returns) * math.sqrt(60), rel=1e-5)
    assert told["volatility_of"] == "1m"


def test_volatility_comes_from_what_there_is_and_is_none_with_too_little() -> None:
    part = MarketPart()
    part.take(bars(*(row("KO", "1d", DAY_S * i, 100.0 + i % 2) for i in range(9)), row("IBM", "1m", 0, 1.0)), 1)
    told = rows_of(part.changes(-1))
    assert (told["KO"]["volatility_of"], told["IBM"]["volatility"]) == ("1d", None)
    assert told["KO"]["volatility"] > 0


def test_only_what_changed_is_told() -> None:
    board = Board(parts={"market": MarketPart()})
    part = board.parts["market"]
    board.take(bars(row("AAPL", "1d", 0, 1.0), row("KO", "1d", 0, 2.0)))
    whole = part.changes(-1)
    assert whole is not None
    assert whole["whole"]
    assert set(rows_of(whole)) == {"AAPL", "KO"}
    assert part.changes(board.seq) is None
    board.take(bars(row("KO", "1d", 0, 3.0, revision=1)))
    step = part.changes(board.seq - 1)
    assert step is not None
    assert (step["whole"], list(rows_of(step))) == (False, ["KO"])
    assert MarketPart().changes(-1) == {"whole": True, **{name: [] for name in COLUMNS}}


def test_symbols_are_bounded_and_tick_bars_tell_nothing() -> None:
    part = MarketPart(symbols_max=2)
    part.take(bars(*(row(name, "1d", 0, 1.0) for name in ("A", "B", "C"))), 1)
    assert set(rows_of(part.changes(-1))) == {"B", "C"}
    assert not part.take(bars(row("A", "1t", 0, 1.0)), 2)
