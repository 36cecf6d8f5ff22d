"""Write deploy/grafana/dashboards/postgres_market.json: what the PostgreSQL sink stores, as a Grafana dashboard in SQL.

    .venv/bin/python docs/write_postgres_dashboard.py            (or: make docs)

A test fails when the file is not what this would write, and runs every query on a real PostgreSQL, as the role that only reads.
"""

# ruff: noqa: S608  (SQL of our own)

import json
import sys
from pathlib import Path
from typing import Any, Literal

from grafana_foundation_sdk.builders import candlestick, dashboard, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import GraphDrawStyle, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

FILE = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards" / "postgres_market.json"
SOURCE = DataSourceRef(type_val="grafana-postgresql-datasource", uid="marketpulse-postgres")
SERIES = "symbol = ${symbol:sqlstring} AND timeframe = ${timeframe:sqlstring} AND $__timeFilter(open_time)"


class Sql(Builder[Dataquery], Dataquery):
    """A query written out in SQL."""

    def __init__(self, sql: str, result: Literal["time_series", "table"] = "table") -> None:
        self._sql, self._result = sql, result

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "refId": "A", "datasource": SOURCE, "rawSql": self._sql, "rawQuery": True, "editorMode": "code", "format": self._result,
        }  # fmt: skip


def rows(title: str, sql: str, about: str) -> table.Panel:
    return table.Panel().title(title).description(about).datasource(SOURCE).with_target(Sql(sql))


def lines(title: str, names: tuple[str, ...], about: str, unit: str = "short") -> timeseries.Panel:
    """These indicators of the series."""
    sql = f"SELECT open_time AS time, {', '.join(names)} FROM marketpulse.indicators WHERE {SERIES} ORDER BY open_time"
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE).unit(unit)
    return panel.show_points(VisibilityMode.NEVER).with_target(Sql(sql, "time_series"))


def counts(title: str, time: str, what: str, about: str) -> timeseries.Panel:
    """How many rows in each interval; `what` begins with FROM."""
    sql = f"SELECT $__timeGroupAlias({time}, $__interval), {what} AND $__timeFilter({time}) GROUP BY 1 ORDER BY 1"
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE).unit("short")
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).with_target(Sql(sql, "time_series"))


def variable(name: str, sql: str) -> dashboard.QueryVariable:
    return dashboard.QueryVariable(name).datasource(SOURCE).query(sql).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def market() -> dashboard.Dashboard:
    """One symbol's bars and indicators, the day of all of them, and what was noticed."""
    fields = candlestick.CandlestickFieldMap()
    prices = (
        candlestick.Panel()
        .title("$symbol, bars of $timeframe")
        .description("As their newest revision says")
        .datasource(SOURCE)
        .fields(fields.open("open").high("high").low("low").close("close").volume("volume"))
        .with_target(
            Sql(
                "SELECT open_time AS time, open, high, low, close, volume FROM marketpulse.bars "
                f"WHERE {SERIES} ORDER BY open_time"
            )
        )
    )
    return (
        dashboard.Dashboard("MarketPulse: the market (PostgreSQL)")
        .uid("marketpulse-postgres-market")
        .description("Bars, indicator values, days and alerts as the PostgreSQL sink writes them: docs/stores.md#postgresql")
        .tags(["marketpulse"])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .with_variable(variable("symbol", "SELECT DISTINCT symbol FROM marketpulse.latest_bars ORDER BY symbol"))
        .with_variable(
            variable(
                "timeframe",
                "SELECT timeframe FROM marketpulse.latest_bars WHERE symbol = ${symbol:sqlstring} ORDER BY close_time - open_time",
            )
        )
        .with_panel(prices.height(12).span(16))
        .with_panel(
            rows(
                "Latest prices",
                "SELECT symbol, price, seen_in, timestamp FROM marketpulse.latest_price ORDER BY symbol",
                "The newest trade of each symbol, or its newest bar's close",
            )
            .height(12)
            .span(8)
        )
        .with_panel(
            lines(
                "Bollinger bands and averages",
                ("bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "ema_12"),
                "Two deviations around the mean of 20 closes, and the exponential average of 12",
            )
            .height(8)
            .span(12)
        )
        .with_panel(lines("RSI", ("rsi_14",), "Wilder's, over 14 bars").min(0).max(100).height(8).span(12))
        .with_panel(
            lines(
                "MACD", ("macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist"), "Of 12, 26 and 9 bars"
            )
            .height(8)
            .span(12)
        )
        .with_panel(
            counts(
                "Trades", "timestamp", "count(*) AS trades FROM marketpulse.trades WHERE symbol = ${symbol:sqlstring}",
                "Trades of $symbol in each interval",
            )
            .height(8)
            .span(12)
        )
        .with_panel(
            rows(
                "Gainers and losers",
                "SELECT rank, symbol, date, close, change, change_percent, direction FROM marketpulse.gainers_losers ORDER BY rank, symbol",
                "The newest day of each symbol against the day before",
            )
            .height(9)
            .span(12)
        )
        .with_panel(
            rows(
                "Volatility",
                "SELECT symbol, sessions, daily_volatility, annual_volatility FROM marketpulse.volatility ORDER BY annual_volatility DESC NULLS LAST",
                "Deviation of the log returns of the last 20 closed days",
            )
            .height(9)
            .span(12)
        )
        .with_panel(
            rows(
                "Alerts",
                "SELECT event_time AS time, symbol, rule, state, severity, value, message FROM marketpulse.alerts "
                "WHERE $__timeFilter(event_time) ORDER BY event_time DESC LIMIT 100",
                "Raised and cleared; what a revision withdrew is gone",
            )
            .height(9)
            .span(12)
        )
        .with_panel(
            counts(
                "Bars that a late or changed trade made another", "open_time",
                "count(*) AS revised FROM marketpulse.bars WHERE revision > 0", "By the bars' own time",
            )
            .height(9)
            .span(6)
        )
        .with_panel(
            counts(
                "Dead letters", "stored_at", "count(*) AS dead_letters FROM marketpulse.dead_letters WHERE true",
                "Records that were set aside, by when they were stored",
            )
            .height(9)
            .span(6)
        )
    )  # fmt: skip


def text() -> str:
    return json.dumps(json.loads(JSONEncoder().encode(market().build())), indent=1, sort_keys=True) + "\n"


def main() -> None:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text())
    sys.stdout.write(f"{FILE.name}\n")


if __name__ == "__main__":
    main()
