"""Views over a real lake: splits and dividends at read time; and the tutorials' view, trades, or the smallest bars of a
symbol that has none."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from athena_queries import DAY, MONDAY, QUERIES, answer, bars, ns, trades
from lake_store import DAY_NS, FEB_13_NS, PUBLISHED, LakeRows, bar, event
from marketpulse.model.adjusting import Step
from marketpulse.ports import SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.duck import LakeQuery
from marketpulse.query.history import LakeHistory
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns
from marketpulse.settings import Settings
from marketpulse.sources.defaults import bundled

HOUR_NS = 3_600 * 10**9
BARS = ("bars", "bars_adjusted", "bars_total_return")


def column(query: LakeQuery, view: str, name: str = "close", symbol: str = "MSFT") -> list[Any]:
    rows = query.run(f"SELECT {name} FROM {view} WHERE symbol = '{symbol}' ORDER BY open_time_ns")  # noqa: S608
    found: list[Any] = rows[name].to_pylist()
    return found


def test_adjusted_views_have_the_columns_of_bars_and_rows_without_events(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("bars", [bar(0, 10.1, "AAA"), bar(1, 11.3, "AAA"), bar(0, 46.99)])
    plain = [query.run(f"SELECT * FROM {view}").schema for view in BARS]  # noqa: S608
    lake.add("events", [event("split", 5, 2.0), event("dividend", 6, 0.08, 1), event("halt", 1, 1, 2, "AAA")])
    tables = [query.run(f"SELECT * FROM {view} WHERE symbol = 'AAA' ORDER BY 1") for view in BARS]  # noqa: S608
    assert all(schema == plain[0] for schema in (*plain, *(table.schema for table in tables)))
    rows = [table.to_pylist() for table in tables]
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0]) == 2


def test_ratios_of_later_splits_multiply_and_a_bars_last_revision_counts(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("bars", [bar(day, 84.0) for day in (0, 3, 5, 9)])
    lake.add("events", [event("split", 3, 3.0), event("split", 5, 7.0, 1), event("split", 30, 0.5, 2)])
    assert column(query, "bars_adjusted") == [84 / 10.5, 84 / 3.5, 84 / 0.5, 84 / 0.5]
    assert column(query, "bars_adjusted", "volume") == [1050.0, 350.0, 50.0, 50.0]
    lake.add("bars", [bar(0, 42.0, revision=1)])
    assert column(query, "bars_adjusted") == [42 / 10.5, 84 / 3.5, 84 / 0.5, 84 / 0.5]


def test_the_last_word_on_an_ex_time_counts_and_a_ratio_of_1_takes_it_back(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("bars", [bar(0, 60)])
    lake.add("events", [event("split", 5, 2.0, 7)])
    lake.add("events", [event("split", 5, 9.0, 3, topic="file:old.csv"), event("split", 5, 4.0, 6)])
    assert column(query, "bars_adjusted") == [30.0], "a later offset, whenever it was stored"
    lake.add("events", [event("split", 5, 1.0, 8), event("dividend", 4, 0.5, 9)])
    assert column(query, "bars_adjusted") == [60.0]
    lake.add("events", [event("dividend", 4, 0.0, 10)])
    assert (column(query, "bars_total_return"), query.run("SELECT * FROM corporate_actions").num_rows) == ([60.0], 0)


def test_what_a_source_has_adjusted_itself_is_left_to_its_own_rows(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("bars", [bar(0, 30.0, source="yahoo"), bar(1, 60.0, source="alpaca")])
    lake.add("events", [event("split", 5, 2.0, source="yahoo", adjusted=True)])
    assert column(query, "bars_adjusted") == [30.0, 30.0]
    lake.add("events", [event("split", 5, 2.0, 1, source="alpaca"), event("split", 8, 3.0, 2, source="alpaca")])
    assert column(query, "bars_adjusted") == [10.0, 10.0]
    rows = query.run("SELECT type, ratio, source, adjusted_by FROM corporate_actions ORDER BY ex_time")
    assert rows.to_pylist() == [
        {"type": "split", "ratio": 2.0, "source": "alpaca", "adjusted_by": ["yahoo"]},
        {"type": "split", "ratio": 3.0, "source": "alpaca", "adjusted_by": []},
    ]


def test_a_dividend_of_a_splits_day_is_one_for_the_new_shares(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("bars", [bar(0, 100.0), bar(1, 48.0)])
    lake.add("events", [event("split", 1, 2.0), event("dividend", 1, 2.0, 1)])
    assert column(query, "bars_total_return") == [48.0, 48.0]


def test_each_timeframe_has_its_own_close_before_a_payment(lake: LakeRows, query: LakeQuery) -> None:
    opens = (FEB_13_NS, FEB_13_NS + HOUR_NS)
    first, second = ({"timeframe": "1h", "open_time_ns": n, "close_time_ns": n + HOUR_NS} for n in opens)
    lake.add("bars", [bar(0, 20.0), bar(0, 10.0) | first, bar(0, 40.0) | second, bar(1, 19.0)])
    lake.add("events", [event("dividend", 1, 2.0)])
    before = f"WHERE open_time_ns < {FEB_13_NS + DAY_NS} ORDER BY ALL"
    rows = query.run(f"SELECT timeframe, close FROM bars_total_return {before}")  # noqa: S608
    assert [tuple(row.values()) for row in rows.to_pylist()] == [("1d", 18.0), ("1h", 9.5), ("1h", 38.0)]


def test_a_condition_on_time_leaves_no_later_payment_out(lake: LakeRows, query: LakeQuery) -> None:
    """Each in files of their own, which conditions leave out."""
    for day, close, _ in PUBLISHED:
        lake.add("bars", [bar(day, close)])
    lake.add("events", [event("split", 5, 2.0)])
    lake.add("events", [event("dividend", 6, 0.08, 1)])
    where = f"WHERE symbol = 'MSFT' AND open_time_ns = {FEB_13_NS}"
    rows = query.run(f"SELECT close FROM bars_total_return {where}")  # noqa: S608
    assert round(rows["close"][0].as_py(), 2) == 23.42


def test_years_of_real_dividends_adjust_as_by_hand(lake: LakeRows, query: LakeQuery) -> None:
    frame = pl.read_csv(bundled("daily/KO.csv"), infer_schema_length=None)
    close, paid = frame["close"].to_list(), frame["dividend"].cast(pl.Float64).to_list()
    lake.add("bars", [bar(day, price, "KO") for day, price in enumerate(close)])
    lake.add("events", [event("dividend", day, d, day, "KO") for day, d in enumerate(paid) if d])
    factor, expected = 1.0, []
    for day in range(len(close) - 1, -1, -1):
        expected.append(close[day] * factor)
        factor *= 1 - paid[day] / close[day - 1] if paid[day] else 1
    assert column(query, "bars_total_return", symbol="KO") == pytest.approx(expected[::-1], rel=1e-13)
    assert expected[-1] < 0.95 * close[0]


def test_the_api_multiplies_by_what_the_views_do(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("bars", [bar(day, 61.3 + day) for day in range(0, 12, 2)])
    lake.add("events", [
        event("split", 3, 3.0), event("split", 5, 7.0, 1), event("dividend", 5, 0.3, 3), event("dividend", 8, 0.7, 4),
        event("split", 10, 2.0, 5, adjusted=True), event("dividend", 30, 0.1, 6), event("dividend", 0, 5.0, 7),
    ])  # fmt: skip
    history = LakeHistory(lake.settings)
    found = history.adjustments("MSFT", "1d")
    history.close()
    bars = query.run("SELECT open_time_ns, close, volume FROM bars ORDER BY 1").to_pylist()
    for adjust, view in (("split", "bars_adjusted"), ("all", "bars_total_return")):
        steps = [found.step(adjust, row["open_time_ns"]) or Step(0, 1.0, 1.0) for row in bars]  # type: ignore[arg-type]
        closes = [row["close"] * step.price for row, step in zip(bars, steps, strict=True)]
        assert closes == pytest.approx(column(query, view), rel=1e-14)
        volumes = [row["volume"] * step.volume for row, step in zip(bars, steps, strict=True)]
        assert volumes == column(query, view, "volume")
    assert [a.value for a in found.actions if a.type == "split"] == [3.0, 7.0, 2.0]


class Lake:
    def __init__(self, folder: Path) -> None:
        self.rows = LakeRows(Settings(data_dir=folder))
        self.desk = LakeDesk(self.rows.settings)

    def ask(self, sql: str, **more: Any) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.desk.answer(SqlQuestion(sql, **more)).rows.to_pylist()]

    def scans(self, sql: str) -> dict[str, tuple[int, int]]:
        """By table: files that the query reads, of how many."""
        return {scan.table: (scan.files, scan.files_in_all) for scan in self.desk.plan(SqlQuestion(sql)).scans}


@pytest.fixture
def feed_lake(tmp_path: Path) -> Iterator[Lake]:
    feed_lake = Lake(tmp_path)
    with closing(feed_lake.desk):
        yield feed_lake


def kinds(feed_lake: Lake) -> list[tuple[Any, ...]]:
    return feed_lake.ask("SELECT symbol, kind, count(*) FROM stock_data GROUP BY ALL ORDER BY ALL")


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A trade feed with the bars that the engine made of it, and a bar feed in two timeframes."""
    feed_lake = Lake(tmp_path_factory.mktemp("feeds"))
    feed_lake.rows.add("trades", trades())
    feed_lake.rows.add("bars", [*bars(), *bars(timeframe="1d", minutes=1440), *bars("TRADES", close=77.0)])
    with closing(feed_lake.desk):
        yield feed_lake


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


def test_the_smallest_bars_are_by_length_and_bars_by_trades_come_last(feed_lake: Lake) -> None:
    for symbol, timeframe in (("A", "90s"), ("A", "2m"), ("A", "1d"), ("B", "100t"), ("B", "1d"), ("C", "100t")):
        feed_lake.rows.add(
            "bars", bars(symbol, timeframe, close={"90s": 1.0, "1d": 2.0, "100t": 3.0}.get(timeframe, 4.0))
        )
    prices = feed_lake.ask("SELECT DISTINCT symbol, price FROM stock_data ORDER BY ALL")
    assert prices == [("A", 1.0), ("B", 2.0), ("C", 3.0)]


def test_a_revised_bar_shows_once_and_a_withdrawn_one_not(feed_lake: Lake) -> None:
    first, second, third, _ = bars()
    feed_lake.rows.add("bars", bars())
    gone = {"open": None, "high": None, "low": None, "close": None, "volume": 0.0, "revision": 1}
    feed_lake.rows.add("bars", [{**first, "close": 40.0, "revision": 1}, {**second, **gone}])
    feed_lake.rows.add("bars", [{**first, "close": 50.0, "revision": 2}])
    prices = "SELECT price FROM stock_data {} ORDER BY timestamp"
    assert feed_lake.ask(prices.format("")) == [(50.0,), (11.0,), (22.0,)]
    assert feed_lake.ask(prices.format("WHERE timestamp < '2024-05-07' AND symbol = 'BARS'")) == [(50.0,)]
    # All its smallest bars withdrawn: the next timeframe is the smallest that has rows.
    feed_lake.rows.add("bars", [{**third, "timeframe": "1d"}])
    feed_lake.rows.add("bars", [{**one, **gone, "revision": 3} for one in bars()])
    assert feed_lake.ask(prices.format("")) == [(11.0,)]


def test_one_trade_at_any_time_makes_a_symbol_one_of_trades(feed_lake: Lake) -> None:
    feed_lake.rows.add("bars", [*bars(), *bars("TRADES")])
    old = ns(MONDAY - 900 * DAY)
    feed_lake.rows.add("trades", [{"symbol": "TRADES", "event_time_ns": old, "price": 1.0, "size": 1.0}])
    for day in range(4):
        other = {"symbol": ("A", "ZZ")[day % 2], "event_time_ns": ns(MONDAY + day * DAY), "price": 1.0, "size": 1.0}
        feed_lake.rows.add("trades", [other, {**other, "symbol": "AA"}])
    recent = f"timestamp >= '{MONDAY:%Y-%m-%d}'"
    asked = f"FROM stock_data WHERE {recent}"
    for symbol, rows in (("TRADES", 0), ("BARS", 4)):
        assert feed_lake.ask(f"SELECT count(*) {asked} AND symbol = '{symbol}'") == [(rows,)]
    assert feed_lake.ask(f"SELECT DISTINCT symbol {asked} ORDER BY 1") == [("A",), ("AA",), ("BARS",), ("ZZ",)]


def test_a_query_that_names_a_symbol_with_trades_and_a_time_reads_no_bars_and_one_file(feed_lake: Lake) -> None:
    for day in range(5):
        row = {"symbol": "TRADES", "event_time_ns": ns(MONDAY + day * DAY), "price": 1.0, "size": 1.0}
        feed_lake.rows.add("trades", [row])
        feed_lake.rows.add("bars", [bars("TRADES")[0], bars("BARS")[0]])
    where = "WHERE symbol = '{}' AND timestamp BETWEEN '2024-05-08' AND '2024-05-09'"
    asked = feed_lake.scans(f"SELECT sum(price) FROM stock_data {where.format('TRADES')}")  # noqa: S608
    assert asked == feed_lake.scans(f"SELECT sum(price) FROM trades {where.format('TRADES')}") | {"bars": (0, 5)}  # noqa: S608
    assert asked["trades"] == (1, 5)


def test_conditions_on_symbol_and_time_leave_out_files_of_bars_too(feed_lake: Lake) -> None:
    for row in bars():
        feed_lake.rows.add("bars", [row])
    for symbol in ("A", "B"):
        feed_lake.rows.add("bars", bars(symbol))
    assert feed_lake.scans("SELECT sum(price) FROM stock_data WHERE symbol = 'A'")["bars"] == (1, 6)
    asked = "SELECT sum(price) FROM stock_data WHERE symbol = 'BARS' AND timestamp > '2024-05-08'"
    assert feed_lake.scans(asked)["bars"] == (1, 6)
