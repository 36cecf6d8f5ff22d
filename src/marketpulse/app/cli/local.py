"""What needs no broker: compute, indicators, doctor."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from marketpulse.app.cli.columns import Columns, RecordKind, Symbol, TimeFormat, Timezone, Venue, mapping_of
from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import ParameterError


class TimeForm(StrEnum):
    """How a time is written."""

    ISO = "iso"
    NS = "ns"


def register(app: typer.Typer) -> None:
    for command in (compute, indicators, doctor):
        app.command()(command)


def write(data: bytes, out: Path | None) -> None:
    """To the file, or to standard output. Raises ParameterError when the file cannot be written, and
    for bytes that are no text when standard output is a terminal."""
    if out is None:
        if sys.stdout.isatty() and data[:4] in (b"PAR1", b"\xff" * 4):
            raise ParameterError("Parquet and Arrow are not for a terminal: add --out FILE")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ParameterError(f"{out} cannot be written ({error.strerror}): name another --out") from None


def compute(
    file: Annotated[Path, typer.Argument(help="Trades or bars: CSV, JSON lines or Parquet; a directory or glob too.")],
    timeframe: Annotated[
        str | None, typer.Option(help="Such as 1m, 1h, 1d, 100t. Default: that of the bars; 1m for trades.")
    ] = None,
    indicators: Annotated[str, typer.Option(help="What to compute; see `marketpulse indicators`.")] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".csv, .json, .jsonl or .parquet. Default: CSV to the terminal.")
    ] = None,
    time: Annotated[
        TimeForm, typer.Option(help="iso: open_time, close_time (UTC). ns: open_time_ns, close_time_ns, whole numbers.")
    ] = TimeForm.ISO,
    record: RecordKind = None, symbol: Symbol = None, timezone: Timezone = None, columns: Columns = None,
    time_format: TimeFormat = None, venue: Venue = None, config: Config = None,
) -> None:  # fmt: skip
    """Bars and indicators of a file.

    By the engine's own operators, without a broker: the same bits as live. The indicator `vwap` is the session's, in the
    column `session_vwap`; `vwap` is the bar's own.

    \b
    marketpulse compute prices.csv --timeframe 1d --indicators "sma(20),rsi(14),macd(12,26,9)"
    marketpulse compute ticks.parquet --timeframe 5m --indicators "vwap" --out bars.parquet
    """
    settings = read_settings(config)
    from marketpulse.app.compute import check_ending, compute_file, encode
    from marketpulse.app.frames import with_timestamps
    from marketpulse.settings import Mapping

    if out is not None:
        check_ending(out)

    mapping = Mapping(**mapping_of(record, symbol, timezone, columns, time_format=time_format, venue=venue))
    table, rejected = compute_file(settings, file, timeframe, indicators, mapping)
    table = with_timestamps(table) if time is TimeForm.ISO else table
    write(encode(table, ".csv" if out is None else out.suffix), out)
    if rejected:
        first = rejected[0]
        where = f"{first.origin} row {first.row}: {first.detail}"
        typer.echo(f"{len(rejected):,} rows were set aside; the first: {where}", err=True)


def indicators(
    name: Annotated[str | None, typer.Argument(help="Only this one, in full, such as macd or macd(5,35,5).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole catalogue for programs.")] = False,
) -> None:
    """The catalogue of what can be computed.

    \b
    marketpulse indicators
    marketpulse indicators "macd(5,35,5)"
    """
    from marketpulse.indicators.describe import catalogue_table, describe

    if name is not None:
        typer.echo(describe(name))
        return
    rows = catalogue_table()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    width = max(len(row["notation"]) for row in rows)
    for row in rows:
        typer.echo(f"{row['notation']:<{width}}  {row['title']} -> {', '.join(row['columns'])}")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False, config: Config = None
) -> None:
    """Check this machine, and say what to do.

    Exits with 1 when something fails.

    \b
    marketpulse doctor
    marketpulse doctor --json
    """
    from marketpulse.app import doctor as checks

    findings = checks.examine(lambda: read_settings(config))
    if as_json:
        typer.echo(checks.as_json(findings))
    else:
        for line in checks.lines(findings):
            typer.echo(line)
    raise typer.Exit(int(any(finding.level == checks.Level.FAIL for finding in findings)))
