"""`inspect`: what a file's or topic's rows are understood to be."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketpulse.app.cli.columns import BarLength, Columns, RecordKind, Symbol, TimeFormat, Timezone, Venue, mapping_of
from marketpulse.app.cli.common import Config, print_table, read_settings

if TYPE_CHECKING:
    from marketpulse.app.inspecting import Inspection
    from marketpulse.settings import Settings

_FIRST_ROWS = 5
_TIMES = {"trade": "time", "quote": "time", "bar": "opens"}
_SHOWN = {
    "trade": ("price", "size", "trade_id", "venue"),
    "quote": ("bid", "bid_size", "ask", "ask_size", "venue"),
    "bar": ("timeframe", "open", "high", "low", "close", "volume", "vwap", "trade_count", "venue"),
}


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    name: Annotated[str, typer.Argument(metavar="FILE|TOPIC", help="CSV, JSON lines or Parquet, a directory or glob; or a topic, or a source of the configuration.")],
    record: RecordKind = None, symbol: Symbol = None, timezone: Timezone = None, columns: Columns = None,
    time_format: TimeFormat = None, timeframe: BarLength = None, venue: Venue = None, config: Config = None,
) -> None:  # fmt: skip
    """Show what the rows of a file or topic are understood to be, before anything is sent.

    Their kind, timeframe, symbols and time zone, what each column becomes, the first rows as they are read, and those that
    would be refused. Exits with 1 when they cannot be understood, and says what to set.

    \b
    marketpulse inspect prices.csv
    marketpulse inspect stock-prices --timezone America/New_York
    """
    settings = read_settings(config)
    from marketpulse.app.inspecting import inspect as inspect_rows

    mapping = mapping_of(record, symbol, timezone, columns, time_format=time_format, timeframe=timeframe, venue=venue)
    for count, inspection in enumerate(inspect_rows(settings, name, mapping)):
        if count:
            typer.echo()
        _print(settings, name, inspection)


def _print(settings: "Settings", name: str, inspection: "Inspection") -> None:
    from marketpulse.sources.inference import describe

    first = inspection.first
    typer.echo(f"{inspection.name}: {describe(inspection.kinds, first.timeframes, inspection.symbols)}")
    typer.echo(f"time zone: {_describe_zone(inspection)}")
    fields = {column: field for field, column in first.reader.plan.columns.items()}
    print_table([("column", "becomes"), *((column, fields.get(column, "not used")) for column in first.header)])
    for kind, rows in first.rows.items():
        if kind in _SHOWN:
            typer.echo(f"first of {len(rows):,} {kind}s:")
            print_table(_first_rows(kind, rows), indent="  ")
    typer.echo(f"refused: {inspection.refused_count:,} of {inspection.read:,} rows")
    for item in inspection.refused:
        typer.echo(f"  {inspection.unit} {item.row}: {item.reason}: {item.detail}")
    if unknown := inspection.unknown_timeframes(settings):
        typer.echo(
            f"the engine would refuse bars of {', '.join(unknown)}: add this to engine.timeframes "
            f"({', '.join(settings.engine.timeframes)})"
        )
    source = name if inspection.unit == "offset" else "NAME"
    variable = re.sub(r"\W", "_", source).upper()
    typer.echo(
        f"to change it: --map FIELD=COLUMN and the other options here and at `produce`, or [sources.{source}.mapping], in "
        f"the environment MARKETPULSE_SOURCES__{variable}__MAPPING__TIMEZONE and so on (docs/settings.md)"
    )


def _describe_zone(inspection: "Inspection") -> str:
    bars = inspection.first.rows.get("bar")
    if inspection.first.reader.zoned:
        return "the times say it"
    if bars is not None and not bars.frame["has_clock"].any():
        return "none needed, these are dates"
    return f"{inspection.mapping.timezone}, for the times name none (--timezone, mapping.timezone)"


def _first_rows(kind: str, rows: Any) -> list[tuple[str, ...]]:
    frame = rows.frame.head(_FIRST_ROWS)
    times = [_format_time(at) for at in rows.time_ns[:_FIRST_ROWS].tolist()]
    if kind == "bar":
        days, opens = frame["session_date"].to_list(), frame["open_time_ns"].to_list()
        times = [_format_time(at) if day is None else str(day) for day, at in zip(days, opens, strict=True)]
    names = [name for name in _SHOWN[kind] if frame[name].null_count() < len(frame)]
    cells = [[_format(value) for value in frame[name].to_list()] for name in ("symbol", *names)]
    return [(_TIMES[kind], "symbol", *names), *zip(times, *cells, strict=True)]


def _format_time(time_ns: int) -> str:
    at = datetime.fromtimestamp(time_ns // 10**9, UTC)
    fraction = f".{time_ns % 10**9:09d}".rstrip("0") if time_ns % 10**9 else ""
    return f"{at:%Y-%m-%d %H:%M:%S}{fraction}Z"


def _format(value: Any) -> str:
    return "-" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
