"""`aws`: what stands in AWS around the stored data, and the rights that each login needs."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import MarketPulseError, ParameterError

if TYPE_CHECKING:
    from marketpulse.aws import Aws, Query, Step, Wanted
    from marketpulse.settings import Settings

objects = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Format = Annotated[str, typer.Option("--format", help="text, or json for programs.")]

_LONG = 60  # characters of a value that are shown


def register(app: typer.Typer) -> None:
    app.add_typer(objects, name="aws")


@objects.callback()
def aws() -> None:
    """Keep Glue and Athena as the settings say: database, tables, crawler, workgroup, named queries.

    The login comes from the usual AWS chain (environment, profile, role). Data is never deleted.

    \b
    marketpulse aws plan
    marketpulse aws apply
    marketpulse aws policy writer
    marketpulse aws destroy
    """


@objects.command("plan")
def plan(form: Format = "text", config: Config = None) -> None:
    """Show what `apply` would do, and what AWS bills. Changes nothing.

    \b
    marketpulse aws plan
    marketpulse aws plan --format json
    """
    settings = read_settings(config)
    _check(form)
    from marketpulse.aws import left_out
    from marketpulse.aws.costs import cost_drivers

    wanted = _wanted(settings)
    steps = _aws(settings).plan(wanted)
    if form == "json":
        _show_json(steps, left_out=left_out(settings), billed=cost_drivers(wanted))
        return
    _show(steps)
    for line in left_out(settings):
        typer.echo(f"not made: {line}")
    typer.echo("\nWhat AWS bills:")
    for line in cost_drivers(wanted):
        typer.echo(f"  {line}")


@objects.command("apply")
def apply(form: Format = "text", config: Config = None) -> None:
    """Make and change what `plan` shows. Done again, it finds nothing to do; after a fault it goes on.

    \b
    marketpulse aws apply
    """
    settings = read_settings(config)
    _check(form)
    aws = _aws(settings)
    _take(aws, aws.plan(_wanted(settings)), form, again="marketpulse aws apply")


@objects.command("destroy")
def destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    form: Format = "text",
    config: Config = None,
) -> None:
    """Remove what bears our mark: queries, workgroup, crawler, tables, database. No file is deleted.

    \b
    marketpulse aws destroy
    marketpulse aws destroy --yes
    """
    settings = read_settings(config)
    _check(form)
    from marketpulse.aws import changing

    aws = _aws(settings)
    steps = aws.destruction()
    if changing(steps) and not yes:
        _show(steps, to=sys.stderr)
        if not sys.stdin.isatty():
            raise ParameterError("aws destroy asks before it removes these: add --yes where nobody can answer")
        typer.confirm("Remove these? The stored files stay.", abort=True, err=True)
    _take(aws, steps, form, again="marketpulse aws destroy")


@objects.command("policy")
def policy(
    who: Annotated[str, typer.Argument(help="writer, reader or crawler.")],
    account: Annotated[
        str | None, typer.Option(help="The account's number. Default: this login's, which AWS is asked for.")
    ] = None,
    config: Config = None,
) -> None:
    """Print the IAM policy with the least rights that one of them needs.

    writer: the process that stores. reader: who asks Athena. crawler: the role in aws.crawler_role.

    \b
    marketpulse aws policy writer
    marketpulse aws policy reader --account 123456789012
    """
    settings = read_settings(config)
    from marketpulse.aws import POLICIES, Account
    from marketpulse.aws import policy as policy_of

    if who not in POLICIES:
        raise ParameterError(f"there is no policy for {who!r}: choose one of {', '.join(POLICIES)}")
    if account is not None and not (account.isdigit() and len(account) == 12):
        raise ParameterError(f"--account is a number of twelve digits, found {account!r}")
    place = Account(settings).place(account)
    typer.echo(json.dumps(policy_of(who, settings, place, _lake_namespace(settings)), indent=2))


def _aws(settings: "Settings") -> "Aws":
    from marketpulse.aws import Account, Aws

    return Aws(Account(settings), settings)


def _wanted(settings: "Settings") -> "list[Wanted]":
    from marketpulse.app.engine_config import specs_of
    from marketpulse.aws import wanted_objects
    from marketpulse.indicators.catalogue import all_columns

    return wanted_objects(settings, all_columns(specs_of(settings.engine)), _queries())


def _queries() -> "Iterable[Query]":
    """The queries that are kept in the workgroup: those of the library, with their parameters' defaults."""
    from marketpulse.aws import Query
    from marketpulse.query.named import NAMED

    return [Query(query.name, query.title, query.bound({})) for query in NAMED.values()]


def _lake_namespace(settings: "Settings") -> str | None:
    """The lake's database, where its catalogue is Glue."""
    catalog = getattr(settings.sinks.lake, "catalog", None)
    return str(catalog.namespace) if catalog is not None and catalog.kind == "glue" else None


def _take(aws: "Aws", steps: "list[Step]", form: str, again: str) -> None:
    """Do what the steps say, a line each as it is done."""
    from marketpulse.aws import changing

    due = changing(steps)
    done: list[Step] = []
    try:
        for step in aws.do(steps):
            done.append(step)
            if form == "text":
                typer.echo(f"[{len(done)}/{len(due)}] {_line(step)}")
    except MarketPulseError as error:
        raise type(error)(
            f"{error}; {len(done)} of {len(due)} steps are done: `{again}` goes on with the others"
        ) from error
    if form == "json":
        _show_json(steps)
        return
    for step in steps:
        if step.action == "keep":
            typer.echo(_line(step))
    typer.echo(f"{len(done)} done" if done else "nothing to do")


def _show(steps: "list[Step]", to: Any = None) -> None:
    for step in steps:
        typer.echo(_line(step), file=to)
        for name, (now, then) in step.changes.items():
            for line in _difference(name, now, then):
                typer.echo(f"          {line}", file=to)
    counts = {a: sum(s.action == a for s in steps) for a in ("create", "update", "delete", "none", "keep")}
    typer.echo(
        f"{counts['create']} to create, {counts['update']} to update, {counts['delete']} to delete, "
        f"{counts['none']} as wanted, {counts['keep']} not touched",
        file=to,
    )


def _line(step: "Step") -> str:
    return f"{step.action:<7} {step.kind:<17} {step.name}{f'  ({step.why})' if step.why else ''}"


def _difference(name: str, now: Any, then: Any) -> Iterator[str]:
    """What differs between two values of a field; of tables' columns and tags only those."""
    if isinstance(now, dict) and isinstance(then, dict):
        for key in [*now, *(key for key in then if key not in now)]:
            if now.get(key) != then.get(key):
                yield f"{name}.{key}: {_short(now.get(key))} -> {_short(then.get(key))}"
        return
    yield f"{name}: {_short(now)} -> {_short(then)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else " ".join(str(value).split())
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _show_json(steps: "list[Step]", **more: Any) -> None:
    found = [
        {
            "action": step.action, "kind": step.kind, "name": step.name, "why": step.why,
            "changes": {name: {"now": now, "then": then} for name, (now, then) in step.changes.items()},
            "wanted": step.wanted.fields if step.wanted else None,
        }
        for step in steps
    ]  # fmt: skip
    typer.echo(json.dumps({"steps": found, **more}))


def _check(form: str) -> None:
    if form not in ("text", "json"):
        raise ParameterError(f"--format is text or json, found {form!r}")
