from pathlib import Path

from marketpulse.app.charts.catalogue import OF_STORED_BARS, catalogue, in_prices, indicators_of, needs_the_engine
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.settings import EngineSettings

OWN = """
from marketpulse.indicators.own import indicator


@indicator(window="period", pane="price")
def middle(high, low, period=10):
    return (high.max() + low.min()) / 2
"""


def test_every_indicator_is_listed_with_its_parameters_ranges_and_pane() -> None:
    rows = {row["name"]: row for row in catalogue(EngineSettings())}
    assert set(rows) == set(CATALOGUE)
    bands = rows["bbands"]
    assert (bands["stem"], bands["outputs"], bands["pane"]) == ("bbands_20_2", ["upper", "middle", "lower"], "price")
    assert bands["parameters"][0] == {"name": "period", "kind": "int", "default": 20, "minimum": 2, "maximum": 10_000}


def test_what_is_made_of_trades_or_quotes_says_that_bars_are_not_enough() -> None:
    rows = {row["name"]: row["needs_the_engine"] for row in catalogue(EngineSettings())}
    assert "made of quotes" in rows["microprice"]
    assert "made of trades" in rows["vwap"]
    assert rows["rsi"] is None
    enough = [name for name, indicator in CATALOGUE.items() if needs_the_engine(indicator) is None]
    assert all(OF_STORED_BARS.issuperset(CATALOGUE[name].reads) for name in enough)
    assert len(enough) > 60


def test_a_users_own_indicators_are_among_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    settings = EngineSettings(indicator_files=(file,))
    assert "middle" in indicators_of(settings)
    own = next(row for row in catalogue(settings) if row["name"] == "middle")
    assert (own["group"], own["stem"], own["pane"]) == ("own", "middle_10", "price")


def test_what_a_chart_draws_over_prices_is_in_their_unit() -> None:
    names = ("sma_20", "bbands_20_2_upper", "session_vwap", "rsi_14", "volume_sma_20", "macd_12_26_9", "nothing_7")
    assert [in_prices(name, CATALOGUE) for name in names] == [True, True, True, False, False, False, False]
