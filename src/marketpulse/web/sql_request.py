"""What a request to /api/sql asks for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson
from starlette.requests import Request

from marketpulse.errors import ParameterError
from marketpulse.foreign_json import parse_json
from marketpulse.ports import SqlQuestion
from marketpulse.web import forms

MEDIA = {"rows": forms.MEDIA["json"], **forms.MEDIA}
"""By form. `rows` is JSON with a head and rows as arrays, `json` an object for each row."""

ID = r"[A-Za-z0-9_-]{1,64}"
BODY_MAX = 250_000  # bytes
LIMIT = 1_000  # rows, unless it is asked for more or fewer
FORMATS = {"json": "rows", "objects": "json", "csv": "csv", "arrow": "arrow", "parquet": "parquet"}
_OFFERED = {form: MEDIA[form] for form in ("rows", "csv", "arrow", "parquet")}
_OPTIONS = frozenset({"sql", "q", "named", "params", "dialect", "format", "limit", "offset", "id"})
OFFSET_MAX = 10**12


@dataclass(frozen=True, slots=True)
class Wish:
    """The question, the form of the answer (of MEDIA), and the name that the client gives it."""

    question: SqlQuestion
    form: str
    id: str | None


async def read_wish(request: Request, rows_max: int) -> Wish:
    """From the address of a GET, or the body of a POST: a JSON object, or the text of the query itself.

    Raises ParameterError for what is missing, unknown or outside its bounds.
    """
    options = _of_address(request)
    if request.method == "POST":
        options |= await _of_body(request)
    if unknown := sorted(set(options) - _OPTIONS):
        raise ParameterError(f"there is no option {unknown[0]!r}: there are {', '.join(sorted(_OPTIONS))}")
    sql = options.get("sql", options.get("q", ""))
    named = options.get("named")
    if not isinstance(sql, str) or not isinstance(named, str | None) or bool(sql.strip()) == (named is not None):
        raise ParameterError(
            "give one query: /api/sql?q=SELECT…, /api/sql?named=gainers&param.days=5, or POST it (docs/sql.md)"
        )
    dialect = options.get("dialect", "auto")
    if dialect not in ("auto", "duckdb", "athena"):
        raise ParameterError("dialect is auto, duckdb or athena")
    name = options.get("id")
    if name is not None and not re.fullmatch(ID, str(name)):
        raise ParameterError("id has 1 to 64 letters, digits, _ and -")
    question = SqlQuestion(
        sql, named, _parameters(options.get("params", {})),
        cast(Literal["auto", "duckdb", "athena"], dialect),
        _whole("offset", options.get("offset", 0), 0, OFFSET_MAX),
        _whole("limit", options.get("limit", min(LIMIT, rows_max)), 0, rows_max),
    )  # fmt: skip
    return Wish(question, _form(request, options.get("format")), name)


def _of_address(request: Request) -> dict[str, Any]:
    options: dict[str, Any] = {}
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith("param."):
            values[name.removeprefix("param.")] = value
        else:
            options[name] = value
    return {**options, **({"params": values} if values else {})}


async def _of_body(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise ParameterError(f"the body is longer than {BODY_MAX:,} bytes")
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        try:
            return {"sql": body.decode()}
        except UnicodeDecodeError:
            raise ParameterError("the query is not UTF-8") from None
    try:
        options = parse_json(body)
    except orjson.JSONDecodeError as error:
        raise ParameterError(f"the body is not JSON: {error}") from None
    if not isinstance(options, dict):
        raise ParameterError('the body is a JSON object such as {"sql": "SELECT 1"}')
    return options


def _parameters(values: Any) -> Mapping[str, str]:
    if not isinstance(values, dict) or not all(isinstance(v, str | int | float) for v in values.values()):
        raise ParameterError('params are names and values, such as {"days": 5}')
    return {str(name): str(value) for name, value in values.items()}


def _whole(name: str, value: Any, least: int, most: int) -> int:
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,13}", text) or isinstance(value, bool) or not least <= int(text) <= most:
        raise ParameterError(f"{name} is a whole number from {least} to {most:,}")
    return int(text)


def _form(request: Request, wanted: Any) -> str:
    """`format` goes before what the client says that it accepts."""
    if wanted is not None:
        if not isinstance(wanted, str) or wanted not in FORMATS:
            raise ParameterError(f"format is one of {', '.join(FORMATS)}")
        return FORMATS[wanted]
    return forms.accepted(request.headers.get("accept", "*/*"), _OFFERED) or "rows"
