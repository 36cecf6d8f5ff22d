"""Charts of a symbol and of a frame."""

from pathlib import Path

import polars as pl
import pytest

import marketpulse as mp
from marketpulse.errors import ParameterError
from real_rows import daily, store_real_rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_real_rows(tmp_path_factory.mktemp("lake")).data_dir


@pytest.fixture(autouse=True)
def _place(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(lake))


def test_a_symbol_is_drawn_from_what_is_stored() -> None:
    picture = mp.chart("AAPL", bars=30, indicators="sma(50)")
    assert (repr(picture), picture.table.column("close").to_pylist()) == (
        "<Picture AAPL 1d, 30 bars>", daily("AAPL")["close"].tail(30).to_list(),
    )  # fmt: skip
    assert picture.table.column("sma_50").null_count == 0


def test_a_frame_is_drawn_with_the_values_of_all_its_rows() -> None:
    frame = mp.stored("KO", "1d", bars=100, frame="pandas")
    picture = mp.chart(frame, indicators="sma(20)", bars=10)
    assert (picture.symbol, picture.timeframe, picture.table.num_rows) == ("KO", "1d", 10)
    assert picture.table.column("sma_20")[-1].as_py() == pytest.approx(daily("KO")["close"].tail(20).mean())


def test_ones_own_frame_of_days_is_drawn_too() -> None:
    own = pl.read_csv(Path(mp.__file__).parent / "data" / "daily" / "IBM.csv", try_parse_dates=True)
    assert mp.chart(own, indicators="", bars=20).png()[:4] == b"\x89PNG"


def test_a_time_without_bars_is_refused_in_words() -> None:
    with pytest.raises(ParameterError, match="found 0"):
        mp.chart(mp.stored("KO", bars=5), start="2030-01-01", indicators="")
