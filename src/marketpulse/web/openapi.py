"""The API's description, as FastAPI makes it, with what stands around every route: the token, the limits."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.web.problems import described
from marketpulse.web.rest.answers import tell

_EVERYWHERE = (400, 401, 403, 414, 421, 429, 500)
_ABOUT = """
Bars, indicator values, alerts and SQL, stored and live, of one MarketPulse. Times are milliseconds since 1970 (UTC).

- Errors are `{"error": "what is wrong, and what to do next"}`.
- Pages follow each other by `next` and the header `Link`.
- Answers carry an `ETag`: with `If-None-Match` one that has not changed is a 304.
- Where a token is set, send it: `Authorization: Bearer …`.
"""


def describe(app: FastAPI) -> None:
    """Let the application give the description of the routes that it has now."""
    made = _made(app)

    async def openapi(request: Request) -> Response:
        return tell(request, made)

    app.add_api_route("/api/openapi.json", openapi, methods=["GET"], include_in_schema=False)


def _made(app: FastAPI) -> dict[str, Any]:
    spec = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
    schemas = spec["components"]["schemas"]
    for path in spec["paths"].values():
        for operation in path.values():
            _describe_operation(operation)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    spec["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "serve.token, where one is set"}
    }
    spec["security"] = [{}, {"token": []}]
    return spec


def _describe_operation(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # a wrong parameter is a 400 here
    for status, about in described(*_EVERYWHERE).items():
        schema = {"$ref": "#/components/schemas/Problem"}
        responses.setdefault(
            str(status), {"description": about["description"], "content": {"application/json": {"schema": schema}}}
        )
    for status, about in responses.items():
        if status in ("429", "503"):
            about.setdefault("headers", {})["Retry-After"] = {
                "description": "seconds", "schema": {"type": "integer", "minimum": 1},
            }  # fmt: skip
    operation["responses"] = dict(sorted(responses.items()))


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter that may be missing: in an address there is no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    kind: dict[str, Any] = kinds[0]
    return {name: value for name, value in schema.items() if name != "anyOf"} | kind
