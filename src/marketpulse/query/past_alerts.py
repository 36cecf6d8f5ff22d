"""Stored alerts for pages, from the newest back: each as its last revision says."""

from collections.abc import Sequence

import pyarrow as pa

from marketpulse.model.rows import ALERT
from marketpulse.ports import PastAlerts
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import AS_IT_IS, How

_LAST = """
    SELECT * EXCLUDE (event_time) FROM alerts_history{where}
    QUALIFY row_number() OVER (PARTITION BY symbol, rule, event_time_ns ORDER BY revision DESC) = 1"""
_NEWEST = """
    SELECT * FROM ({last}) AS last{where} ORDER BY event_time_ns DESC, symbol DESC, rule DESC LIMIT {limit}"""
_FIRST_PICTURE = """
    SELECT * EXCLUDE (place, back) FROM (
        SELECT *, row_number() OVER (ORDER BY event_time_ns DESC) AS place,
               row_number() OVER (PARTITION BY symbol, rule, state = 'withdrawn' ORDER BY event_time_ns DESC) AS back
        FROM ({last}) AS last
    ) AS placed WHERE place <= {limit} OR (back <= 2 AND state <> 'withdrawn') ORDER BY event_time_ns"""


def past_alerts(query: LakeQuery, wanted: PastAlerts, how: How = AS_IT_IS) -> pa.Table:
    """Rows of ALERT, newest first. Raises what LakeQuery.run does."""
    named = _among({"symbol": wanted.symbols, "rule": wanted.rules})
    if wanted.before is not None:
        time, symbol, rule = wanted.before
        named.append(f"(event_time_ns, symbol, rule) < ({time}, {_text(symbol)}, {_text(rule)})")
        named.append(f"event_time_ns <= {time}")  # which files can be told by
    shown = _among({"state": wanted.states, "severity": wanted.severities})
    sql = _NEWEST.format(last=_LAST.format(where=_where(named)), where=_where(shown), limit=wanted.limit)
    return query.run(sql, how).select(ALERT.names).cast(ALERT)


def newest_alerts(query: LakeQuery, limit: int) -> Sequence[pa.RecordBatch]:
    """The newest of all, oldest first, and the last two changes of each symbol and rule, whether or not they are among
    them: so it is known what stands."""
    rows = query.run(_FIRST_PICTURE.format(last=_LAST.format(where=""), limit=limit))
    return list(rows.select(ALERT.names).cast(ALERT).to_batches())


def _among(chosen: dict[str, Sequence[str]]) -> list[str]:
    return [f"{column} IN ({', '.join(map(_text, names))})" for column, names in chosen.items() if names]


def _where(parts: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
