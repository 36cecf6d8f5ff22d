"""`tail`: a topic's rows as they pass."""

from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings


def register(app: typer.Typer) -> None:
    app.command()(tail)


def tail(
    topic: Annotated[str, typer.Argument(help="Such as bars, indicators, alerts, market, dead-letters.")],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with what is there.")] = False,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Stop at the end instead of waiting for more.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many rows.")] = None,
    config: Config = None,
) -> None:
    """Print a topic's rows as they pass.

    One JSON object a line, with the row's place in the log; Ctrl-C ends it. A row of bars or indicators
    with a revision above 0 replaces the one before it; one without a close says that the bar is no more. An
    alert with the state "withdrawn" says that what was told there is not so.

    \b
    marketpulse tail bars
    marketpulse tail alerts
    marketpulse tail dead-letters --from-beginning --limit 5
    """
    settings = read_settings(config)
    import orjson

    from marketpulse.kafka.tail import tail as rows_of

    rows = rows_of(settings, topic, follow=not no_follow, from_beginning=from_beginning, limit=limit)
    for row in rows:
        typer.echo(orjson.dumps(row, default=str).decode())
