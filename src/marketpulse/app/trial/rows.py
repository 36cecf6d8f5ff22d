"""Stored bars with their indicators as the engine's alert operator takes them, some symbols or a stretch of time at once."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.alerts.inputs import BAR_COLUMNS
from marketpulse.app.trial.plan import Counted, Plan, where_of
from marketpulse.engine.indicate import Memory, values_of
from marketpulse.engine.layout import CLOSED
from marketpulse.engine.splits import frame_factors
from marketpulse.indicators.declaration import Floats
from marketpulse.model.rows import LIVE_NAME
from marketpulse.model.timeframe import DAY_NS
from marketpulse.ports import AlertTrial
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How

_CHUNK = 200_000  # rows evaluated at once
_SYMBOLS_AT_ONCE = 500  # names in one query
_WEEK_NS = 7 * DAY_NS
_SATURDAY_NOON_NS = 5 * DAY_NS // 2  # of the first week since 1970-01-01
_ROWS = """
    SELECT b.*{columns} FROM (SELECT symbol, timeframe, open_time_ns, close_time_ns, session_date, open, high, low, close,
        volume, vwap, trade_count, receipt.last_offset AS at_offset, receipt.last_row AS at_row, {nth} AS nth
        FROM bars WHERE {where}) AS b"""
_BESIDE = """
    LEFT JOIN (SELECT symbol, timeframe, open_time_ns, {nth} AS nth{columns} FROM indicators WHERE {where}) AS i
    ON b.symbol = i.symbol AND b.timeframe = i.timeframe AND b.open_time_ns = i.open_time_ns AND b.nth = i.nth"""
# Only bars that are cut by count share an open time.
_NTH = (
    "row_number() OVER (PARTITION BY symbol, timeframe, open_time_ns "
    "ORDER BY close_time_ns, receipt.last_offset, receipt.last_row)"
)


def chunks(
    query: LakeQuery, how: How, plan: Plan, trial: AlertTrial, counted: Mapping[tuple[str, str], Counted]
) -> Iterator[pa.Table]:
    """Rows of some symbols at once, or of one symbol stretch by stretch. A stretch ends on a Saturday at noon, when no venue
    with sessions trades: what closes at one instant, or within the grace after a session, stays together."""
    sizes: dict[str, int] = defaultdict(int)
    for (symbol, _), one in counted.items():
        sizes[symbol] += one.rows
    group: list[str] = []
    for symbol in sorted(sizes):
        full = len(group) == _SYMBOLS_AT_ONCE or sum(sizes[s] for s in group) + sizes[symbol] > _CHUNK
        if group and full:
            yield from _stretches(query, how, plan, trial, group, sizes, counted)
            group = []
        group.append(symbol)
    if group:
        yield from _stretches(query, how, plan, trial, group, sizes, counted)


def _stretches(
    query: LakeQuery,
    how: How,
    plan: Plan,
    trial: AlertTrial,
    group: Sequence[str],
    sizes: Mapping[str, int],
    counted: Mapping[tuple[str, str], Counted],
) -> Iterator[pa.Table]:
    mine = [one for (symbol, _), one in counted.items() if symbol in group]
    first, last = min(one.first_ns for one in mine), max(one.last_ns for one in mine)
    count = 1 if plan.by_count else -(-sum(sizes[s] for s in group) // _CHUNK)  # those follow the log, not time
    cuts = {first - 1 + (last - first + 1) * k // count for k in range(1, count)}
    weeks = {(cut - _SATURDAY_NOON_NS) // _WEEK_NS * _WEEK_NS + _SATURDAY_NOON_NS for cut in cuts}
    bounds = [first - 1, *sorted(week for week in weeks if first <= week < last), last]
    nth = _NTH if plan.by_count else "1"
    columns = "".join(f", i.{column_name(name)} AS {column_name('i_' + name)}" for name in plan.stored)
    for begin, end in itertools.pairwise(bounds):
        where = f"{where_of(plan, trial, group)} AND close_time_ns > {begin} AND close_time_ns <= {end}"
        sql = _ROWS.format(columns=columns, nth=nth, where=where)
        if plan.stored:
            own = "".join(f", {column_name(name)}" for name in plan.stored)
            sql += _BESIDE.format(nth=nth, columns=own, where=where)
        yield query.run(sql, how)


def closed_rows(
    plan: Plan, table: pa.Table, numbers: Mapping[str, int], memory: Memory
) -> tuple[np.ndarray, Floats, Floats]:
    """The rows as the engine has them, in its order, their values (n, columns beyond the bar's) and their factors
    (engine.splits.frame_factors). `numbers` of the symbols; `memory` of the indicators that are computed moves on."""
    bars = np.zeros(table.num_rows, CLOSED)
    frames = {frame.name: i for i, frame in enumerate(plan.config.frames)}
    bars["symbol"] = _coded(table["symbol"], numbers)
    bars["frame"] = _coded(table["timeframe"], frames)
    bars["open_ns"], bars["close_ns"] = (table[n].to_numpy() for n in ("open_time_ns", "close_time_ns"))
    for name in ("open", "high", "low", "close", "volume", "vwap"):
        bars[name] = _floats(table[name])
    bars["trade_count"] = table["trade_count"].fill_null(-1).to_numpy()
    bars["session_date"] = table["session_date"].cast(pa.int32()).fill_null(0).to_numpy()
    stored = {name: _floats(table[f"i_{name}"]) for name in plan.stored}
    if plan.by_count:
        order = np.lexsort((table["at_row"].fill_null(0), table["at_offset"].fill_null(-1), bars["symbol"]))
    else:
        order = _in_order_of_closing(plan, bars, {number: symbol for symbol, number in numbers.items()})
    bars = bars[order]
    values = np.full((len(bars), len(plan.rules.inputs.columns) - len(BAR_COLUMNS)), np.nan)
    names = plan.rules.inputs.columns[len(BAR_COLUMNS) :]
    for name, column in stored.items():
        values[:, names.index(LIVE_NAME.get(name, name))] = column[order]
    if plan.computed:
        typical = (bars["high"] + bars["low"] + bars["close"]) / 3.0
        bars["notional"] = np.where(np.isnan(bars["vwap"]), typical, bars["vwap"]) * bars["volume"]
        for name in ("bid", "bid_size", "ask", "ask_size"):
            bars[name] = np.nan
    own = replace(plan.config, indicators=tuple(plan.computed), alerts=())
    computed = values_of(memory, own, bars)
    for place, name in enumerate(own.columns()):
        if (shown := LIVE_NAME.get(name, name)) in names:
            values[:, names.index(shown)] = computed[:, place]
    return bars, values, frame_factors(memory.splits, memory.basis, bars)


def _in_order_of_closing(plan: Plan, bars: np.ndarray, symbols: Mapping[int, str]) -> NDArray[np.intp]:
    """By when each is emitted: a built bar at its close, or the grace behind that of its session; a source's own bar before
    what closes after it has opened."""
    emitted, own = bars["close_ns"].copy(), np.zeros(len(bars), np.bool_)
    for number in np.unique(bars["symbol"]).tolist():
        mine = bars["symbol"] == number
        own |= mine & (bars["frame"] < plan.built_from[symbols[number]])
        emitted[mine & np.isin(bars["close_ns"], plan.closes[symbols[number]])] += plan.config.grace_ns
    emitted[own] = bars["open_ns"][own]
    return np.lexsort((bars["frame"], bars["close_ns"], own, bars["symbol"], emitted))


def _coded(column: pa.ChunkedArray, numbers: Mapping[str, int]) -> NDArray[np.int64]:
    coded = (
        column.combine_chunks().dictionary_encode() if column.num_chunks != 1 else column.chunk(0).dictionary_encode()
    )
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    table = np.array([numbers[text] for text in coded.dictionary.to_pylist()], np.int64)
    found: NDArray[np.int64] = table[coded.indices.to_numpy()] if len(table) else np.empty(0, np.int64)
    return found


def _floats(column: pa.ChunkedArray) -> Floats:
    found: Floats = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return found


def column_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
