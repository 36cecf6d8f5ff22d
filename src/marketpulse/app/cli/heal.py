"""`heal`: what came too late, brought in after all."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.app.cli.receipts import Form
from marketpulse.errors import ParameterError

if TYPE_CHECKING:
    from marketpulse.app.healing.heal import Healing


def register(app: typer.Typer) -> None:
    app.command()(heal)


def heal(
    stretch: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL [FROM [TO]]]", help="Short for --symbol SYMBOL --from FROM --to TO.", show_default=False)] = None,
    symbol: Annotated[list[str] | None, typer.Option(help="Only this symbol. May be given again.")] = None,
    begin: Annotated[str | None, typer.Option("--from", metavar="TIME", help="What happened at or after this. Default: from the first.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="What happened before this. Default: to the last.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to heal, and change nothing.")] = False,
    automatic: Annotated[bool, typer.Option("--automatic", hidden=True, help="As `up` runs it: symbols with very many trades are left out.")] = False,
    form: Annotated[Form, typer.Option("--format", help="How to write the result.")] = Form.TEXT,
    config: Config = None,
) -> None:  # fmt: skip
    """Bring in trades that came too late for the correction window.

    And corrections and cancels that did. Each symbol's history goes from the lake back into the log, the engine builds its
    rows again, and tells every row that changes with its next revision. Exits with 1 when a symbol was refused.

    \b
    marketpulse heal --dry-run
    marketpulse heal AAPL 2026-01-05 2026-01-06
    marketpulse heal --symbol AAPL --symbol MSFT --from 2026-01-05
    """
    settings = read_settings(config)
    import orjson

    from marketpulse.app.healing.heal import heal as run
    from marketpulse.app.receipts.time_text import parse_time
    from marketpulse.query.stored_rows import ALWAYS, Wanted

    symbol, begin, end = _positional(stretch or [], symbol, begin, end)
    wanted = Wanted(
        ALWAYS[0] if begin is None else parse_time(begin, "--from"),
        ALWAYS[1] if end is None else parse_time(end, "--to"),
        frozenset(symbol) if symbol else None,
    )
    if wanted.from_ns >= wanted.to_ns:
        raise ParameterError("--from must lie before --to")
    rows_max = settings.heal.rows_max if automatic else None
    found = run(settings, wanted, _show, dry_run=dry_run, rows_max=rows_max)
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)
    if form == Form.JSON:
        typer.echo(orjson.dumps(found).decode())
    else:
        for line in map(_line, found):
            typer.echo(line)
        if not any(one.from_ns is not None for one in found):
            typer.echo("Nothing to heal: nothing came too late that is not in.")
    raise typer.Exit(int(any(one.outcome == "refused" for one in found)))


def _positional(
    stretch: list[str], symbols: list[str] | None, begin: str | None, end: str | None
) -> tuple[list[str] | None, str | None, str | None]:
    """Symbols, --from and --to, each given in one of the two ways. Raises ParameterError for both, and for a fourth word."""
    if len(stretch) > 3:
        raise ParameterError(f"heal takes SYMBOL FROM TO, found {len(stretch)} words: {' '.join(stretch)}")
    given = dict(zip(("--symbol", "--from", "--to"), stretch, strict=False))
    for name, option in (("--symbol", symbols), ("--from", begin), ("--to", end)):
        if name in given and option:
            raise ParameterError(f"{name} is given twice: as {given[name]!r}, and as an option")
    return ([given["--symbol"]] if "--symbol" in given else symbols, given.get("--from", begin), given.get("--to", end))


def _line(one: "Healing") -> str:
    from marketpulse.app.receipts.time_text import show_time

    counts = [
        f"{count:,} {what}"
        for count, what in (
            (one.trades, "too late"), (one.changed, "changed too late"), (one.again, "in already"),
            (one.splits, "split missed" if one.splits == 1 else "splits missed"),
        )
        if count
    ]  # fmt: skip
    since = "" if one.from_ns is None else f", from {show_time(one.from_ns)}"
    detail = f": {one.detail}" if one.detail else ""
    return f"{one.symbol}  {one.outcome}  {', '.join(counts) or 'no trade'}{since}{detail}"


def _show(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{text}\x1b[K", nl=False, err=True)
