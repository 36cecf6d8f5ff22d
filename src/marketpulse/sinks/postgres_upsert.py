"""Rows into a table of PostgreSQL: new ones straight, others in the place of those that they replace."""

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.sinks.postgres_client import Session
from marketpulse.sinks.postgres_faults import identifier
from marketpulse.sinks.postgres_tables import Table, quoted


def put(session: Session, schema_name: str, table: Table, rows: pa.Table, *, aside: bool) -> None:
    """New rows by COPY; those that replace others, or (`aside`) all, by a table beside it.

    `rows` are as Table.arrange gives them. Raises Conflict when a row that was to be new is there.
    """
    later = _others(table, rows) if not aside else pa.array([not table.generated] * rows.num_rows)
    if not pc.any(later).as_py():
        session.copy(table.name, rows, schema_name)
        return
    new, others = rows.filter(pc.invert(later)), rows.filter(later)
    if new.num_rows:
        session.copy(table.name, new, schema_name)
    _replace(session, schema_name, table, table.newest(others))


def _others(table: Table, rows: pa.Table) -> pa.Array | pa.ChunkedArray:
    """(n,): the rows that replace one that was told before."""
    if not table.revised:
        return pa.repeat(False, rows.num_rows)
    return pc.or_(pc.greater(pc.fill_null(rows.column("revision"), 0), 0), table.withdrawn(rows))


def _replace(session: Session, schema_name: str, table: Table, rows: pa.Table) -> None:
    place, beside = f"{identifier(schema_name)}.{table.name}", f"new_{table.name}"
    session.run(f"CREATE TEMPORARY TABLE {beside} (LIKE {place}) ON COMMIT DROP")
    session.copy(beside, rows, None)
    found = session.rows(
        f"SELECT attname::text FROM pg_attribute WHERE attrelid = '{beside}'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    names = quoted([row[0] for row in found])  # of the table, so that what a row has no more is null in its place
    key = quoted(table.key)
    insert = f"INSERT INTO {place} AS old ({', '.join(names)}) SELECT {', '.join(names)} FROM {beside} new"
    if not table.revised:
        session.run(f"{insert} ON CONFLICT DO NOTHING")
        return
    gone = "new.state = 'withdrawn'" if table.name == "alerts" else "new.close IS NULL"
    same = " AND ".join(f"old.{name} = new.{name}" for name in key)
    session.run(f"DELETE FROM {place} old USING {beside} new WHERE {same} AND {gone} AND old.revision <= new.revision")
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    session.run(
        f"{insert} WHERE NOT coalesce({gone}, false) ON CONFLICT ({', '.join(key)}) "
        f"DO UPDATE SET {changed} WHERE excluded.revision >= old.revision"
    )
