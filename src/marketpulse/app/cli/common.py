"""What the commands share: the `--config` option, reading settings, and lengths of time."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketpulse.errors import ParameterError

if TYPE_CHECKING:
    from marketpulse.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration. Default: marketpulse.toml, where it exists."),
]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def read_settings(config: Path | None, **overrides: Any) -> "Settings":
    """The settings, with those options of the command line on top that were given (not None)."""
    from marketpulse.settings import load_settings

    return load_settings(config, **(without_none(overrides)))


def without_none(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree without the options that were not given."""
    pruned = {k: without_none(v) if isinstance(v, dict) else v for k, v in tree.items()}
    return {k: v for k, v in pruned.items() if v is not None and v != {}}


def parse_duration(text: str) -> float:
    """`30s`, `2m`, `1.5h`, `500ms` or plain seconds -> seconds. Raises ParameterError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ParameterError(f"{text!r} is no length of time: write one such as 30s, 2m or 1h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def print_table(rows: Sequence[tuple[str, ...]], indent: str = "") -> None:
    """Print cells in columns, the first row as their heads."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        typer.echo(indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
