"""The processes of the pipeline, one command each: broker, process, sink, serve."""

from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings


def register(app: typer.Typer) -> None:
    for command in (broker, process, sink, serve):
        app.command()(command)


def broker(
    port: Annotated[
        int | None, typer.Option(help="The port on 127.0.0.1. Default: the last one, else a free one.")
    ] = None,
    heap_mb: Annotated[int | None, typer.Option(help="The broker's heap in MiB.")] = None,
    config: Config = None,
) -> None:
    """Run the embedded Apache Kafka broker.

    \b
    marketpulse broker
    marketpulse broker --port 9092
    """
    settings = read_settings(config, broker={"port": port, "heap_mb": heap_mb})
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.pipeline.broker import run_broker

    with lifecycle(settings, "broker") as life:
        run_broker(settings, life)


def process(
    slot: Annotated[int, typer.Option(min=0, help="This worker's number; each of several has its own.")] = 0,
    config: Config = None,
) -> None:
    """Run the engine: market -> bars, indicators, alerts.

    \b
    marketpulse process
    marketpulse process --slot 1        a second worker, beside the one of slot 0
    """
    settings = read_settings(config)
    from marketpulse.app.engine_config import engine_config
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.patience import await_broker
    from marketpulse.app.pipeline.process import run
    from marketpulse.app.warm import prepare

    with lifecycle(settings, f"process-{slot}") as life:
        engine_config(settings.engine)  # what is wrong in it is said before anything is waited for
        prepare(life, "engine", "wire", indicators=settings.engine)
        await_broker(settings, life)
        raise typer.Exit(run(settings, life, slot))


def sink(
    which: Annotated[str, typer.Argument(help="Where the rows go: a section of `sinks` in the settings.")] = "lake",
    config: Config = None,
) -> None:
    """Store rows in the lake, or in another store.

    \b
    marketpulse sink lake
    marketpulse sink archive
    marketpulse sink influx
    """
    settings = read_settings(config)
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.patience import await_broker
    from marketpulse.app.pipeline.sink import run
    from marketpulse.app.warm import prepare
    from marketpulse.sinks import settings_of

    settings_of(settings, which)  # a wrong name is said before anything is waited for
    with lifecycle(settings, f"sink-{which}") as life:
        prepare(life, "wire")
        await_broker(settings, life)
        raise typer.Exit(run(settings, life, which))


def serve(
    port: Annotated[int | None, typer.Option(help="The page's port; 0: a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    config: Config = None,
) -> None:
    """Serve the live page and its API.

    \b
    marketpulse serve
    marketpulse serve --port 9000
    """
    settings = read_settings(config, serve={"port": port, "host": host})
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.pipeline.serve import run

    with lifecycle(settings, "serve") as life:
        raise typer.Exit(run(settings, life))
