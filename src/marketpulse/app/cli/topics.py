"""`topics`: ours are created as declared; any other is listed, created, described and deleted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.common import Config, print_table, read_settings
from marketpulse.errors import ParameterError

if TYPE_CHECKING:
    from marketpulse.kafka.topic_admin import TopicDetails

topics = typer.Typer(
    name="topics",
    invoke_without_command=True,
    rich_markup_mode=None,
    help="""Create MarketPulse's topics, or print how to; list, create, describe and delete any topic.

    Existing topics are never changed; where ours differ from the contract, it is said.

    \b
    marketpulse topics
    marketpulse topics --print      for a cluster where someone else creates topics
    marketpulse topics list
    marketpulse topics create stock-prices --partitions 3
    """,
)
Name = Annotated[str, typer.Argument(help="The topic's whole name.")]
_OWNERS = {"marketpulse": "MarketPulse", "kafka": "Kafka", "other": "-"}


def register(app: typer.Typer) -> None:
    app.add_typer(topics)


@topics.callback()
def ensure(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--print", help="Only print the commands that create them.")] = False,
    config: Config = None,
) -> None:
    if context.invoked_subcommand is not None:
        if show or config:  # or `topics --config other.toml delete x` would delete from another cluster than it says
            raise ParameterError("--config stands behind the subcommand: marketpulse topics list --config FILE")
        return
    settings = read_settings(config)
    from marketpulse.kafka.topics import ensure_topics, print_commands, topic_specs

    if show:
        typer.echo(print_commands(settings), nl=False)
        return
    differences = ensure_topics(settings)
    for difference in differences:
        typer.echo(f"differs: {difference}")
    typer.echo(f"{', '.join(spec.name for spec in topic_specs(settings))}: there")


@topics.command("list")
def list_all(config: Config = None) -> None:
    """List all topics of the cluster that you may see.

    \b
    marketpulse topics list
    """
    settings = read_settings(config)
    from marketpulse.kafka.topic_admin import list_topics

    summaries = list_topics(settings)
    if not summaries:
        typer.echo("no topic that you may see: `marketpulse topics` creates MarketPulse's")
        return
    rows = [(s.name, str(s.partitions), str(s.replication), _OWNERS[s.owner]) for s in summaries]
    print_table([("topic", "partitions", "replication", "belongs to"), *rows])


@topics.command()
def create(
    name: Name,
    partitions: Annotated[int | None, typer.Option(min=1, help="Default: kafka.partitions.")] = None,
    replication: Annotated[int | None, typer.Option(min=1, max=32_767, help="Copies of each partition, on as many brokers. Default: kafka.replication_factor.")] = None,
    config: Annotated[list[str] | None, typer.Option("--config", metavar="KEY=VALUE|FILE", help="A setting of the topic, such as retention.ms=3600000; may be given again. Without a `=`: the configuration.")] = None,
) -> None:  # fmt: skip
    """Create a topic for others to write, such as one that KAFKA_TOPIC names.

    \b
    marketpulse topics create stock-prices
    marketpulse topics create stock-prices --partitions 3 --replication 1 --config retention.ms=3600000
    """
    configs, file = _split_config(config or [])
    settings = read_settings(file)
    from marketpulse.kafka.topic_admin import create_topic

    new = create_topic(settings, name, partitions=partitions, replication=replication, configs=configs)
    typer.echo(f"created the topic {new.name} ({new.partitions} partitions, replication {new.replication})")


@topics.command()
def describe(name: Name, config: Config = None) -> None:
    """Show a topic's partitions, their offsets, and the settings that the topic or the broker sets.

    \b
    marketpulse topics describe market
    """
    settings = read_settings(config)
    from marketpulse.kafka.topic_admin import describe_topic

    _print_details(describe_topic(settings, name))


@topics.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="One of MarketPulse's own too.")] = False,
    config: Config = None,
) -> None:
    """Delete a topic with all its records.

    \b
    marketpulse topics delete stock-prices
    marketpulse topics delete stock-prices --yes
    """
    settings = read_settings(config)
    from marketpulse.kafka.topic_admin import check_deletable, delete_topic, describe_topic

    check_deletable(settings, name, force=force)
    if not yes:
        details = describe_topic(settings, name)
        question = f"Delete {name}: {len(details.partitions)} partitions, at most {details.records_max:,} records?"
        typer.confirm(question, abort=True)
    delete_topic(settings, name, force=force)
    typer.echo(f"deleted the topic {name}")


def _split_config(values: list[str]) -> tuple[dict[str, str], Path | None]:
    """`["retention.ms=1000", "my.toml"]` -> the topic's settings, the configuration file. Raises ParameterError."""
    configs: dict[str, str] = {}
    files = [value for value in values if "=" not in value]
    if len(files) > 1:
        raise ParameterError(f"--config {files[1]}: write KEY=VALUE for a setting of the topic; the file is {files[0]}")
    for value in values:
        key, equals, setting = (part.strip() for part in value.partition("="))
        if equals and not key:
            raise ParameterError(f"--config {value}: write KEY=VALUE, such as --config retention.ms=3600000")
        if equals:
            configs[key] = setting
    return configs, Path(files[0]) if files else None


def _print_details(details: "TopicDetails") -> None:
    typer.echo(f"{details.name}: {len(details.partitions)} partitions, belongs to {_OWNERS[details.owner]}")
    header = ("partition", "leader", "replicas", "in sync", "begin", "end")
    rows = [
        (
            str(p.partition),
            "none" if p.leader is None else str(p.leader),
            ",".join(map(str, p.replicas)),
            ",".join(map(str, p.in_sync)),
            "?" if p.begin_offset is None else str(p.begin_offset),
            "?" if p.end_offset is None else str(p.end_offset),
        )
        for p in details.partitions
    ]
    print_table([header, *rows])
    if details.configs is None:
        typer.echo("its settings may not be read: grant DESCRIBE_CONFIGS on the topic")
        return
    typer.echo("settings of the topic and the broker:" if details.configs else "all settings are Kafka's defaults")
    for setting in details.configs:
        typer.echo(f"  {setting.name} = {'(secret)' if setting.value is None else setting.value} ({setting.set_by})")
