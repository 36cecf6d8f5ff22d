"""What came back, and how it is taken: good, a limit, a wrong key, a wrong question, or a fault that passes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Taken(StrEnum):
    """The ends of a request, as the metric names them."""

    GOOD = "good"
    LIMIT = "limit"
    KEY = "key"
    REFUSED = "refused"
    FAILED = "failed"  # the far end is away, slow, broken, or answers something that is no JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `body` is its JSON, `raw` its bytes, `headers` have names in lower case."""

    body: Any
    raw: bytes
    headers: Mapping[str, str]
    received_ns: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a vendor's answer is to be taken. `retry_in_s`: when the vendor says when, or always means the same."""

    taken: Taken
    message: str = ""
    retry_in_s: float | None = None


Judge = Callable[[int, Any], Judgement | None]
"""A vendor's own reading of (HTTP status, JSON body or None): None leaves it to the status."""


def by_the_status(status: int, body: Any) -> Judgement | None:  # noqa: ARG001
    """No vendor's own reading."""
    return None


def judge_status(status: int, is_json: bool) -> Judgement:
    """What a status says where the vendor has no words of its own for it."""
    if 200 <= status < 300:
        if is_json:
            return Judgement(Taken.GOOD)
        return Judgement(Taken.FAILED, "an answer that is not JSON, or only half of one")
    if status in (418, 429):
        return Judgement(Taken.LIMIT, "too many requests")
    if status == 401 or (status == 403 and is_json):
        return Judgement(Taken.KEY, "the key is not accepted")
    # 403 without JSON comes from a guard in front of the vendor, not from the vendor.
    if status >= 500 or status in (403, 408, 425):
        return Judgement(Taken.FAILED, "the far end is not well")
    return Judgement(Taken.REFUSED, "the question is not accepted")
