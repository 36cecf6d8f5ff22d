"""Splits and dividends of one series, and by what its bars are multiplied: the rules of the adjusted SQL views."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Adjust = Literal["none", "split", "all"]


class Action(NamedTuple):
    """What was told last of an ex time. `value`: the ratio of a split, the amount of a dividend."""

    type: Literal["split", "dividend"]
    ex_time_ns: int
    value: float
    adjusted_by: tuple[str, ...] = ()  # the sources whose own prices are adjusted for it


class Step(NamedTuple):
    """A bar that opens before `before_ns`, and not before an earlier step: its prices are multiplied by `price`, its
    volume by `volume`."""

    before_ns: int
    price: float
    volume: float


@dataclass(frozen=True, slots=True)
class Adjustments:
    """Of one series. The steps are in order of time; bars behind the last one stay as they are."""

    actions: Sequence[Action] = ()
    steps: Mapping[Adjust, Sequence[Step]] = field(default_factory=dict)

    def step(self, adjust: Adjust, open_ns: float) -> Step | None:
        """What a bar that opens then is multiplied by; None: nothing."""
        steps = self.steps.get(adjust, ())
        at = bisect_right(steps, open_ns, key=lambda step: step.before_ns)
        return steps[at] if at < len(steps) else None


def adjustments(
    actions: Sequence[Action], source: str | None, before: Mapping[int, tuple[float, str | None]]
) -> Adjustments:
    """`source`: whose bars they are. `before`: by the ex time of a dividend the last close before it, and whose it is."""
    splits = {a.ex_time_ns: a for a in actions if a.type == "split"}
    paid = {a.ex_time_ns: _part(a, splits.get(a.ex_time_ns), before) for a in actions if a.type == "dividend"}
    ratios = {at: a.value for at, a in splits.items() if source not in a.adjusted_by}
    kept = {at: 1 - part for at, part in paid.items() if part < 1}
    steps: dict[Adjust, Sequence[Step]] = {"split": _steps(ratios, {}), "all": _steps(ratios, kept)}
    return Adjustments(tuple(sorted(actions, key=lambda a: a.ex_time_ns)), steps)


def _part(action: Action, split: Action | None, before: Mapping[int, tuple[float, str | None]]) -> float:
    """The part of the price that a dividend takes; 0 where nothing is known before it."""
    if action.ex_time_ns not in before:
        return 0.0
    close, source = before[action.ex_time_ns]
    ratio = 1.0 if split is None or source in split.adjusted_by else split.value
    return action.value * ratio / close


def _steps(ratios: Mapping[int, float], kept: Mapping[int, float]) -> list[Step]:
    found, ratio, share = [], 1.0, 1.0
    for at in sorted({*ratios, *kept}, reverse=True):
        ratio *= ratios.get(at, 1.0)
        share *= kept.get(at, 1.0)
        found.append(Step(at, share / ratio, ratio))
    return found[::-1]
