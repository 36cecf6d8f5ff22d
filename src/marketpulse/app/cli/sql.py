"""`sql`: ask what is stored, here or at Athena."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.app.cli.local import write
from marketpulse.errors import ParameterError, QueryRefused

if TYPE_CHECKING:
    from marketpulse.ports import SqlQuestion
    from marketpulse.settings import Settings

T = TypeVar("T")


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrow"


class DialectName(StrEnum):
    """Whose SQL it is."""

    AUTO = "auto"
    DUCKDB = "duckdb"
    ATHENA = "athena"


class Engine(StrEnum):
    """What runs it."""

    LOCAL = "local"
    ATHENA = "athena"


def register(app: typer.Typer) -> None:
    app.command()(sql)


def sql(
    query: Annotated[
        str | None, typer.Argument(metavar="SELECT", help="One SELECT over trades, quotes, bars, indicators …")
    ] = None,
    named: Annotated[str | None, typer.Option(metavar="NAME", help="A query of the library; see --list.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the named query; may be given again.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="The named queries and their parameters.")] = False,
    dialect: Annotated[
        DialectName, typer.Option(help="Whose SQL it is. auto: DuckDB's where DuckDB understands it, else Athena's.")
    ] = DialectName.AUTO,
    engine: Annotated[Engine, typer.Option(help="What runs it: this machine, over the lake, or Amazon Athena.")] = Engine.LOCAL,
    explain: Annotated[
        bool, typer.Option("--explain", help="Run it and show the plan and the files that were read, not the rows.")
    ] = False,
    format: Annotated[  # noqa: A002  (the option's name)
        Format | None, typer.Option(help="How to write the rows. Default: by the name's ending; table for the terminal.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file: .csv, .json, .jsonl, .parquet, .arrow or .txt.")
    ] = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Ask what is stored, in SQL.

    \b
    marketpulse sql "SELECT * FROM bars WHERE timeframe = '1m' ORDER BY open_time_ns DESC LIMIT 5"
    marketpulse sql --named gainers --param days=5
    marketpulse sql "SELECT approx_percentile(price, 0.5) FROM trades" --engine athena
    marketpulse sql "SELECT * FROM stock_data" --out trades.parquet
    """
    if listing:
        typer.echo(_library())
        return
    if (query is None) == (named is None):
        raise ParameterError('give one query: marketpulse sql "SELECT …", or marketpulse sql --named NAME (see --list)')
    from marketpulse.ports import SqlQuestion

    question = SqlQuestion(query or "", named, _values(param or []), dialect.value)
    settings = read_settings(config)
    run = _at_athena if engine is Engine.ATHENA else _here
    run(settings, question, explain, _form(format, None if explain else out), out)


def _form(format: Format | None, out: Path | None) -> str:  # noqa: A002
    if format is not None or out is None:
        return (format or Format.TABLE).value
    from marketpulse.query.formats import form_of

    return form_of(out)


def _here(settings: "Settings", question: "SqlQuestion", explain: bool, form: str, out: Path | None) -> None:
    from marketpulse.ports import SqlCall
    from marketpulse.query.apart import run_apart

    call = SqlCall("explanation" if explain else "rows", question, form)
    with _caret_in(question):
        head, body = run_apart(settings, call)
    write(body, out)
    if not explain:
        if head.note:
            typer.echo(head.note, err=True)
        typer.echo(_age(head.committed_ms), err=True)


def _at_athena(settings: "Settings", question: "SqlQuestion", explain: bool, form: str, out: Path | None) -> None:
    from marketpulse.query.athena import AthenaDesk
    from marketpulse.query.formats import render
    from marketpulse.query.view_columns import view_columns

    desk = AthenaDesk(settings, view_columns())
    try:
        if explain:
            write((desk.text(question)[0].strip() + "\n").encode(), out)
            return
        answer = _until_done(lambda stop: desk.answer(question, stop), question)
        write(render(answer.rows, form), out)
        if answer.note:
            typer.echo(answer.note, err=True)
        typer.echo(desk.cost, err=True)
    finally:
        desk.close()


def _until_done(run: "Callable[[threading.Event], T]", question: "SqlQuestion") -> T:
    """Run it in a thread, so that Ctrl-C is heard at once; it cancels the query, and then ends the command."""
    cancelled = threading.Event()
    with ThreadPoolExecutor(1) as pool, _caret_in(question):
        running = pool.submit(run, cancelled)
        try:
            return running.result()
        except KeyboardInterrupt:
            cancelled.set()
            raise


@contextmanager
def _caret_in(question: "SqlQuestion") -> Iterator[None]:
    """Inside, a mistake in the query is shown at its place."""
    from marketpulse.ports import SqlMistake
    from marketpulse.query.mistakes import with_caret

    try:
        yield
    except QueryRefused as refusal:
        if question.sql and isinstance(refusal.mistake, SqlMistake):
            raise QueryRefused(with_caret(question.sql, refusal.mistake)) from None
        raise


def _age(committed_ms: int | None) -> str:
    """How old the picture is: a line on standard error, behind the rows."""
    from marketpulse.app.lake import age_text

    if committed_ms is None:
        return "Nothing has been committed to these tables yet."
    return f"As of the newest commit, {age_text(time.time() - committed_ms / 1_000)} ago."


def _values(options: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise ParameterError(f"--param is NAME=VALUE, such as days=5, found {option!r}")
        values[name.strip()] = value
    return values


def _library() -> str:
    from marketpulse.query.named import NAMED

    lines = []
    for query in NAMED.values():
        lines += [query.name, f"  {query.meaning}"]
        for p in query.parameters:
            shown = f"{p.name}={'…' if p.kind == 'time' else p.default.strip(chr(39))}"
            lines.append(f"  --param {shown:<20} {p.meaning}")
        lines.append("")
    return "\n".join(lines).rstrip()
