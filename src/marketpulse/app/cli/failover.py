"""`select` and `switch`: one of several sources feeds each symbol, and by hand another."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import ParameterError

if TYPE_CHECKING:
    from marketpulse.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(select)
    app.command()(switch)


def select(
    slot: Annotated[int, typer.Option(min=0, help="This worker's number; each of several has its own.")] = 0,
    config: Config = None,
) -> None:
    """Choose which of several sources feeds each symbol: feeds -> market.

    `up` starts it where [failover] groups sources.

    \b
    marketpulse select
    marketpulse select --slot 1        a second worker, beside the one of slot 0
    """
    settings = read_settings(config)
    if not settings.failover.groups:
        raise ParameterError("there is nothing to select from: group sources in [failover.groups.NAME]")
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.patience import await_broker
    from marketpulse.app.pipeline.select import run
    from marketpulse.app.selecting.groups import failover_config
    from marketpulse.app.warm import prepare

    failover_config(settings)  # what is wrong in it is said before anything is waited for
    with lifecycle(settings, f"select-{slot}") as life:
        prepare(life, "wire", "failover")
        await_broker(settings, life)
        raise typer.Exit(run(settings, life, slot))


def switch(
    symbol: Annotated[str | None, typer.Argument(help="The symbol. Without one: list who feeds what.")] = None,
    to: Annotated[str | None, typer.Option(help="The source that feeds it from now on.")] = None,
    automatic: Annotated[bool, typer.Option("--automatic", help="Leave it to the rules again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the list as JSON, for programs.")] = False,
    config: Config = None,
) -> None:
    """Show which source feeds each symbol, or choose one by hand.

    A choice holds until another one: a source that a person has chosen stays, whatever it does.

    \b
    marketpulse switch
    marketpulse switch AAPL --to finnhub
    marketpulse switch AAPL --automatic
    """
    settings = read_settings(config)
    if not settings.failover.groups:
        raise ParameterError("there is nothing to switch between: group sources in [failover.groups.NAME]")
    from marketpulse.app.selecting.desk import choose

    if symbol is None:
        if to is not None or automatic:
            raise ParameterError("name the symbol: marketpulse switch SYMBOL --to SOURCE")
        _list(settings, as_json)
        return
    if (to is None) != automatic:
        raise ParameterError(f"say which: marketpulse switch {symbol} --to SOURCE, or --automatic")
    choose(settings, symbol, to)
    typer.echo(f"{symbol} is left to the rules again" if to is None else f"{symbol} is fed by {to} from now on")


def _list(settings: "Settings", as_json: bool) -> None:
    from marketpulse.app.receipts.time_text import show_time
    from marketpulse.app.selecting.desk import feedings

    found = feedings(settings)
    if as_json:
        typer.echo(json.dumps([asdict(feeding) for feeding in found]))
        return
    rows = [("symbol", "source", "since", "chosen", "standing by")]
    for one in found:
        since = "its beginning" if one.since_ns is None else show_time(one.since_ns)
        chosen = "by hand" if one.by_hand else "by the rules"
        rows.append((one.symbol, one.source, since, chosen, ", ".join(one.standby) or "nobody"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        typer.echo("  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[-1]]))
