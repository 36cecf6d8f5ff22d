from pathlib import Path

import pytest

from marketpulse.app.feeds import configured_sources, live_sources, process_name
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
