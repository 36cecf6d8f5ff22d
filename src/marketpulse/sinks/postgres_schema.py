"""Our schema in PostgreSQL: made, brought up to date, and opened to a role that only reads.

Everything is done under one advisory lock and can be repeated, so processes may start together.
"""

import base64
import hashlib
import hmac
import os
import zlib
from collections.abc import Callable, Iterable, Sequence

from marketpulse.errors import Fatal
from marketpulse.sinks.postgres_adjusted import ADJUSTED, PRODUCT
from marketpulse.sinks.postgres_client import Client, Session
from marketpulse.sinks.postgres_faults import identifier, text
from marketpulse.sinks.postgres_periods import Layout, Length, choose_layout
from marketpulse.sinks.postgres_tables import ALL, Table
from marketpulse.sinks.postgres_views import THIRD_VERSION, VIEWS
from marketpulse.telemetry import get_logger

OFFSETS = """
CREATE TABLE {s}.offsets (
    topic text COLLATE "C", "partition" integer, table_name text COLLATE "C", next_offset bigint,
    owner text NOT NULL, epoch bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (topic, "partition", table_name)
)"""


def _first_version(session: Session, schema: str, layout: Layout) -> None:
    session.run(OFFSETS.replace("{s}", schema))
    for table in ALL.values():
        _create(session, schema, table, layout)
    for view in VIEWS.values():
        session.run(view.replace("{s}", schema))


def _adjusted_bars(session: Session, schema: str, layout: Layout) -> None:  # noqa: ARG001
    session.run(PRODUCT.replace("{s}", schema))
    for view in ADJUSTED.values():
        session.run(view.replace("{s}", schema))


def _bars_as_stock_data(session: Session, schema: str, layout: Layout) -> None:  # noqa: ARG001
    for statement in THIRD_VERSION:
        session.run(statement.replace("{s}", schema))


MIGRATIONS: tuple[Callable[[Session, str, Layout], None], ...] = (_first_version, _adjusted_bars, _bars_as_stock_data)
"""Each leads from the version before it to its own: (session, quoted schema, layout). Never changed, only added to."""


def prepare(client: Client, name: str, length: Length) -> Layout:
    """Make the schema, or bring it up to date. Raises Fatal when a newer MarketPulse made it, or it cannot hold our text."""
    schema = identifier(name)
    with client.transaction() as session:
        lock(session, name)
        encoding = session.rows("SELECT current_setting('server_encoding')")[0][0]
        if encoding != "UTF8":
            raise Fatal(
                f"{client.address.where} keeps text as {encoding}: create the database with ENCODING 'UTF8' TEMPLATE template0; "
                "nothing is lost, the rows are still in the topics"
            )
        if not session.rows(f"SELECT 1 FROM pg_namespace WHERE nspname = {text(name)}"):
            session.run(f"CREATE SCHEMA {schema}")
        layout = choose_layout(session, name, length)
        _migrate(session, client, name, layout)
    return layout


def _migrate(session: Session, client: Client, name: str, layout: Layout) -> None:
    schema = identifier(name)
    if not session.rows(f"SELECT 1 WHERE to_regclass({text(schema + '.schema_version')}) IS NOT NULL"):
        session.run(
            f"CREATE TABLE {schema}.schema_version (version integer PRIMARY KEY, since timestamptz NOT NULL DEFAULT now())"
        )
    version = session.rows(f"SELECT coalesce(max(version), 0) FROM {schema}.schema_version")[0][0]
    if version > len(MIGRATIONS):
        raise Fatal(
            f"{client.address.where}: the schema {name} was made by a newer MarketPulse (version {version}, this one knows "
            f"{len(MIGRATIONS)}): upgrade this one, or set sinks.postgres.schema_name to another; nothing is lost"
        )
    for number in range(version + 1, len(MIGRATIONS) + 1):
        MIGRATIONS[number - 1](session, schema, layout)
        session.run(f"INSERT INTO {schema}.schema_version (version) VALUES ({number})")


def _create(session: Session, schema: str, table: Table, layout: Layout) -> None:
    place = f"{schema}.{table.name}"
    clause = layout.clause(table) if table.partitioned else ""
    session.run(f"CREATE TABLE {place} ({', '.join(table.definition())}){clause}")
    session.run(f"COMMENT ON TABLE {place} IS {text(table.about)}")
    for index in table.indexes:
        session.run(f"CREATE INDEX ON {place} {index}")
    if table.partitioned:
        layout.created(session, schema, table)


def indicator_columns(session: Session, name: str) -> frozenset[str]:
    """The columns that `indicators` has."""
    found = session.rows(
        "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped "
        f"AND attrelid = {text(identifier(name) + '.indicators')}::regclass"
    )
    return frozenset(row[0] for row in found)


def add_indicators(session: Session, name: str, columns: Iterable[str]) -> None:
    """Room for indicators that are new: null in the rows that are there."""
    lock(session, name)
    for column in columns:
        session.run(
            f"ALTER TABLE {identifier(name)}.indicators ADD COLUMN IF NOT EXISTS {identifier(column)} double precision"
        )


def lock(session: Session, name: str) -> None:
    """Until the transaction ends, nobody else changes this schema."""
    session.rows(
        f"SELECT pg_advisory_xact_lock({zlib.crc32(b'marketpulse') >> 1}, {zlib.crc32(name.encode()) >> 1})::text"
    )


# The role that only reads.


def open_to_reader(client: Client, name: str, role: str, password: str | None) -> str:
    """Let the role read all that is there and all that will be. Returns the line of SQL that makes it where we may not."""
    schema, reader = identifier(name), identifier(role)
    grants = (
        f"GRANT USAGE ON SCHEMA {schema} TO {reader}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}",
    )
    with client.transaction() as session:
        lock(session, name)
        there = bool(session.rows(f"SELECT 1 FROM pg_roles WHERE rolname = {text(role)}"))
        may = session.rows("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")[0][0]
        if not there and not may:
            get_logger().warning("reader_role_is_missing", do=_by_hand(reader, schema, grants))
            return _by_hand(reader, schema, grants)
        if not there:
            login = "" if password is None else f" PASSWORD {text(scram_verifier(password))}"
            session.run(f"CREATE ROLE {reader} LOGIN{login}")
            session.run(f"ALTER ROLE {reader} SET search_path = {schema}, public")
        for grant in grants:
            session.run(grant)
    return ""


def _by_hand(reader: str, schema: str, grants: Sequence[str]) -> str:
    made = (f"CREATE ROLE {reader} LOGIN PASSWORD '…'", f"ALTER ROLE {reader} SET search_path = {schema}, public")
    return "; ".join((*made, *grants)) + ";"


def scram_verifier(password: str, salt: bytes | None = None, rounds: int = 4_096) -> str:
    """What the server keeps of a password (RFC 5803), made here so that the password itself never travels or is logged."""
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client_key).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${rounds}:{base64.b64encode(salt).decode()}${stored}:{server}"
