"""`sources`: how good each source is."""

import json
from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings


def register(app: typer.Typer) -> None:
    app.command()(sources)


def sources(
    hours: Annotated[int | None, typer.Option(min=1, max=24, help="How far back. Default: scorecard.hours.")] = None,
    source: Annotated[str | None, typer.Option(help="The symbols, gaps and differences of this one, as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
    config: Config = None,
) -> None:  # fmt: skip
    """How good each source is.

    Lag, coverage against the calendar, gaps and what became of them, rows set aside and suspect, how far sources of one
    instrument are apart, and what they cost. Read from the log; reconnects, requests and the disk from the processes here.

    \b
    marketpulse sources
    marketpulse sources --hours 1 --json
    marketpulse sources --source coinbase
    """
    settings = read_settings(config)
    from marketpulse.app.feeds import configured_sources
    from marketpulse.app.observing.readings import read_processes, together
    from marketpulse.app.scoring import text
    from marketpulse.app.scoring.hearing import Hearing
    from marketpulse.app.scoring.processes import kinds_of, with_processes
    from marketpulse.clock import SystemClock

    hearing = Hearing(settings, hours or settings.scorecard.hours, SystemClock())
    try:
        hearing.hear(hearing.follower.to_the_end())
    finally:
        hearing.close()
    card = hearing.card()
    if source is not None:
        typer.echo(json.dumps(card.symbols(source, len(hearing.keeper.series) or 1)))
        return
    samples = together(reading.samples for reading in read_processes(settings.data_dir / "run"))
    rows = with_processes(card.sources(), samples, kinds_of(configured_sources(settings)))
    if as_json:
        typer.echo(
            json.dumps(
                {"hours": hearing.keeper.hours, "sources": rows, "dead_letters_of_nobody": card.unplaced_letters()}
            )
        )
        return
    for line in text.table(rows):
        typer.echo(line)
    if left := hearing.keeper.series.left_out_rows:
        typer.echo(f"{left:,} rows of symbols beyond scorecard.series_max were left out of coverage", err=True)
