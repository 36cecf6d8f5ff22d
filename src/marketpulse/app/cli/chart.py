"""`chart`: a picture of stored bars, without a server."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from marketpulse.app.cli.common import Config, read_settings
from marketpulse.errors import ParameterError

USUAL_BARS = 180


class ThemeName(StrEnum):
    """Its colours."""

    DARK = "dark"
    LIGHT = "light"


class Adjusted(StrEnum):
    """For what prices are adjusted."""

    NONE = "none"
    SPLIT = "split"
    ALL = "all"


class Style(StrEnum):
    """How prices are drawn."""

    CANDLES = "candles"
    LINE = "line"


def register(app: typer.Typer) -> None:
    app.command()(chart)


def chart(
    symbol: Annotated[str, typer.Argument(help="Of which symbol.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to: .png, .svg or .html.")],
    timeframe: Annotated[str, typer.Option(help="Of which bars, such as 1m, 1h, 1d.")] = "1d",
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this time on, such as 2024-05-01 or 2024-05-01T09:30 (UTC).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to this time, not with it.")] = None,
    bars: Annotated[
        int | None, typer.Option(min=1, help=f"The newest so many. Default: {USUAL_BARS}, and all where --from is given.")
    ] = None,
    indicators: Annotated[str, typer.Option(help="What to draw beside; see `marketpulse indicators`. \"\": nothing.")] = "sma(20),rsi(14)",
    theme: Annotated[ThemeName, typer.Option(help="Its colours.")] = ThemeName.DARK,
    size: Annotated[str, typer.Option(metavar="WxH", help="In pixels; a PNG has twice as many each way.")] = "1200x675",
    adjust: Annotated[Adjusted, typer.Option(help="Prices and volumes adjusted for splits, or for dividends too.")] = Adjusted.NONE,
    style: Annotated[Style, typer.Option(help="How prices are drawn.")] = Style.CANDLES,
    config: Config = None,
) -> None:  # fmt: skip
    """Make a picture of stored bars.

    Indicators are the engine's own, begun from the bars before those that are shown. It needs no server and no browser.

    \b
    marketpulse chart AAPL --out chart.png
    marketpulse chart AAPL --out chart.svg --from 2014-01-01 --to 2014-07-01 --indicators "bbands(20,2),macd(12,26,9)"
    marketpulse chart SPY --timeframe 1m --bars 390 --theme light --out chart.html
    """
    from marketpulse.app.chart.picture import Look, check_ending
    from marketpulse.app.chart.stored import Span, time_ns
    from marketpulse.app.notebook.pictures import stored_picture

    check_ending(out)
    width, height = _size(size)
    span = Span(
        None if start is None else time_ns(start, "--from"),
        None if end is None else time_ns(end, "--to"),
        bars if bars is not None or start is not None else USUAL_BARS,
        adjust.value,
    )
    settings = read_settings(config)
    look = Look(theme.value, style.value, width, height)
    picture = stored_picture(settings, symbol, timeframe, span, indicators, look)
    picture.save(out)
    typer.echo(f"{out}: {symbol} {timeframe}, {picture.table.num_rows:,} bars", err=True)


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise ParameterError(f"--size is WIDTHxHEIGHT in pixels, such as 1200x675, found {text[:40]!r}")
    return int(width[:6]), int(height[:6])
