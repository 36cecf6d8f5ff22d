"""pyiceberg's transaction, as a sink that commits every few seconds needs it."""

from typing import Any

from pyiceberg.exceptions import ValidationException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import update_table_metadata


class SinkTransaction(Transaction):
    """Remembers the metadata that its changes come to: it is asked for some fifteen times a commit, and made of a copy
    of every snapshot. With 60 snapshots that was three quarters of a commit's time."""

    def __init__(self, table: Table) -> None:
        self._known: tuple[Any, Any, Any] = (None, None, None)
        super().__init__(table)

    @property
    def table_metadata(self) -> TableMetadata:
        base, updates, found = self._known
        if base is not self._table.metadata or updates is not self._updates:
            base, updates = self._table.metadata, self._updates
            found = update_table_metadata(base, updates) if updates else base
            self._known = base, updates, found
        return found  # type: ignore[no-any-return]


def producer(transaction: Transaction, properties: dict[str, str], *, removes: bool) -> Any:
    """What makes a snapshot of files that come, or also go, on top of the table as the transaction has it.

    When another writer came first, pyiceberg looks once whether the commit came through after all, and would then put
    the snapshot on top of the other's. It may not: its rows may be stored there already.
    """
    update = transaction.update_snapshot(snapshot_properties=properties)
    found: Any = update.overwrite() if removes else update.merge_append()
    found._validate_concurrency = _refuse
    return found


def _refuse() -> None:
    raise ValidationException("the table has moved on")
