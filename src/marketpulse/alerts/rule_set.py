"""The rules that run: an immutable set, which `with_rule` and `without_rule` make into another one.

Each rule has a number that no other rule of the set's history has had, so that events, state and
replays mean the same rule. A rule keeps it while what it computes stays the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from marketpulse.alerts.inputs import Inputs
from marketpulse.alerts.message import check_message, cited_columns
from marketpulse.alerts.parse import parse_condition
from marketpulse.alerts.program import CompiledRule, Program, assemble
from marketpulse.alerts.rule import Rule
from marketpulse.errors import ParameterError

RULES_MAX = 1_000
MEMORY_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules over these inputs, in order of their numbers. Make one with `rule_set` or `with_rule`.

    `begins`: of a rule (its number) and a symbol that it has yet to meet, the close time after which it sees the
    symbol's rows; those not named it sees from the first. So a replay has a rule begin where it did, though it runs
    with it from the start.

    Raises ParameterError when they remember more of a symbol than MEMORY_MAX numbers.
    """

    inputs: Inputs
    compiled: tuple[CompiledRule, ...] = ()
    next_number: int = 1
    begins: Mapping[tuple[int, str], int] = field(default_factory=dict, compare=False)
    program: Program = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        program = assemble(self.compiled, self.inputs)
        if program.width > MEMORY_MAX:
            raise ParameterError(
                f"alert rules: they remember {program.width:,} numbers of each symbol, at most {MEMORY_MAX:,}: "
                "look fewer bars back"
            )
        object.__setattr__(self, "program", program)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(compiled.rule for compiled in self.compiled)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(compiled.id for compiled in self.compiled)

    def rule_of(self, number: int) -> Rule:
        """The rule with this number. Raises ParameterError when the set has none."""
        for compiled in self.compiled:
            if compiled.id == number:
                return compiled.rule
        raise ParameterError(f"alert rules: there is no rule number {number}")

    def with_rule(self, rule: Rule) -> "RuleSet":
        """The set with this rule in the place of any of the same name.

        A rule that differs only in its severity or message, or is muted, keeps its number, and so its state; any other one has
        the next number, and begins anew. Raises ParameterError for a rule that cannot be read, or one too many.
        """
        known = next((c for c in self.compiled if c.rule.name == rule.name), None)
        others = tuple(c for c in self.compiled if c is not known)
        if len(others) >= RULES_MAX:
            raise ParameterError(f"alert rules: at most {RULES_MAX:,}; remove one first")
        if known is not None and computes_of(known.rule) == computes_of(rule):
            kept = compile_rule(rule, known.id, self.inputs)
            return replace(self, compiled=tuple(kept if c is known else c for c in self.compiled))
        added = compile_rule(rule, self.next_number, self.inputs)
        return replace(self, compiled=(*others, added), next_number=self.next_number + 1)

    def without_rule(self, name: str) -> "RuleSet":
        """The set without the rule of this name. Raises ParameterError when it has none."""
        rest = tuple(c for c in self.compiled if c.rule.name != name)
        if len(rest) == len(self.compiled):
            raise ParameterError(f"alert rules: there is no rule {name!r}")
        return replace(self, compiled=rest)


def rule_set(inputs: Inputs, rules: Iterable[Rule] = ()) -> RuleSet:
    """The set of these rules, numbered from 1. Raises ParameterError for one that cannot be read or stands twice."""
    compiled: dict[str, CompiledRule] = {}
    for rule in rules:
        if rule.name in compiled:
            raise ParameterError(f"alert rules: {rule.name!r} stands twice: rename one")
        compiled[rule.name] = compile_rule(rule, len(compiled) + 1, inputs)
    if len(compiled) > RULES_MAX:
        raise ParameterError(f"alert rules: at most {RULES_MAX:,}, found {len(compiled):,}")
    return RuleSet(inputs, tuple(compiled.values()), len(compiled) + 1)


def compile_rule(rule: Rule, number: int, inputs: Inputs) -> CompiledRule:
    """The rule, read. Raises ParameterError that names the rule and points at the place of the fault."""
    frame = inputs.frame(rule.timeframe) if rule.timeframe else inputs.smallest
    if frame is None:
        raise ParameterError(
            f"rule {rule.name!r}: unknown timeframe {rule.timeframe!r}: there is {inputs.frame_names()}"
        )
    condition = parse_condition(rule.expression, inputs, frame, f"rule {rule.name!r}")
    clear = None
    if rule.clear:
        clear = parse_condition(rule.clear, inputs, frame, f"rule {rule.name!r}, clear")
    check_message(rule, inputs)
    return CompiledRule(number, rule, frame, condition, clear, cited_columns(rule, inputs))


def computes_of(rule: Rule) -> Rule:
    """The rule without what does not change its events."""
    return replace(rule, severity="info", message="", muted=False)
