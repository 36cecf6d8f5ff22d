"""One request to a vendor."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """How to ask, and whether the answer may begin behind what was asked for. `until_ns`: what it asks up to, where that is
    not now."""

    path: str
    parameters: Mapping[str, str]
    truncated: bool = False
    until_ns: int | None = None
