"""Charts of a symbol or of a frame."""

from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pyarrow as pa

from marketpulse.app.chart.picture import Look, Picture
from marketpulse.app.chart.stored import Span, older_bars, stored_bars, time_ns, with_indicators
from marketpulse.app.engine_config import specs_of
from marketpulse.app.notebook.bars import bars_of
from marketpulse.model.adjusting import Adjust

if TYPE_CHECKING:
    from marketpulse.settings import Settings

USUAL = "sma(20),rsi(14)"
USUAL_BARS = 180


def chart(
    what: Any,
    timeframe: str | None = None,
    *,
    indicators: str = USUAL,
    start: str | None = None,
    end: str | None = None,
    bars: int | None = USUAL_BARS,
    adjust: Adjust = "none",
    theme: Literal["dark", "light"] = "light",
    style: Literal["candles", "line"] = "candles",
    size: tuple[int, int] = (960, 540),
) -> Picture:
    """A chart of a symbol's stored bars, or of a frame: what `stored` and `live` give, or any pandas, Polars or Arrow
    frame with a column of times and open, high, low, close.

    It shows itself in a notebook, as a picture that its exports keep; `save("x.png")`, .svg and .html write it.
    `start` and `end` are times such as 2024-05-01 (UTC); of what lies between, the newest `bars` are shown. A symbol's
    prices and volumes are adjusted for splits ("split") or for splits and dividends ("all"). Indicators begin with the first bar that is stored, or that the frame has.

    Raises ParameterError for what is not there, unknown or cannot be drawn.
    """
    look = Look(theme, style, *size)
    first = None if start is None else time_ns(start, "start")
    last = None if end is None else time_ns(end, "end")
    if isinstance(what, str):
        span = Span(first, last, bars, adjust)
        return stored_picture(_settings(), what, timeframe or "1d", span, indicators, look)
    table, symbol, found = bars_of(what)
    whole = with_indicators(table, indicators, _settings())
    times = pl.col("open_time_ns")
    shown = pl.DataFrame(whole).filter(times >= (first or -(2**63)), times < (last or 2**63 - 1))
    if bars is not None:
        shown = shown.tail(bars)
    specs = specs_of(_settings().engine, indicators) if indicators.strip() else ()
    return Picture(shown.to_arrow(), symbol, timeframe or found, specs, look)


def stored_picture(
    settings: "Settings", symbol: str, timeframe: str, span: Span, indicators: str, look: Look
) -> Picture:
    """Raises what `stored_bars` and `Picture` do."""
    specs = specs_of(settings.engine, indicators) if indicators.strip() else ()
    shown = stored_bars(settings, symbol, timeframe, span)
    before = (
        older_bars(settings, symbol, timeframe, shown.column("open_time_ns")[0].as_py(), span.adjust) if specs else None
    )
    whole = shown if before is None else pa.concat_tables([before, shown])
    drawn = with_indicators(whole, indicators, settings).slice(whole.num_rows - shown.num_rows)
    return Picture(drawn, symbol, timeframe, specs, look)


def _settings() -> "Settings":
    from marketpulse.settings import load_settings

    return load_settings(None)
