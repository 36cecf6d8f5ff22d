"""What a change inside the correction window means to those who read (docs/semantics.md, 10).

    the trades as they are now -> (rewind) -> bars and values  -  what readers know  =  the rows to tell

`refresh` brings the bars up to date before they are used; `tell` gives the rows that differ, each with
its next revision.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.alerting import ToldAlerts, tell_again, watch_again
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.late_bars import bar_symbols, note_revisions, put_late_bars_in
from marketpulse.engine.layout import (
    BAR_BYTES,
    CLOSED,
    N_STALE,
    N_UNTOLD,
    NO_PLACE,
    ROW_BYTES,
    STALE_BARS,
    STALE_NOT,
    Plan,
)
from marketpulse.engine.prevailing import blank_quotes
from marketpulse.engine.records import chosen, copied, joined, matches
from marketpulse.engine.rewind import forget_told, rewind
from marketpulse.engine.splits import frame_factors
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.declaration import Floats

_PRICES = ("open", "high", "low", "close", "vwap")


@dataclass(frozen=True, slots=True)
class Revisions:
    """Rows to tell, in order of (close time, symbol, timeframe): n bars, and the m bars whose indicator
    row is told, with their values (m, columns); and the alerts (None: none). Each counts its revisions apart."""

    bars: np.ndarray
    indicated: np.ndarray
    values: Floats
    alerts: ToldAlerts | None


def refresh(state: PartitionState, config: EngineConfig, plan: Plan) -> PartitionState:
    """Build the bars again that lack a change. Nobody is told yet."""
    if state.tables.registers[N_STALE]:
        symbols = np.flatnonzero(state.tables.symbols["stale"] == STALE_BARS)
        _watch_again(state, symbols, *rewind(state, config, plan, symbols))
    return state


def _watch_again(state: PartitionState, symbols: np.ndarray, bars: np.ndarray, values: Floats) -> np.ndarray:
    """The rules on these symbols' rows, which are built again."""
    factors = frame_factors(state.splits, state.basis, bars)
    return watch_again(state.alerts, state.symbols.texts(), symbols, bars, values, factors)


def tell(state: PartitionState, config: EngineConfig, plan: Plan) -> tuple[PartitionState, Revisions]:
    """The rows that differ from what readers know, who know them from here on."""
    symbols = np.flatnonzero(state.tables.symbols["stale"] != STALE_NOT)
    from_sources = bar_symbols(state, symbols)
    if len(from_sources):
        put_late_bars_in(state, config, plan, from_sources)
    passed, passed_values = state.told.passed_rows(len(config.columns()))
    state.told.passed.clear()
    bars, values = rewind(state, config, plan, symbols)
    events = _watch_again(state, symbols, bars, values)
    bars, values = joined([passed, bars], CLOSED), np.concatenate([passed_values, values])
    known, known_values, known_revisions = state.told.rows(len(config.columns()))
    theirs = np.isin(known["symbol"], symbols)
    told = _compare(
        state, config, (bars, values), (chosen(known, theirs), known_values[theirs], known_revisions[theirs])
    )
    new_bars, new_values, new_revisions, bar_differs, row_differs = told
    state.told.replace(
        joined([chosen(known, ~theirs), new_bars], CLOSED),
        np.concatenate([known_values[~theirs], new_values]),
        np.concatenate([known_revisions[~theirs], new_revisions]),
    )
    alerts = tell_again(state.alerts, symbols, events, new_bars, new_values)
    if len(from_sources):
        note_revisions(state, config, plan, from_sources)
    forget_told(state, config, passed)
    state.tables.symbols["stale"][symbols] = STALE_NOT
    state.tables.registers[N_UNTOLD] = 0
    order = np.lexsort((new_bars["frame"], state.tables.symbols["rank"][new_bars["symbol"]], new_bars["close_ns"]))
    first, second = order[bar_differs[order]], order[row_differs[order]]
    indicated = chosen(new_bars, second)
    indicated["revision"] = new_revisions[second]
    return state, Revisions(chosen(new_bars, first), indicated, new_values[second], alerts)


def _compare(
    state: PartitionState,
    config: EngineConfig,
    now: tuple[np.ndarray, Floats],
    before: tuple[np.ndarray, Floats, NDArray[np.int64]],
) -> tuple[np.ndarray, Floats, NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """All rows with their revisions, and which bars and which indicator rows differ from before.

    A row of before that is no more stays as a withdrawn one: its bar has lost all its trades. The quote at a
    bar's close is no part of the bar: with another one, only the indicator row differs.
    """
    (bars, values), (old, old_values, old_revisions) = now, before
    bars = copied(bars)
    mine, known = matches(len(config.frames), bars, old)
    bar_differs, row_differs = np.ones(len(bars), np.bool_), np.ones(len(bars), np.bool_)
    revisions = np.zeros(len(bars), np.int64)
    bars["revision"][mine] = old["revision"][known]
    now_bytes, old_bytes = _bytes(chosen(bars, mine)), _bytes(chosen(old, known))
    bar_differs[mine] = ~_same(now_bytes[:, :BAR_BYTES], old_bytes[:, :BAR_BYTES])
    row_differs[mine] = ~_same(now_bytes[:, :ROW_BYTES], old_bytes[:, :ROW_BYTES])
    row_differs[mine] |= ~_same(_bytes(values[mine]), _bytes(old_values[known]))
    bars["revision"][mine] += bar_differs[mine]
    revisions[mine] = old_revisions[known] + row_differs[mine]

    lost = np.setdiff1d(np.arange(len(old)), known)
    newly = ~np.isnan(old["open"][lost])
    gone, gone_revisions = chosen(old, lost), old_revisions[lost] + newly
    _withdraw(state, gone, newly)
    return (
        joined([bars, gone], CLOSED),
        np.concatenate([values, np.full((len(gone), values.shape[1]), np.nan)]),
        np.concatenate([revisions, gone_revisions]),
        np.concatenate([bar_differs, newly]),
        np.concatenate([row_differs, newly]),
    )


def _bytes(rows: np.ndarray) -> NDArray[np.uint8]:
    """The rows' bits (n, bytes of a row)."""
    if not rows.size:
        return np.empty((len(rows), 0), np.uint8)
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)


def _same(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the rows have the same bits."""
    same: NDArray[np.bool_] = (left == right).all(axis=1)
    return same


def _withdraw(state: PartitionState, gone: np.ndarray, newly: NDArray[np.bool_]) -> None:
    """Empty rows, one revision on; their receipts reach to the symbol's newest change."""
    rows = gone[newly]
    for name in _PRICES:
        rows[name] = np.nan
    rows["volume"] = rows["notional"] = 0.0
    rows["trade_count"] = 0
    rows["revision"] += 1
    blank_quotes(rows)
    who = state.tables.symbols[rows["symbol"]]
    further = who["changed_offset"] > rows["last_offset"]
    further |= (who["changed_offset"] == rows["last_offset"]) & (who["changed_row"] > rows["last_row"])
    further &= who["changed_offset"] != NO_PLACE
    rows["last_offset"] = np.where(further, who["changed_offset"], rows["last_offset"])
    rows["last_row"] = np.where(further, who["changed_row"], rows["last_row"])
    gone[newly] = rows
