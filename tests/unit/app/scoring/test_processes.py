"""What processes say is added to the card's rows."""

from marketpulse.app.observing.readings import parse
from marketpulse.app.scoring.processes import kinds_of, with_processes
from marketpulse.settings import AnySource, CoinbaseSettings, SimulateSettings

TEXT = """
marketpulse_rows_produced_total{source="coinbase",type="trade"} 5
marketpulse_stream_reconnects_total{source="coinbase",why="closed"} 2
marketpulse_stream_reconnects_total{source="coinbase",why="silence"} 1
marketpulse_spool_rows{source="coinbase"} 70
marketpulse_spool_age_seconds{source="coinbase"} 4.5
marketpulse_rest_requests_total{source="av",end="good"} 4
marketpulse_input_rejected_total{source="coinbase",reason="not_json"} 6
marketpulse_rest_budget{source="av"} 25
marketpulse_rest_budget_left{source="av"} 18
"""


def test_connections_requests_and_the_disk_come_from_the_process() -> None:
    feed, asked = with_processes([{"source": "coinbase"}, {"source": "av"}], parse(TEXT), {"av": "alpha_vantage"})
    assert (feed["kind"], feed["reconnects"], feed["rows_on_disk"], feed["on_disk_s"]) == ("coinbase", 3, 70, 4.5)
    assert feed["rejected"] == {"not_json": 6}
    assert feed["requests"] == {"asked": 0, "today": None, "a_day": None}
    assert asked["requests"] == {"asked": 4, "today": 7, "a_day": 25}


def test_of_a_process_that_is_elsewhere_nothing_is_known() -> None:
    for samples in (None, parse(TEXT)):
        [found] = with_processes([{"source": "far"}], samples, {})
        assert (found["kind"], found["reconnects"], found["requests"], found["rows_on_disk"]) == (None,) * 4


def test_a_configured_source_is_known_by_the_name_that_its_rows_carry() -> None:
    sources: dict[str, AnySource] = {"market": SimulateSettings(), "coinbase": CoinbaseSettings(symbols=("BTC-USD",))}
    assert kinds_of(sources) == {"simulate-market": "simulate", "coinbase": "coinbase"}
