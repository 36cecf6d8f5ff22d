"""How an indicator is declared: one `Indicator` gives validator, state, column names, docs and catalogue.

An indicator is one file that holds its compiled `update` and its declaration. A kernel is the step
`(state, batch) -> (state, batch)` of the engine with these arrays; the state passed in is spent:

    state       (n_series, state_width) float64: one row per symbol × timeframe; all zeros is fresh
    series      (n,) int64: the state row that bar i belongs to
    bars        (n, 10) float64, C order: the columns of bar_columns.py; finite, but for a missing quote's
    session     (n,) int32: the bar's session date, days since 1970-01-01
    parameters  (p,) float64: the values in the declared order
    out         (n, k) float64, written whole: NaN where there is no value (warm-up, or undefined)

The bars of one series come in order of open time; those of different series interleave as they like.
A kernel loops over the bars strictly in order and remembers nothing outside `state`, so the bits do
not depend on how the stream is cut, and a provisional value needs only a copy of the row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from marketpulse.errors import ParameterError
from marketpulse.indicators.bar_columns import NOTIONAL, OF_QUOTE, VOLUME

Floats = NDArray[np.float64]
Params = tuple[float, ...]
Update = Callable[[Floats, NDArray[np.int64], Floats, NDArray[np.int32], Floats, Floats], Any]

PERIOD_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Explained:
    """How one bar's values came about: `lines` with the numbers that went in, and the values, one per column (NaN:
    there is none). They are worked out from the state before, beside the kernel, and have its bits."""

    lines: tuple[str, ...]
    values: tuple[float, ...]


Explain = Callable[[Floats, Floats, int, Params], Explained]
"""(state before (1, state_width), which is spent; bar (10,) as in bar_columns; session date; parameters)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that a user may set, with the range in which the formula is defined."""

    name: str
    default: float
    kind: Literal["int", "float"]
    minimum: float
    maximum: float

    def fault(self, value: float) -> str | None:
        """What is wrong with the value, in words, or None."""
        if self.kind == "int" and not float(value).is_integer():
            return f"{self.name} must be a whole number, found {number(value)}"
        if not self.minimum <= value <= self.maximum:
            return f"{self.name} must be from {number(self.minimum)} to {number(self.maximum)}, found {number(value)}"
        return None


def period(default: int, *, name: str = "period", minimum: int = 1) -> Parameter:
    """A number of bars."""
    return Parameter(name, default, "int", minimum, PERIOD_MAX)


@dataclass(frozen=True, slots=True)
class Derived:
    """Values that no power of the price's unit scales, made from those of an indicator with the same parameters and the
    same state that have one. `values`: its values (n, k) -> these (n, k), bit for bit what the own kernel gives."""

    of: "Indicator"
    values: Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Indicator:
    """One formula: what it is called, what it takes, how wide its state is, the kernel that computes it,
    and the words that explain it.

    `outputs` are the suffixes of its columns; the empty suffix is the indicator's own name.
    `warm_up` is the number of bars, from the start of a series, before the first row in which every
    column has a value. `check` says what is wrong with values that are each in range, or None.

    `price_degrees` says of each output which power of the price's unit it is in: 1 a price, 2 a variance, 0 a
    ratio, and -1 a volume, for a split that divides prices multiplies volumes (price × volume: 0). None where
    there is no such power: then `derived` has the way round, or the indicator starts anew upon a split (rebase.py).
    """

    name: str
    title: str
    group: Literal["trend", "momentum", "volatility", "volume", "price", "statistics", "quote", "own"]
    update: Update
    explain: Explain
    state_width: Callable[[Params], int]
    warm_up: Callable[[Params], int]
    formula: str  # one line, as on the formula page
    source: str  # whose definition is followed
    parameters: tuple[Parameter, ...] = ()
    outputs: tuple[str, ...] = ("",)
    reads: tuple[str, ...] = ("close",)
    pane: Literal["price", "volume", "own"] = "own"  # where a chart draws it
    check: Callable[[Params], str | None] = lambda _: None
    price_degrees: tuple[int, ...] | None = None
    derived: Derived | None = None

    def columns(self, parameters: Params) -> tuple[str, ...]:
        """Full column names, such as `("bbands_20_2_upper", …)`: always plain SQL identifiers."""
        stem = "_".join([self.name, *(identifier(value) for value in parameters)])
        return tuple(f"{stem}_{suffix}" if suffix else stem for suffix in self.outputs)

    def defaults(self) -> Params:
        return tuple(float(p.default) for p in self.parameters)

    def fault(self, parameters: Params) -> str | None:
        """What is wrong with the values, in words, or None."""
        if len(parameters) != len(self.parameters):
            return f"takes {len(self.parameters)} parameters, found {len(parameters)}"
        for declared, value in zip(self.parameters, parameters, strict=True):
            if (found := declared.fault(value)) is not None:
                return found
        return self.check(parameters)


@dataclass(frozen=True, slots=True)
class Spec:
    """An indicator with its parameters: what one run computes. Raises ParameterError for values out of range."""

    indicator: Indicator
    parameters: Params
    columns: tuple[str, ...] = field(init=False, compare=False)  # asked for at every batch, so worked out once
    values: Floats = field(init=False, compare=False, repr=False)
    """The parameters as the kernel takes them."""

    def __post_init__(self) -> None:
        fault = self.indicator.fault(self.parameters)
        if fault is not None:
            raise ParameterError(f"{self.indicator.name}: {fault}")
        object.__setattr__(self, "columns", self.indicator.columns(self.parameters))
        object.__setattr__(self, "values", np.array(self.parameters, np.float64))

    @property
    def text(self) -> str:
        """The notation that gives this again, such as `sma(20)`; `vwap` where there is nothing to set."""
        values = ",".join(number(value) for value in self.parameters)
        return f"{self.indicator.name}({values})" if values else self.indicator.name

    @property
    def state_width(self) -> int:
        return self.indicator.state_width(self.parameters)

    @property
    def reads_quotes(self) -> bool:
        """Whether its values hang on the quote at the bar's close too."""
        return not OF_QUOTE.isdisjoint(self.indicator.reads)

    @property
    def reads_volume(self) -> bool:
        """Whether a bar needs a volume to have a value."""
        return "volume" in self.indicator.reads or "notional" in self.indicator.reads

    @property
    def warm_up(self) -> int:
        return self.indicator.warm_up(self.parameters)

    def update(
        self, state: Floats, series: NDArray[np.int64], bars: Floats, session: NDArray[np.int32], out: Floats
    ) -> None:
        """Run the kernel: fills `out` (n, len(columns)) and advances `state` in place.

        A bar whose volume is not known has no value of what reads volumes, and counts as one of volume 0 in the
        state: NaN would stay in every sum.
        """
        if not (self.reads_volume and np.isnan(bars[:, VOLUME]).any()):
            self.indicator.update(state, series, bars, session, self.values, out)
            return
        missing, bars = np.isnan(bars[:, VOLUME]), bars.copy()
        bars[missing, VOLUME] = bars[missing, NOTIONAL] = 0.0
        self.indicator.update(state, series, bars, session, self.values, out)
        out[missing] = np.nan

    def explain(self, before: Floats, bar: Floats, session: int) -> Explained:
        """The arithmetic of one bar: `before` (state_width,) is the state that it came upon, and stays."""
        if self.reads_volume and math.isnan(bar[VOLUME]):
            return Explained(("the source gave no volume: no value",), (math.nan,) * len(self.columns))
        return self.indicator.explain(before.reshape(1, -1).copy(), bar, session, self.parameters)

    def fresh_state(self, n_series: int) -> Floats:
        return np.zeros((n_series, self.state_width))


def number(value: float) -> str:
    """`20.0` -> `20`, `2.5` -> `2.5`, `1e-5` -> `0.00001`: no exponent, nothing lost."""
    if not np.isfinite(value):
        return str(value)
    if float(value).is_integer():
        return str(int(value))
    return format(Decimal(repr(float(value))), "f")


def identifier(value: float) -> str:
    """A number inside a column name: `2.5` -> `2p5`, `-1` -> `m1`, so that SQL needs no quotes."""
    return number(value).replace(".", "p").replace("-", "m")


def all_columns(specs: Sequence[Spec]) -> list[str]:
    """The columns of several indicators, in order."""
    return [column for spec in specs for column in spec.columns]
