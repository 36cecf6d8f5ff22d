"""A shorter schedule that fails too: halves, quarters … of the steps are left out as long as it still fails (delta debugging).

Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(steps: Sequence[T], fails: Callable[[Sequence[T]], bool], may_go_on: Callable[[], bool]) -> list[T]:
    """The shortest failing part that was found before `may_go_on` said no: of a deterministic failure, one of which no step
    can be left out. `fails` is not asked about `steps` themselves, nor about none."""
    left, parts = list(steps), 2
    while len(left) > 1:
        size = -(-len(left) // parts)
        cuts = [left[begin : begin + size] for begin in range(0, len(left), size)]
        rests = [[step for step in left if step not in cut] for cut in cuts]
        for shorter in (cuts if parts == 2 else []) + rests:
            if not shorter or len(shorter) == len(left):
                continue
            if not may_go_on():
                return left
            if fails(shorter):
                left, parts = shorter, max(2, min(parts - 1, len(shorter)))
                break
        else:
            if parts >= len(left):
                return left
            parts = min(2 * parts, len(left))
    return left
