"""What is drawn where."""

import pytest

from marketpulse.app.chart.panes import groups_of
from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import parse_indicators

COLUMNS = [
    "close", "vwap", "session_vwap", "sma_20", "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower",
    "volume_sma_20", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist",
]  # fmt: skip


def test_bands_lie_under_lines_and_oscillators_have_panes() -> None:
    specs = parse_indicators("rsi(14),sma(20),macd(12,26,9),bbands(20,2),volume_sma(20)")
    groups = groups_of(specs, COLUMNS)
    assert [(g.label, g.place) for g in groups] == [
        ("BBANDS 20 2", "price"), ("SMA 20", "price"), ("VOLUME SMA 20", "volume"), ("RSI 14", "own"), ("MACD 12 26 9", "own"),
    ]  # fmt: skip
    assert groups[0].band == ("bbands_20_2_upper", "bbands_20_2_lower")
    assert groups[3].levels == (30, 70)
    assert [line.style for line in groups[4].lines] == ["line", "line", "histogram"]


def test_the_sessions_vwap_is_not_the_bars_own() -> None:
    assert groups_of(parse_indicators("vwap"), COLUMNS)[0].lines[0].column == "session_vwap"


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ParameterError, match="no column sma_50 to draw"):
        groups_of(parse_indicators("sma(50)"), COLUMNS)
