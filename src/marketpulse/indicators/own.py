"""Indicators of a user's own: one decorated function each, in a Python file that the configuration names.

    from marketpulse import indicator

    @indicator(window="period")
    def range_position(high, low, close, period=20):
        "Where the close lies between the window's lowest low and its highest high, 0 to 1."
        return (close[-1] - low.min()) / (high.max() - low.min())

Arguments without a default are columns of bar_columns.py: float64 arrays of the last bars, the oldest
first. Those with one are parameters. The function is compiled (numba); from it and a ring of bars per
series a kernel is made like those of the catalogue, so history, live rows and receipts have the same bits.
"""

import hashlib
import importlib.util
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numba
import numpy as np
from numba.core.errors import NumbaError

from marketpulse.errors import ParameterError
from marketpulse.indicators.arithmetic import listed, shown
from marketpulse.indicators.bar_columns import NAMES, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.indicators.declaration import (
    PERIOD_MAX,
    Explained,
    Floats,
    Indicator,
    Parameter,
    Params,
    Spec,
    Update,
    number,
)

Function = Callable[..., Any]
_COUNTED = 2.0**53  # from there on a count does not grow any more
_MARK = "__marketpulse_indicator__"


def indicator(
    window: str | int,
    *,
    outputs: tuple[str, ...] = ("",),
    pane: Literal["price", "volume", "own"] = "own",
    price_degrees: tuple[int, ...] | None = None,
) -> Callable[[Function], Function]:
    """Declare the function as an indicator. `window` is how many bars it sees: a number, or the parameter that says it.
    `price_degrees`: see Indicator; without them it starts anew upon a split.

    It returns a float, or as many as there are `outputs` (the suffixes of the columns); what is not
    finite is no value. Raises ParameterError for what cannot be one, with the function's name.
    """

    def declare(function: Function) -> Function:
        declared = _declared(function, window, outputs, pane)
        setattr(function, _MARK, replace(declared, price_degrees=_degrees(function, outputs, price_degrees)))
        return function

    return declare


def _degrees(function: Function, outputs: tuple[str, ...], degrees: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if degrees is not None and len(degrees) != len(outputs):
        raise ParameterError(
            f"{function.__name__}: price_degrees must name one whole number for each of its {len(outputs)} outputs, "
            f"found {degrees}"
        )
    return degrees


def own_indicators(files: Iterable[Path]) -> dict[str, Indicator]:
    """The indicators of these files by name. Raises ParameterError that names the file and what to do."""
    found: dict[str, Indicator] = {}
    for path in files:
        for one in _of_file(path, _changed_at(path)):
            if one.name in found:
                raise ParameterError(f"{path}: {one.name} exists already: give the function another name")
            found[one.name] = one
    return found


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from None


@lru_cache
def _of_file(path: Path, changed_at_ns: int) -> tuple[Indicator, ...]:  # noqa: ARG001
    """Compiled once for each change of the file, however often the configuration is read."""
    own = [getattr(value, _MARK) for value in vars(_loaded(path)).values() if hasattr(value, _MARK)]
    if not own:
        raise ParameterError(f"{path} holds no indicator: write @indicator over its function")
    for one in own:
        if one.name in CATALOGUE:
            raise ParameterError(f"{path}: {one.name} exists already: give the function another name")
        _compile(one, path)
    return tuple(own)


def _loaded(path: Path) -> ModuleType:
    try:
        digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
        spec = importlib.util.spec_from_file_location(f"own_indicators_{digest}", path)
        if spec is None or spec.loader is None:
            raise ParameterError(f"{path} is no Python file: name one that ends in .py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None
    except Exception as error:  # whatever a user's file raises
        raise ParameterError(f"{path} fails at its import: {type(error).__name__}: {error}") from error
    return module


def _declared(
    function: Function, window: str | int, outputs: tuple[str, ...], pane: Literal["price", "volume", "own"]
) -> Indicator:
    name = function.__name__
    columns, parameters = _arguments(function, window)
    place = next((i for i, p in enumerate(parameters) if p.name == window), -1)
    if isinstance(window, str) and place < 0:
        raise ParameterError(f"{name}: window {window!r} is none of its parameters")
    if isinstance(window, int) and not 1 <= window <= PERIOD_MAX:
        raise ParameterError(f"{name}: window must be from 1 to {PERIOD_MAX}, found {window}")

    def size(values: Params) -> int:
        return int(values[place]) if isinstance(window, str) else window

    update = _kernel(function, columns, parameters, outputs, place, window)
    source = textwrap.dedent(inspect.getsource(function))
    title = (inspect.getdoc(function) or name).splitlines()[0]
    return Indicator(
        name=name,
        title=title,
        group="own",
        update=update,
        explain=_explain(name, update, columns, parameters, len(outputs), size),
        parameters=parameters,
        outputs=outputs,
        reads=columns,
        pane=pane,
        state_width=lambda values: 1 + 2 * len(columns) * size(values),
        warm_up=lambda values: size(values) - 1,
        formula=title,
        source=f"{Path(inspect.getfile(function)).name}, {hashlib.sha256(source.encode()).hexdigest()[:16]}",
    )


def _arguments(function: Function, window: str | int) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    """The columns that it reads, and its parameters."""
    columns: list[str] = []
    parameters: list[Parameter] = []
    for argument in inspect.signature(function).parameters.values():
        default = argument.default
        if default is argument.empty:
            if argument.name not in NAMES:
                raise ParameterError(
                    f"{function.__name__}: {argument.name!r} is no column of a bar: use {', '.join(NAMES)}, "
                    "or give it a default to make it a parameter"
                )
            columns.append(argument.name)
        elif isinstance(default, bool) or not isinstance(default, int | float):
            raise ParameterError(
                f"{function.__name__}: the default of {argument.name!r} must be a number, found {default!r}"
            )
        elif argument.name == window:
            parameters.append(Parameter(argument.name, default, "int", 1, PERIOD_MAX))
        else:
            kind: Literal["int", "float"] = "int" if isinstance(default, int) else "float"
            parameters.append(Parameter(argument.name, default, kind, -1e15, 1e15))
    if not columns:
        raise ParameterError(f"{function.__name__}: it reads no column of a bar: use {', '.join(NAMES)}")
    return tuple(columns), tuple(parameters)


def _kernel(
    function: Function,
    columns: tuple[str, ...],
    parameters: tuple[Parameter, ...],
    outputs: tuple[str, ...],
    place: int,
    window: str | int,
) -> Update:
    """Row: how many bars there were; then for each column a ring of the window, twice, so that the last bars
    always lie in one piece."""
    rings = [f"1 + {2 * i} * window" for i in range(len(columns))]
    push = [
        f"state[row, {ring} + place + {again} * window] = bars[i, {NAMES.index(column)}]"
        for column, ring in zip(columns, rings, strict=True)
        for again in (0, 1)
    ]
    slices = [f"state[row, {ring} + place + 1 : {ring} + place + 1 + window]" for ring in rings]
    values = [f"int(parameters[{j}])" if p.kind == "int" else f"parameters[{j}]" for j, p in enumerate(parameters)]
    names = [*columns, *(p.name for p in parameters)]
    arguments = ", ".join(
        dict(zip(names, [*slices, *values], strict=True))[name] for name in inspect.signature(function).parameters
    )
    found = [f"float(value[{k}])" for k in range(len(outputs))] if len(outputs) > 1 else ["float(value)"]
    text = "\n".join([
        "def update(state, series, bars, session, parameters, out):",
        f"    window = {f'int(parameters[{place}])' if isinstance(window, str) else window}",
        "    for i in range(len(series)):",
        "        row = series[i]",
        "        count = state[row, 0]",
        "        place = int(count % window)",
        f"        state[row, 0] = count + 1.0 if count + 1.0 < {_COUNTED!r} else count + 1.0 - window",
        *(f"        {line}" for line in push),
        "        out[i, :] = nan",
        "        if count + 1.0 >= window:",
        f"            value = function({arguments})",
        *(f"            out[i, {k}] = {v} if isfinite({v}) else nan" for k, v in enumerate(found)),
    ])  # fmt: skip
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    namespace: dict[str, Any] = {
        "function": numba.njit(**options)(function), "nan": math.nan, "isfinite": math.isfinite,
    }  # fmt: skip
    exec(text, namespace)  # noqa: S102  (a kernel for this function's arguments; the text is made of checked names only)
    kernel: Update = numba.njit(**options)(namespace["update"])
    return kernel


def _compile(own: Indicator, path: Path) -> None:
    """Now, and not in the middle of a stream."""
    spec = Spec(own, own.defaults())
    out = np.empty((1, len(spec.columns)))
    try:
        spec.update(spec.fresh_state(1), np.zeros(1, np.int64), np.ones((1, WIDTH)), np.zeros(1, np.int32), out)
    except NumbaError as error:
        said = " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:500]
        raise ParameterError(f"{path}: {own.name} cannot be compiled: {said}") from None


def _explain(
    name: str,
    update: Update,
    columns: tuple[str, ...],
    parameters: tuple[Parameter, ...],
    outputs: int,
    size: Callable[[Params], int],
) -> Callable[[Floats, Floats, int, Params], Explained]:
    def explain(before: Floats, bar: Floats, session: int, values: Params) -> Explained:
        """What the function was given, and what it gave."""
        window, out = size(values), np.empty((1, outputs))
        bars = np.ascontiguousarray(bar, np.float64).reshape(1, -1)
        update(before, np.zeros(1, np.int64), bars, np.array([session], np.int32), np.array(values), out)
        count = int(before[0, 0])
        if count < window:
            return Explained((f"{count} bars of {window}: no value yet",), (math.nan,) * outputs)
        begin = 1 + (count - 1) % window + 1
        lines = [
            f"the last {window} of {column}, the oldest first: "
            f"{listed(before[0, begin + 2 * i * window : begin + (2 * i + 1) * window].tolist())}"
            for i, column in enumerate(columns)
        ]
        given = ", ".join([*columns, *(f"{p.name}={number(v)}" for p, v in zip(parameters, values, strict=True))])
        found = tuple(out[0].tolist())
        lines.append(f"{name}({given}) = {', '.join(map(shown, found))}")
        return Explained(tuple(lines), found)

    return explain
