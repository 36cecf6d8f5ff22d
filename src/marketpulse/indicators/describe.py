"""The catalogue in words: rows for a table, one indicator for a terminal, the head of its formula page."""

from collections.abc import Mapping
from typing import Any

from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.indicators.declaration import Indicator, Parameter, Spec, number
from marketpulse.indicators.notation import parse


def catalogue_table(indicators: Mapping[str, Indicator] = CATALOGUE) -> list[dict[str, Any]]:
    """One row per indicator with its default parameters; plain values that JSON can hold."""
    return [_row(indicator) for indicator in indicators.values()]


def describe(text: str) -> str:
    """What there is to know about `"macd"`, or about `"macd(5,35,5)"` with these values, in a few lines.

    Raises ParameterError for a text that does not name exactly one indicator.
    """
    specs = parse(text, CATALOGUE)
    if len(specs) != 1:
        raise ParameterError(f"describe {text!r}: name one indicator, such as macd")
    spec = specs[0]
    indicator = spec.indicator
    lines = [
        f"{spec.text}: {indicator.title} ({indicator.group})",
        f"  formula     {indicator.formula}",
        f"  definition  {indicator.source}",
        f"  reads       {', '.join(indicator.reads)}",
        *(f"  parameter   {_parameter_text(p)}" for p in indicator.parameters),
        f"  columns     {', '.join(spec.columns)}",
        f"  warm-up     {spec.warm_up} bars without a value",
        f"  page        {_page(indicator)}",
    ]
    return "\n".join(lines)


def page_head(indicator: Indicator) -> str:
    """How the indicator's page in docs/formulas must begin, so that page and declaration stay one."""
    spec = Spec(indicator, indicator.defaults())
    columns = ", ".join(f"`{column}`" for column in spec.columns)
    parameters = "; ".join(_parameter_text(p) for p in indicator.parameters) or "none"
    return (
        f"# {indicator.name}: {indicator.title}\n\n"
        "| notation | columns | bars without a value | reads |\n"
        "| --- | --- | --- | --- |\n"
        f"| `{spec.text}` | {columns} | {spec.warm_up} | {', '.join(indicator.reads)} |\n\n"
        f"- **Formula:** {indicator.formula}\n"
        f"- **Definition followed:** {indicator.source}\n"
        f"- **Parameters:** {parameters}\n"
    )


def _row(indicator: Indicator) -> dict[str, Any]:
    spec = Spec(indicator, indicator.defaults())
    return {
        "name": indicator.name,
        "title": indicator.title,
        "group": indicator.group,
        "notation": spec.text,
        "parameters": [
            {
                "name": p.name,
                "kind": p.kind,
                "default": _plain(p, p.default),
                "minimum": _plain(p, p.minimum),
                "maximum": _plain(p, p.maximum),
            }
            for p in indicator.parameters
        ],
        "columns": list(spec.columns),
        "warm_up": spec.warm_up,
        "reads": list(indicator.reads),
        "pane": indicator.pane,
        "formula": indicator.formula,
        "source": indicator.source,
        "page": _page(indicator),
    }


def _plain(parameter: Parameter, value: float) -> int | float:
    return int(value) if parameter.kind == "int" else float(value)


def _parameter_text(parameter: Parameter) -> str:
    kind = "whole number" if parameter.kind == "int" else "number"
    span = f"{number(parameter.minimum)} to {number(parameter.maximum)}"
    return f"{parameter.name} = {number(parameter.default)} ({kind}, {span})"


def _page(indicator: Indicator) -> str:
    return f"docs/formulas/{indicator.name}.md"
