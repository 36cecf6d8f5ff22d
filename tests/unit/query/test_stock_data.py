"""The view of the tutorials over a real lake: trades, or the smallest bars of a symbol that has none."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lake_store import LakeRows
from marketpulse.ports import SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns
from marketpulse.settings import Settings
from tutorial_queries import DAY, MONDAY, QUERIES, answer, bars, ns, trades


class Lake:
    """A lake and its desk."""

    def __init__(self, folder: Path) -> None:
        self.rows = LakeRows(Settings(data_dir=folder))
        self.desk = LakeDesk(self.rows.settings)

    def ask(self, sql: str, **more: Any) -> list[tuple[Any, ...]]:
        rows = self.desk.answer(SqlQuestion(sql, **more)).rows.to_pylist()
        return [tuple(row.values()) for row in rows]

    def scans(self, sql: str) -> dict[str, tuple[int, int]]:
        """By table: files that the query reads, of how many."""
        plan = self.desk.plan(SqlQuestion(sql))
        return {scan.table: (scan.files, scan.files_in_all) for scan in plan.scans}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(tmp_path)
    with closing(lake.desk):
        yield lake


def kinds(lake: Lake) -> list[tuple[Any, ...]]:
    return lake.ask("SELECT symbol, kind, count(*) FROM stock_data GROUP BY ALL ORDER BY ALL")


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A trade feed with the bars that the engine made of it, and a bar feed in two timeframes."""
    lake = Lake(tmp_path_factory.mktemp("feeds"))
    lake.rows.add("trades", trades())
    lake.rows.add("bars", [*bars(), *bars(timeframe="1d", minutes=1440), *bars("TRADES", close=77.0)])
    with closing(lake.desk):
        yield lake


@pytest.mark.parametrize("name", QUERIES)
def test_a_tutorials_query_gives_the_same_rows_for_a_trade_feed_and_a_bar_feed(feeds: Lake, name: str) -> None:
    assert feeds.ask(QUERIES[name][0]) == answer(name)


@pytest.mark.parametrize("name", QUERIES)
def test_a_tutorials_query_put_into_athenas_words_gives_them_too(feeds: Lake, name: str) -> None:
    assert feeds.ask(to_athena(QUERIES[name][0], view_columns()), dialect="athena") == answer(name)


def test_a_column_says_whether_a_row_is_a_trade_or_a_bar(feeds: Lake) -> None:
    assert kinds(feeds) == [("BARS", "bar", 4), ("TRADES", "trade", 4)]
    assert feeds.ask("SELECT kind FROM stock_data WHERE symbol IN ('BARS', 'NONE') LIMIT 1") == [("bar",)]
    assert feeds.ask("SELECT count(*) FROM stock_data WHERE symbol = 'NONE'") == [(0,)]


def test_the_smallest_bars_are_by_length_and_bars_by_trades_come_last(lake: Lake) -> None:
    for symbol, timeframe in (("A", "90s"), ("A", "2m"), ("A", "1d"), ("B", "100t"), ("B", "1d"), ("C", "100t")):
        lake.rows.add("bars", bars(symbol, timeframe, close={"90s": 1.0, "1d": 2.0, "100t": 3.0}.get(timeframe, 4.0)))
    prices = lake.ask("SELECT DISTINCT symbol, price FROM stock_data ORDER BY ALL")
    assert prices == [("A", 1.0), ("B", 2.0), ("C", 3.0)]


def test_a_revised_bar_shows_once_and_a_withdrawn_one_not(lake: Lake) -> None:
    first, second, third, _ = bars()
    lake.rows.add("bars", bars())
    gone = {"open": None, "high": None, "low": None, "close": None, "volume": 0.0, "revision": 1}
    lake.rows.add("bars", [{**first, "close": 40.0, "revision": 1}, {**second, **gone}])
    lake.rows.add("bars", [{**first, "close": 50.0, "revision": 2}])
    prices = "SELECT price FROM stock_data {} ORDER BY timestamp"
    assert lake.ask(prices.format("")) == [(50.0,), (11.0,), (22.0,)]
    assert lake.ask(prices.format("WHERE timestamp < '2024-05-07' AND symbol = 'BARS'")) == [(50.0,)]
    # All its smallest bars withdrawn: the next timeframe is the smallest that has rows.
    lake.rows.add("bars", [{**third, "timeframe": "1d"}])
    lake.rows.add("bars", [{**one, **gone, "revision": 3} for one in bars()])
    assert lake.ask(prices.format("")) == [(11.0,)]


def test_one_trade_at_any_time_makes_a_symbol_one_of_trades(lake: Lake) -> None:
    lake.rows.add("bars", [*bars(), *bars("TRADES")])
    old = ns(MONDAY - 900 * DAY)
    lake.rows.add("trades", [{"symbol": "TRADES", "event_time_ns": old, "price": 1.0, "size": 1.0}])
    for day in range(4):
        other = {"symbol": ("A", "ZZ")[day % 2], "event_time_ns": ns(MONDAY + day * DAY), "price": 1.0, "size": 1.0}
        lake.rows.add("trades", [other, {**other, "symbol": "AA"}])
    recent = f"timestamp >= '{MONDAY:%Y-%m-%d}'"
    asked = f"FROM stock_data WHERE {recent}"
    for symbol, rows in (("TRADES", 0), ("BARS", 4)):
        assert lake.ask(f"SELECT count(*) {asked} AND symbol = '{symbol}'") == [(rows,)]
    assert lake.ask(f"SELECT DISTINCT symbol {asked} ORDER BY 1") == [("A",), ("AA",), ("BARS",), ("ZZ",)]


def test_a_query_that_names_a_symbol_with_trades_and_a_time_reads_no_bars_and_one_file(lake: Lake) -> None:
    for day in range(5):
        row = {"symbol": "TRADES", "event_time_ns": ns(MONDAY + day * DAY), "price": 1.0, "size": 1.0}
        lake.rows.add("trades", [row])
        lake.rows.add("bars", [bars("TRADES")[0], bars("BARS")[0]])
    where = "WHERE symbol = '{}' AND timestamp BETWEEN '2024-05-08' AND '2024-05-09'"
    asked = lake.scans(f"SELECT sum(price) FROM stock_data {where.format('TRADES')}")  # noqa: S608
    assert asked == lake.scans(f"SELECT sum(price) FROM trades {where.format('TRADES')}") | {"bars": (0, 5)}  # noqa: S608
    assert asked["trades"] == (1, 5)


def test_conditions_on_symbol_and_time_leave_out_files_of_bars_too(lake: Lake) -> None:
    for row in bars():
        lake.rows.add("bars", [row])
    for symbol in ("A", "B"):
        lake.rows.add("bars", bars(symbol))
    assert lake.scans("SELECT sum(price) FROM stock_data WHERE symbol = 'A'")["bars"] == (1, 6)
    asked = "SELECT sum(price) FROM stock_data WHERE symbol = 'BARS' AND timestamp > '2024-05-08'"
    assert lake.scans(asked)["bars"] == (1, 6)
