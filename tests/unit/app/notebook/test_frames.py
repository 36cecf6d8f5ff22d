"""Stored frames and SQL, as a notebook asks for them."""

from pathlib import Path

import polars as pl
import pytest

import marketpulse as mp
from marketpulse.errors import ParameterError, QueryRefused
from real_rows import daily, store_real_rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_real_rows(tmp_path_factory.mktemp("lake")).data_dir


@pytest.fixture(autouse=True)
def _place(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(lake))


def test_stored_bars_are_the_lakes_with_indicators_from_the_first_bar_on() -> None:
    frame = mp.stored("AAPL", "1d", bars=3, indicators="sma(200)")
    closes = daily("AAPL")["close"]
    assert frame["close"].to_list() == closes.tail(3).to_list()
    assert frame["sma_200"][-1] == pytest.approx(closes.tail(200).mean(), rel=1e-12)


def test_the_kind_of_frame_is_chosen() -> None:
    assert isinstance(mp.stored("KO", bars=2), pl.DataFrame)
    assert list(mp.stored("KO", bars=2, frame="pandas")["close"]) == daily("KO")["close"].tail(2).to_list()


def test_sql_and_the_queries_of_the_library_are_asked() -> None:
    assert mp.sql("SELECT count(*) AS n FROM bars WHERE symbol = 'KO'")["n"].to_list() == [754]
    assert mp.sql(named="losers", params={"days": 90})["symbol"].to_list() == ["IBM", "KO"]


def test_a_mistake_is_shown_in_what_was_written() -> None:
    with pytest.raises(QueryRefused, match=r"LINE 1: SELECT prize FROM trades\n +\^"):
        mp.sql("SELECT prize FROM trades")


def test_one_query_and_a_bounded_number_of_bars_are_asked_for() -> None:
    with pytest.raises(ParameterError, match="give one query"):
        mp.sql()
    with pytest.raises(ParameterError, match="from 1 to 10,000"):
        mp.live("AAPL", bars=0)
