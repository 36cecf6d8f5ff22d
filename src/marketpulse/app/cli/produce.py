"""`produce`: feed market data in, from a configured source, files, the simulator or a foreign topic."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from zlib import crc32

import typer
from typer.core import TyperGroup

from marketpulse.app.cli.columns import BarLength, Columns, RecordKind, Symbol, TimeFormat, Timezone, Venue, mapping_of
from marketpulse.app.cli.common import Config, parse_duration, read_settings, without_none
from marketpulse.errors import ParameterError, SettingsError

if TYPE_CHECKING:
    from marketpulse.settings import Settings


class _NameOrKind(TyperGroup):
    """`produce NAME` is `produce named NAME`, unless NAME is one of the kinds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["named", *args]
        return super().parse_args(ctx, args)


kinds = typer.Typer(cls=_NameOrKind, no_args_is_help=True, rich_markup_mode=None)

Again = Annotated[bool, typer.Option("--again", help="Feed it in again, although it has been fed in before.")]

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="End when the rows are sent: do not wait for the engine to read them.")
]

Create = Annotated[bool, typer.Option("--create", help="Create the topic while it is missing, on a cluster too.")]


def register(app: typer.Typer) -> None:
    app.add_typer(kinds, name="produce")


@kinds.callback()
def produce() -> None:
    """Feed market data into the log.

    \b
    marketpulse produce NAME                               a source of the configuration
    marketpulse produce replay prices.csv --speed max      files
    marketpulse produce simulate --symbols 50              a simulated market
    marketpulse produce kafka --topic foreign              a topic that others write
    marketpulse produce rest URL --symbols AAPL            any vendor that answers by REST
    marketpulse produce stdin                              rows on standard input
    marketpulse produce live BTC-USD                       Coinbase or Binance, as it happens
    marketpulse produce recording DIR                      what such a feed has sent
    """


@kinds.command(hidden=True)
def named(
    name: str, again: Again = False, create: Create = False, no_wait: NoWait = False, config: Config = None
) -> None:
    """Feed in a source that the configuration (or, without one, the first run's defaults) names."""
    settings = read_settings(config)
    from marketpulse.app.feeds import configured_sources

    known = configured_sources(settings)
    if name not in known:
        raise ParameterError(
            f"there is no source {name!r}: the configuration has {', '.join(known) or 'none'}; "
            "files, the simulator and topics are fed in with `produce replay`, `produce simulate`, `produce kafka`"
        )
    source = known[name]
    if create:
        if source.kind != "kafka":
            raise ParameterError(
                f"--create makes a missing topic, and the source {name} reads none (kind {source.kind})"
            )
        source = source.model_copy(update={"create": True})
    try:
        _feed(settings, name, source, again, no_wait=no_wait)
    except SettingsError as error:
        from marketpulse.settings import located

        if located(error) is error:  # it names no setting that somebody wrote
            raise SettingsError(f"sources.{name}: {error}") from None
        raise


@kinds.command()
def replay(
    files: Annotated[list[str], typer.Argument(help="CSV, JSON lines or Parquet; directories, globs, https:// and s3:// URLs too; - is standard input.")],
    speed: Annotated[str | None, typer.Option(help="recorded, 20x (times faster), 500/s (rows a second) or max.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, with later times.")] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Send random rows, one a second.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the random rows.")] = None,
    record: RecordKind = None, symbol: Symbol = None, timezone: Timezone = None, columns: Columns = None,
    time_format: TimeFormat = None, timeframe: BarLength = None, venue: Venue = None,
    again: Again = False, no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Replay files of trades, quotes or bars.

    \b
    marketpulse produce replay prices.csv --speed max
    marketpulse produce replay ticks.jsonl --speed 20x --symbol AAPL --map price=last --record trade
    marketpulse produce replay bars.csv --timezone America/New_York --timeframe 1m --venue XNYS
    marketpulse produce replay s3://bucket/ticks/2026-01-05.csv.gz s3://bucket/ticks/older/
    """
    settings = read_settings(config)
    from marketpulse.settings import ReplaySettings

    mapping = mapping_of(record, symbol, timezone, columns, time_format=time_format, timeframe=timeframe, venue=venue)
    if files == ["-"]:
        from marketpulse.settings import StdinSettings

        if speed or loop or sample or again:
            raise ParameterError(
                "what stands on a pipe is there once: --speed, --loop, --sample and --again are for files"
            )
        _feed(
            settings,
            "stdin",
            _checked(StdinSettings, {"mapping": mapping, "mode": "historical"}),
            again=False,
            no_wait=no_wait,
        )
    given = without_none({"speed": speed, "seed": seed, "mapping": mapping})
    source = _checked(ReplaySettings, {**given, "files": files, "loop": loop, "sample": sample})
    first = files[0].partition("?")[0] if "://" in files[0] else files[0]  # what is behind it may be a signature
    _feed(settings, f"replay-{Path(first).stem}", source, again, no_wait=no_wait)


@kinds.command()
def simulate(
    symbols: Annotated[int | None, typer.Option(help="How many symbols trade.")] = None,
    rate: Annotated[float | None, typer.Option(help="Rows a second in all, trades and quotes together.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same market.")] = None,
    quotes: Annotated[bool | None, typer.Option("--quotes/--no-quotes", help="Quotes around the trades.")] = None,
    duration: Annotated[str | None, typer.Option(help="Stop after this, such as 30s. Default: never.")] = None,
    start: Annotated[str | None, typer.Option(help="Simulate history from this ISO time on, as fast as possible.")] = None,
    again: Again = False, no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Simulate a market of several symbols.

    The same seed gives the same market. It is labelled as simulated wherever it is shown.

    \b
    marketpulse produce simulate
    marketpulse produce simulate --symbols 50 --rate 1000 --seed 7 --duration 30s
    """
    settings = read_settings(config)
    from marketpulse.settings import SimulateSettings

    seconds = None if duration is None else parse_duration(duration)
    given = {"symbols": symbols, "rate": rate, "seed": seed, "quotes": quotes, "duration_s": seconds, "start": start}
    _feed(settings, "simulate", _checked(SimulateSettings, without_none(given)), again, no_wait=no_wait)


@kinds.command()
def kafka(
    topic: Annotated[str, typer.Option(help="A topic with foreign JSON or Avro.")],
    bootstrap_servers: Annotated[str | None, typer.Option(help="Its cluster, where it is another.")] = None,
    create: Create = False,
    record: RecordKind = None, symbol: Symbol = None, timezone: Timezone = None, columns: Columns = None,
    time_format: TimeFormat = None, timeframe: BarLength = None, venue: Venue = None,
    again: Again = False, no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Feed in a topic with foreign JSON.

    Keyed or not: the rows are keyed by symbol on their way in. A missing topic is created on the embedded broker; on a
    cluster it is waited for, or created with --create.

    \b
    marketpulse produce kafka --topic stock-prices
    marketpulse produce kafka --topic ticks --map symbol=ticker --map price=last --record trade
    """
    settings = read_settings(config)
    from marketpulse.settings import KafkaSourceSettings

    mapping = mapping_of(record, symbol, timezone, columns, time_format=time_format, timeframe=timeframe, venue=venue)
    given = without_none(
        {"topic": topic, "bootstrap_servers": bootstrap_servers, "create": create or None, "mapping": mapping}
    )
    _feed(settings, topic, _checked(KafkaSourceSettings, given), again, no_wait=no_wait)


@kinds.command()
def rest(
    url: Annotated[str, typer.Argument(help="With {symbol}, {since:s} and so on; ${NAME} is a variable of the environment.")],
    symbols: Annotated[str, typer.Option(help="What to ask for: AAPL,MSFT.")],
    rows: Annotated[str, typer.Option(help="Where the rows lie in the answer, such as data.bars.")] = "",
    header: Annotated[list[str] | None, typer.Option(metavar="NAME:VALUE", help="Such as 'X-Api-Key: ${KEY}'. May be given again.")] = None,
    next_page: Annotated[str | None, typer.Option("--next", help="Where the answer has the next page's URL or cursor.")] = None,
    cells: Annotated[str | None, typer.Option(help="Names of the cells, where rows are arrays: time,open,high,low,close.")] = None,
    every: Annotated[str | None, typer.Option(help="How often, such as 30s. Default: the length of the bars.")] = None,
    history_days: Annotated[float | None, typer.Option(help="What is fetched before the first row. Default: 30.")] = None,
    record: RecordKind = None, timezone: Timezone = None, columns: Columns = None, time_format: TimeFormat = None,
    timeframe: BarLength = None, venue: Venue = None, again: Again = False, no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Ask any vendor by REST, again and again.

    A key is named, never written: put '${NAME}' in single quotes. All settings: docs/sources.md#any-vendor.

    \b
    marketpulse produce rest 'https://api.vendor.com/bars/{symbol}?from={since:s}' --symbols AAPL,MSFT \\
        --header 'X-Api-Key: ${VENDOR_KEY}' --rows data.bars --timeframe 1m
    """
    settings = read_settings(config)
    from marketpulse.settings import RestSettings

    pairs = [text.partition(":") for text in header or ()]
    if any(not (name.strip() and value.strip()) for name, _, value in pairs):
        raise ParameterError("--header: write NAME: VALUE, such as 'X-Api-Key: ${VENDOR_KEY}'")
    mapping = mapping_of(record, None, timezone, columns, time_format=time_format, timeframe=timeframe, venue=venue)
    given = {
        "url": url, "symbols": symbols.split(","), "rows": rows, "next": next_page, "mapping": mapping,
        "headers": {name.strip(): value.strip() for name, _, value in pairs}, "history_days": history_days,
        "columns": None if cells is None else cells.split(","), "every_s": None if every is None else parse_duration(every),
    }  # fmt: skip
    source = _checked(RestSettings, without_none(given))
    # Two questions to one vendor are two sources: each has its own position.
    _feed(settings, f"rest-{urlsplit(url).hostname}-{crc32(url.encode()):08x}", source, again, no_wait=no_wait)


@kinds.command()
def stdin(
    historical: Annotated[bool, typer.Option("--historical", help="Their own times are the clock, however old they are.")] = False,
    record: RecordKind = None, symbol: Symbol = None, timezone: Timezone = None, columns: Columns = None,
    time_format: TimeFormat = None, timeframe: BarLength = None, venue: Venue = None, no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Feed in rows from standard input: JSON lines or CSV, as they come.

    \b
    my-feed | marketpulse produce stdin
    zcat ticks.csv.gz | marketpulse produce stdin --historical --map price=last
    """
    settings = read_settings(config)
    from marketpulse.settings import StdinSettings

    mapping = mapping_of(record, symbol, timezone, columns, time_format=time_format, timeframe=timeframe, venue=venue)
    given = {"mapping": mapping, "mode": "historical" if historical else "live"}
    _feed(settings, "stdin", _checked(StdinSettings, given), again=False, no_wait=no_wait)


@kinds.command()
def live(
    symbols: Annotated[list[str], typer.Argument(help="Pairs or stocks of one vendor: BTC-USD, binance:BTCUSDT, alpaca:AAPL.")],
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep every message as it came, in this directory.")] = None,
    with_venue: Annotated[bool, typer.Option("--with-venue", help="Symbols carry the venue: BTC-USDT.BINANCE.")] = False,
    no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Feed in trades and quotes as they happen: pairs of Coinbase or Binance without a key, stocks with one.

    \b
    marketpulse produce live BTC-USD ETH-USD
    marketpulse produce live AAPL
    marketpulse produce live binance:BTCUSDT --record recordings
    """
    settings = read_settings(config)
    from marketpulse.app.feeds import live_sources

    sources = live_sources(settings, symbols, record, with_venue)
    if len(sources) > 1:
        raise ParameterError(
            f"these come from {' and '.join(sources)}: one process feeds one vendor; `up --live` starts all of them"
        )
    [(name, source)] = sources.items()
    _feed(settings, name, source, again=False, no_wait=no_wait)


@kinds.command()
def recording(
    files: Annotated[list[str], typer.Argument(help="Recorded messages; directories and globs too.")],
    vendor: Annotated[str, typer.Option(help="auto, coinbase, binance, alpaca, polygon or finnhub.")] = "auto",
    symbol: Annotated[
        str | None, typer.Option(help="The symbol of recorded answers by REST, which do not name it.")
    ] = None,
    again: Again = False, no_wait: NoWait = False, config: Config = None,
) -> None:  # fmt: skip
    """Feed in a recording of a live feed, through the same parser and the same check of trade ids.

    \b
    marketpulse produce recording trades.json --vendor binance --symbol BTC-USDT
    marketpulse produce recording recordings/coinbase-20261122T220000.000000000Z.jsonl.gz
    """
    settings = read_settings(config)
    from marketpulse.settings import RecordingSettings

    source = _checked(RecordingSettings, {"files": files, "vendor": vendor, "symbol": symbol})
    _feed(settings, f"recording-{Path(files[0]).name.split('.')[0]}", source, again, no_wait=no_wait)


def _checked(kind: Any, values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return kind(**values)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ParameterError("; ".join(faults)) from None


def _feed(settings: "Settings", name: str, source: Any, again: bool, no_wait: bool) -> None:
    from marketpulse.app.feeds import process_name
    from marketpulse.app.lifecycle import lifecycle
    from marketpulse.app.patience import VARIABLE, await_broker
    from marketpulse.app.pipeline.produce import run
    from marketpulse.app.pipeline.report import Report
    from marketpulse.app.warm import prepare

    if source.kind == "rest":  # a missing key is said before anything is waited for
        source.read_variables(name)
    by_hand = VARIABLE not in os.environ
    with lifecycle(settings, process_name(name)) as life, Report(name, shown=by_hand) as report:
        prepare(life, "wire")
        report.waits_for(f"the broker at {settings.kafka.bootstrap_servers or 'this machine'}")
        await_broker(settings, life)
        report.waits_for(None)
        raise typer.Exit(run(settings, life, source, name, again=again, report=report, wait=not no_wait))
