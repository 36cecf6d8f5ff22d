"""`marketpulse`: the commands, and what every one of them does on a fault.

Exit codes: 0 good, 1 failed, 2 wrong usage (an argument or the configuration has to change).
"""

import faulthandler
import os
import signal
import sys
from typing import Annotated

import typer

from marketpulse import __version__
from marketpulse.app import parent
from marketpulse.app.cli import (
    alerts,
    aws,
    chaos,
    chart,
    check,
    failover,
    heal,
    inspect,
    lake,
    load,
    local,
    process,
    produce,
    receipts,
    sources,
    sql,
    tail,
    topics,
    up,
)
from marketpulse.app.exit_codes import FAILED, INTERRUPTED, WRONG_KEY, WRONG_USAGE
from marketpulse.errors import MarketPulseError, ParameterError, SettingsError, WrongKey

app = typer.Typer(
    name="marketpulse",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: a third of the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every command explains itself: marketpulse COMMAND --help",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"marketpulse {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code a fault happened.")] = False,
) -> None:
    """Market data through Apache Kafka into live and stored insight.

    \b
    marketpulse up                                         start everything and open the page
    marketpulse sql "SELECT * FROM bars LIMIT 5"           ask what was stored
    marketpulse compute prices.csv --timeframe 1d --indicators "sma(20),rsi(14)"
    """


for group in (
    up,
    process,
    produce,
    alerts,
    tail,
    topics,
    failover,
    local,
    sql,
    lake,
    receipts,
    load,
    heal,
    aws,
    chart,
    check,
    inspect,
    sources,
    chaos,
):
    group.register(app)


def main() -> None:
    """Run the command that the arguments name; leaves by SystemExit."""
    parent.watch()
    faulthandler.enable()  # a crash inside a compiled library says where
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or sys.stderr)  # where every thread stands, to its log
    try:
        app()
    except MarketPulseError as error:
        if "--debug" in sys.argv:
            raise
        if isinstance(error, SettingsError):
            from marketpulse.settings import located

            error = located(error)
        complain(str(error))
        if isinstance(error, WrongKey):
            sys.exit(WRONG_KEY)
        sys.exit(WRONG_USAGE if isinstance(error, ParameterError | SettingsError) else FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def complain(message: str) -> None:
    """One line on standard error, red where the terminal has colours."""
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    typer.secho(message, err=True, fg="red" if colour else None)
