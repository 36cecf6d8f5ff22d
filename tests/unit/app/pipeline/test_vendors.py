"""Sources of vendors, opened from the settings: keys, budgets, and the bars that the engine builds."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from marketpulse.app.pipeline.vendors import open_polled, open_timed
from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.ports import Polled
from marketpulse.settings import (
    AlpacaSettings,
    AlphaVantageSettings,
    FinnhubSettings,
    PolygonSettings,
    Settings,
    YahooSettings,
)
from marketpulse.sources.rest.polled import PolledSource
from vendor_answers import recorded
from vendor_server import Reply, VendorServer, scripted, vendor

VENDORS_KEY = "K3Y-OF-THE-VENDOR"
NOW_NS = 1_772_463_600 * 10**9  # a Monday, 10:00 in New York


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(data_dir=tmp_path, keys={"alpha_vantage": SecretStr(VENDORS_KEY)}, **more)


def opened(tree: Settings, source: AlphaVantageSettings | YahooSettings) -> PolledSource:
    return open_polled(tree, source, source.kind, ManualClock(NOW_NS), lambda: None)


def polled(tree: Settings, source: AlphaVantageSettings | YahooSettings) -> tuple[PolledSource, Polled]:
    """A source that has started, and what it gives first."""
    started = opened(tree, source)
    started.start(None)
    return started, started.poll(0.0)


def quotes(server: VendorServer, symbols: tuple[str, ...], **more: Any) -> AlphaVantageSettings:
    return AlphaVantageSettings(symbols=symbols, function="quote", base_url=server.url, **more)


def test_alpha_vantage_is_asked_with_the_key_and_within_its_budget(tmp_path: Path) -> None:
    with vendor(scripted(Reply.json(recorded("global_quote")))) as server:
        _, answer = polled(settings(tmp_path), quotes(server, ("MSFT",)))
        assert [row["close"] for row in answer.batches[0].to_pylist()] == [112.13]
        assert server.requests[0].parameters == {"function": "GLOBAL_QUOTE", "symbol": "MSFT", "apikey": VENDORS_KEY}
    (file,) = (tmp_path / "budgets").iterdir()
    assert '"spent": 1' in file.read_text()
    assert VENDORS_KEY not in file.name + file.read_text()


def test_a_restart_in_a_loop_does_not_overdraw_the_day(tmp_path: Path) -> None:
    with vendor(scripted(Reply.json(recorded("global_quote")))) as server:
        for _ in range(9):
            polled(settings(tmp_path), quotes(server, ("MSFT", "IBM"), requests_per_day=4, requests_per_minute=50))
        assert len(server.requests) == 2, "a first look at both; of the day's other two none is free at 10:00"


@pytest.mark.parametrize("source", [
    AlphaVantageSettings(symbols=("IBM",), function="intraday", interval="15min"), YahooSettings(symbols=("IBM",), interval="15m"),
])  # fmt: skip
def test_bars_that_the_engine_does_not_build_are_said_at_once(tmp_path: Path, source: Any) -> None:
    with pytest.raises(SettingsError, match=r"add 15m to it"):
        opened(settings(tmp_path), source)
    opened(settings(tmp_path, engine={"timeframes": ("1m", "15m")}), source).close()


def test_yahoo_needs_no_key_and_alpha_vantage_without_one_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"set API_KEY in the environment or in \.env"):
        opened(Settings(data_dir=tmp_path, keys={"alpha_vantage": None}), AlphaVantageSettings(symbols=("IBM",)))
    with vendor(scripted(Reply.json({"chart": {"result": None}}, 404))) as server:
        yahoo = YahooSettings(symbols=("IBM",), base_url=server.url)
        source, answer = polled(Settings(data_dir=tmp_path), yahoo)
        assert not answer.rejected, "that there are no splits of it is only logged"
        assert [item.reason for item in source.poll(0.0).rejected] == ["bad_answer"]
        assert "marketpulse" in server.requests[0].headers["user-agent"]
    assert not (tmp_path / "budgets").exists()


@pytest.mark.parametrize(("source", "variable"), [
    (AlpacaSettings(symbols=("IBM",)), "APCA_API_KEY_ID"), (PolygonSettings(symbols=("IBM",)), "POLYGON_API_KEY"),
    (FinnhubSettings(symbols=("IBM",)), "FINNHUB_API_KEY"),
])  # fmt: skip
def test_a_feed_without_its_key_says_which_one_it_wants(tmp_path: Path, source: Any, variable: str) -> None:
    clock = ManualClock(NOW_NS)
    with pytest.raises(SettingsError, match=variable):
        open_timed(Settings(data_dir=tmp_path, keys={}), source, source.kind, clock)
    keys = dict.fromkeys(("alpaca", "alpaca_secret", "polygon", "finnhub"), SecretStr(VENDORS_KEY))
    opened = open_timed(Settings(data_dir=tmp_path, keys=keys), source, source.kind, clock)
    assert opened.trading(NOW_NS, NOW_NS)
    assert VENDORS_KEY not in repr(opened)
