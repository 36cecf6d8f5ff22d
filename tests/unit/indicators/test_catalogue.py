"""The catalogue as a whole."""

import re
from pathlib import Path

import pytest

import marketpulse.indicators
from marketpulse.indicators.bar_columns import NAMES
from marketpulse.indicators.catalogue import CATALOGUE, all_columns, parse_indicators
from marketpulse.indicators.declaration import Indicator, Spec
from marketpulse.settings import DEFAULT_INDICATORS

ROOM = Path(marketpulse.indicators.__file__).parent
PAGE = Path(__file__).parents[3] / "ui" / "src" / "symbol" / "indicators.ts"
EVERY = pytest.mark.parametrize("indicator", list(CATALOGUE.values()), ids=list(CATALOGUE))


def test_every_file_that_declares_an_indicator_is_in_the_catalogue() -> None:
    declaring = {p.stem for p in ROOM.glob("*.py") if re.search(r"^[A-Z][A-Z0-9_]* = Indicator\(", p.read_text(), re.M)}
    assert declaring == set(CATALOGUE)


def test_every_indicator_has_a_unit_test_of_its_own() -> None:
    for name in CATALOGUE:
        assert Path(__file__).with_name(f"test_{name}.py").is_file(), name


@EVERY
def test_names_are_plain_sql_identifiers(indicator: Indicator) -> None:
    for column in Spec(indicator, indicator.defaults()).columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column)


@EVERY
def test_a_declaration_is_complete(indicator: Indicator) -> None:
    assert indicator.title
    assert indicator.formula
    assert indicator.source
    assert set(indicator.reads) <= set(NAMES)
    assert len(set(indicator.outputs)) == len(indicator.outputs) > 0
    assert len({p.name for p in indicator.parameters}) == len(indicator.parameters)


def test_the_page_draws_over_the_prices_what_declares_to_be_there() -> None:
    (listed,) = re.findall(r"const ON_PRICE = new Set\(\[(.*?)\]\)", PAGE.read_text(encoding="utf-8"), re.S)
    drawn = set(re.findall(r'"(\w+)"', listed))
    assert drawn & set(CATALOGUE) == {name for name, found in CATALOGUE.items() if found.pane == "price"}


def test_no_two_indicators_share_a_column() -> None:
    columns = all_columns([Spec(i, i.defaults()) for i in CATALOGUE.values()])
    assert len(set(columns)) == len(columns)


def test_the_indicators_computed_by_default_are_all_known() -> None:
    assert all_columns(parse_indicators(DEFAULT_INDICATORS)) == [
        "sma_20", "ema_12", "ema_26", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist",
        "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "vwap", "atr_14",
        "realized_volatility_20", "volume_sma_20",
    ]  # fmt: skip
