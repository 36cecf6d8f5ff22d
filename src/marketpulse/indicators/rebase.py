"""Indicators across stock splits: the state stays in the units of the series' first bar (docs/semantics.md, 21).

    prices × factor, volumes / factor -> the kernel -> values / factor ^ degree

The factor of a bar is how many shares of now one share of then has become: 4 behind a split of 4:1. So no state is ever
converted, whichever way it is remembered, and what comes out stands in the units of the bar.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE, CLOSE, HIGH, LOW, OPEN, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Spec

_PRICES, _SIZES = [OPEN, HIGH, LOW, CLOSE, BID, ASK], [VOLUME, BID_SIZE, ASK_SIZE]  # price × volume stays


def in_first_units(bars: Floats, factor: Floats) -> Floats:
    """A copy of the bars (n, 10) with their factors (n,)."""
    scaled = bars.copy()
    scaled[:, _PRICES] *= factor[:, np.newaxis]
    scaled[:, _SIZES] /= factor[:, np.newaxis]
    return scaled


def in_units_of_now(values: Floats, factor: Floats, degrees: tuple[int, ...]) -> Floats:
    """Values (n, k) of bars with these factors (n,); what no double holds is none."""
    found = values.copy()
    for column, degree in enumerate(degrees):
        for _ in range(abs(degree)):  # no power of the C library: those differ in the last bit
            found[:, column] = found[:, column] / factor if degree > 0 else found[:, column] * factor
    found[~np.isfinite(found)] = np.nan
    return found


def update_rebased(
    spec: Spec,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    session: NDArray[np.int32],
    factor: Floats,
    begins: NDArray[np.bool_],
    out: Floats,
) -> None:
    """As Spec.update, for bars as they are, with their factors. `begins` (n,): the bars at which their series' factor
    changes. With all factors 1 the bits are those of Spec.update."""
    indicator = spec.indicator
    if indicator.price_degrees is not None:
        spec.update(state, series, in_first_units(bars, factor), session, out)
        out[:] = in_units_of_now(out, factor, indicator.price_degrees)
    elif indicator.derived is not None:
        update_rebased(Spec(indicator.derived.of, spec.parameters), state, series, bars, session, factor, begins, out)
        out[:] = indicator.derived.values(out)
    else:
        _update_anew(spec, state, series, bars, session, begins, out)


def explain_rebased(spec: Spec, before: Floats, bar: Floats, session: int, factor: float, *, begins: bool) -> Explained:
    """As Spec.explain, for a bar as it is, with its factor."""
    if spec.indicator.price_degrees is None and spec.indicator.derived is None:
        return spec.explain(np.zeros_like(before) if begins else before, bar, session)
    if factor == 1.0:
        return spec.explain(before, bar, session)
    derived = spec.indicator.derived
    of: Indicator = spec.indicator if derived is None else derived.of
    scaled = in_first_units(bar.reshape(1, -1), np.array([factor]))[0]
    explained = Spec(of, spec.parameters).explain(before, scaled, session)
    degrees = of.price_degrees or (0,) * len(explained.values)
    values = in_units_of_now(np.array([explained.values]), np.array([factor]), degrees)
    names = [f"{column} = " for column in Spec(of, spec.parameters).columns]
    lines = [
        f"in units of the series' first bar, before its splits: prices * {shown(factor)}, volumes / {shown(factor)}",
        *explained.lines,
        *(
            f"{name}{shown(value)} in those units, in units of now / {shown(factor)} ^ {degree} = {shown(now)}"
            for name, value, degree, now in zip(names, explained.values, degrees, values[0].tolist(), strict=True)
            if degree and np.isfinite(value)
        ),
    ]
    if derived is not None:
        values = derived.values(values)
        lines += [f"{spec.columns[0]} = {shown(values[0, 0])} from that"]
    return Explained(tuple(lines), tuple(values[0].tolist()))


def _update_anew(
    spec: Spec,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    session: NDArray[np.int32],
    begins: NDArray[np.bool_],
    out: Floats,
) -> None:
    """Nothing of before a split is remembered."""
    cuts = [0, *np.flatnonzero(begins).tolist(), len(series)]
    for start, end in pairwise(cuts):
        if start < len(series) and begins[start]:
            state[series[start]] = 0.0
        if start < end:
            spec.update(state, series[start:end], bars[start:end], session[start:end], out[start:end])
