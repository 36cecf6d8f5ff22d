"""How rows leave: as JSON, CSV or Arrow, with an ETag, so that a client that has them is told so in a few bytes."""

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
import pyarrow as pa
import pyarrow.csv
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.web.forms import MEDIA, accepted
from marketpulse.web.problems import described

Format = Literal["json", "csv", "arrow"]
_OFFERED = {form: MEDIA[form] for form in ("json", "csv", "arrow")}
REVALIDATE = "private, no-cache"
"""May be kept, but is asked for again: the answer is then mostly a 304."""


def described_rows(model: Any, example: Mapping[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that gives rows, for its description."""
    headers = {
        "ETag": {"description": "of this answer, for If-None-Match", "schema": {"type": "string"}},
        "Link": {"description": '`<…>; rel="next"` when there are more rows', "schema": {"type": "string"}},
        "Cache-Control": {"schema": {"type": "string"}},
    }
    content = {
        "application/json": {"example": example},
        "text/csv": {"schema": {"type": "string"}},
        MEDIA["arrow"]: {"schema": {"type": "string", "format": "binary"}},
    }
    good = {"model": model, "description": "The rows.", "content": content, "headers": headers}
    return {
        200: good,
        304: {"description": "The client has this answer already (If-None-Match)."},
        **described(*statuses),
    }


def form_of(request: Request, wanted: Format | None) -> Format:
    """`format`, else the client's `Accept`, else JSON."""
    found = wanted or accepted(request.headers.get("accept", "*/*"), _OFFERED)
    return "csv" if found == "csv" else "arrow" if found == "arrow" else "json"


def next_link(request: Request, **changed: Any) -> str:
    """The same question with other parameters."""
    asked = dict(request.query_params) | changed
    return f"{request.url.path}?{urlencode(asked)}"


def tell_fresh(value: Any) -> Response:
    """JSON of what is another thing the next moment: never kept."""
    return Response(orjson.dumps(value), headers={"cache-control": "no-store"}, media_type=MEDIA["json"])


def tell(request: Request, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of any value; numbers that are none become null."""
    return tell_bytes(request, orjson.dumps(value), MEDIA["json"], headers)


def tell_rows(
    request: Request,
    form: Format,
    head: Mapping[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    following: str | None = None,
) -> Response:
    """`head` stands beside `columns` and `rows` in JSON only. `following` is the address of the next page."""
    headers = {} if following is None else {"link": f'<{following}>; rel="next"'}
    if form == "json":
        return tell(request, {**head, "columns": columns, "rows": rows}, headers)
    table = _table(columns, rows)
    if form == "csv":
        text = io.BytesIO()
        pyarrow.csv.write_csv(_with_whole_times(table), text, pyarrow.csv.WriteOptions(quoting_style="needed"))
        return tell_bytes(request, text.getvalue(), MEDIA["csv"], headers)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return tell_bytes(request, stream.getvalue(), MEDIA["arrow"], headers)


def tell_bytes(request: Request, body: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer, or 304 when the client names its ETag."""
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    every = {"etag": etag, "cache-control": REVALIDATE, "vary": "accept", **(headers or {})}
    if has_already(request, etag):
        return Response(None, 304, every)
    return Response(body, 200, every, media_type=media_type)


def has_already(request: Request, etag: str) -> bool:
    """Whether If-None-Match names this answer (RFC 9110: compared weakly)."""
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """A column of numbers is float64, null where a number is missing."""
    return pa.table({name: _array([row[i] for row in rows]) for i, name in enumerate(columns)})


def _with_whole_times(table: pa.Table) -> pa.Table:
    """Milliseconds without a fraction are written as such, not as 1.7e+12."""
    for i, name in enumerate(table.column_names):
        if name.endswith("_ms") and all(v is None or v.is_integer() for v in table[name].to_pylist()):
            table = table.set_column(i, name, table[name].cast(pa.int64()))
    return table


def _array(values: list[Any]) -> pa.Array:
    if all(value is None or (isinstance(value, float | int) and not isinstance(value, bool)) for value in values):
        return pa.array([None if v is None or math.isnan(v) else float(v) for v in values], pa.float64())
    return pa.array(values)
