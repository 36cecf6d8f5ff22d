"""What was injected, what was seen of it, and how long each recovery took: for people, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import quantiles
from typing import Any

from marketpulse.app.chaos.campaign import Injected, Outcome

_SHOWN = 20


def lines(outcome: Outcome) -> list[str]:
    """A table of the kinds, what was not injected and why, and the first differences."""
    said = [f"{'kind':10}{'injected':>9}{'not':>5}{'recovered':>11}{'p50':>9}{'p99':>9}"]
    for kind, rows in _by_kind(outcome.injected).items():
        said.append(_line(kind, rows))
    said.append(_line("all", outcome.injected))
    refused = {f"{one.step.kind}: {one.refused}" for one in outcome.injected if one.refused}
    said += [f"not injected: {reason}" for reason in sorted(refused)]
    if not outcome.differences:
        same = "Every row is there once, as without a fault; every" if outcome.has_clean_run else "Every"
        return [*said, f"{same} stored bar, indicator row and alert has the bits that its inputs give."]
    said += [f"WRONG {difference}" for difference in outcome.differences[:_SHOWN]]
    if (more := len(outcome.differences) - _SHOWN) > 0:
        said.append(f"and {more} more")
    return said


def as_object(outcome: Outcome, seed: int, minutes: float) -> dict[str, Any]:
    """The same for machines, step by step."""
    steps = [
        {**asdict(one.step), "injected": one.what, "not_injected": one.refused or None, "recovered_s": one.recovered_s}
        for one in outcome.injected
    ]
    p50_s, p99_s = _p50_p99(outcome.injected)
    return {
        "seed": seed, "minutes": minutes, "equal": not outcome.differences, "recovery_p50_s": p50_s, "recovery_p99_s": p99_s,
        "differences": outcome.differences, "steps": steps, "kept": None if outcome.home is None else str(outcome.home),
    }  # fmt: skip


def _by_kind(injected: Sequence[Injected]) -> dict[str, list[Injected]]:
    kinds: dict[str, list[Injected]] = {}
    for one in injected:
        kinds.setdefault(one.step.kind, []).append(one)
    return dict(sorted(kinds.items()))


def _line(name: str, rows: Sequence[Injected]) -> str:
    refused = sum(bool(one.refused) for one in rows)
    recovered = sum(one.recovered_s is not None for one in rows)
    times = [f"{s:.1f} s" if s is not None else "-" for s in _p50_p99(rows)]
    return f"{name:10}{len(rows) - refused:9}{refused:5}{recovered:11}{times[0]:>9}{times[1]:>9}"


def _p50_p99(rows: Sequence[Injected]) -> tuple[float | None, float | None]:
    times = [one.recovered_s for one in rows if one.recovered_s is not None]
    if len(times) < 2:
        return (times[0], times[0]) if times else (None, None)
    cuts = quantiles(times, n=100, method="inclusive")
    return round(cuts[49], 2), round(cuts[98], 2)
