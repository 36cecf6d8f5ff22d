"""Every vendor by name: what its settings' kinds are, and what each of them promises."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.market import REASONS
from marketpulse.settings import BinanceSettings, CoinbaseSettings, RecordingSettings
from marketpulse.sources.streaming.parsed import Unusable
from marketpulse.sources.streaming.vendors import TIMED, VENDORS, vendor_of
from vendor_messages import spoilt


def test_a_recording_may_be_of_each_of_them() -> None:
    named = get_args(RecordingSettings.model_fields["vendor"].annotation)
    assert set(named) == {"auto", *VENDORS, *TIMED}
    assert all(vendor.name == name for name, vendor in VENDORS.items())
    assert all(vendor.name == name for name, vendor in TIMED.items())


def test_aggregates_are_a_vendor_of_their_own() -> None:
    assert vendor_of(BinanceSettings(symbols=("BTC-USDT",), aggregates=True), "binance").aggregates
    assert vendor_of(BinanceSettings(symbols=("BTC-USDT",)), "binance") is VENDORS["binance"]
    assert vendor_of(CoinbaseSettings(symbols=("BTC-USD",)), "coinbase") is VENDORS["coinbase"]


@pytest.mark.parametrize("name", [*VENDORS, *TIMED])
@given(message=st.one_of(spoilt(), st.binary(max_size=80), st.text(max_size=80).map(str.encode)))
def test_no_message_of_any_vendor_crashes_any_parser(name: str, message: bytes) -> None:
    if name in VENDORS:
        found = [*VENDORS[name].parse(message), *VENDORS[name].parse_trades("BTCUSDT", message)]
    else:
        found = [*TIMED[name].parse(message), *TIMED[name].parse_page("AAPL", message).rows]
    assert all(item.reason in REASONS for item in found if isinstance(item, Unusable))
