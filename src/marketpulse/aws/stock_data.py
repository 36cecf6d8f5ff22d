"""The view `stock_data` at Athena: a symbol's trades, or its smallest bars where it has no trade.

Athena keeps a view as a table of Glue whose text is JSON in base64. Our tables there have every revision of a bar: the view
shows the last one, and none that was withdrawn.
"""

import base64
import json
from typing import Any

from marketpulse.model.timeframe import SECONDS_SQL
from marketpulse.settings import Settings

NAME = "stock_data"
# (name, Glue's type, Athena's type). Athena's own `timestamp`, of milliseconds, is the one that every view can have.
_COLUMNS = (
    ("symbol", "string", "varchar"), ("timestamp", "timestamp", "timestamp"), ("price", "double", "double"),
    ("volume", "double", "double"), ("kind", "string", "varchar"),
)  # fmt: skip
# Ranks, not row numbers: bars by a number of trades may share an open time, and then all of them show.
_SQL = f"""SELECT symbol, CAST(from_unixtime_nanos(event_time_ns) AS timestamp) AS timestamp, price, size AS volume,
       CAST('trade' AS varchar) AS kind
FROM {{trades}}
UNION ALL
SELECT symbol, CAST(from_unixtime_nanos(open_time_ns) AS timestamp) AS timestamp, close AS price, volume,
       CAST('bar' AS varchar) AS kind
FROM (
    SELECT symbol, open_time_ns, close, volume, rank() OVER (PARTITION BY symbol ORDER BY {SECONDS_SQL}) AS by_length
    FROM (
        SELECT symbol, timeframe, open_time_ns, close, volume,
               rank() OVER (PARTITION BY symbol, timeframe, open_time_ns ORDER BY revision DESC) AS age
        FROM {{bars}} AS stored
        WHERE NOT EXISTS (SELECT 1 FROM {{trades}} AS traded WHERE traded.symbol = stored.symbol)
    ) AS revisions
    WHERE age = 1 AND close IS NOT NULL
) AS newest
WHERE by_length = 1"""  # noqa: S608  (our own names)


def view_sql(trades: str, bars: str) -> str:
    """The view over these tables, in Athena's dialect."""
    return _SQL.format(trades=trades, bars=bars)


def view_fields(settings: Settings, *, archive: bool) -> dict[str, str] | None:
    """The view over the archive's tables, else over a lake in Glue; None where there is neither."""
    catalog = settings.sinks.lake.catalog
    if not archive and catalog.kind != "glue":
        return None
    before = settings.aws.table_prefix if archive else f"{catalog.namespace}."
    return {"sql": view_sql(f"{before}trades", f"{before}bars")}


def table_input(name: str, database: str, sql: str, mark: dict[str, str]) -> dict[str, Any]:
    """The view as Glue takes it."""
    body = {
        "originalSql": sql, "catalog": "awsdatacatalog", "schema": database,
        "columns": [{"name": column, "type": kind} for column, _, kind in _COLUMNS],
    }  # fmt: skip
    return {
        "Name": name,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true", "comment": "Presto View", **mark},
        "PartitionKeys": [],
        "StorageDescriptor": {"Columns": [{"Name": column, "Type": kind} for column, kind, _ in _COLUMNS]},
        "ViewOriginalText": f"/* Presto View: {base64.b64encode(json.dumps(body).encode()).decode()} */",
        "ViewExpandedText": "/* Presto View */",
    }


def stored_sql(table: dict[str, Any]) -> str | None:
    """The text of a view in Glue; None of a table, or of a view that is none of Athena's."""
    text = str(table.get("ViewOriginalText") or "")
    try:
        return str(
            json.loads(base64.b64decode(text.removeprefix("/* Presto View: ").removesuffix(" */")))["originalSql"]
        )
    except (ValueError, KeyError, TypeError):
        return None
