"""`up`: everything at once."""

from pathlib import Path
from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, parse_duration, read_settings
from marketpulse.app.nursery import Nursery


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    run_for: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Stop by itself after this, such as 30s.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page in a browser.")] = False,
    source: Annotated[list[str] | None, typer.Option(help="Feed in only this source. May be given again.")] = None,
    live: Annotated[list[str] | None, typer.Option(metavar="PAIRS", help="Feed in these as they trade: BTC-USD,ETH-USD, binance:BTCUSDT, AAPL, alpaca:AAPL. May be given again.")] = None,
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="With --live: keep every message as it came, in this directory.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Create topics of others that sources read, while they are missing, on a cluster too.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The page's port; 0: a free one.")] = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Start everything and open the page; Ctrl-C stops it.

    Broker, sources, engine, stores and the page, each a process of its own.

    \b
    marketpulse up
    marketpulse up --live BTC-USD
    marketpulse up --live AAPL
    marketpulse up --for 30s --no-browser
    KAFKA_BOOTSTRAP_SERVERS=kafka:9092 marketpulse up
    """
    seconds = None if run_for is None else parse_duration(run_for)
    nursery = Nursery.open()  # first of all: it imports while we read the settings
    try:
        settings = read_settings(config)
        from marketpulse.app.up import UpOptions, run_up

        options = UpOptions(
            config, seconds, not no_browser, tuple(source or ()), tuple(live or ()), record, port, create
        )
        raise typer.Exit(run_up(settings, options, nursery))
    finally:
        if nursery is not None:
            nursery.close()
