"""The lake's catalogue: opens it, finds its tables, makes them and widens them."""

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketpulse.catalog.faults import explained
from marketpulse.catalog.layout import PROPERTIES, beyond, iceberg_schema, partition_spec, sort_order
from marketpulse.errors import EnvironmentProblem, ParameterError, Retryable
from marketpulse.settings import S3Settings, Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

DATABASE = "catalog.db"
_ATTEMPTS = 8
_CONNECT_S, _REQUEST_S = 5, 30  # to S3: a flush that waits longer is tried again
_LOCKED_S = 30  # SQLite: how long another process may hold the catalogue


@dataclass(slots=True)
class Lake:
    """The tables of one lake. Its methods raise Retryable and Fatal as `explained` says, and never the library's own."""

    where: str
    """The place of the files, for people to read."""
    root: str
    """The same for the library: an absolute path or a URL, without a slash at its end."""
    namespace: str
    properties: dict[str, str] = field(repr=False)  # a token may stand here
    database: Path | None = None  # of the SQLite catalogue
    _catalog: "Catalog | None" = None

    def exists(self) -> bool:
        """Whether there can be tables: False only where no SQLite catalogue has been made yet."""
        if self.database is None or self._catalog is not None:
            return True
        try:
            above = next(path for path in (self.database, *self.database.parents) if path.exists())
        except OSError:
            return True  # the one who opens it tells why
        return above == self.database or not above.is_dir()

    def tables(self, names: Sequence[str]) -> "dict[str, Table]":
        """Those of these tables that there are, as they stand now."""
        if not self.exists():
            return {}
        found = {name: self.table(name) for name in names}
        return {name: table for name, table in found.items() if table is not None}

    def table(self, name: str) -> "Table | None":
        """The table as it stands now; None when nobody has made it yet."""
        if not self.exists():
            return None
        with explained(self.where):
            from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

            try:
                return self._opened().load_table((self.namespace, name))
            except (NoSuchTableError, NoSuchNamespaceError):
                return None
            except FileNotFoundError as error:
                raise Retryable(
                    f"{self.where}: the metadata of {name} is not there ({error}): restore the files, or register the "
                    "table anew (docs/stores.md#lake); nothing is lost"
                ) from None

    def ensure(self, name: str, columns: Sequence[str] = ()) -> "Table":
        """The table, made if it was not there, with at least these columns (of which only indicators are added)."""
        indicators = beyond(name, columns)
        for _ in range(_ATTEMPTS):
            table = self.table(name)
            if table is None:
                self._make(name, indicators)
            elif missing := [n for n in indicators if n not in table.schema().column_names]:
                self._widen(table, missing)
            else:
                return table
        raise Retryable(f"{self.where}: other programs keep changing the table {name}: trying again")

    def _make(self, name: str, indicators: Sequence[str]) -> None:
        from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
        from sqlalchemy.exc import IntegrityError

        schema = iceberg_schema(name, indicators)
        with explained(self.where):
            catalog = self._opened()
            try:
                catalog.create_namespace_if_not_exists(self.namespace)
                catalog.create_table(
                    (self.namespace, name), schema, f"{self.root}/{self.namespace}/{name}",
                    partition_spec(name, schema), sort_order(name, schema), PROPERTIES,
                )  # fmt: skip
            except (NamespaceAlreadyExistsError, TableAlreadyExistsError, IntegrityError):
                return  # another process was first

    def _widen(self, table: "Table", names: Sequence[str]) -> None:
        from pyiceberg.exceptions import CommitFailedException
        from pyiceberg.types import DoubleType

        with explained(self.where):
            try:
                with table.update_schema() as update:
                    for name in names:
                        update.add_column(name, DoubleType())
            except (CommitFailedException, ValueError):
                return  # another process was first, perhaps with the same column

    def _opened(self) -> "Catalog":
        if self._catalog is None:
            if self.database is not None:
                self.database.parent.mkdir(parents=True, exist_ok=True)
            from pyiceberg.catalog import load_catalog
            from sqlalchemy.exc import OperationalError

            logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # conflicts are told by who meets them
            # Of two writers that remove the same old metadata, one comes second.
            warnings.filterwarnings("ignore", message="Failed to delete old metadata")
            properties: dict[str, Any] = dict(self.properties)
            if self.database is not None:
                from sqlalchemy import URL

                properties["uri"] = URL.create("sqlite", database=str(self.database), query={"timeout": str(_LOCKED_S)})
            try:
                self._catalog = load_catalog("marketpulse", **properties)
            except OperationalError as error:
                if "already exists" not in str(error):
                    raise
                self._catalog = load_catalog("marketpulse", **properties)  # another process made it just now
        return self._catalog


def open_lake(settings: Settings) -> Lake:
    """The lake of these settings; nothing is read or written yet."""
    url, catalog = settings.lake_url(), settings.sinks.lake.catalog
    remote = "://" in url and not url.startswith("file://")
    if remote and not url.startswith(("s3://", "s3a://")):
        raise EnvironmentProblem(
            f"{url} cannot be the lake: name a directory, or s3://bucket/path on any S3 API (s3.endpoint_url)"
        )
    root = url.rstrip("/") if remote else str(Path(url.removeprefix("file://")).absolute())
    properties = {"warehouse": root, "py-io-impl": "marketpulse.catalog.file_io.DurableFileIO"}
    if remote or catalog.kind != "sqlite":
        properties |= _s3(settings.s3)
    database = None
    match catalog.kind:
        case "sqlite":
            database = (settings.data_dir.absolute() / "lake" if remote else Path(root)) / DATABASE
            properties["type"] = "sql"
        case "rest":
            properties |= _rest(settings)
        case "glue":
            properties |= {"type": "glue"} | ({"glue.endpoint": catalog.uri} if catalog.uri else {})
            if region := _region(settings.s3):
                properties["glue.region"] = region
    return Lake(root, root, catalog.namespace, properties, database)


def _rest(settings: Settings) -> dict[str, str]:
    catalog = settings.sinks.lake.catalog
    if catalog.uri is None:
        raise ParameterError("sinks.lake.catalog.kind is `rest`: say where, with sinks.lake.catalog.uri")
    found: dict[str, Any] = {"type": "rest", "uri": catalog.uri}
    if catalog.warehouse:
        found["warehouse"] = catalog.warehouse
    for name in ("token", "credential"):
        if (secret := getattr(catalog, name)) is not None:
            found[name] = secret.get_secret_value()
    if "credential" in found:
        found["oauth2-server-uri"] = f"{catalog.uri.rstrip('/')}/v1/oauth/tokens"
    return found


def _s3(s3: S3Settings) -> dict[str, str]:
    """Keys are not among them: they come by the usual AWS chain."""
    found = {"s3.connect-timeout": str(_CONNECT_S), "s3.request-timeout": str(_REQUEST_S)}
    if s3.endpoint_url:
        found["s3.endpoint"] = s3.endpoint_url
        found["s3.force-virtual-addressing"] = str(not s3.path_style).lower()
    if region := _region(s3):
        found["s3.region"] = region
    return found


def _region(s3: S3Settings) -> str | None:
    known = s3.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return known or ("us-east-1" if s3.endpoint_url else None)  # a server of one's own takes any
