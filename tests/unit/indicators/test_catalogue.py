"""The catalogue as a whole: its declarations, their names and notation there and back, and the pages that agree; and
indicators of a user's own, from a file, held against numpy and TA-Lib."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import talib

import marketpulse.indicators
from marketpulse.app.compute import compute_file
from marketpulse.app.engine_config import engine_config
from marketpulse.engine.checkpoint import computation
from marketpulse.indicators import bar_columns
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.catalogue import CATALOGUE, all_columns, parse_indicators
from marketpulse.indicators.declaration import Indicator, Parameter, Spec, identifier, number
from marketpulse.indicators.describe import catalogue_table, describe, page_head
from marketpulse.indicators.own import own_indicators
from marketpulse.indicators.stems import spec_of, stem
from marketpulse.settings import DEFAULT_INDICATORS, Mapping, Settings, load_settings
from refused import refusal
from unit.indicators.oracles import DOCS, Floats, closes

ROOM = Path(marketpulse.indicators.__file__).parent
PAGE = Path(__file__).parents[3] / "ui" / "src" / "symbol" / "indicators.ts"
INDEX = (DOCS / "README.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("indicator", CATALOGUE.values(), ids=lambda indicator: indicator.name)
def test_a_declaration_is_complete_and_so_are_its_names_its_page_and_its_index_line(indicator: Indicator) -> None:
    spec, name = Spec(indicator, indicator.defaults()), indicator.name
    assert all([indicator.title, indicator.formula, indicator.source])
    assert set(indicator.reads) <= set(bar_columns.NAMES)
    assert len(set(indicator.outputs)) == len(indicator.outputs) > 0
    assert len({p.name for p in indicator.parameters}) == len(indicator.parameters)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in spec.columns), "plain SQL identifiers"
    assert all(column.startswith(stem(spec)) for column in spec.columns)
    assert spec_of(stem(spec), CATALOGUE) == spec
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(page_head(indicator))
    for heading in ("Exactly", "Warm-up", "Edge cases", "Where libraries disagree", "Checked against"):
        assert f"\n## {heading}\n" in page
    assert f"| [`{name}`]({name}.md) | {indicator.title} | {indicator.group} |" in INDEX


def test_every_declaring_file_and_page_is_in_the_catalogue_and_columns_are_unique_and_of_the_contract() -> None:
    declaring = {p.stem for p in ROOM.glob("*.py") if re.search(r"^[A-Z][A-Z0-9_]* = Indicator\(", p.read_text(), re.M)}
    assert declaring == set(CATALOGUE)
    assert {p.stem for p in DOCS.glob("*.md")} - {"README"} == set(CATALOGUE)
    (listed,) = re.findall(r"const ON_PRICE = new Set\(\[(.*?)\]\)", PAGE.read_text(encoding="utf-8"), re.S)
    drawn = set(re.findall(r'"(\w+)"', listed))
    assert drawn & set(CATALOGUE) == {name for name, found in CATALOGUE.items() if found.pane == "price"}
    columns = all_columns([Spec(i, i.defaults()) for i in CATALOGUE.values()])
    assert len(set(columns)) == len(columns)
    assert " ".join(all_columns(parse_indicators(DEFAULT_INDICATORS))) == (
        "sma_20 ema_12 ema_26 rsi_14 macd_12_26_9 macd_12_26_9_signal macd_12_26_9_hist bbands_20_2_upper"
        " bbands_20_2_middle bbands_20_2_lower vwap atr_14 realized_volatility_20 volume_sma_20"
    )
    assert [getattr(bar_columns, name.upper()) for name in bar_columns.NAMES] == list(range(bar_columns.WIDTH))
    parameters = ("sma", 20.0), ("macd", 12.0, 26.0, 9.0), ("bbands", 20.0, 2.0), ("bbands", 20.0, 2.5), ("vwap",)
    specs = [Spec(CATALOGUE[str(name)], tuple(map(float, values))) for name, *values in parameters]
    assert " ".join(all_columns(specs)) == (
        "sma_20 macd_12_26_9 macd_12_26_9_signal macd_12_26_9_hist bbands_20_2_upper bbands_20_2_middle"
        " bbands_20_2_lower bbands_20_2p5_upper bbands_20_2p5_middle bbands_20_2p5_lower vwap"
    )
    assert [spec.text for spec in specs] == ["sma(20)", "macd(12,26,9)", "bbands(20,2)", "bbands(20,2.5)", "vwap"]


WRITTEN = """20 20, 2.5 2p5, 0.015 0p015, 0.00001 0p00001, -1.5 m1p5, 10000000 10000000,
    0.30000000000000004 0p30000000000000004"""


@pytest.mark.parametrize(("text", "inside_a_name"), [pair.split() for pair in WRITTEN.split(",")])
def test_numbers_are_written_without_exponent_and_lose_nothing(text: str, inside_a_name: str) -> None:
    assert number(float(text)) == text
    assert identifier(float(text)) == inside_a_name


@pytest.mark.parametrize(("name", "parameters", "message"), [
    ("sma", (0.0,), "sma: period must be from 1 to 10000, found 0"),
    ("sma", (10_001.0,), "sma: period must be from 1 to 10000, found 10001"),
    ("sma", (2.5,), "sma: period must be a whole number, found 2.5"),
    ("sma", (float("nan"),), "sma: period must be a whole number, found nan"),
    ("sma", (), "sma: takes 1 parameters, found 0"),
    ("bbands", (20.0, float("inf")), "bbands: deviations must be from 0 to 100, found inf"),
    ("macd", (26.0, 12.0, 9.0), "macd: fast must be below slow, found 26 and 12"),
    ("adosc", (10.0, 3.0), "adosc: fast must be below slow, found 10 and 3"),
    ("adosc", (5.0, 5.0), "adosc: fast must be below slow, found 5 and 5"),
    ("apo", (26.0, 12.0), "apo: fast must be below slow, found 26 and 12"),
    ("apo", (5.0, 5.0), "apo: fast must be below slow, found 5 and 5"),
    ("ppo", (26.0, 12.0), "ppo: fast must be below slow, found 26 and 12"),
    ("ppo", (5.0, 5.0), "ppo: fast must be below slow, found 5 and 5"),
])  # fmt: skip
def test_a_spec_outside_the_declared_range_is_refused(name: str, parameters: tuple[float, ...], message: str) -> None:
    assert refusal(Spec, CATALOGUE[name], parameters) == message
    assert Parameter("factor", 1.0, "float", 0.0, 2.0).fault(float("nan")) is not None


def test_a_declaration_cannot_be_changed_its_fresh_state_is_zeros_and_the_table_is_plain_data() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CATALOGUE["sma"].name = "other"  # type: ignore[misc]
    spec = Spec(CATALOGUE["sma"], (20.0,))
    state = spec.fresh_state(3)
    assert (state.shape, state.dtype == np.float64) == ((3, spec.state_width), True)
    assert not state.any()
    rows = {row["name"]: row for row in catalogue_table()}
    assert (json.loads(json.dumps(rows)), list(rows)) == (rows, list(CATALOGUE))
    macd = {"notation": "macd(12,26,9)", "columns": ["macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist"]}
    assert rows["macd"].items() >= {**macd, "warm_up": 33}.items()
    first = {"name": "fast", "kind": "int", "default": 12, "minimum": 2, "maximum": 10_000}
    assert (rows["macd"]["parameters"][0], rows["vwap"]["parameters"]) == (first, [])
    text = describe("bbands(10,2.5)")
    assert text.startswith("bbands(10,2.5): Bollinger bands (volatility)\n")
    assert "bbands_10_2p5_upper, bbands_10_2p5_middle, bbands_10_2p5_lower" in text
    assert "9 bars without a value" in text
    assert "docs/formulas/bbands.md" in text
    assert all(refusal(describe, refused) for refused in ("", "sma,rsi", "nonsense"))


def test_stems_and_texts_give_their_spec_again_and_what_is_none_shows_its_own_line() -> None:
    stems = ["rsi_21", "bbands_20_2p5", "volume_sma_20", "plus_di_14", "macd", "obv"]
    notations = "rsi(21),bbands(20,2.5),volume_sma(20),plus_di(14),macd(12,26,9),obv"
    assert tuple(spec_of(text, CATALOGUE) for text in stems) == parse_indicators(notations)
    for text in ("", "nothing", "rsi_x", "rsi_14_2", "sma_", "rsi(14)", "macd_12_26"):
        assert "is no indicator" in refusal(spec_of, text, CATALOGUE)
    assert all(refusal(spec_of, text, CATALOGUE) for text in ("rsi_1", "sma_0", "sma_m5", "sma_2p5", "sma_99999999"))
    assert [s.text for s in parse_indicators(["sma(5)", "rsi,vwap"])] == ["sma(5)", "rsi(14)", "vwap"]
    specs = parse_indicators("sma(7), bbands(20,0.00001), macd, vwap")
    assert parse_indicators([spec.text for spec in specs]) == specs
    headline, *shown = refusal(parse_indicators, "sma(20),\nrsi, emma(3),\nvwap").split("\n")
    assert "'emma'; did you mean 'ema'" in headline
    assert shown == ["  rsi, emma(3),", "       ^"]


@pytest.mark.parametrize(("text", "meaning"), [
    ("sma(20),rsi(14),macd(12,26,9)", ["sma(20)", "rsi(14)", "macd(12,26,9)"]), ("rsi", ["rsi(14)"]),
    ("rsi()", ["rsi(14)"]), ("  SMA ( 5 ) ,\n\tVwap , ", ["sma(5)", "vwap"]), ("ema(period=12)", ["ema(12)"]),
    ("macd(slow=30, fast=10)", ["macd(10,30,9)"]), ("macd(5, signal=4)", ["macd(5,26,4)"]),
    ("bbands(20, 2.5)", ["bbands(20,2.5)"]), ("bbands(deviations=.5)", ["bbands(20,0.5)"]),
    ("sma(1e2), sma(2.0)", ["sma(100)", "sma(2)"]), ("", []), (" \n ", []),
])  # fmt: skip
def test_indicators_are_read_in_the_order_written(text: str, meaning: list[str]) -> None:
    assert [spec.text for spec in parse_indicators(text)] == meaning


@pytest.mark.parametrize(("text", "message", "caret"), [
    ("sma(20),smaa(14)", "unknown indicator 'smaa'; did you mean 'sma'?", 8),
    ("qqq", "unknown indicator 'qqq'; `marketpulse indicators` lists them all", 0),
    ("sma_20", "unknown indicator 'sma_20': write sma(20)", 0),
    ("ichimoku_9_26_52_span_a", "unknown indicator 'ichimoku_9_26_52_span_a': write ichimoku(9,26,52)", 0),
    ("t3_5_0p7", "unknown indicator 't3_5_0p7': write t3(5,0.7)", 0),
    ("bbands_20_2p5_upper", "unknown indicator 'bbands_20_2p5_upper': write bbands(20,2.5)", 0),
    ("realized_volatility_5", "unknown indicator 'realized_volatility_5': write realized_volatility(5)", 0),
    ("rsi(14), rsi", "rsi(14) stands twice: remove one", 9),
    ("sma(0)", "sma: period must be from 1 to 10000, found 0", 4),
    ("sma(-3)", "sma: period must be from 1 to 10000, found -3", 4),
    ("bbands(20, 101)", "bbands: deviations must be from 0 to 100, found 101", 11),
    ("sma(2.5)", "sma: period must be a whole number, found 2.5", 4),
    ("sma(1e400)", "sma: period must be a whole number, found inf", 4),
    ("macd(26,12,9)", "macd: fast must be below slow, found 26 and 12", 0),
    ("sma(3,4)", "sma takes (period=20): one value too many", 6),
    ("vwap(3)", "vwap takes no parameters: one value too many", 5),
    ("ema(perod=3)", "ema takes (period=20): no parameter 'perod'", 4),
    ("macd(3, fast=4)", "macd: fast is given twice", 8),
    ("macd(slow=30, 4)", "a value by place cannot follow one by name: name it too", 14),
    ("ema(period 3)", 'expected "=" after period', 11), ("ema(period=)", "expected a number", 11),
    ("sma(1x)", "this is not a number", 4), ("sma(1.2.3)", "this is not a number", 4),
    ("sma(20", 'expected "," or ")"', 6), ("sma(20 30)", 'expected "," or ")"', 7),
    ("sma 20", 'expected "," between two indicators', 4), ("sma(20))", 'expected "," between two indicators', 7),
    ("sma,,rsi", "expected an indicator's name, such as sma", 4),
    ("20", "expected an indicator's name, such as sma", 0), ("sma; rsi", 'expected "," between two indicators', 3),
    ("sma(", "expected a number", 4),
])  # fmt: skip
def test_a_fault_is_named_and_pointed_at(text: str, message: str, caret: int) -> None:
    expected = [f"indicators: {message}", f"  {text}", " " * (2 + caret) + "^"]
    assert refusal(parse_indicators, text).split("\n") == expected


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
