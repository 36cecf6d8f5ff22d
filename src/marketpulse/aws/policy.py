"""The least rights that each login needs, as IAM policies. Pure: from the settings and the account's number.

writer     the process that stores: the archive, and a lake on S3, with its tables where their catalogue is Glue
reader     a person or a tool that asks Athena
crawler    the role that the Glue crawler runs under
"""

from collections.abc import Callable
from typing import Any

from marketpulse.aws.account import Place
from marketpulse.aws.wanted import bucket_and_prefix, output_url
from marketpulse.errors import SettingsError
from marketpulse.model.tables import TABLES
from marketpulse.settings import Settings

Policy = dict[str, Any]

_READ_TABLES = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables"]
_READ_PARTITIONS = ["glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"]


def policy(who: str, settings: Settings, place: Place, lake_namespace: str | None = None) -> Policy:
    """The policy of the writer, the reader or the crawler. `lake_namespace`: the lake's database, where its catalogue is Glue.

    Raises SettingsError when nothing is stored on S3.
    """
    return POLICIES[who](settings, place, lake_namespace)


def _writer(settings: Settings, place: Place, lake_namespace: str | None) -> Policy:
    urls = _stores(settings)
    statements = _listed(urls, place)
    statements.append(
        _allow(
            "ParkedUploads", ["s3:ListBucketMultipartUploads"], sorted({place.bucket_arn(bucket_and_prefix(u)[0]) for u in urls})
        )
    )  # fmt: skip
    statements.append(
        _allow(
            "Objects",
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            _objects(urls, place),
        )
    )
    if lake_namespace:
        actions = ["glue:GetDatabase", "glue:CreateDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable"]
        statements.append(_allow("LakeTables", actions, _catalogue(place, lake_namespace)))
    return _document(statements)


def _reader(settings: Settings, place: Place, lake_namespace: str | None) -> Policy:
    urls, output = _stores(settings), _output(settings)
    bucket, prefix = bucket_and_prefix(output)
    asking = [
        "athena:GetWorkGroup", "athena:StartQueryExecution", "athena:StopQueryExecution", "athena:GetQueryExecution",
        "athena:GetQueryResults", "athena:ListQueryExecutions", "athena:ListNamedQueries", "athena:GetNamedQuery",
        "athena:BatchGetNamedQuery",
    ]  # fmt: skip
    databases = sorted({settings.aws.database, *([lake_namespace] if lake_namespace else [])})
    catalogue = sorted({arn for name in databases for arn in _catalogue(place, name)})
    statements = [
        _allow("Ask", asking, [place.arn("athena", f"workgroup/{settings.aws.workgroup}")]),
        _allow("Tables", _READ_TABLES + _READ_PARTITIONS, catalogue),
        *_listed(urls, place),
        _allow("StoredData", ["s3:GetObject"], _objects(urls, place)),
        _allow("ResultBucket", ["s3:GetBucketLocation"], [place.bucket_arn(bucket)]),
        _allow(
            "Results",
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            [place.bucket_arn(f"{bucket}/{prefix}*")],
        ),
    ]
    return _document(statements)


def _crawler(settings: Settings, place: Place, lake_namespace: str | None) -> Policy:  # noqa: ARG001
    archive = settings.archive_url()
    if not archive.startswith(("s3://", "s3a://")):
        raise SettingsError("the archive is not on S3: set sinks.archive.url to s3://bucket/prefix")
    database = settings.aws.database
    tables = [place.arn("glue", f"table/{database}/{settings.aws.table_prefix}{table}") for table in TABLES]
    own = [place.arn("glue", "catalog"), place.arn("glue", f"database/{database}"), *tables]
    finding = [*_READ_TABLES, *_READ_PARTITIONS, "glue:UpdateTable", "glue:BatchCreatePartition", "glue:CreatePartition", "glue:UpdatePartition", "glue:BatchUpdatePartition"]  # fmt: skip
    return _document(
        [
            _allow("Tables", finding, own),
            *_listed([archive], place),
            _allow("StoredData", ["s3:GetObject"], _objects([archive], place)),
            _allow(
                "Log",
                ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                [place.arn("logs", "log-group:/aws-glue/crawlers*")],
            ),
        ]
    )


POLICIES: dict[str, Callable[[Settings, Place, str | None], Policy]] = {
    "writer": _writer,
    "reader": _reader,
    "crawler": _crawler,
}
"""By whom they are for."""


def _stores(settings: Settings) -> list[str]:
    """What lies on S3 of that which is stored."""
    sinks = settings.sinks
    there = [
        url
        for section, url in ((sinks.archive, settings.archive_url()), (sinks.lake, settings.lake_url()))
        if section.enabled and url.startswith(("s3://", "s3a://"))
    ]
    if not there:
        raise SettingsError("nothing is stored on S3: set sinks.archive.url or sinks.lake.url to s3://bucket/prefix")
    return there


def _output(settings: Settings) -> str:
    url = output_url(settings)
    if url is None:
        raise SettingsError("there is no place for Athena's results: set aws.output_url")
    return url


def _listed(urls: list[str], place: Place) -> list[dict[str, Any]]:
    """The right to list each store's own prefix, and nothing beside it."""
    found = []
    for number, url in enumerate(urls, 1):
        bucket, prefix = bucket_and_prefix(url)
        statement = _allow(f"List{number}", ["s3:ListBucket"], [place.bucket_arn(bucket)])
        if prefix:
            statement["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{prefix}*"]}}
        found.append(statement)
    return found


def _objects(urls: list[str], place: Place) -> list[str]:
    return sorted(place.bucket_arn("{}/{}*".format(*bucket_and_prefix(url))) for url in urls)


def _catalogue(place: Place, database: str) -> list[str]:
    """What Glue asks rights of for one table: the catalogue, its database and itself."""
    names = ("catalog", f"database/{database}", f"table/{database}/*")
    return [place.arn("glue", name) for name in names]


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _document(statements: list[dict[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": statements}
