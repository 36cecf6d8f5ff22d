"""The least rights of each login: valid by IAM's grammar, and no wider than what is done."""

import json
from fnmatch import fnmatchcase
from typing import Any

import boto3
import pytest
from cfnlint.api import lint  # type: ignore[import-untyped]

from aws_server import AwsAccount
from marketpulse.aws import POLICIES, Place, policy
from marketpulse.errors import SettingsError
from marketpulse.settings import Settings

PLACE = Place("aws", "eu-central-1", "123456789012")


def settings() -> Settings:
    archive = {"enabled": True, "format": "parquet", "url": "s3://desk/market/archive"}
    return Settings(sinks={"archive": archive, "lake": {"url": "s3://lake-of-desk/lake/"}})


def statements(who: str, chosen: Settings | None = None, lake: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policy(who, chosen or settings(), PLACE, lake)["Statement"]
    return found


def allows(who: str, action: str, resource: str, lake: str | None = None) -> bool:
    patterns = [p for one in statements(who, lake=lake) for p in one["Resource"] if action in one["Action"]]
    return any(fnmatchcase(resource, pattern) for pattern in patterns)


def linted(document: dict[str, Any]) -> list[str]:
    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Policy": resource}}
    return [str(match) for match in lint(json.dumps(template), None, ["eu-central-1"])]


@pytest.mark.parametrize("who", sorted(POLICIES))
def test_a_policy_is_valid_for_iam_and_the_linter_and_allows_nothing_everywhere(
    who: str, aws_account: AwsAccount
) -> None:
    document = policy(who, settings(), PLACE, "marketpulse")
    iam = boto3.client("iam", endpoint_url=aws_account.endpoint_url)
    assert iam.create_policy(PolicyName=who, PolicyDocument=json.dumps(document))["Policy"]["PolicyName"] == who
    assert linted(document) == []
    for one in statements(who, lake="marketpulse"):
        assert all("*" not in action for action in one["Action"])
        assert all(resource not in ("*", "arn:aws:s3:::*") for resource in one["Resource"])
        assert one["Effect"] == "Allow"


def test_the_linter_finds_what_is_wrong() -> None:
    assert linted({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe", "Action": ["s3:Get"]}]})


DATA = "arn:aws:s3:::desk/market/archive/table=trades/x.parquet"


def test_the_writer_stores_in_its_prefixes_and_nowhere_else_and_a_lake_in_glue_adds_its_database() -> None:
    places = (DATA, "arn:aws:s3:::lake-of-desk/lake/x", "arn:aws:s3:::desk/market/other/x")
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"):
        assert [allows("writer", action, place) for place in places] == [True, True, False]
    lists = [one for one in statements("writer") if one["Action"] == ["s3:ListBucket"]]
    prefixes = [one["Condition"]["StringLike"]["s3:prefix"] for one in lists]
    assert prefixes == [["market/archive/", "market/archive/*"], ["lake/", "lake/*"]]
    assert not any(action.startswith("glue:") for one in statements("writer") for action in one["Action"])
    table = "arn:aws:glue:eu-central-1:123456789012:table/quotes_lake/bars"
    assert allows("writer", "glue:UpdateTable", table, lake="quotes_lake")
    assert not allows("writer", "glue:UpdateTable", table.replace("quotes_lake", "other"), lake="quotes_lake")


def test_the_reader_reads_and_asks_and_writes_only_results() -> None:
    assert allows("reader", "s3:GetObject", DATA)
    assert not allows("reader", "s3:PutObject", DATA)
    assert allows("reader", "s3:PutObject", "arn:aws:s3:::desk/market/athena/result.csv")
    group = "arn:aws:athena:eu-central-1:123456789012:workgroup/"
    assert allows("reader", "athena:StartQueryExecution", f"{group}marketpulse")
    assert not allows("reader", "athena:StartQueryExecution", f"{group}primary")
    assert not any("Delete" in action for one in statements("reader") for action in one["Action"])


def test_the_crawler_reads_the_archive_and_adds_partitions_to_its_tables() -> None:
    tables = "arn:aws:glue:eu-central-1:123456789012:table/marketpulse/"
    assert allows("crawler", "s3:GetObject", DATA)
    assert not allows("crawler", "s3:PutObject", DATA)
    assert not allows("crawler", "s3:GetObject", "arn:aws:s3:::lake-of-desk/lake/x")
    assert allows("crawler", "glue:BatchCreatePartition", f"{tables}bars")
    assert not allows("crawler", "glue:BatchCreatePartition", f"{tables}theirs")


def test_a_whole_bucket_needs_no_condition_and_without_one_there_is_nothing_to_allow() -> None:
    bucket = Settings(sinks={"archive": {"enabled": True, "url": "s3://desk"}})
    (one,) = [one for one in statements("writer", bucket) if one["Action"] == ["s3:ListBucket"]]
    assert "Condition" not in one
    for who in ("writer", "crawler", "reader"):
        with pytest.raises(SettingsError, match=r"sinks\.archive\.url"):
            policy(who, Settings(), PLACE)
