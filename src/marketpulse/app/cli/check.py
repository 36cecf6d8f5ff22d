"""`check`: what is suspect in a file."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.columns import Columns, RecordKind, Symbol, TimeFormat, Timezone, Venue, mapping_of
from marketpulse.app.cli.common import Config, read_settings
from marketpulse.model.timeframe import DAY_NS

if TYPE_CHECKING:
    from marketpulse.app.checking import Report, Suspect

_SHOWN = 5


def register(app: typer.Typer) -> None:
    app.command()(check)


def check(
    file: Annotated[Path, typer.Argument(help="Trades, quotes or bars: CSV, JSON lines or Parquet; a directory or glob too.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding, for programs.")] = False,
    record: RecordKind = None, symbol: Symbol = None, timezone: Timezone = None, columns: Columns = None,
    time_format: TimeFormat = None, venue: Venue = None, config: Config = None,
) -> None:  # fmt: skip
    """Say what is suspect in a file: wrong units, bad prints, splits that were not adjusted for, holes.

    By the engine's own rules (docs/quality.md), without a broker. Exits with 1 when something is; what is only counted
    does not matter for that.

    \b
    marketpulse check prices.csv
    marketpulse check prices.csv --venue XNYS --json
    """
    settings = read_settings(config)
    from marketpulse.app.checking import check_file
    from marketpulse.settings import Mapping

    mapping = Mapping(**mapping_of(record, symbol, timezone, columns, time_format=time_format, venue=venue))
    report = check_file(settings, file, mapping)
    for line in (json.dumps(asdict(suspect)) for suspect in report.suspects) if as_json else _lines(report.suspects):
        typer.echo(line)
    typer.echo(_summary(report), err=True)
    raise typer.Exit(int(report.is_suspect))


def _lines(suspects: Sequence["Suspect"]) -> Iterator[str]:
    """A line for each finding, but one for all of a rule in a file that are more than _SHOWN: how many, and the first."""
    alike = Counter((suspect.origin, suspect.rule) for suspect in suspects)
    told = set()
    for suspect in suspects:
        kind = suspect.origin, suspect.rule
        if alike[kind] <= _SHOWN:
            yield f"{_where(suspect)}  {suspect.rule}  {suspect.detail}"
        elif kind not in told:
            told.add(kind)
            yield f"{_where(suspect)}  {suspect.rule}  {suspect.detail} (the first of {alike[kind]:,}; --json names all)"


def _where(suspect: "Suspect") -> str:
    place = f"{suspect.origin} line {suspect.line}" if suspect.line is not None else suspect.origin
    return "  ".join(filter(None, (place, _row(suspect))))


def _row(suspect: "Suspect") -> str:
    """The row's time and symbol, where it could be read."""
    if suspect.time_ns is None:
        return suspect.symbol
    at = datetime.fromtimestamp(suspect.time_ns // 10**9, UTC)
    if suspect.kind == "bar" and suspect.time_ns % DAY_NS == 0:
        return f"{at:%Y-%m-%d}  {suspect.symbol}"
    return f"{at:%Y-%m-%d %H:%M:%S}.{suspect.time_ns % 10**9 // 1000:06d}Z  {suspect.symbol}"


def _summary(report: "Report") -> str:
    counts: dict[str, int] = {}
    for suspect in report.suspects:
        counts[suspect.rule] = counts.get(suspect.rule, 0) + 1
    said = ", ".join(f"{rule} {count:,}" for rule, count in counts.items()) or "nothing is suspect"
    fitted = f", whose days fit the calendar {report.calendar}" if report.calendar else ""
    accepted = (
        f"{report.rows - report.refused:,} accepted and {report.refused:,} refused"
        if report.refused
        else "all accepted"
    )
    return f"{report.rows:,} rows, {accepted}{fitted}: {said}"
