"""Write deploy/grafana/dashboards/influx_market.json: what the InfluxDB sink stores, as a Grafana dashboard in InfluxQL.

    .venv/bin/python docs/write_influx_dashboard.py            (or: make docs)

A test fails when the file is not what this would write, and runs every query on a real InfluxDB 1.x.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal

from grafana_foundation_sdk.builders import candlestick, dashboard, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import GraphDrawStyle, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh, VariableSort

FILE = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards" / "influx_market.json"
SOURCE = DataSourceRef(type_val="influxdb", uid="marketpulse-influx")
SERIES = "symbol = '$symbol' AND timeframe = '$timeframe' AND withdrawn = false AND $timeFilter"


class InfluxQL(Builder[Dataquery], Dataquery):
    """A query written out in InfluxQL."""

    def __init__(self, query: str, result: Literal["time_series", "table"] = "time_series") -> None:
        self._query, self._result = query, result

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "refId": "A", "datasource": SOURCE, "query": self._query, "rawQuery": True, "resultFormat": self._result,
            "alias": "$col",
        }  # fmt: skip


def lines(title: str, fields: tuple[str, ...], unit: str = "short") -> timeseries.Panel:
    """The last values of these indicators in each interval."""
    columns = ", ".join(f'last("{name}") AS "{name}"' for name in fields)
    query = f"SELECT {columns} FROM indicators WHERE {SERIES} GROUP BY time($__interval) fill(none)"  # noqa: S608
    panel = timeseries.Panel().title(title).datasource(SOURCE).unit(unit)
    return panel.show_points(VisibilityMode.NEVER).with_target(InfluxQL(query))


def rows(title: str, query: str) -> table.Panel:
    return table.Panel().title(title).datasource(SOURCE).with_target(InfluxQL(query, "table"))


def bars(title: str, query: str, unit: str = "short") -> timeseries.Panel:
    """Counts as upright bars."""
    return (
        timeseries.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit(unit)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(60)
        .with_target(InfluxQL(query))
    )


def variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def market() -> dashboard.Dashboard:
    """One symbol's bars and indicators, and what goes on in all of them."""
    prices = (
        candlestick.Panel()
        .title("$symbol, bars of $timeframe")
        .datasource(SOURCE)
        .fields(candlestick.CandlestickFieldMap().open("open").high("high").low("low").close("close").volume("volume"))
        .with_target(
            InfluxQL(
                "SELECT first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close, sum(volume) AS volume "  # noqa: S608
                f"FROM bars WHERE {SERIES} GROUP BY time($__interval) fill(none)"
            )
        )
    )
    return (
        dashboard.Dashboard("MarketPulse: the market (InfluxDB)")
        .uid("marketpulse-influx-market")
        .description("Bars, indicator values and alerts as the InfluxDB sink writes them: docs/stores.md#influxdb")
        .tags(["marketpulse"])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .with_variable(variable("symbol", 'SHOW TAG VALUES FROM bars WITH KEY = "symbol"'))
        .with_variable(
            variable("timeframe", "SHOW TAG VALUES FROM bars WITH KEY = \"timeframe\" WHERE symbol = '$symbol'")
        )
        .with_panel(prices.height(12).span(16))
        .with_panel(
            rows(
                "Newest values, bars of $timeframe",
                "SELECT last(close) AS close, last(rsi_14) AS rsi_14, last(atr_14) AS atr_14 FROM indicators "
                "WHERE timeframe = '$timeframe' AND withdrawn = false AND $timeFilter GROUP BY symbol",
            )
            .height(12)
            .span(8)
        )
        .with_panel(
            lines(
                "Bollinger bands and averages",
                ("bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "ema_12"),
            )
            .height(8)
            .span(12)
        )
        .with_panel(lines("RSI", ("rsi_14",)).min(0).max(100).height(8).span(12))
        .with_panel(lines("MACD", ("macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist")).height(8).span(12))
        .with_panel(lines("Realized volatility", ("realized_volatility_20",)).height(8).span(12))
        .with_panel(
            rows(
                "Alerts",
                "SELECT symbol, rule, state, severity, value, message FROM alerts WHERE withdrawn = false AND $timeFilter "
                "ORDER BY time DESC LIMIT 100",
            )
            .height(9)
            .span(12)
        )
        .with_panel(
            bars(
                "Bars that a late or changed trade made another",
                "SELECT count(revision) AS revised FROM bars WHERE revision > 0 AND $timeFilter GROUP BY time($__interval) fill(0)",
            )
            .height(9)
            .span(12)
        )
    )


def text() -> str:
    return json.dumps(json.loads(JSONEncoder().encode(market().build())), indent=1, sort_keys=True) + "\n"


def main() -> None:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text())
    sys.stdout.write(f"{FILE.name}\n")


if __name__ == "__main__":
    main()
