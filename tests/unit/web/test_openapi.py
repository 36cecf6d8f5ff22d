"""What the description says of itself; that the API answers so is tried in tests/conformance."""

import json
from typing import Any

import jsonschema
import pytest

from marketpulse.settings import SqlSettings
from marketpulse.web.sql import SqlApi
from served_app import app_of, ask


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    def never() -> Any:
        raise AssertionError("nothing is asked")

    app = app_of(sql=SqlApi(never, SqlSettings(rows_max=77)))
    answer = ask(app, "/api/openapi.json")
    assert ask(app, "/api/openapi.json", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    return dict(answer.json())


def operations(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{m} {p}", one) for p, path in spec["paths"].items() for m, one in path.items()]


def test_every_route_tells_its_rows_its_errors_and_that_a_token_may_be_needed(spec: dict[str, Any]) -> None:
    assert spec["security"] == [{}, {"token": []}]
    for name, one in operations(spec):
        assert {"200", "400", "401", "403", "414", "421", "429", "500"} <= set(one["responses"]), name
        assert "Retry-After" in one["responses"]["429"]["headers"], name
        assert one["description"], name
        assert "HTTPValidationError" not in json.dumps(one), name


def test_every_example_is_as_its_schema_says(spec: dict[str, Any]) -> None:
    tried = 0
    for _, one in operations(spec):
        content = one["responses"]["200"]["content"].get("application/json", {})
        if "example" not in content:
            continue
        schema = content["schema"] | {"components": spec["components"]}
        jsonschema.Draft202012Validator(schema).validate(content["example"])
        tried += 1
    assert tried >= 5


def test_a_parameter_is_typed_and_never_null_and_has_the_settings_bounds(spec: dict[str, Any]) -> None:
    for name, one in operations(spec):
        for parameter in one.get("parameters", ()):
            assert "null" not in json.dumps(parameter["schema"]), name
            assert {"type", "enum", "pattern"} & set(parameter["schema"]), (name, parameter)
    by_name = {p["name"]: p for p in spec["paths"]["/api/sql"]["get"]["parameters"]}
    assert by_name["limit"]["schema"]["maximum"] == 77
