"""What a person who writes a rule is helped with: every fault at its place, and the words that there are.

fields of a rule -> the faults of each field by itself, all at once
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from marketpulse.alerts.inputs import BAR_COLUMNS, Inputs
from marketpulse.alerts.message import OF_EVENT, check_message
from marketpulse.alerts.parse import BARS_BACK_MAX, FUNCTIONS, parse_condition
from marketpulse.alerts.rule import MESSAGE, SEVERITIES, TEXT_MAX
from marketpulse.alerts.rule_json import rule_from_json
from marketpulse.alerts.rule_set import rule_set
from marketpulse.alerts.tokens import TextFault, TokenReader
from marketpulse.alerts.tree import CROSSINGS, LOGIC, columns_of
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import CATALOGUE, Indicator, Spec
from marketpulse.model.rows import LIVE_NAME

_PLAIN = {"name": "rule", "expression": "close > 0"}
_TEXTS = ("expression", "clear", "message")
_ONE_BY_ONE = ("name", "severity", "for_s", "cooldown_s", "symbols", "muted", "timeframe", *_TEXTS)
_EXAMPLES = (
    ("A threshold", "close > 100"),
    ("A crossing", "close crosses_above sma_20"),
    ("A move of 2 % within five bars", "abs(change_pct(close, 5)) > 2"),
    ("A volume spike", "volume > 3 * volume_sma_20"),
    ("A dip in a rising hour", "rsi_14 < 30 and close@1h > sma_20@1h"),
    ("Three rising closes", "close > prev(close) and prev(close) > prev(close, 2)"),
    ("A wide bar", "high - low > 0.02 * open"),
    ("Off the session's average", "abs(close / session_vwap - 1) > 0.01"),
)


def check_fields(fields: Mapping[str, Any], config: EngineConfig) -> dict[str, Any]:
    """What is wrong with a rule as it is being written, for JSON.

    `faults`: field, message, and where a text is wrong `at`, the place of the character (null: the whole field).
    `reads`: the columns that the expression reads. `timeframe`: the one that it runs on. `computable`: indicators that
    the engine does not compute, and that a trial can.
    """
    faults = list(_faults_of_fields(fields))
    frame = _frame(fields, config, faults)
    inputs = config.alert_rules().inputs
    reads: list[str] = []
    for field in ("expression", "clear"):
        text = fields.get(field)
        if not isinstance(text, str) or (field == "clear" and not text):
            continue
        try:
            columns = columns_of(parse_condition(text, inputs, frame, field))
        except TextFault as fault:
            faults.append({"field": field, "message": fault.problem, "at": fault.at})
        else:
            reads += [_named(inputs, c.column, c.frame, frame) for c in columns]
    if isinstance(message := fields.get("message"), str):
        try:
            check_message(rule_from_json({**_PLAIN, "message": message}), inputs)
        except TextFault as fault:
            faults.append({"field": "message", "message": fault.problem, "at": fault.at})
        except ParameterError:
            pass  # it is too long, which is said already
    if not faults:
        faults += _faults_of_all(fields, config)
    return {
        "faults": faults, "reads": list(dict.fromkeys(reads)), "timeframe": config.frames[frame].name,
        "computable": [spec.text for spec in computable(fields, config)],
    }  # fmt: skip


def language(config: EngineConfig) -> dict[str, Any]:
    """Every word of the language, for JSON: columns with their meanings, functions, timeframes, examples that can be
    read with these columns."""
    inputs = config.alert_rules().inputs
    meanings = {name: f"the bar's {name.replace('_', ' ')}" for name in BAR_COLUMNS}
    meanings["vwap"] = "the bar's volume-weighted average price"
    for spec in config.indicators:
        for name in spec.columns:
            meanings[LIVE_NAME.get(name, name)] = f"{spec.indicator.title}, {spec.text}"
    examples = [
        {"title": title, "expression": text}
        for title, text in _EXAMPLES
        if not check_fields({"name": "example", "expression": text}, config)["faults"]
    ]
    return {
        "columns": [{"name": name, "meaning": meanings[name]} for name in inputs.columns],
        "functions": [
            {"name": "abs", "form": "abs(x)", "meaning": "size without sign"},
            {"name": "min", "form": "min(x, y)", "meaning": "the smallest"},
            {"name": "max", "form": "max(x, y)", "meaning": "the largest"},
            {"name": "prev", "form": "prev(x, n)", "meaning": f"x n rows before, 1 to {BARS_BACK_MAX}; prev(x): one"},
            {"name": "change_pct", "form": "change_pct(x, n)", "meaning": "how much x moved in n rows, in per cent"},
        ],
        "words": [*LOGIC, *CROSSINGS],
        "timeframes": [frame.name for frame in config.frames],
        "usual_timeframe": config.frames[inputs.smallest].name,
        "severities": list(SEVERITIES),
        "message": MESSAGE,
        "message_names": list(OF_EVENT),
        "text_max": TEXT_MAX,
        "examples": examples,
    }  # fmt: skip


def computable(fields: Mapping[str, Any], config: EngineConfig) -> tuple[Spec, ...]:
    """The indicators that the rule's texts name, that are not configured, and that stored bars are enough for."""
    known = set(config.alert_rules().inputs.columns)
    found: dict[Spec, None] = {}
    for name in _names_in(fields):
        if name not in known and (spec := spec_of_column(name)) is not None and not spec.reads_quotes:
            found[spec] = None
    return tuple(spec for spec in found if not known & set(spec.columns))


def with_computable(fields: Mapping[str, Any], config: EngineConfig) -> EngineConfig:
    """The configuration, were these indicators computed too."""
    return replace(config, indicators=(*config.indicators, *computable(fields, config)))


def spec_of_column(name: str) -> Spec | None:
    """The indicator of the catalogue that has this column, such as rsi(7) for `rsi_7`."""
    for indicator in sorted(CATALOGUE.values(), key=lambda one: -len(one.name)):
        if name == indicator.name or name.startswith(f"{indicator.name}_"):
            spec = _spec(indicator, name[len(indicator.name) + 1 :].split("_"))
            if spec is not None and name in spec.columns:
                return spec
    return None


def _spec(indicator: Indicator, words: list[str]) -> Spec | None:
    values: list[float] = []
    for word in words[: len(indicator.parameters)]:
        try:
            values.append(float(word.replace("p", ".").replace("m", "-")))
        except ValueError:
            return None
    try:
        return Spec(indicator, tuple(values))
    except ParameterError:
        return None


def _names_in(fields: Mapping[str, Any]) -> Iterator[str]:
    for field in ("expression", "clear"):
        reader = TokenReader(str(fields.get(field) or ""), field)
        while reader.kind:
            if reader.kind == "name" and reader.token not in (*FUNCTIONS, *LOGIC, *CROSSINGS):
                yield reader.token
            reader.advance()


def _faults_of_fields(fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is wrong with single values, whatever the others are."""
    for field, value in fields.items():
        if field not in _ONE_BY_ONE:
            near = difflib.get_close_matches(field, _ONE_BY_ONE, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield {"field": field, "message": f"there is no such field{hint}", "at": None}
            continue
        try:
            rule_from_json({**_PLAIN, field: value})
        except ParameterError as error:
            said = str(error).removeprefix("alert rule: ").removeprefix(f"rule {value!r}: ")
            yield {"field": field, "message": said.removeprefix(f"rule {_PLAIN['name']!r}: "), "at": None}
    for field in ("name", "expression"):
        if field not in fields:
            yield {"field": field, "message": f"{field} is missing", "at": None}


def _frame(fields: Mapping[str, Any], config: EngineConfig, faults: list[dict[str, Any]]) -> int:
    """The timeframe that the rule runs on; where it names none that there is, the usual one."""
    inputs = config.alert_rules().inputs
    wanted = fields.get("timeframe")
    found = inputs.frame(wanted) if isinstance(wanted, str) and wanted else inputs.smallest
    if found is None:
        message = f"unknown timeframe {wanted!r}: there is {inputs.frame_names()}"
        faults.append({"field": "timeframe", "message": message, "at": None})
        return inputs.smallest
    return found


def _faults_of_all(fields: Mapping[str, Any], config: EngineConfig) -> list[dict[str, Any]]:
    """What only the whole rule can have: it remembers too much."""
    try:
        rule_set(config.alert_rules().inputs, [rule_from_json(dict(fields))])
    except ParameterError as error:
        return [{"field": "expression", "message": str(error), "at": None}]
    return []


def _named(inputs: Inputs, column: int, frame: int, own: int) -> str:
    name = inputs.columns[column]
    return name if frame == own else f"{name}@{inputs.frames[frame].name}"
