"""Stored bars and their indicators, from a real lake."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import talib

from lake_rows import LakeRows
from marketpulse.app.chart.stored import Span, older_bars, stored_bars, time_ns, with_indicators
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.settings import Settings
from real_rows import daily, store_real_rows


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return store_real_rows(tmp_path_factory.mktemp("lake"))


def test_the_newest_bars_come_oldest_first_and_a_time_begins_with_its_bar_and_ends_before(settings: Settings) -> None:
    rows = stored_bars(settings, "AAPL", "1d", Span(bars=5))
    assert rows.column("close").to_pylist() == daily("AAPL")["close"].tail(5).to_list()
    span = Span(time_ns("2014-12-29", "from"), time_ns("2014-12-31", "to"))
    opened = stored_bars(settings, "AAPL", "1d", span).column("open_time_ns").to_pylist()
    assert opened == [time_ns("2014-12-29", "first"), time_ns("2014-12-30", "second")]


def test_indicators_begin_with_the_bars_before(settings: Settings) -> None:
    shown = stored_bars(settings, "IBM", "1d", Span(bars=10))
    older = older_bars(settings, "IBM", "1d", shown.column("open_time_ns")[0].as_py())
    values = with_indicators(pa.concat_tables([older, shown]), "rsi(14),vwap", settings)
    found = values.slice(older.num_rows).column("rsi_14").to_numpy()
    np.testing.assert_allclose(found, talib.RSI(daily("IBM")["close"].to_numpy(), 14)[-10:], rtol=1e-9)
    assert {"vwap", "session_vwap"} <= set(values.column_names)


def test_adjusted_bars_and_their_indicators_are_as_if_nothing_had_been_paid(settings: Settings) -> None:
    """The bundled days of KO are adjusted for its split by who made them, and hold its dividends."""
    LakeRows(settings).add("events", [
        {"type": "dividend", "symbol": "KO", "source": "files", "event_time_ns": 1, "topic": "file:KO.csv", "partition": 0,
         "offset": at, "row": 0, "body": json.dumps({"amount": paid, "ex_time_ns": time_ns(day, "day")})}
        for at, (day, paid) in enumerate((("2014-09-11", 0.305), ("2014-11-26", 0.305)))
    ])  # fmt: skip
    whole = Span(time_ns("2014-09-01", "from"), None, None, "all")
    shown = stored_bars(settings, "KO", "1d", whole)
    closes = daily("KO")["close"].tail(90).to_list()
    before = [str(day)[:10] for day in daily("KO")["date"].tail(90).to_list()]
    kept = [1 - 0.305 / closes[before.index(day) - 1] for day in ("2014-09-11", "2014-11-26")]
    found = shown.column("close").to_pylist()
    assert found[0] == pytest.approx(closes[before.index("2014-09-02")] * kept[0] * kept[1], rel=1e-12)
    assert found[-1] == closes[-1]
    split = stored_bars(settings, "KO", "1d", Span(whole.start_ns, None, None, "split"))
    assert split.column("close")[0].as_py() > found[0]
    older = older_bars(settings, "KO", "1d", shown.column("open_time_ns")[0].as_py(), "all")
    values = with_indicators(pa.concat_tables([older, shown]), "sma(20)", settings).column("sma_20").to_numpy()
    adjusted = pa.concat_tables([older, shown]).column("close").to_numpy()
    np.testing.assert_allclose(values[19:], talib.SMA(adjusted, 20)[19:], rtol=1e-12)


def test_values_that_are_there_are_computed_anew_and_a_table_without_rows_stays_as_it_is(settings: Settings) -> None:
    bars = stored_bars(settings, "KO", "1d", Span(bars=50))
    once = with_indicators(bars, "sma(20)", settings)
    assert with_indicators(once, "sma(20)", settings).equals(once)
    empty = bars.slice(0, 0)
    assert pl.DataFrame(with_indicators(empty, "sma(20)", settings)).shape == (0, empty.num_columns)


@pytest.mark.parametrize(
    ("symbol", "timeframe", "span", "said"),
    [
        ("XXX", "1d", Span(), "no bars of 'XXX' are stored: there are AAPL, IBM"), ("aapl", "1d", Span(), "there are AAPL$"),
        ("AAPL", "1h", Span(), "AAPL has no bars of '1h': it has 1d"), ("A' OR 1=1 --", "1d", Span(), "no bars of"),
        ("AAPL", "1d", Span(start_ns=2 * 10**18), "choose another --from"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(
    settings: Settings, tmp_path: Path, symbol: str, timeframe: str, span: Span, said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        stored_bars(settings, symbol, timeframe, span)
    with pytest.raises(EnvironmentProblem, match="marketpulse up"):  # what fills an empty lake
        stored_bars(Settings(data_dir=tmp_path), symbol, timeframe, span)


def test_times_are_utc_unless_they_have_a_zone_and_what_is_none_is_refused() -> None:
    times = {"1970-01-02": 86_400 * 10**9, "1970-01-01T01:00+01:00": 0, "1970-01-01T00:00:00.5": 5 * 10**8}
    assert {text: time_ns(text, "start") for text in times} == times
    with pytest.raises(ParameterError, match="--from is a time such as"):
        time_ns("yesterday", "--from")
