"""`compute` over files and frames, by TA-Lib and hand sums; what the settings make of sessions, rules and groups; and
what a notebook asks for: frames in and out, stored frames and SQL, charts, and a frame that follows a feed."""

import io
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import talib

import marketpulse
import marketpulse as mp
from board_rows import bars, row
from lake_store import daily
from market_rows import MIDNIGHT_NS, Engine, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.compute import compute_file, encode
from marketpulse.app.engine_config import engine_config
from marketpulse.app.frames import as_kind
from marketpulse.app.notebook.bars import bars_of
from marketpulse.app.notebook.following import Live
from marketpulse.app.selecting.groups import failover_config, topic_of
from marketpulse.engine.checkpoint import computation
from marketpulse.errors import Fatal, ParameterError, QueryRefused, Retryable, SettingsError
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.settings import EngineSettings, Mapping, Settings
from marketpulse.sources.defaults import bundled
from refused import assert_raises
from waiting import wait_until

DAYS = Path(__file__).parents[2] / "data" / "daily_bars" / "default_502.csv"
CLOSE = pd.read_csv(DAYS)["close"].to_numpy(np.float64)


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(found, expected, rtol=0, atol=1e-9, equal_nan=True))


def computed(path: Path, timeframe: str | None, indicators: str, **mapping: Any) -> pl.DataFrame:
    """Of a file of which nothing is refused."""
    table, refused = compute_file(Settings(), path, timeframe, indicators, Mapping(**mapping))
    assert refused == []
    return pl.DataFrame(table)


def test_a_file_of_days_gives_one_row_per_bar_equal_to_talib_beside_dividends_and_splits_too() -> None:
    frame = computed(DAYS, "1d", "sma(20),rsi(14),macd(12,26,9)")
    assert frame["close"].to_numpy().tolist() == CLOSE.tolist()
    for name, expected in {"sma_20": talib.SMA(CLOSE, 20), "rsi_14": talib.RSI(CLOSE, 14)}.items():
        assert same(frame[name].to_numpy(), expected), name
    for part, expected in zip(("", "_signal", "_hist"), talib.MACD(CLOSE, 12, 26, 9), strict=True):
        assert same(frame[f"macd_12_26_9{part}"].to_numpy()[33:], expected[33:]), part
    assert frame["sma_20"].null_count() == 19, "empty during the warm-up, nothing made up"
    frame, closes = computed(bundled("daily/KO.csv"), "1d", "sma(5)"), pl.read_csv(bundled("daily/KO.csv"))["close"]
    assert frame["close"].to_list() == closes.to_list()
    assert math.isclose(frame["sma_5"][-1], closes[-5:].to_numpy().mean())


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas, pa.RecordBatch.from_pandas])
def test_each_kind_of_frame_comes_back_with_times_as_timestamps_and_the_columns_of_the_caller(kind: Any) -> None:
    frame = kind(pd.read_csv(DAYS).assign(note=range(len(CLOSE)))[::-1])
    found = marketpulse.compute(frame, ["sma(20)"])
    assert type(found) is type(frame)
    rows = pl.DataFrame(found)
    assert same(rows["sma_20"].to_numpy(), talib.SMA(CLOSE, 20))
    assert rows["note"].to_list() == list(range(len(CLOSE)))
    assert rows["open_time"].equals(pl.read_csv(DAYS, try_parse_dates=True)["date"].cast(pl.Datetime("ns", "UTC")))
    again = marketpulse.compute(found, "rsi(14)")  # what it gave is a frame too
    assert pl.DataFrame(again).select(rows.columns).equals(rows)


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("name", [None, "Date"])
def test_a_datetime_index_comes_back_and_larger_bars_have_their_open_time_in_it(name: Any, zone: Any) -> None:
    minutes = pd.read_csv(bundled("minutes/SPY.csv"), index_col="date", parse_dates=True).tz_localize(zone)
    minutes.index.name = name
    found = marketpulse.compute(minutes.assign(note="x")[::-1], "sma(3)", timezone=zone or "America/New_York")
    pd.testing.assert_index_equal(found.index, minutes.index)
    local = minutes.index.tz_localize("America/New_York") if zone is None else minutes.index
    assert (found["open_time"] == local).all()
    assert same(found["sma_3"], talib.SMA(minutes["close"].to_numpy(), 3))
    assert set(found["note"]) == {"x"}
    larger = marketpulse.compute(minutes.assign(note="x"), "", timeframe="5m", timezone=zone or "America/New_York")
    pd.testing.assert_index_equal(larger.index, minutes.index.floor("5min").unique(), exact="equiv")
    assert "note" not in larger
    days = pd.read_csv(DAYS, index_col="date", parse_dates=True).tz_localize(zone)
    assert (pd.to_datetime(marketpulse.compute(days, "")["session_date"]) == days.index.tz_localize(None)).all()


@pytest.mark.parametrize("levels", [["Price", "Ticker"], ["Ticker", "Price"]])
def test_a_download_of_several_symbols_with_columns_of_two_levels_is_a_row_for_each_symbol_and_day(levels: Any) -> None:
    days = pd.read_csv(DAYS, index_col="date", parse_dates=True).rename(columns=str.title)
    days["Adj Close"] = days["Close"] / 2
    symbols = {"SPY": days, "LOW": days[5:] * 3}
    both = pd.concat(symbols, axis=1, names=["Ticker", "Price"]).reorder_levels(levels, axis=1)
    for frame in (both.sort_index(axis=1), both.reset_index()):
        found = marketpulse.compute(frame, "sma(20)")
        for symbol, own in symbols.items():
            rows = found[found["symbol"] == symbol]
            assert rows[["close", "Adj Close"]].to_numpy().tolist() == own[["Close", "Adj Close"]].to_numpy().tolist()
            assert same(rows["sma_20"], talib.SMA(own["Close"].to_numpy(), 20))
    assert_raises(ParameterError, "neither has prices", marketpulse.compute, pd.DataFrame({("a", "x"): [1]}), "")


def test_minutes_build_hours_of_the_session_and_trades_bars_once_put_in_order(tmp_path: Path) -> None:
    frame = computed(bundled("minutes/SPY.csv"), "1h", "", symbol="SPY", venue="XNYS", timezone="America/New_York")
    minutes = pl.read_csv(bundled("minutes/SPY.csv"))
    assert len(frame) == 4 * 7, "six whole hours and a half one, on four days"
    assert frame["volume"].sum() == minutes["volume"].sum()
    assert frame.select("high", "close").row(0) == (minutes["high"][:60].max(), minutes["close"][59])
    file, rows = tmp_path / "t.csv", ("10:00:30Z,11,2", "10:00:01Z,10,1", "10:02:00Z,12,3")
    file.write_text("symbol,timestamp,price,size\n" + "".join(f"A,2026-01-05T{row}\n" for row in rows))
    frame = computed(file, "1m", "vwap")
    assert frame.select("open", "close", "volume").rows() == [(10, 11, 3), (12, 12, 3)]
    assert frame.select("vwap", "session_vwap").rows() == [(32 / 3, 32 / 3), (12, 68 / 6)]


def test_a_broken_row_is_left_out_and_named_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    file, rows = tmp_path / "x.csv", ("2026-01-05,1,2,1,2,5", "2026-01-06,1,2,1,oops,5", "2026-01-07,1,2,1,2,5")
    file.write_text("\n".join(["date,open,high,low,close,volume", *rows, ""]))
    table, refused = compute_file(Settings(), file, None, "", Mapping())
    assert (table.num_rows, [r.row for r in refused]) == (2, [3])
    file.write_text("date,open,high,low,close\n2026-01-05,1,2,1,2\n2026-01-06,1,2,1,2\n")
    told = computed(file, None, "sma(2),obv")
    assert told.select("volume", "sma_2", "obv").rows() == [(None, None, None), (None, 2.0, None)]
    file.write_text("\n".join(["date,open,high,low,close,volume", *rows, ""]))
    with pytest.warns(UserWarning, match=r"1 rows were set aside; the first: row 2: close 'oops'"):
        assert len(marketpulse.compute(pd.read_csv(file), "")) == 2
    assert_raises(ParameterError, "cannot be built from", compute_file, Settings(), DAYS, "1m", "", Mapping())
    assert_raises(Fatal, "", marketpulse.compute, pl.DataFrame({"a": [1]}), "sma")
    assert_raises(ParameterError, "pandas, Polars or Arrow", marketpulse.compute, [1, 2], "sma")


def test_a_table_is_written_by_its_ending_with_every_digit() -> None:
    table = compute_file(Settings(), DAYS, "1d", "sma(20)", Mapping())[0]
    readers: dict[str, Any] = {
        "csv": pl.read_csv,
        "json": pl.read_json,
        "jsonl": pl.read_ndjson,
        "parquet": pl.read_parquet,
    }
    for name, read in readers.items():
        assert read(io.BytesIO(encode(table, f".{name}")))["sma_20"].to_list() == table["sma_20"].to_pylist()


def test_a_frame_of_trades_and_quotes_gives_the_values_at_each_close_and_without_quotes_none() -> None:
    none, times = None, ("10:00:10", "10:00:20", "10:00:50", "10:01:00", "10:01:30")
    frame = pd.DataFrame({
        "time": pd.to_datetime([f"2026-01-05T{time}Z" for time in times]), "price": [10.0, none, none, none, 12.0],
        "size": [1.0, none, none, none, 1.0], "bid": [none, 9.0, 10.5, 11.0, none],
        "ask": [none, 11.0, 11.5, 14.0, none], "bid_size": [none, 1.0, 1.0, 0.0, none],
        "ask_size": [none, 1.0, 3.0, 0.0, none],
    })  # fmt: skip
    found = marketpulse.compute(frame, "spread,mid,microprice,imbalance", timeframe="1m")
    assert (found["spread"].tolist(), found["mid"].tolist()) == ([1, 3], [11, 12.5])
    assert (found["microprice"][0], found["imbalance"][0]) == ((10.5 * 3 + 11.5) / 4, -0.5)
    assert found[["microprice", "imbalance"]].iloc[1].isna().all()
    found = marketpulse.compute(pd.read_csv(DAYS), "spread,imbalance")
    assert len(found) == len(CLOSE)
    assert found[["spread", "imbalance"]].isna().all(axis=None)


def seconds(utc: str) -> float:
    return datetime.strptime(utc, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp() - MIDNIGHT_NS / 1e9


def spans(settings: EngineSettings) -> list[tuple[str, str, str]]:
    """Bars of prints at 08:00, 09:30, 15:00 and 18:00 New York time on the half-day 2025-12-24."""
    engine = Engine(engine_config(settings))
    times = [seconds(f"2025-12-24 {utc}") for utc in ("13:00", "14:30", "20:00", "23:00")]
    bars = engine.feed(*[trade("A", t, 1, 1, venue="XNYS") for t in times], heartbeat(seconds("2025-12-26 12:00")))
    return [
        (bar["timeframe"], *(f"{datetime.fromtimestamp(bar[at] / 1e9, UTC):%H:%M}" for at in ("open_time_ns", "close_time_ns")))
        for bar in bars
    ]  # fmt: skip


@pytest.mark.parametrize(("sessions", "hours", "day"), [
    pytest.param({}, ["14:30-15:30"], "14:30-18:00", id="regular ones take no print outside them"),
    pytest.param({"sessions": "extended"}, ["13:00-14:00", "14:00-15:00", "20:00-21:00"], "09:00-22:00", id="extended ones are one day from pre- to post-market"),
    pytest.param({"sessions": "24x7"}, ["13:00-14:00", "14:00-15:00", "20:00-21:00", "23:00-00:00"], "00:00-00:00", id="24x7 are UTC days on every venue"),
])  # fmt: skip
def test_of_sessions(sessions: dict[str, str], hours: list[str], day: str) -> None:
    settings = EngineSettings.model_validate({"timeframes": ("1h", "1d"), "indicators": "sma(3)", **sessions})
    assert spans(settings) == [*(("1h", *hour.split("-")) for hour in hours), ("1d", *day.split("-"))]


def test_hours_that_are_no_span_are_named_and_calendars_are_a_new_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"engine\.extended_hours: calendar 'ZZZZ' is unknown"):
        engine_config(EngineSettings(sessions="extended", extended_hours={"ZZZZ": ("04:00", "20:00")}))
    with pytest.raises(ValueError, match=r"extended_hours[\s\S]*two times of one day"):
        EngineSettings(extended_hours={"XNYS": ("20:00", "04:00")})
    rules = ({"name": "dip", "expression": "sma_3 < 9", "timeframe": "1m", "for_s": 60, "symbols": ["A*"]},)
    base, ruled = EngineSettings(indicators="sma(3)"), engine_config(EngineSettings(indicators="sma(3)", alerts=rules))
    assert ruled.alerts == (Rule("dip", "sma_3 < 9", timeframe="1m", for_s=60.0, symbols=("A*",)),)
    here = computation(engine_config(base))
    assert computation(ruled) == here
    monkeypatch.setattr("marketpulse.app.calendars.version", lambda _: "0.0")
    assert computation(engine_config(base)) != here


@pytest.mark.parametrize("other", [
    {"sessions": "extended"}, {"sessions": "24x7"}, {"sessions": "extended", "extended_hours": {"XNYS": ("07:00", "20:00")}},
    {"correction_window_s": 60}, {"correction_trades": 10},
])  # fmt: skip
def test_a_state_of_other_rules_is_another_computation(other: dict[str, object]) -> None:
    base = {"calendar": "XNYS", "indicators": "sma(3)"}
    ours, theirs = (engine_config(EngineSettings.model_validate(given)) for given in (base, {**base, **other}))
    assert computation(theirs) != computation(ours)


@pytest.mark.parametrize(("rules", "said"), [
    ([{"name": "dip", "expression": "rsi_15 < 30"}], "engine.alerts.0: rule 'dip': unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^"),
    ([{"name": "dip"}], "engine.alerts: alert rule: expression is missing"),
    ([{"name": "dip", "expression": "close > 1", "for": 3}], "engine.alerts: alert rule: unknown field 'for'"),
    ([{"name": "dip", "expression": "close > 1"}] * 2, "engine.alerts: alert rules: 'dip' stands twice"),
])  # fmt: skip
def test_a_wrong_alert_rule_is_refused_with_its_place(rules: list[dict[str, object]], said: str) -> None:
    settings = EngineSettings.model_validate({"indicators": "rsi(14)", "alerts": rules})
    with pytest.raises(SettingsError) as caught:
        engine_config(settings)
    assert str(caught.value).startswith(said)


SOURCES = {name: {"kind": "simulate"} for name in ("one", "two", "simulate")}


def grouped(tmp_path: Path, **failover: Any) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, "sources": SOURCES, "failover": failover})


def test_groups_name_sources_as_the_configuration_does_and_only_these_write_past_market(tmp_path: Path) -> None:
    groups = {"g": {"sources": ["two", "simulate"], "symbols": ["A"]}}
    config = failover_config(grouped(tmp_path, groups=groups, after_s=7, back_after_s=0))
    assert (config.groups[0].sources, config.groups[0].symbols) == (("simulate-two", "simulate"), frozenset("A"))
    assert (config.after_ns, config.back_after_ns) == (7 * 10**9, 0)
    with pytest.raises(SettingsError, match=r"failover.groups.g: there is no source 'three'"):
        failover_config(grouped(tmp_path, groups={"g": {"sources": ["one", "three"]}}))
    settings = grouped(tmp_path, groups={"g": {"sources": ["one", "two"]}})
    assert [topic_of(settings, name) for name in SOURCES] == ["feeds", "feeds", "market"]
    assert topic_of(grouped(tmp_path), "one") == "market"


TWO_DAYS = {"day": [date(2024, 5, 2), date(2024, 5, 1)], "open": [1.0, 2.0], "high": [3.0, 3.0], "low": [0.5, 1.0]}
LAST = datetime(2014, 12, 31, tzinfo=UTC)  # of the bundled days
FRAME = pl.DataFrame({**TWO_DAYS, "close": [2.0, 2.5]})


@pytest.mark.parametrize(("kind", "made"), [("polars", pl.DataFrame), ("pandas", pd.DataFrame), ("arrow", pa.Table)])
def test_every_kind_of_frame_is_made_as_asked_for_and_taken_and_put_in_order_of_time(kind: Any, made: Any) -> None:
    assert isinstance(as_kind(FRAME.to_arrow(), kind), made)
    table, symbol, timeframe = bars_of(as_kind(FRAME.to_arrow(), kind))
    assert table.column("close").to_pylist() == [2.5, 2.0]
    assert table.column("open_time_ns")[0].as_py() == 1_714_521_600 * 10**9
    assert (symbol, timeframe) == ("DATA", "")
    named = FRAME.with_columns(pl.lit("KO").alias("symbol"), pl.lit("1d").alias("timeframe"))
    assert bars_of(as_kind(named.to_arrow(), kind))[1:] == ("KO", "1d")
    with pytest.raises(ParameterError, match="polars, pandas or arrow"):
        as_kind(named.to_arrow(), "csv")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "said"),
    [(FRAME.drop("high"), "needs a column high"), (FRAME.drop("day"), "needs a column of times"),
     (FRAME.with_columns(pl.Series("symbol", ["A", "B"])), "shows one symbol, and the frame has A, B"),
     (FRAME.head(0), "no bar to draw yet"), ([1, 2], "found list")],
)  # fmt: skip
def test_what_is_no_series_of_bars_is_refused_in_words(frame: Any, said: str) -> None:
    assert_raises(ParameterError, said, bars_of, frame)


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
    feed = Feed(bars(row("AAPL", "1m", 0, 1.0), row("KO", "1m", 0, 5.0), row("AAPL", "1m", 60, 2.0)))
    with Live(feed, "AAPL", "1m", 100) as live, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.wait, 1, 120.0)

        def told_again() -> bool:
            feed.steps.append(late)
            return waiting.done()

        wait_until(told_again, "that a change behind its beginning ends the wait")
        assert waiting.result()
        wait_until(lambda: live.frame()["close"].to_list() == [1.0, 9.0], "the revision")
        frame = live.frame()
    assert live.heard() == ["AAPL", "KO"]
    minutes = [datetime(1970, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1)]
    assert frame.select("symbol", "open_time", "closed").rows() == [("AAPL", at, True) for at in minutes]
    assert feed.closed


def test_so_many_bars_are_held_a_log_that_is_away_is_waited_for_and_before_rows_the_frame_is_empty() -> None:
    rows = bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(50)))
    with Live(Feed(Retryable("away"), rows), "AAPL", "1m", 12) as live:
        wait_until(lambda: len(live.frame()), "the first rows")
        assert live.frame()["close"].to_list() == [float(i) for i in range(39, 51)]
    with Live(Feed(), "AAPL", "1m", 10) as live:
        assert live.wait(timeout_s=0.05) is False
        assert (len(live.frame()), "close" in live.frame().columns) == (0, True)
        assert "following" in repr(live)
    assert "closed" in repr(live)


@pytest.mark.parametrize("fault", [Fatal("the topics may not be read"), ValueError("odd")])
def test_what_ends_the_reading_reaches_who_looks(fault: Exception) -> None:
    live = Live(Feed(fault), "AAPL", "1m", 10)
    assert_raises(Fatal, r"may not be read|odd", live.wait, timeout_s=30)
    assert_raises(Fatal, "", live.frame)
    live.close()


@pytest.mark.usefixtures("beside_the_lake")
def test_stored_bars_are_the_lakes_with_indicators_from_the_first_bar_on_in_the_kind_of_frame_that_is_chosen() -> None:
    frame = mp.stored("AAPL", "1d", bars=3, indicators="sma(200)")
    closes = daily("AAPL")["close"]
    assert frame["close"].to_list() == closes.tail(3).to_list()
    assert frame["sma_200"][-1] == pytest.approx(closes.tail(200).mean(), rel=1e-12)
    assert isinstance(mp.stored("KO", bars=2), pl.DataFrame)
    assert frame["open_time"][-1] == LAST
    assert list(mp.stored("KO", bars=2, frame="pandas")["close"]) == daily("KO")["close"].tail(2).to_list()


@pytest.mark.usefixtures("beside_the_lake")
def test_sql_and_the_queries_of_the_library_are_asked_and_a_mistake_is_shown_in_what_was_written() -> None:
    assert mp.sql("SELECT count(*) AS n FROM bars WHERE symbol = 'KO'")["n"].to_list() == [754]
    assert mp.sql("SELECT max(open_time) FROM bars WHERE symbol = 'KO'").item() == LAST
    assert mp.sql(named="losers", params={"days": 90})["symbol"].to_list() == ["IBM", "KO"]
    assert_raises(QueryRefused, r"LINE 1: SELECT prize FROM trades\n +\^", mp.sql, "SELECT prize FROM trades")
    assert_raises(ParameterError, "give one query", mp.sql)
    assert_raises(ParameterError, "from 1 to 10,000", mp.live, "AAPL", bars=0)


@pytest.mark.usefixtures("beside_the_lake")
def test_a_symbol_is_drawn_from_what_is_stored_and_a_frame_with_the_values_of_all_its_rows() -> None:
    picture = mp.chart("AAPL", bars=30, indicators="sma(50)")
    assert repr(picture) == "<Picture AAPL 1d, 30 bars>"
    assert picture.table.column("close").to_pylist() == daily("AAPL")["close"].tail(30).to_list()
    assert picture.table.column("sma_50").null_count == 0
    picture = mp.chart(mp.stored("KO", "1d", bars=100, frame="pandas"), indicators="sma(20)", bars=10)
    assert (picture.symbol, picture.timeframe, picture.table.num_rows) == ("KO", "1d", 10)
    assert picture.table.column("sma_20")[-1].as_py() == pytest.approx(daily("KO")["close"].tail(20).mean())
    own = pl.read_csv(bundled("daily/IBM.csv"), try_parse_dates=True)
    assert mp.chart(own, indicators="", bars=20).png()[:4] == b"\x89PNG"
    assert_raises(ParameterError, "found 0", mp.chart, mp.stored("KO", bars=5), start="2030-01-01", indicators="")
