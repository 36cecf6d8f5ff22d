"""Indicators of a user's own, from a file, held against numpy and TA-Lib."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import talib

from marketpulse.app.compute import compute_file
from marketpulse.app.engine_config import engine_config
from marketpulse.engine.checkpoint import computation
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.indicators.own import own_indicators
from marketpulse.settings import Mapping, Settings, load_settings
from refused import refusal
from unit.indicators.contract import Floats, closes

HEAD = "from marketpulse import indicator\n"
POSITION = f'''{HEAD}
@indicator(window="period")
def range_position(high, low, close, period=5):
    """Where the close lies in the window's range, 0 to 1."""
    return (close[-1] - low.min()) / (high.max() - low.min())
'''
BANDS = f"""{HEAD}
@indicator(window=3, outputs=("upper", "lower"), pane="price")
def middle_band(close, share=0.5, shift=1):
    return close.mean() * (1 + share) + shift, close.mean() * (1 - share)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A user's own file, which holds the position of the close in the window's range."""
    (tmp_path / "own.py").write_text(POSITION)
    return tmp_path / "own.py"


def bars(n: int) -> Floats:
    random = np.random.default_rng(1)
    close = 100 + random.normal(0, 1, n).cumsum()
    return closes(close, high=close + random.random(n), low=close - random.random(n))


def run(file: Path, text: str, rows: Floats, cuts: tuple[int, ...] = ()) -> Floats:
    (spec,) = parse_indicators(text, own_indicators([file]))
    state, out = spec.fresh_state(1), np.empty((len(rows), len(spec.columns)))
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        zeros = np.zeros(end - begin, np.int64)
        spec.update(state, zeros, rows[begin:end], zeros.astype(np.int32), out[begin:end])
    return out


def test_it_sees_the_last_bars_in_order_with_parameters_and_columns_and_what_is_not_finite_is_none(file: Path) -> None:
    """The fast stochastic of TA-Lib is the same thing in per cent."""
    rows = bars(200)
    k, _ = talib.STOCHF(rows[:, HIGH].copy(), rows[:, LOW].copy(), rows[:, CLOSE].copy(), 14, 1)
    found = run(file, "range_position(14)", rows)[:, 0]
    assert np.isnan(found[:13]).all()
    np.testing.assert_allclose(found[13:] * 100, k[13:], rtol=1e-9)
    assert np.isnan(run(file, "range_position", closes(np.ones(10)))).all()
    file.write_text(BANDS)
    (spec,) = parse_indicators("middle_band(share=0.25,shift=2)", own_indicators([file]))
    assert spec.columns == ("middle_band_0p25_2_upper", "middle_band_0p25_2_lower")
    assert spec.indicator.pane == "price"
    rows = bars(10)
    mean = np.convolve(rows[:, CLOSE], np.ones(3) / 3, "valid")
    found = run(file, "middle_band(0.25,2)", rows)[2:]
    np.testing.assert_allclose(found, np.stack([mean * 1.25 + 2, mean * 0.75], axis=1), rtol=1e-12)


@pytest.mark.parametrize("cuts", [(1,), (4, 5, 6), (100, 101)])
def test_the_bits_are_the_same_however_the_stream_is_cut(file: Path, cuts: tuple[int, ...]) -> None:
    assert run(file, "range_position", bars(120), cuts).tobytes() == run(file, "range_position", bars(120)).tobytes()


def test_it_is_explained_to_the_bit(file: Path) -> None:
    (spec,) = parse_indicators("range_position(3)", own_indicators([file]))
    rows, state, out = bars(9), spec.fresh_state(1), np.empty((1, 1))
    values = run(file, "range_position(3)", rows)
    for bar, value in zip(rows, values, strict=True):
        explained = spec.explain(state[0], bar, 0)
        assert np.array(explained.values).tobytes() == value.tobytes()
        spec.update(state, np.zeros(1, np.int64), bar.reshape(1, -1), np.zeros(1, np.int32), out)
    lows = ", ".join(repr(float(low)) for low in rows[-3:, LOW])
    assert explained.lines[1] == f"the last 3 of low, the oldest first: {lows}"
    assert explained.lines[-1] == f"range_position(high, low, close, period=3) = {float(values[-1, 0])!r}"


def settings_with(tmp_path: Path, file: Path) -> Settings:
    own = tmp_path / "own.toml"
    own.write_text(f'[engine]\nindicators = "range_position(2)"\nindicator_files = ["{file}"]\ntimeframes = ["1m"]\n')
    return load_settings(own, data_dir=tmp_path)


def test_the_engine_computes_it_and_another_function_is_another_computation(tmp_path: Path, file: Path) -> None:
    prices = tmp_path / "AAA.csv"
    prices.write_text("time,price,size\n" + "".join(f"2026-01-05 10:0{m}:00,{10 + m % 3},1\n" for m in range(6)))
    table, _ = compute_file(settings_with(tmp_path, file), prices, "1m", "range_position(2),sma(2)", Mapping())
    rows = pl.DataFrame(table)
    assert rows["sma_2"].to_list()[1:] == [10.5, 11.5, 11.0, 10.5, 11.5]
    assert rows["range_position_2"].to_list()[1:] == [1.0, 1.0, 0.0, 1.0, 1.0]
    # So that no state of the old one is taken for one of the new.
    before = computation(engine_config(settings_with(tmp_path, file).engine))
    assert computation(engine_config(settings_with(tmp_path, file).engine)) == before
    file.write_text(POSITION.replace("close[-1]", "close[0]"))
    assert computation(engine_config(settings_with(tmp_path, file).engine)) != before


@pytest.mark.parametrize(("text", "said"), [
    ("", "holds no indicator: write @indicator over its function"), ("x = (", "fails at its import: SyntaxError"),
    ("import nothing_of_that_name", "fails at its import: ModuleNotFoundError"),
    (HEAD + "@indicator(window='n')\ndef f(close, period=2): return close[0]", "window 'n' is none of its parameters"),
    (HEAD + "@indicator(window=0)\ndef f(close): return close[0]", "window must be from 1 to 10000, found 0"),
    (HEAD + "@indicator(window=2)\ndef f(price): return price[0]", "'price' is no column of a bar: use open, high"),
    (HEAD + "@indicator(window=2)\ndef f(close, a='x'): return close[0]", "the default of 'a' must be a number"),
    (HEAD + "@indicator(window=2)\ndef f(a=1): return a", "it reads no column of a bar"),
    (HEAD + "@indicator(window=2)\ndef sma(close): return close[0]", "sma exists already"),
    (HEAD + "@indicator(window=2)\ndef f(close): return open('x').read()", "f cannot be compiled"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_what_to_do(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    refused = refusal(own_indicators, [file])
    assert str(file) in refused
    assert said in refused
    assert "none.py cannot be read: No such file" in refusal(own_indicators, [file.with_name("none.py")])
