"""What feeds a first run."""

import pytest

from marketpulse.errors import ParameterError
from marketpulse.settings import ReplaySettings, SimulateSettings
from marketpulse.sources.defaults import bundled, default_sources, source_name


def test_a_first_run_has_daily_bars_minute_bars_and_a_simulated_market() -> None:
    sources = default_sources()
    assert list(sources) == ["daily", "minutes", "market"]
    minutes, market = sources["minutes"], sources["market"]
    assert isinstance(minutes, ReplaySettings)
    assert (minutes.mapping.venue, minutes.mapping.symbol, minutes.loop) == ("XNYS", "SPY", True)
    assert isinstance(market, SimulateSettings)


def test_every_bundled_file_has_its_licence_beside_it() -> None:
    for file in bundled(".").rglob("*.csv"):
        assert list(file.parent.glob("LICENSE*")), file


def test_a_name_that_is_not_bundled_lists_those_that_are() -> None:
    with pytest.raises(ParameterError, match=r"daily/AAPL\.csv"):
        bundled("daily/TSLA.csv")


def test_each_configured_source_has_a_name_of_its_own_in_its_rows() -> None:
    assert source_name("replay", "daily") == "replay-daily"
    assert source_name("simulate", "market") == "simulate-market"
    assert source_name("simulate", "simulate") == "simulate"
    assert source_name("replay", "replay-x") == "replay-x"
