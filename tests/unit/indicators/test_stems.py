"""An indicator as its columns begin, there and back."""

import pytest

from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import CATALOGUE, parse_indicators
from marketpulse.indicators.declaration import Spec
from marketpulse.indicators.stems import spec_of, stem


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_indicator_comes_back_from_its_stem_and_its_columns_begin_with_it(name: str) -> None:
    spec = Spec(CATALOGUE[name], CATALOGUE[name].defaults())
    assert spec_of(stem(spec), CATALOGUE) == spec
    assert all(column.startswith(stem(spec)) for column in spec.columns)


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("rsi_21", "rsi(21)"),
        ("bbands_20_2p5", "bbands(20,2.5)"),
        ("volume_sma_20", "volume_sma(20)"),
        ("plus_di_14", "plus_di(14)"),
        ("macd", "macd(12,26,9)"),
        ("obv", "obv"),
    ],
)
def test_a_stem_names_what_the_notation_names(text: str, notation: str) -> None:
    assert (spec_of(text, CATALOGUE),) == parse_indicators(notation)


@pytest.mark.parametrize("text", ["", "nothing", "rsi_x", "rsi_14_2", "sma_", "rsi(14)", "macd_12_26"])
def test_what_is_none_is_said(text: str) -> None:
    with pytest.raises(ParameterError, match="is no indicator"):
        spec_of(text, CATALOGUE)


@pytest.mark.parametrize("text", ["rsi_1", "sma_0", "sma_m5", "sma_2p5", "sma_99999999"])
def test_values_out_of_their_range_are_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        spec_of(text, CATALOGUE)
