"""The figure: candles, volume, and a pane for each further indicator, as the page draws them.

Bars stand at equal distances, whatever time lies between them, so nights and weekends leave no hole.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from marketpulse.app.chart.colours import COLOURS, Colours, Theme
from marketpulse.app.chart.panes import Group

Floats = NDArray[np.float64]
DPI = 96
SHARE = {"price": 6.0, "volume": 1.3, "own": 1.8}  # of the height, as on the page
LEFT, RIGHT, TOP, BOTTOM = 14, 66, 48, 26  # pixels around the panes
BODY = 0.36  # half a candle's width, in distances of bars
_FONT = ["DejaVu Sans"]  # comes with the library: the same picture on every machine
_MANY = 7  # labels along the bottom, about


@dataclass(frozen=True, slots=True)
class Bars:
    """Columns of the table as arrays, all (n,) float64 but the times (n,) int64, nanoseconds UTC."""

    time_ns: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats | None

    @classmethod
    def of(cls, table: pa.Table) -> "Bars":
        volume = _floats(table, "volume") if "volume" in table.column_names else None
        time_ns = np.asarray(table.column("open_time_ns").cast(pa.int64()), dtype=np.int64)
        prices = [_floats(table, name) for name in ("open", "high", "low", "close")]
        return cls(time_ns, prices[0], prices[1], prices[2], prices[3], volume)

    @property
    def rising(self) -> NDArray[np.bool_]:
        return np.asarray(self.close >= self.open)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the bars. Sizes are pixels at DPI."""

    symbol: str
    timeframe: str
    theme: Theme
    width: int
    height: int
    style: str  # candles or line


def draw(table: pa.Table, groups: Sequence[Group], frame: Frame) -> Figure:
    """The figure of at least one bar."""
    colours, bars = COLOURS[frame.theme], Bars.of(table)
    figure = Figure(figsize=(frame.width / DPI, frame.height / DPI), dpi=DPI, facecolor=colours.panel)
    FigureCanvasAgg(figure)
    has_volume = bars.volume is not None and bool(np.nansum(bars.volume) > 0)
    own = [group for group in groups if group.place == "own"]
    shares = [SHARE["price"], *([SHARE["volume"]] if has_volume else []), *([SHARE["own"]] * len(own))]
    panes = _panes(figure, shares, frame, len(bars.close), colours)
    decimals = decimals_of(bars.close)
    _prices(panes[0], table, bars, [g for g in groups if g.place == "price"], colours, frame.style, decimals)
    if has_volume:
        _volume(panes[1], table, bars, [g for g in groups if g.place == "volume"], colours)
    for pane, group in zip(panes[2 if has_volume else 1 :], own, strict=True):
        _own(pane, table, group, colours)
    _times(panes, bars.time_ns, frame.timeframe)
    _head(figure, bars, frame, colours, decimals)
    return figure


def decimals_of(prices: Floats) -> int:
    """As many decimals as the prices have, from 2 to what suits their size."""
    known = prices[np.isfinite(prices)]
    typical = float(np.median(np.abs(known))) if len(known) else 1.0
    usual, most = (2, 3) if typical >= 20 else (2, 5) if typical >= 1 else (4, 6) if typical >= 0.01 else (8, 8)
    for decimals in range(2, most + 1):
        if np.all(np.abs(known - np.round(known, decimals)) <= 1e-12 * np.abs(known)):
            return decimals
    return usual


def compact(value: float) -> str:
    """950, 12.4k, 3.21M."""
    size = abs(value)
    for unit, word in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit * 0.9995:
            scaled = value / unit
            return f"{scaled:.{0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2}f}{word}"
    return f"{value:g}"


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _panes(figure: Figure, shares: Sequence[float], frame: Frame, bars: int, colours: Colours) -> list[Axes]:
    """One below the other; they share the bars along the bottom and have their scale at the right."""
    width, height = frame.width, frame.height
    room, at = height - TOP - BOTTOM, float(height - TOP)
    panes: list[Axes] = []
    for i, share in enumerate(shares):
        tall = room * share / sum(shares)
        at -= tall
        pane = figure.add_axes(
            (LEFT / width, at / height, (width - LEFT - RIGHT) / width, tall / height), facecolor=colours.panel
        )
        pane.set_xlim(-0.8, max(bars - 0.2, 10))
        pane.yaxis.tick_right()
        pane.tick_params(length=0, labelsize=7.5, labelcolor=colours.text_soft, labelfontfamily=_FONT, pad=5)
        pane.grid(True, color=colours.grid, linewidth=0.8)
        pane.set_axisbelow(True)
        for side, spine in pane.spines.items():
            spine.set_visible(side == "top" and i > 0)
            spine.set_color(colours.line_strong)
            spine.set_linewidth(0.6)
        if i < len(shares) - 1:
            pane.tick_params(labelbottom=False)
        panes.append(pane)
    return panes


def _prices(
    pane: Axes, table: pa.Table, bars: Bars, groups: Sequence[Group], colours: Colours, style: str, decimals: int
) -> None:
    low, high = float(np.nanmin(bars.low)), float(np.nanmax(bars.high))
    for group in groups:
        if group.band:
            edges = [_floats(table, name) for name in group.band]
            at = np.arange(len(bars.close))
            pane.fill_between(at, edges[0], edges[1], color=colours.band, linewidth=0, zorder=1)
            known = np.concatenate(edges)
            known = known[np.isfinite(known)]
            if len(known):
                low, high = min(low, float(known.min())), max(high, float(known.max()))
        _lines(pane, table, group, colours)
    if style == "line":
        pane.plot(bars.close, color=colours.series[5], linewidth=1.5, zorder=4)
    else:
        _candles(pane, bars, colours)
    room = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    pane.set_ylim(low - room, high + room * (2.2 if groups else 1.0))
    last, near = float(bars.close[-1]), float(np.diff(pane.get_ylim())[0]) / 50
    pane.yaxis.set_major_formatter(lambda value, _: "" if abs(value - last) < near else f"{value:,.{decimals}f}")
    _legend(pane, groups, table, colours, decimals)
    colour = colours.up if bars.rising[-1] else colours.down
    pane.axhline(last, color=colour, linewidth=0.8, linestyle=(0, (1.5, 2.5)), zorder=2)
    pane.annotate(
        f"{last:,.{decimals}f}", (1, last), xycoords=("axes fraction", "data"), xytext=(5, 0),
        textcoords="offset points", va="center", fontsize=7.5, fontfamily=_FONT, color=colours.panel,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "none"}, zorder=9, annotation_clip=False,
    )  # fmt: skip


def _candles(pane: Axes, bars: Bars, colours: Colours) -> None:
    """Rising ones are hollow, so that the two are told apart without colour."""
    pixels = pane.get_window_extent().width / max(1.0, float(np.diff(pane.get_xlim())[0]))
    edge = 0.9 if pixels >= 4 else 0.6
    at = np.arange(len(bars.close), dtype=np.float64)
    for rising, colour, fill in ((True, colours.up, colours.panel), (False, colours.down, colours.down)):
        mine = bars.rising == rising
        x, o, h, lo, c = (values[mine] for values in (at, bars.open, bars.high, bars.low, bars.close))
        wicks = np.stack([np.stack([x, lo], 1), np.stack([x, h], 1)], 1)
        pane.add_collection(LineCollection(list(wicks), colors=colour, linewidths=edge, zorder=3), autolim=False)
        bodies = PolyCollection(_boxes(x, o, c), facecolors=fill, edgecolors=colour, linewidths=edge, zorder=4)
        pane.add_collection(bodies, autolim=False)


def _boxes(x: Floats, begins: Floats, ends: Floats) -> list[Floats]:
    """The corners of one box a bar."""
    corners = [(x - BODY, begins), (x - BODY, ends), (x + BODY, ends), (x + BODY, begins)]
    return list(np.stack([np.stack(corner, 1) for corner in corners], 1))


def _columns(pane: Axes, heights: Floats, rising: NDArray[np.bool_], colours: Colours, layer: int) -> None:
    """Bars from zero on, as one collection: with one patch each, 5,000 take seven seconds."""
    tints = [colours.volume_up if up else colours.volume_down for up in rising]
    at, known = np.arange(len(heights), dtype=np.float64), np.nan_to_num(heights)
    boxes = _boxes(at, np.zeros(len(heights)), known)
    pane.add_collection(PolyCollection(boxes, facecolors=tints, linewidths=0, zorder=layer), autolim=False)


def _volume(pane: Axes, table: pa.Table, bars: Bars, groups: Sequence[Group], colours: Colours) -> None:
    assert bars.volume is not None  # noqa: S101 - the pane is there for it
    _columns(pane, bars.volume, bars.rising, colours, 3)
    for group in groups:
        _lines(pane, table, group, colours)
    pane.set_ylim(0, float(np.nanmax(bars.volume)) * 1.35)
    pane.yaxis.set_major_locator(_about(2))
    pane.yaxis.set_major_formatter(lambda value, _: compact(value) if value else "")
    last = float(bars.volume[-1])
    newest = [("Volume", "–" if np.isnan(last) else compact(last), colours.text_faint)]
    _texts(pane, newest, colours)


def _own(pane: Axes, table: pa.Table, group: Group, colours: Colours) -> None:
    _lines(pane, table, group, colours)
    for level in group.levels:
        pane.axhline(level, color=colours.line_strong, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    known = np.concatenate([_floats(table, line.column) for line in group.lines])
    known = np.append(known[np.isfinite(known)], group.levels)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = (high - low) * 0.12 or abs(high) * 0.05 or 1.0
    pane.set_ylim(low - room, high + 2.5 * room)
    pane.yaxis.set_major_locator(_about(3))
    _legend(pane, [group], table, colours, 1 if group.levels else decimals_of(known))


def _lines(pane: Axes, table: pa.Table, group: Group, colours: Colours) -> None:
    for line in group.lines:
        values, colour = _floats(table, line.column), colours.series[line.colour]
        if line.style == "histogram":
            _columns(pane, values, values >= 0, colours, 2)
        else:
            thin = line.style == "thin" or group.band is not None
            pane.plot(values, color=colour, linewidth=0.8 if thin else 1.4, zorder=5, solid_joinstyle="round")


def _about(ticks: int) -> MaxNLocator:
    return MaxNLocator(nbins=ticks, min_n_ticks=2)


def _legend(pane: Axes, groups: Sequence[Group], table: pa.Table, colours: Colours, decimals: int) -> None:
    """Each indicator's name and its newest values, in the colour of its first line."""
    found = []
    for group in groups:
        last = [_floats(table, line.column)[-1] for line in group.lines]
        values = "  ".join("–" if math.isnan(value) else f"{value:,.{decimals}f}" for value in last)
        found.append((group.label, values, colours.series[group.lines[0].colour]))
    _texts(pane, found, colours)


def _texts(pane: Axes, found: Sequence[tuple[str, str, str]], colours: Colours) -> None:
    """Names and values side by side, at the top of a pane."""
    across = 2.0
    for label, values, colour in found:
        for text, tint in ((label, colours.text_faint), (values, colour)):
            put = pane.annotate(
                text, (0, 1), xycoords="axes fraction", xytext=(across, -5), textcoords="offset points", va="top",
                fontsize=7.5, fontfamily=_FONT, color=tint, zorder=10,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": colours.panel, "alpha": 0.7, "edgecolor": "none"},
            )  # fmt: skip
            across += _width(put) * 72 / DPI + 4
        across += 9


def _width(text: Text) -> float:
    """In pixels."""
    return float(text.get_window_extent().width)


def _times(panes: Sequence[Axes], time_ns: NDArray[np.int64], timeframe: str) -> None:
    """Labels along the bottom, at the first bar of a day, month or year where there are enough of them."""
    places, labels = ticks_of(time_ns, timeframe)
    for pane in panes:
        pane.set_xticks(places)
    panes[-1].set_xticklabels(labels)


def ticks_of(time_ns: NDArray[np.int64], timeframe: str) -> tuple[list[int], list[str]]:
    """Which bars get a label, and the labels; UTC."""
    times = [datetime.fromtimestamp(int(ns) / 1e9, UTC) for ns in time_ns]
    rules = (
        (lambda t: t.year, "%Y"), (lambda t: (t.year, (t.month - 1) // 3), "%b %Y"), (lambda t: (t.year, t.month), "%b %Y"),
        (lambda t: t.isocalendar()[:2], "%-d %b"), (lambda t: t.date(), "%-d %b"),
        (lambda t: (t.date(), t.hour // 3), "%H:%M"), (lambda t: (t.date(), t.hour), "%H:%M"),
        (lambda t: (t.date(), t.hour, t.minute // 15), "%H:%M"), (lambda t: (t.date(), t.hour, t.minute // 5), "%H:%M"),
        (lambda t: (t.date(), t.hour, t.minute), "%H:%M"),
    )  # fmt: skip
    starts: list[int] = []
    pattern = "%-d %b"
    for key, form in rules:
        found = [i for i in range(1, len(times)) if key(times[i]) != key(times[i - 1])]
        if len(found) > 2 * _MANY and starts:
            break
        starts, pattern = found, form
        if len(found) >= 4:
            break
    if not starts:
        starts, pattern = [0], "%-d %b %Y" if timeframe.endswith("d") else "%-d %b %H:%M"
    step = math.ceil(len(starts) / (2 * _MANY))
    chosen = starts[::step]
    labels = []
    day = times[0].date()
    for i in chosen:
        new_day = pattern == "%H:%M" and times[i].date() != day
        labels.append(times[i].strftime("%-d %b" if new_day else pattern))
        day = times[i].date()
    return chosen, labels


def _head(figure: Figure, bars: Bars, frame: Frame, colours: Colours, decimals: int) -> None:
    """What it is a picture of: the symbol, the newest bar, the time that it spans."""
    height, width = frame.height, frame.width
    x, y = LEFT / width, 1 - 17 / height
    name = figure.text(
        x, y, frame.symbol, fontsize=12.5, fontweight="bold", fontfamily=_FONT, color=colours.text, va="center"
    )
    x += (_width(name) + 12) / width
    change = 100 * (bars.close[-1] / bars.open[0] - 1) if bars.open[0] else 0.0
    tint = colours.up if change > 0 else colours.down if change < 0 else colours.text_soft
    sign = "+" if change > 0 else "−" if change < 0 else ""
    newest = [getattr(bars, name)[-1] for name in ("open", "high", "low", "close")]
    parts = [
        (frame.timeframe, colours.text_soft),
        ("  ".join(f"{letter} {value:,.{decimals}f}" for letter, value in zip("OHLC", newest, strict=True)), colours.text_soft),
        (f"{sign}{abs(change):.2f}%", tint),
    ]  # fmt: skip
    for text, colour in parts:
        put = figure.text(x, y, text, fontsize=8.5, fontfamily=_FONT, color=colour, va="center")
        x += (_width(put) + 14) / width
    figure.text(
        1 - 12 / width, y, _span(bars.time_ns, frame.timeframe), fontsize=8, fontfamily=_FONT, color=colours.text_faint,
        va="center", ha="right",
    )  # fmt: skip


def _span(time_ns: NDArray[np.int64], timeframe: str) -> str:
    form = "%-d %b %Y" if timeframe.endswith("d") else "%-d %b %Y %H:%M"
    first, last = (datetime.fromtimestamp(int(ns) / 1e9, UTC).strftime(form) for ns in (time_ns[0], time_ns[-1]))
    return f"{first} – {last} UTC" if first != last else f"{first} UTC"
