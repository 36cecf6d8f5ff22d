"""What /api/sql says of itself in the API's description: its options are read by sql_request.py, not by FastAPI, since
those of a named query have names of their own."""

from typing import Any

from pydantic import BaseModel, Field

from marketpulse.web.forms import MEDIA
from marketpulse.web.problems import described
from marketpulse.web.sql_request import FORMATS, ID, LIMIT, OFFSET_MAX


class Column(BaseModel):
    name: str
    type: str = Field(description="Arrow's name of the type", examples=["int64"])


class Rows(BaseModel):
    """Rows as arrays, in the order of `columns`. Times are ISO text, UTC."""

    id: str
    dialect: str
    took_ms: float
    offset: int
    limit: int
    row_count: int
    more: bool = Field(description="there are rows behind these: ask again with a higher offset")
    note: str = Field(description="of a named query: which days it covers and, without rows, why and what to try")
    columns: list[Column]
    rows: list[list[Any]]


class Parameter(BaseModel):
    name: str
    kind: str
    default: str | None
    meaning: str


class NamedQuery(BaseModel):
    name: str
    title: str
    meaning: str
    sql: str
    parameters: list[Parameter]


class Library(BaseModel):
    queries: list[NamedQuery]


class RunningQuery(BaseModel):
    id: str
    sql: str
    named: str | None
    state: str = Field(description="running or waiting")
    since_ms: int


class Running(BaseModel):
    queries: list[RunningQuery]


class Stopped(BaseModel):
    stopped: str


_EXAMPLE = {
    "id": "mine", "dialect": "duckdb", "took_ms": 12.5, "offset": 0, "limit": 2, "row_count": 1, "more": False, "note": "",
    "columns": [{"name": "symbol", "type": "string"}, {"name": "bars", "type": "int64"}], "rows": [["SPY", 1_564]],
}  # fmt: skip
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "examples": ["SELECT 1"]}


def _options(rows_max: int) -> dict[str, dict[str, Any]]:
    """Schema by name of what stands in the address or in a JSON body."""
    return {
        "named": {"type": "string", "description": "a query of /api/sql/named instead", "examples": ["gainers"]},
        "dialect": {"enum": ["auto", "duckdb", "athena"], "default": "auto"},
        "format": {
            "enum": list(FORMATS), "description": "unset: by the header Accept. `objects` is JSON, an object for each row",
        },
        "limit": {"type": "integer", "minimum": 0, "maximum": rows_max, "default": min(LIMIT, rows_max)},
        "offset": {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0},
        "id": {"type": "string", "pattern": f"^{ID}$", "description": "a name of your own, for DELETE /api/sql/{id}"},
    }  # fmt: skip


def _parameters(rows_max: int) -> list[dict[str, Any]]:
    values = {
        "type": "object",
        "propertyNames": {"pattern": r"^param\.[a-z_]+$"},
        "additionalProperties": {"type": "string"},
    }
    return [
        {"name": "q", "in": "query", "description": "one SELECT; `sql` says the same. A long one is posted", "schema": _TEXT},
        {"name": "sql", "in": "query", "description": "as `q`", "schema": _TEXT},
        *({"name": name, "in": "query", "schema": schema} for name, schema in _options(rows_max).items()),
        {
            "name": "parameters", "in": "query", "style": "form", "explode": True, "schema": values,
            "description": "a named query's own, such as `param.days=5`", "example": {"param.days": "5"},
        },
    ]  # fmt: skip


_ROWS = {
    200: {
        "model": Rows | list[dict[str, Any]], "description": "The rows; as `format=objects` an object for each.",
        "content": {
            MEDIA["json"]: {"example": _EXAMPLE}, "text/csv": {"schema": {"type": "string"}},
            MEDIA["arrow"]: {"schema": {"type": "string", "format": "binary"}},
            MEDIA["parquet"]: {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": {
            "X-Query-Id": {"schema": {"type": "string"}},
            "X-Row-Count": {"schema": {"type": "integer"}},
            "X-More-Rows": {"schema": {"type": "boolean"}},
            "ETag": {"description": "of the answer, as long as the lake stays as it is", "schema": {"type": "string"}},
            "Link": {"description": '`<…>; rel="next"` when there are more rows', "schema": {"type": "string"}},
        },
    },
    304: {"description": "The client has this answer already (If-None-Match)."},
    **described(400, 403, 409, 422, 503),
}  # fmt: skip


def described_get(rows_max: int) -> dict[str, Any]:
    return {"responses": _ROWS, "openapi_extra": {"parameters": _parameters(rows_max)}}


def described_post(rows_max: int) -> dict[str, Any]:
    members = {
        "sql": _TEXT,
        "q": _TEXT,
        "params": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
        **_options(rows_max),
    }
    body = {
        "application/json": {
            "schema": {"type": "object", "properties": members, "additionalProperties": False},
            "example": {"sql": "SELECT symbol, count(*) AS bars FROM bars GROUP BY symbol", "limit": 2},
        },
        "application/sql": {"schema": _TEXT},
    }
    extra = {"parameters": _parameters(rows_max), "requestBody": {"content": body, "required": True}}
    return {"responses": _ROWS, "openapi_extra": extra}


DESCRIBED_NAMED: dict[str, Any] = {
    "responses": {200: {"model": Library, "description": "The queries."}, **described(403, 503)}
}
DESCRIBED_RUNNING: dict[str, Any] = {
    "responses": {200: {"model": Running, "description": "The queries."}, **described(403)}
}
DESCRIBED_STOP: dict[str, Any] = {
    "responses": {200: {"model": Stopped, "description": "It is told to stop."}, **described(403, 404)},
    "openapi_extra": {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]},
}
