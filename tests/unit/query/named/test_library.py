"""The library: how values are put in, each query against a calculation by hand on real prices, and its days."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lake_store import DAILY, LakeRows, daily, minutes
from marketpulse.errors import ParameterError
from marketpulse.ports import SqlAnswer, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.named import NAMED, named
from marketpulse.query.named.days import Days
from marketpulse.query.named.library import parse
from marketpulse.settings import Settings
from refused import assert_raises


def ask(desk: LakeDesk, name: str, **parameters: Any) -> list[dict[str, Any]]:
    question = SqlQuestion(named=name, parameters={k: str(v) for k, v in parameters.items()})
    rows: list[dict[str, Any]] = desk.answer(question).rows.to_pylist()
    return rows


def days(symbol: str, count: int | None = None) -> pd.DataFrame:
    """The last `count` calendar days of a symbol's real prices, up to its newest."""
    frame = daily(symbol).to_pandas()
    frame["date"] = pd.to_datetime(frame["date"])
    return frame if count is None else frame[frame["date"] > frame["date"].max() - pd.Timedelta(days=count)]


def test_the_library_has_ten_queries_numbers_may_have_fractions_and_times_without_a_zone_are_utc() -> None:
    names = "correlation daily_average drawdown gainers gaps intraday_seasonality losers most_active volatility_ranking"
    assert sorted(NAMED) == [*names.split(), "volume_profile"]
    assert all(query.title and query.meaning.endswith(".") and query.sql for query in NAMED.values())
    assert ">= 0.25" in NAMED["gaps"].bound({"percent": "0.25"})
    eastern = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(hours=4)
    for text in ("2024-05-01T04:00:00", "2024-05-01T00:00:00-04:00", str(int(eastern.timestamp()) * 10**9)):
        assert "<= 1714536000000000000" in NAMED["gainers"].bound({"until": text})
    assert_raises(ParameterError, "choose one of correlation, daily_average", named, "winners")


def test_daily_average_is_the_plain_and_weighted_mean_and_gaps_are_opens_off_the_close(real_desk: LakeDesk) -> None:
    found = ask(real_desk, "daily_average")
    frame = minutes().to_pandas()
    expected = []
    for day, rows in frame.groupby(frame["date"].dt.date):
        vwap = float((rows["close"] * rows["volume"]).sum() / rows["volume"].sum())
        expected.append(("SPY", day, round(float(rows["close"].mean()), 6), round(vwap, 6), len(rows)))
    assert [tuple(row.values()) for row in found] == sorted(expected, key=lambda r: r[1], reverse=True)
    opens = []
    for symbol in DAILY:
        frame = days(symbol, 365)
        gaps = zip(frame["date"], 100 * (frame["open"] / frame["close"].shift() - 1), strict=True)
        opens += [(symbol, day.to_pydatetime(), round(float(gap), 4)) for day, gap in gaps if abs(gap) >= 1]
    opens.sort(key=lambda row: -abs(row[2]))
    told = [(r["symbol"], r["open_time"], r["gap_percent"]) for r in ask(real_desk, "gaps", limit=1_000)]
    assert (sorted(told), [abs(r[2]) for r in told]) == (sorted(opens), [abs(r[2]) for r in opens])
    assert ask(real_desk, "gaps", percent="99999") == []


@pytest.mark.parametrize(("name", "sign"), [("gainers", 1), ("losers", -1)])
@pytest.mark.parametrize("count", [5, 30, 365])
def test_gainers_and_losers_are_first_close_against_last(real_desk: LakeDesk, name: str, sign: int, count: int) -> None:
    expected = []
    for symbol in DAILY:
        closes = days(symbol, count)["close"].tolist()
        change = closes[-1] / closes[0] - 1
        if change * sign > 0:
            expected.append((symbol, closes[0], closes[-1], round(100 * change, 4), len(closes)))
    expected.sort(key=lambda row: -sign * row[3])
    assert [tuple(row.values()) for row in ask(real_desk, name, days=count)] == expected


def test_volatility_is_the_deviation_of_log_returns_and_drawdown_the_deepest_fall(real_desk: LakeDesk) -> None:
    expected = []
    for symbol in DAILY:
        returns = np.diff(np.log(days(symbol, 365)["close"].to_numpy()))
        deviation = float(np.std(returns, ddof=1))
        expected.append((symbol, 100 * deviation, 100 * deviation * math.sqrt(252), len(returns)))
    expected.sort(key=lambda row: -row[1])
    found = ask(real_desk, "volatility_ranking")
    assert [row["symbol"] for row in found] == [row[0] for row in expected]
    for row, (_, bar, year, count) in zip(found, expected, strict=True):
        assert (row["volatility_percent"], row["yearly_percent"]) == pytest.approx((bar, year), abs=1e-4)
        assert row["returns"] == count
    falls = {row["symbol"]: row for row in ask(real_desk, "drawdown", days=2_000)}
    for symbol in DAILY:
        frame = days(symbol).reset_index(drop=True)
        below = frame["close"] / frame["close"].cummax() - 1
        at = int(below.idxmin())
        row = falls[symbol]
        assert row["drawdown_percent"] == pytest.approx(100 * float(below[at]), abs=1e-4)
        assert (row["trough_close"], row["peak_close"]) == (frame["close"][at], frame["close"].cummax()[at])
        assert row["trough_time"] == frame["date"][at].to_pydatetime()


def test_correlation_is_pearsons_of_logarithmic_returns_and_of_one_symbol_with_it_first(real_desk: LakeDesk) -> None:
    closes = pd.DataFrame({symbol: days(symbol, 365).set_index("date")["close"] for symbol in DAILY})
    table = np.log(closes).diff().corr()
    found = ask(real_desk, "correlation")
    assert len(found) == 6
    for row in found:
        assert row["symbol"] < row["other_symbol"]
        assert row["correlation"] == pytest.approx(table.loc[row["symbol"], row["other_symbol"]], abs=1e-6)
    assert [abs(row["correlation"]) for row in found] == sorted((abs(r["correlation"]) for r in found), reverse=True)
    pairs = sorted((row["symbol"], row["other_symbol"]) for row in ask(real_desk, "correlation", symbol="KO"))
    assert pairs == [("KO", "AAPL"), ("KO", "IBM"), ("KO", "MSFT")]


def test_the_volume_profile_is_a_histogram_weighted_by_size(real_desk: LakeDesk) -> None:
    frame = minutes().to_pandas()
    chosen = frame[frame["date"] > frame["date"].max() - pd.Timedelta(days=1)]
    volumes, edges = np.histogram(chosen["close"], bins=20, weights=chosen["volume"])
    counts, _ = np.histogram(chosen["close"], bins=20)
    found = {row["level"]: row for row in ask(real_desk, "volume_profile")}
    assert sum(row["trades"] for row in found.values()) == len(chosen)
    # A price on an edge is of one level or its neighbour, as the division rounds: so the running sums are near.
    for level in range(1, 21):
        if level in found:
            assert found[level]["from_price"] == pytest.approx(edges[level - 1], abs=1e-5)
            assert found[level]["to_price"] == pytest.approx(edges[level], abs=1e-5)
    mine = np.array([found.get(level, {"volume": 0.0})["volume"] for level in range(1, 21)])
    on_edges = np.isclose(chosen["close"].to_numpy()[:, None], edges[None, 1:-1], atol=1e-9).any(axis=1)
    assert np.abs(mine - volumes).max() <= float(chosen["volume"][on_edges].sum())
    assert (mine.sum(), counts.sum()) == (volumes.sum(), len(chosen))


def test_most_active_ranks_by_traded_value_and_a_given_end_leaves_out_what_came_later(real_desk: LakeDesk) -> None:
    frames = {symbol: days(symbol, 30) for symbol in DAILY}
    values = {symbol: float((frame["volume"] * frame["close"]).sum()) for symbol, frame in frames.items()}
    found = ask(real_desk, "most_active")
    assert [row["symbol"] for row in found] == sorted(values, key=lambda symbol: -values[symbol])
    for row in found:
        frame = frames[row["symbol"]]
        assert row["traded_value"] == pytest.approx(values[row["symbol"]], rel=1e-9)
        assert (row["volume"], row["bars"]) == (float(frame["volume"].sum()), len(frame))
    days_found = ask(real_desk, "daily_average", until="2020-12-16T00:00:00-05:00")
    assert [row["trading_day"] for row in days_found] == [date(2020, 12, 15)]


def test_seasonality_averages_each_slot_of_the_day_on_the_venues_clock(real_desk: LakeDesk) -> None:
    frame = minutes().to_pandas()
    groups = dict(list(frame.groupby(frame["date"].dt.hour * 60 + frame["date"].dt.minute // 30 * 30)))
    found = ask(real_desk, "intraday_seasonality", zone="America/New_York")
    assert [row["time_of_day"] for row in found] == [f"{m // 60:02}:{m % 60:02}" for m in sorted(groups)]
    for row, minute in zip(found, sorted(groups), strict=True):
        rows = groups[minute]
        spread, move = (rows["high"] - rows["low"]) / rows["open"], (rows["close"] / rows["open"] - 1).abs()
        assert row["average_volume"] == pytest.approx(rows["volume"].mean(), abs=1e-4)
        assert row["average_range_percent"] == pytest.approx((100 * spread).mean(), abs=1e-4)
        assert (row["average_move_percent"], row["bars"]) == (pytest.approx((100 * move).mean(), abs=1e-4), len(rows))


@pytest.mark.parametrize("name", sorted(NAMED))
def test_the_text_with_its_defaults_gives_the_same_rows_as_the_query_by_name(real_desk: LakeDesk, name: str) -> None:
    plain = real_desk.answer(SqlQuestion(NAMED[name].sql, dialect="athena")).rows
    assert plain.to_pylist() == ask(real_desk, name)
    assert plain.num_rows > 0 or name == "gainers"  # nothing rose in those days


@pytest.mark.parametrize("value", [
    "' OR '1'='1", "'; DROP TABLE trades; --", "x' UNION SELECT 1 --", "%' --", "\\'", "''", ":days", "AAPL/*",
])  # fmt: skip
def test_a_hostile_text_is_only_ever_a_text(real_desk: LakeDesk, value: str) -> None:
    assert ask(real_desk, "gainers", symbol=value) == []
    assert "symbol LIKE '" + value.replace("'", "''") + "'" in NAMED["gainers"].bound({"symbol": value})


@pytest.mark.parametrize(("query", "parameter", "value"), [
    *(("gainers", "days", value) for value in ("0", "-1", "1; DROP", "1.5", "²", "9999999", "")),
    *(("gainers", "limit", value) for value in ("ALL", "(SELECT 1)")),
    *(("gainers", "until", value) for value in ("yesterday", "2024-05-01' OR 1", "1600-01-01")),
    *(("gainers", "symbol", value) for value in ("a\nb", "a\0", "x" * 201)),
    *(("gaps", "percent", value) for value in ("1e5", "-1", "nan", "0.1.2", "1;")), ("gainers", "nothing", "1"),
])  # fmt: skip
def test_a_value_that_is_not_of_its_kind_is_refused(query: str, parameter: str, value: str) -> None:
    assert_raises(ParameterError, "", NAMED[query].bound, {parameter: value})


@pytest.mark.parametrize("text", [
    "-- T\n-- M.\n-- days = 5: x\nSELECT :days", "-- T\n-- M.\n-- days (colour) = 5: x\nSELECT :days",
    "-- T\n-- M.\n-- days (count) = 5: x\nSELECT 1", "-- T\n-- M.\nSELECT :days",
])  # fmt: skip
def test_a_file_whose_header_is_not_its_text_is_refused(text: str) -> None:
    assert_raises(ValueError, r"wrong\.sql", parse, "wrong", text)


# Named queries go back from each symbol's own newest row, say which days they cover, and why there are no rows.

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
            times = {"open_time_ns": ns(day), "close_time_ns": ns(day) + 86_400 * 10**9}
            bar = {"symbol": symbol, "timeframe": "1d", **times}
            prices = {**dict.fromkeys(("open", "high", "low", "close"), close), "volume": 2.0, "revision": 0}
            minute = {"timeframe": "1m", "close_time_ns": ns(day) + 60 * 10**9}
            rows.add("bars", [{**bar, **prices}, *([{**bar, **prices, **minute}] if symbol == "OLD" else [])])
            rows.add("trades", [{"symbol": symbol, "event_time_ns": ns(day), "price": close, "size": 1.0}])
    desk = LakeDesk(rows.settings)
    yield desk
    desk.close()


def answer_of(desk: LakeDesk, name: str, **parameters: Any) -> SqlAnswer:
    return desk.answer(SqlQuestion(named=name, parameters={name: str(value) for name, value in parameters.items()}))


def changes(answer: SqlAnswer) -> list[tuple[str, float]]:
    return [(row["symbol"], row["change_percent"]) for row in answer.rows.to_pylist()]


def test_an_end_or_each_symbols_newest_row_and_days_are_the_range_which_a_note_tells(desk: LakeDesk) -> None:
    answer = answer_of(desk, "gainers", days=5)
    assert (changes(answer), answer.note) == ([("NEW", 20.0), ("OLD", 10.0)], f"Covers {DAYS}")
    rows = answer_of(desk, "daily_average", days=1).rows.to_pylist()
    assert [(row["symbol"], row["trading_day"], row["average_price"]) for row in rows] == [
        ("NEW", date(2024, 5, 7), 60.0), ("OLD", date(2021, 5, 31), 110.0),
    ]  # fmt: skip
    answer = answer_of(desk, "gainers", until="2021-05-31T12:00:00", days=2)
    assert (changes(answer), answer.note) == ([("OLD", 10.0)], "Covers 2021-05-30 to 2021-05-31, 2 days.")
    assert changes(answer_of(desk, "gainers", until="2024-05-07", days=2_000)) == [("NEW", 20.0), ("OLD", 10.0)]
    answer = answer_of(desk, "gainers", symbol="OLD", until="2024-05-07")
    days = (date(2024, 5, 7) - date(2021, 5, 31)) // timedelta(days=1) + 30
    said = f"No 1d bars newer than 2021-05-31; try days={days}, or no until."
    assert (answer.rows.num_rows, answer.note) == (0, f"Covers 2024-04-08 to 2024-05-07, 30 days. {said}")
    assert changes(answer_of(desk, "gainers", symbol="OLD", until="2024-05-07", days=days)) == [("OLD", 10.0)]
    assert desk.answer(SqlQuestion("SELECT 1 WHERE false")).note == ""
    assert Days(NAMED["gainers"], {}).covered() == "Covers 30 days up to each symbol's newest 1d bar."
    assert Days(NAMED["gainers"], {}).why_empty([]) == "No rows: try more days."
    plan = desk.plan(SqlQuestion(named="gainers", parameters={"days": "1", "symbol": "NEW"}))
    assert {(scan.files, scan.files_in_all) for scan in plan.scans} == {(1, 4)}


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"losers", "drawdown", "correlation", "volatility_ranking"}))
def test_no_named_query_loses_a_symbol_because_another_is_newer(desk: LakeDesk, name: str) -> None:
    timeframe = {"timeframe": "1d"} if NAMED[name].table == "bars" else {}
    answer = answer_of(desk, name, days=2, **timeframe)
    assert set(answer.rows["symbol"].to_pylist()) == {"OLD", "NEW"}
    assert answer.note.startswith("Covers 2 days up to each symbol's newest ")


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
def test_an_empty_answer_says_why_and_advises(desk: LakeDesk, name: str, parameters: dict[str, Any], note: str) -> None:
    answer = answer_of(desk, name, **parameters)
    assert (answer.rows.num_rows, answer.note) == (0, note)
