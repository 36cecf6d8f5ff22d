"""One kind of AWS object each: how it is found, made, changed and removed.

`found` gives an object's fields in the words of wanted.py, so that two can be compared, and whether it bears our mark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import ClientError

from marketpulse.aws.wanted import MARK, Wanted


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it stands in AWS. One that is not ours has no fields: it is left as it is."""

    ours: bool
    fields: dict[str, Any] = field(default_factory=dict)
    reference: Any = None  # what the service calls it by, or all that it said, where an update needs that


class Objects(Protocol):
    """The objects of one kind in one place. Its methods raise what botocore raises."""

    def found(self, names: Sequence[str]) -> dict[str, Found]:
        """By name: those of these names that there are, and all others here that bear our mark."""
        ...

    def create(self, wanted: Wanted) -> None: ...
    def update(self, wanted: Wanted, found: Found) -> None: ...
    def delete(self, name: str, found: Found) -> None: ...

    def blocked(self, name: str) -> str | None:
        """Why it must stay although it is ours; None when nothing of others depends on it."""
        ...


def is_ours(marks: dict[str, str] | None) -> bool:
    return (marks or {}).items() >= MARK.items()


def pages(client: Any, operation: str, items: str, **request: Any) -> Iterator[Any]:
    """Every item of a list, however many answers it takes."""
    token: dict[str, str] = {}
    while True:
        answer = getattr(client, operation)(**request, **token)
        yield from answer.get(items, [])
        if not answer.get("NextToken"):
            return
        token = {"NextToken": answer["NextToken"]}


def nothing_if(error: ClientError, *codes: str) -> None:
    """Swallow the error when it says that there is no such thing."""
    if error.response.get("Error", {}).get("Code") not in codes:
        raise error
