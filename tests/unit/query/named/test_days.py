"""Named queries go back from each symbol's own newest row, say which days they cover, and why there are no rows."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from lake_rows import LakeRows
from marketpulse.ports import SqlAnswer, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.named import NAMED
from marketpulse.query.named.days import Days
from marketpulse.settings import Settings

CLOSES = {
    "OLD": [(date(2021, 5, 30), 100.0), (date(2021, 5, 31), 110.0)],
    "NEW": [(date(2024, 5, 6), 50.0), (date(2024, 5, 7), 60.0)],
}
DAYS = "5 days up to each symbol's newest 1d bar: the last is of 2024-05-07, the first of 2021-05-31."


def ns(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    """Two daily bars and two trades of each symbol; the trades, and minutes of OLD, at the opens of the bars."""
    rows = LakeRows(Settings(data_dir=tmp_path_factory.mktemp("days")))
    for symbol, closes in CLOSES.items():
        for day, close in closes:
            bar = {
                "symbol": symbol,
                "timeframe": "1d",
                "open_time_ns": ns(day),
                "close_time_ns": ns(day) + 86_400 * 10**9,
            }
            prices = {**dict.fromkeys(("open", "high", "low", "close"), close), "volume": 2.0, "revision": 0}
            minute = {"timeframe": "1m", "close_time_ns": ns(day) + 60 * 10**9}
            rows.add("bars", [{**bar, **prices}, *([{**bar, **prices, **minute}] if symbol == "OLD" else [])])
            rows.add("trades", [{"symbol": symbol, "event_time_ns": ns(day), "price": close, "size": 1.0}])
    desk = LakeDesk(rows.settings)
    yield desk
    desk.close()


def ask(desk: LakeDesk, name: str, **parameters: Any) -> SqlAnswer:
    values = {name: str(value) for name, value in parameters.items()}
    return desk.answer(SqlQuestion(named=name, parameters=values), threading.Event())


def changes(answer: SqlAnswer) -> list[tuple[str, float]]:
    return [(row["symbol"], row["change_percent"]) for row in answer.rows.to_pylist()]


def test_gainers_go_back_from_each_symbols_newest_bar_however_old_it_is(desk: LakeDesk) -> None:
    answer = ask(desk, "gainers", days=5)
    assert (changes(answer), answer.note) == ([("NEW", 20.0), ("OLD", 10.0)], f"Covers {DAYS}")


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"losers", "drawdown", "correlation", "volatility_ranking"}))
def test_no_named_query_loses_a_symbol_because_another_is_newer(desk: LakeDesk, name: str) -> None:
    timeframe = {"timeframe": "1d"} if NAMED[name].table == "bars" else {}
    answer = ask(desk, name, days=2, **timeframe)
    assert set(answer.rows["symbol"].to_pylist()) == {"OLD", "NEW"}
    assert answer.note.startswith("Covers 2 days up to each symbol's newest ")


def test_trades_go_back_from_each_symbols_newest_trade(desk: LakeDesk) -> None:
    rows = ask(desk, "daily_average", days=1).rows.to_pylist()
    assert [(row["symbol"], row["trading_day"], row["average_price"]) for row in rows] == [
        ("NEW", date(2024, 5, 7), 60.0), ("OLD", date(2021, 5, 31), 110.0),
    ]  # fmt: skip


def test_an_end_and_days_that_are_given_are_the_range(desk: LakeDesk) -> None:
    answer = ask(desk, "gainers", until="2021-05-31T12:00:00", days=2)
    assert (changes(answer), answer.note) == ([("OLD", 10.0)], "Covers 2021-05-30 to 2021-05-31, 2 days.")
    assert changes(ask(desk, "gainers", until="2024-05-07", days=2_000)) == [("NEW", 20.0), ("OLD", 10.0)]


def test_an_empty_answer_says_how_many_days_would_have_rows(desk: LakeDesk) -> None:
    answer = ask(desk, "gainers", symbol="OLD", until="2024-05-07")
    days = (date(2024, 5, 7) - date(2021, 5, 31)) // timedelta(days=1) + 30
    said = f"No 1d bars newer than 2021-05-31; try days={days}, or no until."
    assert (answer.rows.num_rows, answer.note) == (0, f"Covers 2024-04-08 to 2024-05-07, 30 days. {said}")
    assert changes(ask(desk, "gainers", symbol="OLD", until="2024-05-07", days=days)) == [("OLD", 10.0)]


@pytest.mark.parametrize(("name", "parameters", "note"), [
    ("gainers", {"symbol": "NOPE"}, "No 1d bars of NOPE: try another symbol."),
    ("daily_average", {"symbol": "NOPE"}, "No trades of NOPE: try another symbol."),
    ("gainers", {"timeframe": "1h"}, "No 1h bars of %: there are bars of 1m, 1d; try timeframe=1m."),
    ("gainers", {"until": "2020-01-31", "days": 31},
     ("Covers 2020-01-01 to 2020-01-31, 31 days. No 1d bars as old as 2020-01-31: the oldest are of 2021-05-30; "
     "try until=2024-05-07T23:59:59.")),
    ("gainers", {"symbol": "NEW", "days": 1},
     "Covers 2024-05-07, one day, up to each symbol's newest 1d bar. None of the 1d bars in these days meets the query; try days=10."),
    ("losers", {"days": 5},
     f"Covers {DAYS} None of the 1d bars in these days meets the query; try days=50."),
    ("losers", {"symbol": "NEW"},
     ("Covers 2024-04-08 to 2024-05-07, 30 days, up to each symbol's newest 1d bar. These days have all 1d bars that are stored, "
     "and none of them meets the query; try smaller bars, such as timeframe=1m.")),
])  # fmt: skip
def test_an_empty_answer_says_why_and_what_to_try(
    desk: LakeDesk, name: str, parameters: dict[str, Any], note: str
) -> None:
    answer = ask(desk, name, **parameters)
    assert (answer.rows.num_rows, answer.note) == (0, note)


def test_a_query_of_ones_own_has_no_note_and_athena_is_asked_nothing_for_it(desk: LakeDesk) -> None:
    assert desk.answer(SqlQuestion("SELECT 1 WHERE false"), threading.Event()).note == ""
    assert Days(NAMED["gainers"], {}).covered() == "Covers 30 days up to each symbol's newest 1d bar."
    assert Days(NAMED["gainers"], {}).why_empty([]) == "No rows: try more days."


def test_a_condition_on_time_leaves_out_files_though_each_symbol_has_its_own_end(desk: LakeDesk) -> None:
    plan = desk.plan(SqlQuestion(named="gainers", parameters={"days": "1", "symbol": "NEW"}), threading.Event())
    assert {(scan.files, scan.files_in_all) for scan in plan.scans} == {(1, 4)}
