from pathlib import Path

import pytest

from marketpulse.app.feeds import configured_sources, live_sources, process_name
from marketpulse.errors import ParameterError
from marketpulse.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_TOPIC", raising=False)


def test_configured_sources_take_the_place_of_the_bundled_ones() -> None:
    settings = load_settings(sources={"mine": {"kind": "simulate"}})
    assert list(configured_sources(settings)) == ["mine"]


def test_without_a_configuration_there_is_something_to_feed_in() -> None:
    kinds = {source.kind for source in configured_sources(load_settings()).values()}
    assert kinds == {"replay", "simulate"}


def test_a_process_is_named_after_its_source_and_fits_a_file_name() -> None:
    assert process_name("daily") == "produce-daily"
    assert process_name("a/b c") == "produce-a_b_c"


def test_live_pairs_become_one_source_a_vendor_as_configured(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        sources={"mirror": {"kind": "binance", "symbols": ("X-USDT",), "url": "wss://mirror.example"}},
    )
    found = live_sources(settings, ["BTC-USD,binance:ETHUSDT"], tmp_path / "kept")
    assert {name: (s.kind, s.symbols, s.with_venue) for name, s in found.items()} == {
        "coinbase": ("coinbase", ("BTC-USD",), False),
        "binance": ("binance", ("ETH-USDT",), False),
    }
    assert (found["binance"].url, found["binance"].record) == ("wss://mirror.example", tmp_path / "kept")
    both = live_sources(settings, ["coinbase:BTC-USDT", "binance:BTC-USDT"])
    assert all(source.with_venue for source in both.values())


def test_a_live_stock_comes_from_the_vendor_whose_key_is_set_as_configured() -> None:
    keys = {"polygon": "p", "finnhub": "f"}
    settings = Settings(keys=keys, sources={"mine": {"kind": "polygon", "symbols": ("X",), "delay_s": 900}})
    found = live_sources(settings, ["AAPL,BTC-USD", "finnhub:IBM"])
    assert {name: source.symbols for name, source in found.items()} == {
        "polygon": ("AAPL",), "coinbase": ("BTC-USD",), "finnhub": ("IBM",),
    }  # fmt: skip
    assert found["polygon"].delay_s == 900
    assert live_sources(settings, ["polygon:BTC-USD"])["polygon"].market == "crypto"


def test_a_live_stock_without_a_key_says_which_variables_to_set() -> None:
    only_half = Settings(keys={"alpaca": "a"})
    for wanted in ("AAPL", "alpaca:AAPL"):
        with pytest.raises(ParameterError, match="APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
            live_sources(only_half, [wanted])
    both = Settings(keys={"polygon": "p"})
    with pytest.raises(ParameterError, match="two connections"):
        live_sources(both, ["polygon:BTC-USD,polygon:AAPL"])
