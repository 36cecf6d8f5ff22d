"""The newest bars of every series out of the lake, so that a page that starts has more than a topic's last records.

A topic is read from its end, where a thousand 1s bars stand beside each 1m bar; the lake is asked by series.
Of a bar that was revised its last revision is given, of one that was withdrawn nothing.
"""

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa

from marketpulse.catalog.visible import open_visible
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.ports import FeedBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.query.newest_alerts import newest_alerts
from marketpulse.settings import Settings

Place = tuple[str, int]  # topic, as the broker names it, and partition
_ALERTS = 1_000  # of which a page shows the newest first
_TIMEOUT_S = 5.0  # of each query; a page that waits longer is better off without
_TABLES: tuple[Literal["bars", "indicators"], ...] = ("bars", "indicators")

# Where the newest bars of each timeframe begin: three columns of the whole table, no row is kept.
_SINCE = """
    SELECT timeframe, min(since) AS since
    FROM (SELECT timeframe, list_min(max(open_time_ns, {count})) AS since FROM bars GROUP BY symbol, timeframe)
    GROUP BY timeframe ORDER BY since DESC"""
_NEWEST = """
    SELECT * EXCLUDE (open_time, close_time) FROM {table}
    WHERE timeframe = '{timeframe}' AND open_time_ns >= {since}
    QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY open_time_ns DESC) <= {count}
    ORDER BY open_time_ns"""


class RecentRows:
    """The last `count` bars of each symbol and timeframe, with their indicator values, and the newest alerts.

    Its methods raise what LakeQuery.run does.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings.model_copy(update={"sql": settings.sql.model_copy(update={"timeout_s": _TIMEOUT_S})})
        self._count = count

    def positions(self) -> dict[Place, int]:
        """The next offset of each topic that the lake does not hold, by partition."""
        stored = open_visible(self._settings)
        stored.read()
        return stored.positions()

    def batches(self) -> Iterator[FeedBatch]:
        """The rows, alerts first, then each timeframe in order of time."""
        query = LakeQuery(self._settings)
        try:
            for rows in newest_alerts(query, _ALERTS):
                yield FeedBatch("alerts", rows, 0)
            for frame in query.run(_SINCE.format(count=self._count)).to_pylist():
                for table in _TABLES:
                    rows = query.run(_NEWEST.format(table=table, count=self._count, **_quoted(frame)))
                    yield from _as_batches(table, rows)
        finally:
            query.close()


def _quoted(frame: dict[str, object]) -> dict[str, object]:
    return {**frame, "timeframe": str(frame["timeframe"]).replace("'", "''")}


def _as_batches(table: Literal["bars", "indicators"], rows: pa.Table) -> Iterator[FeedBatch]:
    head = set(indicators_schema([]).names)
    schema = BAR if table == "bars" else indicators_schema([n for n in rows.column_names if n not in head])
    for batch in rows.select(schema.names).cast(schema).to_batches():
        yield FeedBatch(table, batch, 0)
