"""What shall stand in AWS, from the settings alone. Pure: nothing is asked of AWS."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from marketpulse.aws import stock_data
from marketpulse.errors import SettingsError
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.settings import Settings

MARK = {"managed-by": "marketpulse"}
"""What our objects bear, as a tag or a parameter: only such are changed or removed."""

DATABASE, TABLE, VIEW, CRAWLER = "glue database", "glue table", "glue view", "glue crawler"
WORKGROUP, QUERY = "athena workgroup", "athena query"
KINDS = (DATABASE, TABLE, VIEW, CRAWLER, WORKGROUP, QUERY)
"""In the order in which they are made; they are removed in the other."""

_BY_DATE_ALONE = ("dead_letters",)  # as the archive files them
_GLUE_TYPES = {
    pa.string(): "string", pa.int32(): "int", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean",
    pa.date32(): "date",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """A named query, in Athena's dialect and ready to run."""

    name: str
    title: str
    sql: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object: what people call it, and what it shall be like. `fields` are JSON values."""

    kind: str
    name: str
    fields: dict[str, Any] = field(default_factory=dict)


def wanted_objects(settings: Settings, indicators: Sequence[str], queries: Iterable[Query]) -> list[Wanted]:
    """All of them, in the order in which they are made. `indicators` are the columns of that table."""
    aws = settings.aws
    tags = {**aws.tags, **MARK}
    found = [Wanted(DATABASE, aws.database, {"description": "Market data, bars and indicators by MarketPulse"})]
    tables = _tables(settings, indicators)
    found += tables
    if (view := stock_data.view_fields(settings, archive=bool(tables))) is not None:
        found.append(Wanted(VIEW, f"{aws.table_prefix}{stock_data.NAME}", {**view}))
    if tables and aws.crawler_role:
        names = [table.name for table in tables]
        found.append(
            Wanted(
                CRAWLER, aws.crawler,
                {"role": aws.crawler_role, "database": aws.database, "tables": names, "schedule": aws.crawler_schedule, "tags": tags},
            )
        )  # fmt: skip
    if output := output_url(settings):
        limits = {"output_url": output, "bytes_scanned_max": aws.bytes_scanned_max, "enforced": True}
        found.append(Wanted(WORKGROUP, aws.workgroup, {**limits, "tags": tags}))
        found += [
            Wanted(QUERY, query.name, {"title": query.title, "database": aws.database, "sql": query.sql})
            for query in queries
        ]
    return found


def left_out(settings: Settings) -> list[str]:
    """What is not made, and which setting would change that."""
    said = []
    if not _archive_tables(settings):
        said.append(
            'no tables of the archive: they need sinks.archive.enabled = true, .format = "parquet" and .url on s3:// '
            "(a lake whose catalogue is Glue makes its own)"
        )
    elif not settings.aws.crawler_role:
        said.append("no crawler: set aws.crawler_role; until it has run, Athena finds no rows in the archive's tables")
    if output_url(settings) is None:
        said.append("no workgroup and no queries: set aws.output_url, or a lake or an archive on s3://")
    return said


def output_url(settings: Settings) -> str | None:
    """Where Athena writes its results; None when neither it nor a bucket is set."""
    if settings.aws.output_url:
        return settings.aws.output_url.rstrip("/") + "/"
    for url in (settings.archive_url(), settings.lake_url()):
        if url.startswith(("s3://", "s3a://")):
            bucket, prefix = bucket_and_prefix(url)
            return f"s3://{bucket}/{prefix.rstrip('/').rpartition('/')[0] or 'marketpulse'}/athena/"
    return None


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """`s3://bucket/a/b` -> `bucket`, `a/b/`; nothing as the prefix of a whole bucket."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    if not bucket:
        raise SettingsError(f"{url} names no bucket: write s3://bucket/prefix")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def glue_type(kind: pa.DataType) -> str:
    """An Arrow type as Glue and Athena write it."""
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{one.name}:{glue_type(one.type)}' for one in kind)}>"
    if pa.types.is_list(kind):
        return f"array<{glue_type(kind.value_type)}>"
    return _GLUE_TYPES[kind]


def _archive_tables(settings: Settings) -> bool:
    archive = settings.sinks.archive
    return archive.enabled and archive.format == "parquet" and settings.archive_url().startswith(("s3://", "s3a://"))


def _tables(settings: Settings, indicators: Sequence[str]) -> list[Wanted]:
    if not _archive_tables(settings):
        return []
    bucket, prefix = bucket_and_prefix(settings.archive_url())
    by_symbol = settings.sinks.archive.layout == "symbol/date"
    found = []
    for table, (_, schema) in TABLES.items():
        whole = indicators_schema(indicators) if table == "indicators" else schema
        keys = ["symbol", "date"] if by_symbol and table not in _BY_DATE_ALONE else ["date"]
        columns = {one.name: glue_type(one.type) for one in whole if one.name not in keys}
        found.append(
            Wanted(
                TABLE,
                f"{settings.aws.table_prefix}{table}",
                {
                    "location": f"s3://{bucket}/{prefix}table={table}/",
                    "columns": columns,
                    "partition_keys": dict.fromkeys(keys, "string"),
                },
            )
        )
    return found
