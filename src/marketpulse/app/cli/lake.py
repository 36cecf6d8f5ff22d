"""`lake`: what is stored, and its chores."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings

lake = typer.Typer(
    name="lake",
    invoke_without_command=True,
    rich_markup_mode=None,
    help="""What the lake holds, and its chores.

    Sizes, files, snapshots of each table, and how old its newest commit is. `sink lake` does the chores by itself.

    \b
    marketpulse lake
    marketpulse lake --json
    marketpulse lake compact
    """,
)


def register(app: typer.Typer) -> None:
    app.add_typer(lake)


@lake.callback()
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
    config: Config = None,
) -> None:
    if context.invoked_subcommand is not None:
        return
    settings = read_settings(config)
    from marketpulse.app import lake as report
    from marketpulse.catalog import open_lake

    found, where = report.sizes(settings), open_lake(settings).where
    if as_json:
        typer.echo(json.dumps(report.as_json(where, found)))
        return
    for line in report.size_lines(where, found):
        typer.echo(line)


@lake.command()
def compact(config: Config = None) -> None:
    """Merge the small files of every table now, as far as `sinks.lake.file_mb` allows."""
    from marketpulse.app import lake as report

    _tell(report.compact(read_settings(config)))


@lake.command()
def expire(config: Config = None) -> None:
    """Delete days past their retention (`sinks.lake.retention`), and snapshots older than `sinks.lake.snapshots_s`."""
    from marketpulse.app import lake as report

    _tell(report.expire(read_settings(config)))


@lake.command()
def clean(config: Config = None) -> None:
    """Remove files that interrupted commits have left behind, older than `sinks.lake.orphans_h`."""
    from marketpulse.app import lake as report

    _tell(report.clean(read_settings(config)))


def _tell(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(line)
