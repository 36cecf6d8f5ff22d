"""The real services that sinks write to, as the suite over all of them needs them (conformance/test_every_sink.py).

Each store has a module `<name>_store.py` beside this one, with a fixture that starts its server on a free
loopback port, once per test process, and gives each test a database (or bucket, or prefix) of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from marketpulse.settings import Settings
from time_series_servers import ServerProcess

Row = dict[str, Any]


class Store(Protocol):
    """One sink's place on its service, empty at first."""

    name: str
    """The sink's section of `sinks` in the settings."""
    keeps_offsets: bool = True
    """Whether `resume` says where the store stands; else the same rows may be written again."""

    def section(self) -> Mapping[str, Any]:
        """What stands in that section, to reach this place; JSON values only."""
        ...

    def refused(self) -> Mapping[str, Any] | None:
        """The same with a login that the service refuses; None where there is none."""
        return None

    def rows(self, table: str) -> list[Row]:
        """The table's current rows as the service's own client reads them, under the contract's names."""
        ...

    def kept(self, table: str, row: Row) -> Row | None:  # noqa: ARG002
        """What of a row of the contract `rows` shows once it is stored; None when this sink does not keep it."""
        return row

    def stop(self) -> None:
        """The service goes away (kill -9); what it has acknowledged stays."""
        ...

    def start(self) -> None:
        """It is back, at the same address."""
        ...


class OnServer(Store):
    """One whose service is a process of its own."""

    server: ServerProcess

    def stop(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


@runtime_checkable
class KeepsNewest(Protocol):
    """A Store that shows some of its rows only, such as the newest of each symbol."""

    def expected(self, table: str, rows: Sequence[Row]) -> list[Row]:
        """Those of all rows stored that it shows."""
        ...


def settings_for(store_name: str, section: Mapping[str, Any], data_dir: Path) -> Settings:
    """Settings with this sink on."""
    return Settings(data_dir=data_dir, sinks={store_name: {**section, "enabled": True}})
