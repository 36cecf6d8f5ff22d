"""Money flow volume by hand; the indicators built on it are held against TA-Lib."""

import pytest

from marketpulse.indicators.money_flow import money_flow_step, money_flow_volume


@pytest.mark.parametrize(
    ("high", "low", "close", "flow"), [(8, 4, 8, 6), (8, 4, 4, -6), (8, 4, 6, 0), (8, 4, 7, 3), (5, 5, 5, 0)]
)
def test_the_volume_flows_to_where_the_close_is(high: float, low: float, close: float, flow: float) -> None:
    assert money_flow_volume(high, low, close, 6.0) == flow
    assert money_flow_step(high, low, close, 6.0)[1] == flow


def test_money_flow_says_its_arithmetic() -> None:
    said, _ = money_flow_step(8.0, 4.0, 7.0, 6.0)
    assert said.endswith("((7.0 - 4.0) - (8.0 - 7.0)) / (8.0 - 4.0) * 6.0 = 3.0")
    assert money_flow_step(5.0, 5.0, 5.0, 6.0)[0] == "high = low = 5.0: money flow volume = 0"
