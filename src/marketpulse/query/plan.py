"""DuckDB's plan of a query that has run, as people read it: a line for each step, what it needs indented below it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NOT_SHOWN = {"Estimated Cardinality", "Filename(s)", "Total Files Read", "Function", "Table Index", "CTE Index"}


@dataclass(frozen=True, slots=True)
class FileScan:
    """One reading of Parquet files. `first` is the path of one of them; `rows` met the condition."""

    first: str
    files: int
    row_groups: int
    row_groups_in_all: int
    rows: int
    columns: int
    condition: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer of EXPLAIN (ANALYZE, FORMAT json)."""

    steps: tuple[tuple[int, Mapping[str, Any]], ...]  # with their depth

    @staticmethod
    def of(text: str) -> "Plan":
        whole = json.loads(text)
        return Plan(tuple(_steps(whole.get("operator", whole), 0)))

    def scans(self) -> list[FileScan]:
        """The readings of files, in the order of the plan."""
        return [_scan(step) for _, step in self.steps if "Filename(s)" in step["extra_info"]]

    def lines(self) -> list[str]:
        return ["  " * depth + _line(step) for depth, step in self.steps]


def _steps(node: Any, depth: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(node, list):
        for each in node:
            yield from _steps(each, depth)
    elif isinstance(node, Mapping):
        own = "extra_info" in node and node.get("type") not in ("EXPLAIN_ANALYZE", "RESULT_COLLECTOR")
        if own:
            yield depth, node
        yield from _steps(node.get("children", []), depth + own)


def _line(step: Mapping[str, Any]) -> str:
    said = [f"{key.lower()}: {_joined(v)}" for key, v in step["extra_info"].items() if key not in _NOT_SHOWN]
    rows, seconds = step.get("intermediate_rows", 0), step.get("timing", 0.0)
    cost = f"{rows:,} row{'' if rows == 1 else 's'}, {1e3 * seconds:,.1f} ms"
    return f"{str(step['type']).replace('_', ' ').lower()} ({cost}){''.join(f'; {each}' for each in said)}"


def _scan(step: Mapping[str, Any]) -> FileScan:
    told = step["extra_info"]
    filters, columns = _listed(told.get("Filters")), _listed(told.get("Projections"))
    return FileScan(
        str(told["Filename(s)"]), int(told["Total Files Read"]), int(step.get("row_groups_scanned", 0)),
        int(step.get("total_row_groups_to_scan", 0)), int(step.get("rows_scanned", 0)), len(columns), " and ".join(filters),
    )  # fmt: skip


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _joined(value: Any) -> str:
    return " ".join(", ".join(_listed(value)).split())
