"""`load`: files of history into the lake, in one step."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.columns import BarLength, Columns, RecordKind, Symbol, TimeFormat, Timezone, Venue, mapping_of
from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import ParameterError

if TYPE_CHECKING:
    from marketpulse.app.loading.load import Progress, Summary

_LINE_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    app.command()(load)


def load(
    files: Annotated[list[str], typer.Argument(metavar="FILE|URL", help="Trades, quotes or bars: CSV, JSON lines or Parquet, also as .gz or .zip; a directory, a glob, an https:// or s3:// URL.")],
    record: RecordKind = None, symbol: Symbol = None, venue: Venue = None, timezone: Timezone = None,
    columns: Columns = None, time_format: TimeFormat = None, timeframe: BarLength = None,
    mapping: Annotated[str | None, typer.Option(metavar="NAME", help="Read the files as this replay source of the configuration does.")] = None,
    calendar: Annotated[str | None, typer.Option(metavar="MIC", help="The calendar of all rows, such as XNYS or 24x7. Default: by venue.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="The source that the rows carry. Default: load.")] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="What stored rows name instead of the file's name.")] = None,
    complete: Annotated[bool, typer.Option("--complete", help="Nothing follows: close the bars that are open at the end.")] = False,
    lake_only: Annotated[bool, typer.Option("--lake-only", help="Without a broker: the pipeline does not go on from the end.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be used, with nothing loaded.")] = False,
    config: Config = None,
) -> None:  # fmt: skip
    """Load history: files into the lake, as if they had come through the pipeline.

    Live data goes on where it ends. The same again changes nothing; after a kill it goes on. Stop the pipeline before.

    \b
    marketpulse load trades-2023.parquet
    marketpulse load prices.csv --symbol AAPL --venue XNYS --map price=last
    marketpulse load https://example.org/2024.csv.gz --lake-only --complete
    """
    settings = read_settings(config)
    from marketpulse.app.loading.load import Request
    from marketpulse.app.loading.load import load as run
    from marketpulse.settings import Mapping, ReplaySettings

    given = mapping_of(record, symbol, timezone, columns, time_format=time_format, venue=venue, timeframe=timeframe)
    known = Mapping()
    if mapping is not None:
        section = settings.sources.get(mapping)
        if not isinstance(section, ReplaySettings):
            there = ", ".join(n for n, s in settings.sources.items() if isinstance(s, ReplaySettings))
            raise ParameterError(
                f"--mapping {mapping}: no replay source of the configuration has this name (there is {there or 'none'})"
            )
        known = section.mapping
    wanted = Request(
        files, Mapping(**{**known.model_dump(), **given}), source, calendar, name, complete, lake_only, strict
    )
    with _shown() as show:
        found = run(settings, wanted, show)
    for line in lines(found):
        typer.echo(line)


def lines(found: "Summary") -> list[str]:
    """What a load has done, for people."""
    from marketpulse.app.receipts.time_text import show_time

    if found.outcome == "nothing":
        return [f"{found.topic} is in the lake already, whole: nothing was changed."]
    span = (
        ""
        if found.first_ns is None or found.last_ns is None
        else f", {show_time(found.first_ns)} to {show_time(found.last_ns)}"
    )
    said = [f"{found.topic}: {found.rows:,} rows of {found.symbols:,} symbols{span}"]
    if found.outcome == "handed over":
        said.append("The lake had all of it already; computed again, and nothing stored twice.")
    else:
        stored = ", ".join(f"{count:,} {table}" for table, count in sorted(found.stored.items()) if count)
        rate = found.rows / max(found.seconds, 1e-9)
        said.append(f"Stored {stored or 'nothing'} in {found.seconds:,.1f} s ({rate:,.0f} rows/s).")
    if found.restored:
        said.append(f"An earlier run had stored {found.restored:,} of the rows; the counts are this run's.")
    if found.refused:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.refused.most_common())
        said.append(f"Set aside as dead letters: {reasons} (table dead_letters).")
    if found.cut:
        said.append(f"Left out {found.cut:,} rows that are not before the first live row of their symbol.")
    if found.again:
        said.append(f"Left out {found.again:,} rows that an earlier load or another of the files has.")
    if found.duplicates:
        said.append(f"Dropped {found.duplicates:,} trades whose id had come before.")
    if found.out_of_session:
        said.append(f"{found.out_of_session:,} trades lie outside their session: kept, in no bar.")
    if found.suspect:
        said.append(
            f"{found.suspect:,} findings of the rules of data quality: rows of `events` of the type quality name them."
        )
    if found.handed_over:
        said.append("The pipeline goes on from here: start it with `marketpulse up`.")
    if found.forming:
        closes = "" if found.handed_over else " (--complete would have closed them)"
        said.append(f"{found.forming:,} bars are open at the end; later trades complete them{closes}.")
    return said


class _shown:  # noqa: N801  (used as a function)
    """A bar on a terminal, else a line every few seconds; both on standard error."""

    def __init__(self) -> None:
        self._bar = None
        self._said_at = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> "_shown":
        if self._bar is not None:
            self._bar.start()
        return self

    def __call__(self, at: "Progress") -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=at.doing, completed=at.done, total=at.total or None)
        elif time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            of = f" of {at.total:,}" if at.total else ""
            typer.echo(f"{at.doing}: {at.done:,}{of}", err=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
