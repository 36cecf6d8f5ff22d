"""Any indicator on any series, as the engine would have computed it: from the series' first bar on, warm-up included.

    stored and live bars up to a cut, and each indicator's state there   (kept, until something of them changes)
    + the live bars after the cut                                        (each time)
    + the forming bar, on a copy of the state                            (provisional)

The operators are the engine's own, so the values have the bits of the stored ones where both exist.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from marketpulse.app.charts.catalogue import needs_the_engine
from marketpulse.app.charts.closed_bars import PRICES, REVISION, ClosedBars, forming, merged, stored_bars
from marketpulse.app.stored_splits import TABLES, SeriesUnits, stored_splits
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import ParameterError
from marketpulse.indicators.bar_columns import WIDTH
from marketpulse.indicators.declaration import Floats, Indicator, Spec
from marketpulse.indicators.rebase import update_rebased
from marketpulse.indicators.stems import spec_of
from marketpulse.model.timeframe import Timeframe, parse_timeframes
from marketpulse.ports import BarSpan, LiveBars
from marketpulse.query.duck import LakeQuery
from marketpulse.query.how import How

AT_ONCE_MAX = 24
"""Indicators of one question."""

_ROWS_MAX = 3_000_000  # of all series that are kept: 56 bytes each
_LOOK_S = 10.0  # how old what is kept may be before the lake is asked whether it has changed
_TABLES = ("bars", *TABLES)
_Factors = tuple[Floats, NDArray[np.bool_]]
_NEW_SHARE = 4  # the newest quarter of the board's bars stands behind the cut


@dataclass(slots=True)
class _Kept:
    """The bars of a series that open before `cut_ms`, those that are stored from there on, and states between."""

    bars: ClosedBars
    stored: ClosedBars
    cut_ms: float
    version: str
    looked_at: float
    units: SeriesUnits
    states: dict[Spec, Floats] = field(default_factory=dict)

    def lacks(self, live: LiveBars) -> bool:
        """Whether the board knows of bars before the cut that are not these."""
        if live.rows and next(iter(live.rows)) > self.cut_ms:
            return True  # bars have gone from the board meanwhile
        known = self.bars.since(min([*live.rows, *live.gone], default=np.inf))
        revisions = dict(zip(known.open_ms.tolist(), known.revision.tolist(), strict=True))
        newer = any(row[REVISION] > revisions.get(time, -1.0) for time, row in live.rows.items() if time < self.cut_ms)
        return newer or any(time in revisions and told >= revisions[time] for time, told in live.gone.items())


class ChartValues:
    """`query`: the lake; None where nothing is stored, and values begin with the board's first bar."""

    def __init__(self, query: LakeQuery | None) -> None:
        self._query = query
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def values(
        self, stems: Sequence[str], catalogue: Mapping[str, Indicator], span: BarSpan, live: LiveBars
    ) -> tuple[list[str], list[list[float]]]:
        """As ports.ChartDesk says."""
        specs = [_checked(text, catalogue) for text in stems]
        kept = self._series(span.symbol, Timeframe.parse(span.timeframe).name, live)
        newer = merged(kept.stored, live).since(kept.cut_ms)
        old = kept.bars if span.from_ms is None or span.from_ms < kept.cut_ms else kept.bars.since(np.inf)
        bars = old.and_then(newer)
        last = forming(live)
        first = kept.bars if len(kept.bars) else bars
        first_ms = first.open_ms[0] if len(first) else np.inf
        behind = kept.bars.open_ms[-1] if len(old) == 0 and len(kept.bars) else first_ms
        parts = [bars.open_ms.reshape(-1, 1)]
        ends = [last.open_ms.reshape(-1, 1)]
        for spec in specs:
            state = spec.fresh_state(1)
            if len(old) == 0 and len(kept.bars):
                state = self._state_behind(kept, spec).copy()
            parts.append(_run(spec, state, bars, kept.units.factors(first_ms, behind, bars.open_ms)))
            newest = bars.open_ms[-1] if len(bars) else behind
            begin = first_ms if np.isfinite(first_ms) else (last.open_ms[0] if len(last) else np.inf)
            ends.append(_provisional(spec, state, last, partial(kept.units.factors, begin, newest)))
        found = np.vstack([np.hstack(parts), np.hstack(ends)])
        columns = [column for spec in specs for column in spec.columns]
        return columns, _within(found, span).tolist()

    def _series(self, symbol: str, timeframe: str, live: LiveBars) -> _Kept:
        key = (symbol, timeframe)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.lacks(live) or not self._is_fresh(kept):
                kept = self._kept[key] = self._read(symbol, timeframe, live)
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(len(one.bars) for one in self._kept.values()) > _ROWS_MAX:
                self._kept.popitem(last=False)
            return kept

    def _is_fresh(self, kept: _Kept) -> bool:
        now = time.monotonic()
        if self._query is None or now - kept.looked_at < _LOOK_S:
            return True
        kept.looked_at = now
        return self._query.version(_TABLES) == kept.version

    def _read(self, symbol: str, timeframe: str, live: LiveBars) -> _Kept:
        version = "" if self._query is None else self._query.version(_TABLES)
        stored = ClosedBars.none() if self._query is None else stored_bars(self._query, symbol, timeframe)
        times = list(live.rows)
        cut_ms = times[-1 - len(times) // _NEW_SHARE] if times else np.inf
        past = merged(stored, live).before(cut_ms)
        units = SeriesUnits.none() if self._query is None else _units_of(self._query, symbol, timeframe)
        return _Kept(past, stored.since(cut_ms), cut_ms, version, time.monotonic(), units)

    def _state_behind(self, kept: _Kept, spec: Spec) -> Floats:
        with self._lock:
            state = kept.states.get(spec)
        if state is None:
            state = spec.fresh_state(1)
            first_ms = kept.bars.open_ms[0]
            _run(spec, state, kept.bars, kept.units.factors(first_ms, first_ms, kept.bars.open_ms))
            with self._lock:
                kept.states[spec] = state
        return state


def _checked(text: str, catalogue: Mapping[str, Indicator]) -> Spec:
    spec = spec_of(text, catalogue)
    if (reason := needs_the_engine(spec.indicator)) is not None:
        raise ParameterError(f"{spec.text} cannot be computed here: {reason}")
    return spec


def _units_of(query: LakeQuery, symbol: str, timeframe: str) -> SeriesUnits:
    config = EngineConfig(tuple(parse_timeframes([timeframe])))
    return SeriesUnits(stored_splits(query, How(), [symbol], config), 0)


def _run(spec: Spec, state: Floats, bars: ClosedBars, factors: _Factors | None) -> Floats:
    """Values (n, columns) of the bars with their factors; the state moves on."""
    matrix = np.full((len(bars), WIDTH), np.nan)
    matrix[:, : len(PRICES)] = bars.prices
    out = np.empty((len(bars), len(spec.columns)))
    series, session = np.zeros(len(bars), np.int64), np.zeros(len(bars), np.int32)
    if factors is None:
        spec.update(state, series, matrix, session, out)
    else:
        update_rebased(spec, state, series, matrix, session, *factors, out)
    return out


def _provisional(
    spec: Spec, state: Floats, bars: ClosedBars, factors_of: Callable[[Floats], _Factors | None]
) -> Floats:
    """Each bar as if it closed now, upon the same state."""
    if not len(bars):
        return np.empty((0, len(spec.columns)))
    each = (
        ClosedBars(bars.open_ms[i : i + 1], bars.prices[i : i + 1], bars.revision[i : i + 1]) for i in range(len(bars))
    )
    return np.vstack([_run(spec, state.copy(), one, factors_of(one.open_ms)) for one in each])


def _within(found: np.ndarray, span: BarSpan) -> np.ndarray:
    found = found[np.argsort(found[:, 0], kind="stable")]
    if span.from_ms is not None:
        found = found[found[:, 0] >= span.from_ms]
    if span.before_ms is not None:
        found = found[found[:, 0] < span.before_ms]
    return found[-span.limit :]
