"""What shows where stored values come from: explain and verify."""

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import ParameterError

if TYPE_CHECKING:
    from marketpulse.app.receipts.report import Progress
    from marketpulse.settings import Settings


class Form(StrEnum):
    """How a result is written."""

    TEXT = "text"
    JSON = "json"


def register(app: typer.Typer) -> None:
    app.command()(explain)
    app.command()(verify)


def explain(
    symbol: Annotated[str, typer.Argument(help="Such as AAPL.")],
    timeframe: Annotated[str, typer.Argument(help="Such as 1m.")],
    open_time: Annotated[str, typer.Argument(help="When the bar opens: 2026-01-05T14:30:00Z, or nanoseconds.")],
    name: Annotated[str, typer.Argument(help="bar, one of its columns such as close or vwap, an indicator's such as rsi_14, or an alert rule.")] = "bar",
    every: Annotated[bool, typer.Option("--all", help="Show every input.")] = False,
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = Form.TEXT,
    config: Config = None,
) -> None:  # fmt: skip
    """Show where one value comes from.

    Its inputs, the state before, the arithmetic and the revisions, by replaying just that slice of the log.
    Exits with 1 when the replay gives another value than is stored.

    \b
    marketpulse explain AAPL 1m 2026-01-05T14:30:00Z rsi_14
    marketpulse explain AAPL 1m 2026-01-05T14:30:00Z bar --format json
    """
    settings = read_settings(config)
    import orjson

    from marketpulse.app.receipts import explain_text
    from marketpulse.app.receipts.explain import explain as run
    from marketpulse.app.receipts.time_text import parse_time
    from marketpulse.app.receipts.trace import Ask

    ask = Ask(symbol, timeframe, parse_time(open_time, "OPEN_TIME"), name)
    found = run(settings, ask, _show_records)
    _end_progress()
    if form == Form.JSON:
        typer.echo(orjson.dumps(explain_text.as_object(found), default=str).decode())
    else:
        shown = {"inputs_shown": len(found.trace.inputs)} if every else {}
        for line in explain_text.lines(found, **shown):
            typer.echo(line)
    raise typer.Exit(int(not found.same))


def verify(
    begin: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Bars that open at or after this, and alerts of then. Default: the first.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Bars that open before this. Default: the last.")] = None,
    symbol: Annotated[list[str] | None, typer.Option(help="Only this symbol. May be given again.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many differences to show.")] = 20,
    form: Annotated[Form, typer.Option("--format", help="How to write the result.")] = Form.TEXT,
    follow: Annotated[bool, typer.Option("--follow", help="Check what comes, at low priority, until stopped; as `up` does.")] = False,
    config: Config = None,
) -> None:  # fmt: skip
    """Compute stored bars, indicators and alerts again, and compare every bit.

    From the log; past its retention, and without a broker, from the lake's trades. Exits with 0 when all
    rows are equal, with 1 when not.

    \b
    marketpulse verify --from 2026-01-05 --to 2026-01-06
    marketpulse verify --symbol AAPL --format json
    """
    settings = read_settings(config)
    if follow:
        if begin or end or symbol:
            raise ParameterError("--follow checks everything that comes: leave --from, --to and --symbol out")
        _follow(settings)
    import orjson

    from marketpulse.app.receipts import report_text
    from marketpulse.app.receipts.time_text import parse_time
    from marketpulse.app.receipts.verify import verify as run
    from marketpulse.query.stored_rows import ALWAYS, Wanted

    wanted = Wanted(
        ALWAYS[0] if begin is None else parse_time(begin, "--from"),
        ALWAYS[1] if end is None else parse_time(end, "--to"),
        frozenset(symbol) if symbol else None,
    )
    if wanted.from_ns >= wanted.to_ns:
        raise ParameterError("--from must lie before --to")
    report = run(settings, wanted, _show_progress())
    _end_progress()
    if form == Form.JSON:
        typer.echo(orjson.dumps(report_text.as_object(report), default=str).decode())
    else:
        for line in report_text.lines(report, limit):
            typer.echo(line)
    raise typer.Exit(int(bool(report.drift)))


def _follow(settings: "Settings") -> None:
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.patience import await_broker
    from marketpulse.app.pipeline.verify import run
    from marketpulse.app.warm import prepare

    with lifecycle(settings, "verify") as life:
        prepare(life, "engine", "wire", indicators=settings.engine)
        await_broker(settings, life)
        raise typer.Exit(run(settings, life))


def _show_records(done: int, end: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done:,} of {end:,} records\x1b[K", nl=False, err=True)


_NEXT_LINE_S = 10.0  # where the line does not move in place


def _show_progress() -> "Callable[[Progress], None]":
    """One line: on a terminal it moves, elsewhere it comes every ten seconds."""
    due = time.monotonic() + _NEXT_LINE_S

    def show(progress: "Progress") -> None:
        nonlocal due
        records = f", {progress.records:,} of {progress.of_records:,} records" if progress.of_records else ""
        line = f"verify: part {progress.share:,} of {progress.shares:,}{records}, {progress.same:,} rows the same"
        if sys.stderr.isatty():
            typer.echo(f"\r{line}\x1b[K", nl=False, err=True)
        elif time.monotonic() >= due:
            due = time.monotonic() + _NEXT_LINE_S
            typer.echo(line, err=True)

    return show


def _end_progress() -> None:
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)
