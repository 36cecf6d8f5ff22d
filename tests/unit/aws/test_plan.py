"""What shall stand in AWS, what would be done for it, and doing it, against an emulation that keeps it; least rights."""

import base64
import json
from fnmatch import fnmatchcase
from typing import Any
from unittest.mock import patch

import boto3
import duckdb
import pyarrow as pa
import pytest
from botocore.exceptions import EndpointConnectionError
from cfnlint.api import lint  # type: ignore[import-untyped]

import athena_queries as tutorial_queries
from athena_queries import QUERIES as QUERIES_OF_TUTORIALS
from aws_server import ACCOUNT, REGION, AwsAccount
from marketpulse.aws import POLICIES, Account, Aws, Place, Step, Wanted, changing, policy, stock_data, wanted_objects
from marketpulse.aws.athena import named_queries
from marketpulse.aws.costs import cost_drivers
from marketpulse.aws.wanted import Query, glue_type, left_out, output_url
from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.model.rows import RECEIPT
from marketpulse.model.tables import TABLES
from marketpulse.query.from_athena import to_duckdb
from marketpulse.settings import Settings
from refused import assert_raises

INDICATORS = ("sma_20", "rsi_14")
STORED = ("alerts", "bars", "dead_letters", "events", "indicators", "quotes", "stock_data", "trades")
QUERIES = (Query("gainers", "The largest gains", "SELECT 1"), Query("losers", "The largest losses", "SELECT 2"))


def settings(**aws: Any) -> Settings:
    archive = {"enabled": True, "format": "parquet", "layout": "symbol/date", "url": "s3://desk/market/archive"}
    return Settings(sinks={"archive": archive}, aws={"crawler_role": "crawls", "tags": {"desk": "7"}, **aws})


def wanted(chosen: Settings, queries: tuple[Query, ...] = QUERIES) -> list[Wanted]:
    return wanted_objects(chosen, INDICATORS, queries)


def opened(chosen: Settings) -> Aws:
    return Aws(Account(chosen), chosen)


def plan(chosen: Settings, queries: tuple[Query, ...] = QUERIES) -> list[Step]:
    return opened(chosen).plan(wanted(chosen, queries))


def do(chosen: Settings, queries: tuple[Query, ...] = QUERIES) -> list[Step]:
    return list(opened(chosen).do(plan(chosen, queries)))


def destroyed(chosen: Settings) -> list[Step]:
    aws = opened(chosen)
    steps = aws.destruction()
    list(aws.do(steps))
    return steps


@pytest.fixture
def applied(aws_account: AwsAccount) -> AwsAccount:
    """An account in which all stands that the settings want."""
    assert len(do(settings())) == 13
    return aws_account


def tables_of(glue: Any) -> list[str]:
    return [table["Name"] for table in glue.get_tables(DatabaseName="marketpulse")["TableList"]]


def table_of(glue: Any, name: str) -> dict[str, Any]:
    return dict(glue.get_table(DatabaseName="marketpulse", Name=name)["Table"])


def actions(steps: list[Step]) -> set[tuple[str, str]]:
    return {(step.action, step.name) for step in steps}


def test_in_an_empty_account_all_is_to_be_created_in_order(aws_account: AwsAccount) -> None:
    steps = plan(settings())
    assert {step.action for step in steps} == {"create"}
    kinds = ["glue database", *["glue table"] * 7, "glue view", "glue crawler", "athena workgroup"]
    kinds += ["athena query"] * 2
    assert [step.kind for step in steps] == kinds
    assert aws_account.client("glue").get_databases()["DatabaseList"] == []  # a plan changes nothing


def test_what_was_applied_stands_there_and_nothing_is_left_to_do(applied: AwsAccount) -> None:
    assert ({step.action for step in plan(settings())}, do(settings())) == ({"none"}, [])
    glue, athena = applied.client("glue"), applied.client("athena")
    assert tuple(sorted(tables_of(glue))) == STORED
    indicators = table_of(glue, "indicators")
    assert [key["Name"] for key in indicators["PartitionKeys"]] == ["symbol", "date"]
    columns = {c["Name"]: c["Type"] for c in indicators["StorageDescriptor"]["Columns"]}
    assert (columns["sma_20"], columns["open_time_ns"]) == ("double", "bigint")
    assert columns["receipt"].startswith("struct<topic:string,partition:int,first_offset:bigint")
    assert "symbol" not in columns  # the partition says it
    assert indicators["StorageDescriptor"]["Location"] == "s3://desk/market/archive/table=indicators/"
    crawler = glue.get_crawler(Name="marketpulse")["Crawler"]
    names = [t.name for t in wanted(settings()) if t.kind == "glue table"]
    assert crawler["Targets"]["CatalogTargets"] == [{"DatabaseName": "marketpulse", "Tables": names}]
    assert crawler["SchemaChangePolicy"]["DeleteBehavior"] == "LOG"  # else AWS refuses such targets
    group = athena.get_work_group(WorkGroup="marketpulse")["WorkGroup"]["Configuration"]
    assert (group["BytesScannedCutoffPerQuery"], group["EnforceWorkGroupConfiguration"]) == (10 * 1024**3, True)
    assert group["ResultConfiguration"]["OutputLocation"] == "s3://desk/market/athena/"
    stored = {q["Name"]: q["QueryString"] for q in named_queries(athena, "marketpulse")}
    assert stored == {"gainers": "SELECT 1", "losers": "SELECT 2"}


def test_a_changed_setting_updates_what_it_touches_and_says_which_fields(applied: AwsAccount) -> None:
    changed = settings(bytes_scanned_max=10**9, crawler_schedule="cron(15 0 * * ? *)", tags={"desk": "8"})
    queries = (Query("gainers", "The largest gains", "SELECT 3"), QUERIES[1])
    steps = {s.name + s.kind: s for s in changing(plan(changed, queries))}
    assert steps["marketpulseathena workgroup"].changes["bytes_scanned_max"] == (10 * 1024**3, 10**9)
    assert steps["marketpulseglue crawler"].changes["schedule"] == (None, "cron(15 0 * * ? *)")
    assert dict(steps["gainersathena query"].changes) == {"sql": ("SELECT 1", "SELECT 3")}
    assert [step.action for step in steps.values()] == ["update"] * 3
    do(changed, queries)
    assert changing(plan(changed, queries)) == []


def test_a_new_indicator_is_a_new_column_and_what_a_crawler_noted_stays(applied: AwsAccount) -> None:
    glue = applied.client("glue")
    table = table_of(glue, "indicators")
    noted = {key: table[key] for key in ("Name", "PartitionKeys", "StorageDescriptor", "TableType")}
    noted["Parameters"] = {**table["Parameters"], "recordCount": "12"}
    glue.update_table(DatabaseName="marketpulse", TableInput=noted)
    assert changing(plan(settings())) == []
    aws = opened(settings())
    (step,) = list(aws.do(aws.plan(wanted_objects(settings(), (*INDICATORS, "ema_12"), QUERIES))))
    assert (step.action, step.name, list(step.changes)) == ("update", "indicators", ["columns"])
    table = table_of(glue, "indicators")
    assert table["Parameters"]["recordCount"] == "12"
    assert "ema_12" in {column["Name"] for column in table["StorageDescriptor"]["Columns"]}


def test_the_view_of_the_tutorials_is_kept_as_athena_keeps_views(applied: AwsAccount) -> None:
    view = applied.client("glue").get_table(DatabaseName="marketpulse", Name="stock_data")["Table"]
    assert (view["TableType"], view["Parameters"]["presto_view"]) == ("VIRTUAL_VIEW", "true")
    body = json.loads(base64.b64decode(view["ViewOriginalText"].removeprefix("/* Presto View: ").removesuffix(" */")))
    assert (body["catalog"], body["schema"], body["originalSql"]) == (
        "awsdatacatalog", "marketpulse", stock_data.view_sql("trades", "bars"),
    )  # fmt: skip
    names = ["symbol", "timestamp", "price", "volume", "kind"]
    assert [column["name"] for column in body["columns"]] == names
    assert [column["Name"] for column in view["StorageDescriptor"]["Columns"]] == names
    prefixed = settings(table_prefix="raw_")
    assert {("create", "raw_stock_data"), ("delete", "stock_data")} <= actions(opened(prefixed).plan(wanted(prefixed)))


@pytest.mark.parametrize("name", QUERIES_OF_TUTORIALS)
def test_the_views_text_gives_what_the_tutorials_expect_over_every_revision(name: str) -> None:
    """The text itself, put into DuckDB's words, over tables as they lie in the archive."""
    database = duckdb.connect()
    rows = {"trades": tutorial_queries.trades(), "bars": [
        *tutorial_queries.bars(revision=1), *tutorial_queries.bars(close=999.0), *tutorial_queries.bars("TRADES"),
        *tutorial_queries.bars(timeframe="1d"), *tutorial_queries.bars(timeframe="30s"),
        *tutorial_queries.bars(timeframe="30s", close=None, revision=1),
    ]}  # fmt: skip
    for table, stored in rows.items():
        database.register(table, pa.Table.from_pylist(stored, schema=TABLES[table][1]))
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"CREATE VIEW stock_data AS {to_duckdb(stock_data.view_sql('trades', 'bars'))}")
    found = database.execute(QUERIES_OF_TUTORIALS[name][0]).fetchall()
    assert [(row[0], row[-1]) for row in found] == tutorial_queries.answer(name)
    assert sorted(database.execute("SELECT DISTINCT symbol, kind FROM stock_data").fetchall()) == [
        ("BARS", "bar"), ("TRADES", "trade"),
    ]  # fmt: skip


def test_what_is_ours_and_no_longer_wanted_is_removed(applied: AwsAccount) -> None:
    assert actions(do(settings(), QUERIES[:1])) == {("delete", "losers")}
    assert {("create", "raw_bars"), ("delete", "bars")} <= actions(plan(settings(table_prefix="raw_")))


def test_what_is_somebody_elses_is_left_as_it_is(aws_account: AwsAccount) -> None:
    glue, athena = aws_account.client("glue"), aws_account.client("athena")
    glue.create_database(DatabaseInput={"Name": "marketpulse"})
    theirs = {"Name": "trades", "StorageDescriptor": {"Columns": [], "Location": "s3://theirs/"}}
    glue.create_table(DatabaseName="marketpulse", TableInput=theirs)
    athena.create_work_group(Name="marketpulse", Configuration={})
    query = {"Name": "gainers", "Database": "d", "QueryString": "SELECT 0", "Description": "mine"}
    athena.create_named_query(WorkGroup="marketpulse", **query)
    kept = {f"{s.kind} {s.name}" for s in plan(settings()) if s.action == "keep"}
    names = ("glue database marketpulse", "glue table trades", "athena workgroup marketpulse", "athena query gainers")
    assert kept == set(names)
    do(settings())
    assert table_of(glue, "trades")["StorageDescriptor"]["Location"] == "s3://theirs/"
    destroyed(settings())
    assert tables_of(glue) == ["trades"]
    assert [q["QueryString"] for q in named_queries(athena, "marketpulse")] == ["SELECT 0"]


def test_destroy_removes_all_that_is_ours_and_a_second_time_nothing(applied: AwsAccount) -> None:
    s3 = applied.client("s3")
    s3.create_bucket(Bucket="desk", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="desk", Key="market/archive/table=trades/x.parquet", Body=b"data")
    kinds = [*["athena query"] * 2, "athena workgroup", "glue crawler", "glue view", *["glue table"] * 7]
    kinds.append("glue database")
    assert [step.kind for step in destroyed(settings())] == kinds
    assert opened(settings()).destruction() == []
    assert applied.client("glue").get_databases()["DatabaseList"] == []
    assert s3.list_objects_v2(Bucket="desk")["KeyCount"] == 1  # no file is touched


def test_a_database_with_tables_of_others_stays(applied: AwsAccount) -> None:
    glue = applied.client("glue")
    glue.create_table(DatabaseName="marketpulse", TableInput={"Name": "theirs"})
    last = destroyed(settings())[-1]
    assert (last.action, last.kind, "theirs" in last.why) == ("keep", "glue database", True)
    assert tables_of(glue) == ["theirs"]


@pytest.mark.usefixtures("aws_account")
def test_a_fault_in_the_middle_leaves_what_was_done_and_the_next_apply_goes_on() -> None:
    aws = opened(settings())
    doing = aws.do(plan(settings()))
    assert [next(doing).name, next(doing).name] == ["marketpulse", "trades"]
    gone = EndpointConnectionError(endpoint_url="https://glue.eu-central-1.amazonaws.com")
    with (
        patch.object(aws._objects["glue table"], "create", side_effect=gone),
        pytest.raises(Retryable, match="create glue table quotes: AWS does not answer"),
    ):
        next(doing)
    assert {("none", "marketpulse"), ("none", "trades"), ("create", "quotes")} <= actions(plan(settings()))
    assert len(do(settings())) == 11


@pytest.mark.usefixtures("aws_account")
def test_an_arn_has_account_and_region_and_no_login_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Account(settings()).place().arn("glue", "crawler/x") == f"arn:aws:glue:{REGION}:{ACCOUNT}:crawler/x"
    assert Account(Settings(s3={"region": "cn-north-1"})).place("1" * 12).bucket_arn("b") == "arn:aws-cn:s3:::b"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert_raises(Fatal, r"no AWS login .*AWS_ACCESS_KEY_ID", opened, settings())


ON_S3 = {"enabled": True, "format": "parquet", "url": "s3://desk/a"}


@pytest.mark.parametrize(("archive", "wanted"), [
    (ON_S3, {"glue database", "glue table", "glue view", "athena workgroup"}),
    ({**ON_S3, "format": "json-lines"}, {"glue database", "athena workgroup"}),
    ({**ON_S3, "enabled": False}, {"glue database", "athena workgroup"}),
    ({**ON_S3, "url": "/srv/archive"}, {"glue database"}),
])  # fmt: skip
def test_tables_are_of_an_archive_in_parquet_on_s3(archive: dict[str, Any], wanted: set[str]) -> None:
    assert {one.kind for one in wanted_objects(Settings(sinks={"archive": archive}), (), ())} == wanted


def test_what_is_left_out_names_its_setting_a_url_needs_a_bucket_and_only_a_lake_in_glue_has_the_view() -> None:
    heads = ["no tables of the archive", "no workgroup and no queries"]
    assert [line.split(":")[0] for line in left_out(Settings())] == heads
    (line,) = left_out(Settings(sinks={"archive": ON_S3}))
    assert "aws.crawler_role" in line
    assert left_out(Settings(sinks={"archive": ON_S3}, aws={"crawler_role": "r"})) == []
    with pytest.raises(SettingsError, match="names no bucket"):
        wanted_objects(Settings(sinks={"archive": {**ON_S3, "url": "s3://"}}), (), ())

    def views(**catalog: str) -> list[Wanted]:
        return [one for one in wanted(Settings(sinks={"lake": {"catalog": catalog}})) if one.kind == "glue view"]

    assert views() == []
    [view] = views(kind="glue", namespace="market")
    assert view.fields == {"sql": stock_data.view_sql("market.trades", "market.bars")}


def test_every_table_has_types_that_athena_knows_what_is_billed_its_limits_and_the_linter_finds_faults() -> None:
    found = wanted_objects(Settings(sinks={"archive": ON_S3}), ("sma_20",), ())
    tables = {one.name: one.fields for one in found if one.kind == "glue table"}
    assert (set(tables), tables["bars"]["columns"]["session_date"]) == (set(TABLES), "date")
    assert tables["dead_letters"]["columns"]["timeframes"] == "array<string>"
    assert tables["indicators"]["columns"]["sma_20"] == "double"
    assert all(table["partition_keys"] == {"date": "string"} for table in tables.values())
    assert glue_type(pa.list_(pa.int64())) == "array<bigint>"
    assert glue_type(RECEIPT) == (
        "struct<topic:string,partition:int,first_offset:bigint,first_row:int,last_offset:bigint,last_row:int,"
        "late_count:bigint,engine_version:string>"
    )
    settings = Settings(sinks={"archive": ON_S3}, aws={"crawler_role": "r", "crawler_schedule": "cron(0 1 * * ? *)"})
    said = "\n".join(cost_drivers(wanted_objects(settings, (), ())))
    words = ("at most 10,737,418,240 a query", "cron(0 1 * * ? *)", "$", "€")
    assert [word in said for word in words] == [True, True, False, False]
    assert linted({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe", "Action": ["s3:Get"]}]})


@pytest.mark.parametrize(("sinks", "aws", "expected"), [
    ({"archive": ON_S3}, {"output_url": "s3://other/results"}, "s3://other/results/"),
    ({"archive": {"url": "s3://desk/deep/er/archive"}}, {}, "s3://desk/deep/er/athena/"),
    ({"lake": {"url": "s3://desk"}}, {}, "s3://desk/marketpulse/athena/"), ({}, {}, None),
])  # fmt: skip
def test_results_go_where_it_is_said_or_beside_what_is_stored(sinks: Any, aws: Any, expected: str | None) -> None:
    assert output_url(Settings(sinks=sinks, aws=aws)) == expected


# The least rights of each login: valid by IAM's grammar, and no wider than what is done.

PLACE = Place("aws", "eu-central-1", "123456789012")


def policy_settings() -> Settings:
    archive = {"enabled": True, "format": "parquet", "url": "s3://desk/market/archive"}
    return Settings(sinks={"archive": archive, "lake": {"url": "s3://lake-of-desk/lake/"}})


def statements(who: str, chosen: Settings | None = None, lake: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policy(who, chosen or policy_settings(), PLACE, lake)["Statement"]
    return found


def allows(who: str, action: str, resource: str, lake: str | None = None) -> bool:
    patterns = [p for one in statements(who, lake=lake) for p in one["Resource"] if action in one["Action"]]
    return any(fnmatchcase(resource, pattern) for pattern in patterns)


def linted(document: dict[str, Any]) -> list[str]:
    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Policy": resource}}
    return [str(match) for match in lint(json.dumps(template), None, ["eu-central-1"])]


@pytest.mark.parametrize("who", sorted(POLICIES))
def test_a_policy_passes_iam_and_the_linter_and_allows_nothing_everywhere(who: str, aws_account: AwsAccount) -> None:
    document = policy(who, policy_settings(), PLACE, "marketpulse")
    iam = boto3.client("iam", endpoint_url=aws_account.endpoint_url)
    assert iam.create_policy(PolicyName=who, PolicyDocument=json.dumps(document))["Policy"]["PolicyName"] == who
    assert linted(document) == []
    for one in statements(who, lake="marketpulse"):
        assert all("*" not in action for action in one["Action"])
        assert all(resource not in ("*", "arn:aws:s3:::*") for resource in one["Resource"])
        assert one["Effect"] == "Allow"


DATA = "arn:aws:s3:::desk/market/archive/table=trades/x.parquet"


def test_the_writer_stores_in_its_prefixes_a_whole_bucket_or_nothing_and_a_lake_in_glue_adds_its_database() -> None:
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
    bucket = Settings(sinks={"archive": {"enabled": True, "url": "s3://desk"}})
    (one,) = [one for one in statements("writer", bucket) if one["Action"] == ["s3:ListBucket"]]
    assert "Condition" not in one
    for who in ("writer", "crawler", "reader"):
        assert_raises(SettingsError, r"sinks\.archive\.url", policy, who, Settings(), PLACE)


def test_the_reader_reads_asks_and_writes_only_results_and_the_crawler_reads_and_adds_partitions() -> None:
    assert allows("reader", "s3:GetObject", DATA)
    assert not allows("reader", "s3:PutObject", DATA)
    assert allows("reader", "s3:PutObject", "arn:aws:s3:::desk/market/athena/result.csv")
    group = "arn:aws:athena:eu-central-1:123456789012:workgroup/"
    assert allows("reader", "athena:StartQueryExecution", f"{group}marketpulse")
    assert not allows("reader", "athena:StartQueryExecution", f"{group}primary")
    assert not any("Delete" in action for one in statements("reader") for action in one["Action"])
    tables = "arn:aws:glue:eu-central-1:123456789012:table/marketpulse/"
    assert allows("crawler", "s3:GetObject", DATA)
    assert not allows("crawler", "s3:PutObject", DATA)
    assert not allows("crawler", "s3:GetObject", "arn:aws:s3:::lake-of-desk/lake/x")
    assert allows("crawler", "glue:BatchCreatePartition", f"{tables}bars")
    assert not allows("crawler", "glue:BatchCreatePartition", f"{tables}theirs")
