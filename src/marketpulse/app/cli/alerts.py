"""`alerts`: the rules that run, and changes of them while the pipeline runs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings, without_none
from marketpulse.errors import ParameterError

changes = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(changes, name="alerts")


@changes.callback()
def alerts() -> None:
    """Show, put, mute and remove alert rules.

    Changes hold at once, without a restart, and a replay meets them where they were made.

    \b
    marketpulse alerts list
    marketpulse alerts put --name high --expression "close > 100" --timeframe 1m
    marketpulse alerts put rule.toml
    marketpulse alerts mute high
    marketpulse alerts remove high
    """


@changes.command("list")
def list_rules(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False, config: Config = None
) -> None:
    """The rules that run.

    Those of the configuration and those that were put since, without those that were removed.

    \b
    marketpulse alerts list
    marketpulse alerts list --json
    """
    settings = read_settings(config)
    from marketpulse.app.alert_rules import described

    rules = described(settings)
    if as_json:
        typer.echo(json.dumps(rules))
        return
    if not rules:
        typer.echo("no alert rule runs: `marketpulse alerts put`, or [[engine.alerts]] in the configuration")
        return
    columns = ("name", "timeframe", "severity", "from", "expression")
    for rule in rules:
        rule["severity"] += " (muted)" if rule.get("muted") else ""
    table = [columns, *(tuple(" ".join(rule[column].split()) for column in columns) for rule in rules)]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns) - 1)]
    for row in table:
        typer.echo("  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]))


@changes.command("put")
def put(
    file: Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="The rule as a JSON object or a TOML table; -: from standard input.")] = None,
    name: Annotated[str | None, typer.Option(help="The rule's name; one of the same name makes way.")] = None,
    expression: Annotated[str | None, typer.Option(help="The alert is raised when this holds.")] = None,
    timeframe: Annotated[str | None, typer.Option(help="Whose closed bars it runs on. Default: the shortest configured length.")] = None,
    severity: Annotated[str | None, typer.Option(help="info, warning or critical. Default: warning.")] = None,
    message: Annotated[str | None, typer.Option(help="What is said, such as \"{symbol} at {close}\".")] = None,
    for_s: Annotated[float | None, typer.Option("--for-s", help="How many seconds of event time it must have held.")] = None,
    cooldown_s: Annotated[float | None, typer.Option("--cooldown-s", help="How many seconds after a raise there is no other.")] = None,
    clear: Annotated[str | None, typer.Option(help="The alert is cleared when this holds. Default: when the expression does not.")] = None,
    symbols: Annotated[list[str] | None, typer.Option(help="Only this symbol; * for any characters. May be given again.")] = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Have a rule run, a new one or another one of its name.

    Options go before the file's fields. The rule is checked against the configured indicators and timeframes
    before anything is written.

    \b
    marketpulse alerts put --name high --expression "close > 100" --timeframe 1m --cooldown-s 600
    marketpulse alerts put rule.json
    echo '{"name": "low", "expression": "rsi_14 < 30"}' | marketpulse alerts put -
    """
    options = {
        "name": name, "expression": expression, "timeframe": timeframe, "severity": severity, "message": message,
        "for_s": for_s, "cooldown_s": cooldown_s, "clear": clear, "symbols": symbols or None,
    }  # fmt: skip
    settings = read_settings(config)
    from marketpulse.app.alert_rules import put_rule, read_fields

    fields = {} if file is None else read_fields(_text_of(file), "standard input" if file == "-" else file)
    typer.echo(put_rule(settings, {**fields, **without_none(options)}).said)


@changes.command("remove")
def remove(name: Annotated[str, typer.Argument(help="The rule's name.")], config: Config = None) -> None:
    """Have a rule run no more, until it is put again.

    That holds for a rule of the configuration too, as long as it stays there as it is.

    \b
    marketpulse alerts remove high
    """
    settings = read_settings(config)
    from marketpulse.app.alert_rules import remove_rule

    typer.echo(remove_rule(settings, name).said)


@changes.command("mute")
def mute(name: Annotated[str, typer.Argument(help="The rule's name.")], config: Config = None) -> None:
    """Have a rule tell with the severity `muted`, which nobody is to be told of.

    It is evaluated as before: nothing of its history is lost.

    \b
    marketpulse alerts mute high
    """
    _mute(name, config, muted=True)


@changes.command("unmute")
def unmute(name: Annotated[str, typer.Argument(help="The rule's name.")], config: Config = None) -> None:
    """Have a muted rule tell with its own severity again.

    \b
    marketpulse alerts unmute high
    """
    _mute(name, config, muted=False)


def _mute(name: str, config: Config, *, muted: bool) -> None:
    settings = read_settings(config)
    from marketpulse.app.alert_rules import mute_rule

    typer.echo(mute_rule(settings, name, muted=muted).said)


def _text_of(file: str) -> str:
    """The file's text, or that of standard input for `-`. Raises ParameterError when it cannot be read."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{file} cannot be read ({error}): name a file with one rule, or -") from None
