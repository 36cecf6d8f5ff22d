"""The stored alerts that a page begins with, each as its last revision says."""

from collections.abc import Sequence

import pyarrow as pa

from marketpulse.model.rows import ALERT
from marketpulse.query.duck import LakeQuery

_LAST = """
    SELECT * EXCLUDE (event_time) FROM alerts_history
    QUALIFY row_number() OVER (PARTITION BY symbol, rule, event_time_ns ORDER BY revision DESC) = 1"""
_FIRST_PICTURE = """
    SELECT * EXCLUDE (place, back) FROM (
        SELECT *, row_number() OVER (ORDER BY event_time_ns DESC) AS place,
               row_number() OVER (PARTITION BY symbol, rule, state = 'withdrawn' ORDER BY event_time_ns DESC) AS back
        FROM ({last}) AS last
    ) AS placed WHERE place <= {limit} OR (back <= 2 AND state <> 'withdrawn') ORDER BY event_time_ns"""


def newest_alerts(query: LakeQuery, limit: int) -> Sequence[pa.RecordBatch]:
    """The newest of all, oldest first, and the last two changes of each symbol and rule, whether or not they are among
    them: so it is known what stands."""
    rows = query.run(_FIRST_PICTURE.format(last=_LAST, limit=limit))
    return list(rows.select(ALERT.names).cast(ALERT).to_batches())
