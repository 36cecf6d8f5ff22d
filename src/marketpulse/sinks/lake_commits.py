"""Commits of the lake: files come and go, and the offsets move with them, in one snapshot.

1. look      where the table stands now, and whether that is where this process thinks
2. snapshot  on top of what was seen; refused when another writer came in between: then look again
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from marketpulse.catalog.faults import explained
from marketpulse.catalog.offsets import PROPERTY, Offsets
from marketpulse.errors import Retryable

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_ATTEMPTS = 40
_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to the files."""

    added: "Iterable[DataFile]" = ()
    removed: "Iterable[DataFile]" = ()
    properties: Mapping[str, str] = field(default_factory=dict)  # more for the snapshot's summary
    of_table: Mapping[str, str] = field(default_factory=dict)  # properties of the table, from this commit on


class Moved(Exception):
    """Another writer came first: nothing was committed."""


def commit(table: "Table", change: Change, offsets: Offsets, where: str, tell: Callable[[int], None]) -> None:
    """One snapshot on top of the table as it was loaded. `tell` hears its id before it is tried, so that one whose
    answer got lost can be looked for.

    Raises Moved when nothing was committed, and as `explained` does when that is not known.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    from marketpulse.sinks.lake_transaction import SinkTransaction, producer

    text, removed = offsets.encode(), list(change.removed)
    transaction = SinkTransaction(table)
    with explained(where):
        try:
            snapshot = producer(transaction, {PROPERTY: text, **change.properties}, removes=bool(removed))
            for file in change.added:
                snapshot.append_data_file(file)
            for file in removed:
                snapshot.delete_data_file(file)
            tell(snapshot.snapshot_id)
            snapshot.commit()
            transaction.set_properties({PROPERTY: text, **change.of_table})
            transaction.commit_transaction()
        except (CommitFailedException, ValidationException) as error:
            raise Moved(str(error)) from None
        except FileNotFoundError as error:  # manifests that an expiry took
            raise Moved(str(error)) from None


def retried(what: str, attempt: Callable[[], bool]) -> bool:
    """`attempt` again while it is Moved. Raises Retryable when that does not end."""
    for number in range(_ATTEMPTS):
        try:
            return attempt()
        except Moved:
            time.sleep(random.uniform(0.2, 1) * _WAIT_S * min(number + 1, 10))
    raise Retryable(f"{what}: other writers keep coming in between: trying again, nothing is lost")
