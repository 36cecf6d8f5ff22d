"""Rare records as rows of the log's schema."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from marketpulse.model.market import EVENT


def event_rows(bodies: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """One row for each record, in order."""
    rows = [
        {name: body[name] for name in EVENT.names if name != "body"} | {"body": orjson.dumps(body).decode()}
        for body in bodies
    ]
    return pa.RecordBatch.from_pylist(rows, schema=EVENT)
