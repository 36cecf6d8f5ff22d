"""The rules of data quality for bars of a source that only has bars (docs/quality.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import NEVER, MarketColumns, Output, Plan, Sessions, Tables
from marketpulse.engine.price_level import BELIEVED, judge_price, leap_with_split, relative_move, unit_or
from marketpulse.engine.quality import PRINTS, find, judge_size
from marketpulse.engine.sessions import bar_span
from marketpulse.model.quality import (
    BAND,
    BAND_FACTOR,
    BAR_RANGE,
    CONFIRM_BARS,
    DENSE_BARS,
    DIVIDEND,
    MISSING_BARS,
    OHLC,
    OUT_OF_HOURS,
    PRICE_SPIKE,
    RANGE_FACTOR,
    REOPEN_BAND,
    SPIKE_FACTOR,
    SPLIT,
    STALE,
    STALE_BARS,
    VOLUME_FACTOR,
)
from marketpulse.model.timeframe import DAY_NS

_MINUTE_NS = 60_000_000_000
_DAY_SCALE = 0.02
_EVENT_DAYS = 10
_SPLIT_LEAST, _SPLIT_MOST, _SPLIT_TOLERANCE, _SPLIT_RANGE = 1.8, 60.0, 0.08, 0.5
_SPLIT_SEEN = 0.05  # a logarithm: a smaller one is an ordinary day
_SPIKE_FLOOR = 0.15  # of the band's floor
_BACK = 0.15  # of the leap: so near to where it was
_RANGE_FLOOR = 0.3  # of the band's floor
_DIVIDEND_SEEN = 0.05  # of the price: a payment that the price must show
_DIVIDEND_SHOWN = 0.35
_LONG_NS = 5 * DAY_NS
_DENSE_MOST, _HOLE = 60, 10
_SATURDAY_NOON_NS = 2 * DAY_NS + DAY_NS // 2  # 1970-01-01 was a Thursday


@bare_kernel
def judge_bar(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    output: Output,
    i: int,
    symbol: int,
    frame: int,
    open_ns: int,
) -> bool:
    """Whether the bar, which is final and newer than the last one, may enter."""
    quality, limits, at = tables.quality, plan.limits, 2 * symbol + PRINTS
    q = quality[at]
    look_for_holes(tables, sessions, plan, output, i, symbol, frame, open_ns)
    good = not is_stale(tables, plan, rows, output, i, at)
    top, bottom = max(rows.a[i], rows.d[i]), min(rows.a[i], rows.d[i])
    if top > rows.b[i]:
        good &= not find(tables, plan, output, i, OHLC, top, rows.b[i])
    elif bottom < rows.c[i]:
        good &= not find(tables, plan, output, i, OHLC, bottom, rows.c[i])

    length = DAY_NS if plan.is_session[frame] else plan.length[frame]
    scale = _DAY_SCALE * math.sqrt(length / DAY_NS)
    floor = min(limits[REOPEN_BAND], limits[BAND] * math.sqrt(length / _MINUTE_NS))
    if q.time_ns != NEVER and open_ns >= q.time_ns + length:
        floor = max(floor, limits[REOPEN_BAND])
    leap_with_split(quality, at, open_ns)
    if q.seen > 0 and q.yield_ns != NEVER and open_ns >= q.yield_ns:
        good &= check_dividend(tables, plan, rows, output, i, at, open_ns)
    known, level, usual, before, leap = q.seen > 0, q.level, q.scale, q.before, q.leap
    split = known and is_split(tables, rows, i, at, open_ns)
    rule = judge_price(quality, at, rows.d[i], scale, floor, limits[BAND_FACTOR], limits[CONFIRM_BARS], 1.0)
    q.time_ns = open_ns + length
    if split:
        find(tables, plan, output, i, SPLIT, rows.d[i] / level, q.split)
    elif rule != BELIEVED:
        good &= not find(tables, plan, output, i, rule, rows.d[i], level)
    else:
        good &= not is_torn(tables, plan, rows, output, i, level if known else rows.d[i], floor, q.scale)
    if rule == BELIEVED and known:
        now = rows.d[i]
        if (
            not split
            and abs(leap) > max(_SPIKE_FLOOR * floor, limits[SPIKE_FACTOR] * usual)
            and relative_move(now, before) <= _BACK * abs(leap)
        ):
            find(tables, plan, output, i, PRICE_SPIKE, level, before)
        q.before = level
        # What has just been confirmed was told before: only what the band let pass can still be a spike.
        q.leap = (
            relative_move(now, level) if relative_move(now, level) <= max(floor, limits[BAND_FACTOR] * usual) else 0.0
        )
    volume_good = judge_size(tables, plan, output, i, at, rows.e[i], limits[VOLUME_FACTOR])
    return good & volume_good


@bare_kernel
def forget_series(quality: NDArray[np.void], at: int) -> None:
    """The next bar is of another length: it is the first of its series. What was announced stays."""
    q = quality[at]
    q.seen = q.sizes = q.refused = q.agreeing = q.repeats = q.dense = q.always = q.behind = 0
    q.before = q.leap = q.size = 0.0
    q.time_ns, q.day = NEVER, -1


@bare_kernel
def is_stale(tables: Tables, plan: Plan, rows: MarketColumns, output: Output, i: int, at: int) -> bool:
    """The same values again. A flat bar of no known volume may say that nothing traded, and may stand for long."""
    q = tables.quality[at]
    same = (
        rows.a[i] == q.last_open and rows.b[i] == q.last_high and rows.c[i] == q.last_low
        and rows.d[i] == q.last_price and (rows.e[i] == q.last_size or (np.isnan(rows.e[i]) and np.isnan(q.last_size)))
    )  # fmt: skip
    q.last_open, q.last_high, q.last_low = rows.a[i], rows.b[i], rows.c[i]
    q.last_price, q.last_size = rows.d[i], rows.e[i]
    if not same or (not rows.e[i] > 0.0 and rows.b[i] == rows.c[i]):
        q.repeats = 0
        return False
    q.repeats += 1
    limit = plan.limits[STALE_BARS]
    return q.repeats + 1 >= limit and find(tables, plan, output, i, STALE, q.repeats + 1.0, limit)


@bare_kernel
def is_torn(
    tables: Tables, plan: Plan, rows: MarketColumns, output: Output, i: int, level: float, floor: float, scale: float
) -> bool:
    """An open, a high or a low that neither the bar's other prices nor the close before it come near to."""
    opened, high, low, close = rows.a[i], rows.b[i], rows.c[i], rows.d[i]
    limit = max(_RANGE_FLOOR * floor, plan.limits[RANGE_FACTOR] * scale)
    away = min(relative_move(opened, level), relative_move(opened, close))
    if away > max(floor, plan.limits[BAND_FACTOR] * scale):
        return find(tables, plan, output, i, unit_or(close, opened, BAR_RANGE), opened, close)
    above, below = max(opened, close, level), min(opened, close, level)
    if high > above * (1.0 + limit):
        return find(tables, plan, output, i, unit_or(above, high, BAR_RANGE), high, above)
    if below > low * (1.0 + limit):
        return find(tables, plan, output, i, unit_or(below, low, BAR_RANGE), low, below)
    return False


@bare_kernel
def is_split(tables: Tables, rows: MarketColumns, i: int, at: int, open_ns: int) -> bool:
    """Whether the bar as a whole stands where a split would put it: the announced one, which the prices before it
    should have been adjusted for, or one that nobody announced."""
    q = tables.quality[at]
    opened, close = rows.a[i] / q.level, rows.d[i] / q.level
    if q.split_ns != NEVER and q.split_ns <= open_ns < q.split_ns + _EVENT_DAYS * DAY_NS:
        size = abs(math.log(q.split))
        off = min(abs(abs(math.log(close)) - size), abs(abs(math.log(opened)) - size))
        if size > max(_SPLIT_SEEN, 6.0 * q.scale) and off < min(0.5 * size, 0.05 + 3.0 * q.scale):
            return True
    if close < 1.0:
        opened, close = 1.0 / opened, 1.0 / close
    if min(opened, close) >= max(_SPLIT_LEAST, 1.0 + 12.0 * q.scale):
        if close > _SPLIT_MOST or rows.b[i] > rows.c[i] * (1.0 + max(_SPLIT_RANGE, 12.0 * q.scale)):
            return False
        return is_near(opened, close, np.floor(2.0 * close + 0.5) / 2.0, _SPLIT_TOLERANCE)
    if min(opened, close) < 1.0 + 15.0 * q.scale or rows.b[i] > rows.c[i] * (1.0 + 5.0 * q.scale):
        return False
    # A small one: news move prices as far, but not within an ordinary day, and not with ordinary volume.
    if rows.e[i] > 2.5 * q.size:
        return False
    near = 2.0 * q.scale
    return (
        is_near(opened, close, 5.0 / 4.0, near)
        or is_near(opened, close, 4.0 / 3.0, near)
        or is_near(opened, close, 3.0 / 2.0, near)
    )


@inlined
def is_near(opened: float, close: float, ratio: float, tolerance: float) -> bool:
    return min(abs(opened / ratio - 1.0), abs(close / ratio - 1.0)) <= tolerance


@bare_kernel
def check_dividend(
    tables: Tables, plan: Plan, rows: MarketColumns, output: Output, i: int, at: int, open_ns: int
) -> bool:
    """The first bar at or behind the ex date of a payment so large that the price must fall by it: then so does its level."""
    q = tables.quality[at]
    part = q.yielded
    shown = 1.0 - min(rows.a[i], rows.d[i]) / q.level >= _DIVIDEND_SHOWN * part
    if not shown and open_ns >= q.time_ns + _LONG_NS and open_ns < q.yield_ns + _LONG_NS:
        return True  # of a week: it may be the next one's
    q.yield_ns = NEVER
    if part <= max(_DIVIDEND_SEEN, 6.0 * q.scale):
        return True
    if not shown:
        return not find(tables, plan, output, i, DIVIDEND, part * q.level, q.level)
    if part < 1.0:
        q.level *= 1.0 - part
    return True


@bare_kernel
def look_for_holes(
    tables: Tables, sessions: Sessions, plan: Plan, output: Output, i: int, symbol: int, frame: int, open_ns: int
) -> None:
    """Bars that are not there, by the symbol's calendar, where nearly all the others were. A venue that is not known to
    close is believed to be open always when it has traded on a Saturday afternoon (UTC)."""
    q = tables.quality[2 * symbol + PRINTS]
    calendar = tables.symbols[symbol].calendar
    start, end = sessions.start[calendar], sessions.start[calendar + 1]
    length = DAY_NS if plan.is_session[frame] else plan.length[frame]
    if start == end:
        in_week = (open_ns - _SATURDAY_NOON_NS) % (7 * DAY_NS)
        q.always |= in_week < DAY_NS // 2 or (length == DAY_NS and in_week >= 7 * DAY_NS - DAY_NS // 2)
        day, first, behind = open_ns // length, 0, 1
        if not q.always:
            return
    else:
        day, first, behind = place_of_bar(sessions, plan, start, end, frame, length, open_ns)
        if day < 0:
            find(tables, plan, output, i, OUT_OF_HOURS, 0.0, 0.0)
            return
    if q.day >= 0:
        whole = first + behind  # bars of the newer session
        holes = q.behind - behind - 1 if day == q.day else q.behind - 1 + first + (day - q.day - 1) * whole
        if holes > 0:
            if q.dense >= plan.limits[DENSE_BARS]:
                find(tables, plan, output, i, MISSING_BARS, holes, 0.0)
            q.dense = max(0, q.dense - _HOLE)
        else:
            q.dense = min(q.dense + 1, _DENSE_MOST)
    q.day, q.behind = day, behind


@bare_kernel
def place_of_bar(
    sessions: Sessions, plan: Plan, start: int, end: int, frame: int, length: int, open_ns: int
) -> tuple[int, int, int]:
    """The bar's session by its number, how many bars of it come before this one, and how many are left with it.
    (-1, 0, 0) outside every session."""
    at = start + np.searchsorted(sessions.open_ns[start:end], open_ns, side="right") - 1
    if at < start or open_ns >= sessions.close_ns[at] + plan.grace_ns:
        return -1, 0, 0
    if plan.is_session[frame]:
        return int(at - start), 0, 1
    opened, closed = sessions.open_ns[at], sessions.close_ns[at]
    first, _ = bar_span(plan, frame, opened, closed, open_ns)
    return int(at - start), int((first - opened) // length), int(-(-(closed - first) // length))
