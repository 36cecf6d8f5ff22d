"""`select` and `switch`: one of several sources feeds each symbol, and by hand another."""

from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import ParameterError


def register(app: typer.Typer) -> None:
    app.command()(select)


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
