"""What would be done in AWS, and doing it, against an emulation of AWS that keeps what it is told."""

from typing import Any

import pytest

from aws_server import ACCOUNT, REGION, AwsAccount
from marketpulse.aws import Account, Aws, Step, Wanted, changing, wanted_objects
from marketpulse.aws.athena import named_queries
from marketpulse.aws.wanted import Query
from marketpulse.errors import Fatal, Retryable
from marketpulse.settings import Settings

INDICATORS = ("sma_20", "rsi_14")
TABLES = ("alerts", "bars", "dead_letters", "events", "indicators", "quotes", "trades")


QUERIES = (Query("gainers", "The largest gains", "SELECT 1"), Query("losers", "The largest losses", "SELECT 2"))


def settings(**aws: Any) -> Settings:
    archive = {"enabled": True, "format": "parquet", "layout": "symbol/date", "url": "s3://desk/market/archive"}
    return Settings(sinks={"archive": archive}, aws={"crawler_role": "crawls", "tags": {"desk": "7"}, **aws})


def wanted(chosen: Settings, queries: tuple[Query, ...] = QUERIES) -> list[Wanted]:
    return wanted_objects(chosen, INDICATORS, queries)


def opened(chosen: Settings) -> Aws:
    return Aws(Account(chosen), chosen)


def applied(chosen: Settings, queries: tuple[Query, ...] = QUERIES) -> list[Step]:
    aws = opened(chosen)
    return list(aws.do(aws.plan(wanted(chosen, queries))))


def actions(steps: list[Step]) -> set[tuple[str, str]]:
    return {(step.action, step.name) for step in steps}


def test_in_an_empty_account_all_is_to_be_created_in_order(aws_account: AwsAccount) -> None:
    steps = opened(settings()).plan(wanted(settings()))
    assert {step.action for step in steps} == {"create"}
    kinds = [step.kind for step in steps]
    assert kinds == (
        ["glue database"] + ["glue table"] * 7 + ["glue crawler", "athena workgroup"] + ["athena query"] * 2
    )
    assert aws_account.client("glue").get_databases()["DatabaseList"] == []  # a plan changes nothing


def test_what_was_applied_stands_there_and_nothing_is_left_to_do(aws_account: AwsAccount) -> None:
    assert len(applied(settings())) == 12
    assert {step.action for step in opened(settings()).plan(wanted(settings()))} == {"none"}
    assert applied(settings()) == []

    glue, athena = aws_account.client("glue"), aws_account.client("athena")
    tables = {t["Name"]: t for t in glue.get_tables(DatabaseName="marketpulse")["TableList"]}
    assert tuple(sorted(tables)) == TABLES
    indicators = tables["indicators"]
    assert [key["Name"] for key in indicators["PartitionKeys"]] == ["symbol", "date"]
    columns = {c["Name"]: c["Type"] for c in indicators["StorageDescriptor"]["Columns"]}
    assert columns["sma_20"] == "double"
    assert columns["open_time_ns"] == "bigint"
    assert columns["receipt"].startswith("struct<topic:string,partition:int,first_offset:bigint")
    assert "symbol" not in columns  # the partition says it
    assert indicators["StorageDescriptor"]["Location"] == "s3://desk/market/archive/table=indicators/"
    crawler = glue.get_crawler(Name="marketpulse")["Crawler"]
    assert crawler["Targets"]["CatalogTargets"] == [
        {"DatabaseName": "marketpulse", "Tables": [t.name for t in wanted(settings()) if t.kind == "glue table"]}
    ]
    assert crawler["SchemaChangePolicy"]["DeleteBehavior"] == "LOG"  # else AWS refuses such targets
    group = athena.get_work_group(WorkGroup="marketpulse")["WorkGroup"]["Configuration"]
    assert group["BytesScannedCutoffPerQuery"] == 10 * 1024**3
    assert group["EnforceWorkGroupConfiguration"] is True
    assert group["ResultConfiguration"]["OutputLocation"] == "s3://desk/market/athena/"
    assert {q["Name"]: q["QueryString"] for q in named_queries(athena, "marketpulse")} == {
        "gainers": "SELECT 1", "losers": "SELECT 2",
    }  # fmt: skip


def test_a_changed_setting_updates_what_it_touches_and_says_which_fields(aws_account: AwsAccount) -> None:
    applied(settings())
    changed = settings(bytes_scanned_max=10**9, crawler_schedule="cron(15 0 * * ? *)", tags={"desk": "8"})
    queries = (Query("gainers", "The largest gains", "SELECT 3"), QUERIES[1])
    steps = {s.name + s.kind: s for s in changing(opened(changed).plan(wanted(changed, queries)))}
    assert steps["marketpulseathena workgroup"].changes["bytes_scanned_max"] == (10 * 1024**3, 10**9)
    assert steps["marketpulseglue crawler"].changes["schedule"] == (None, "cron(15 0 * * ? *)")
    assert dict(steps["gainersathena query"].changes) == {"sql": ("SELECT 1", "SELECT 3")}
    assert {step.action for step in steps.values()} == {"update"}
    assert len(steps) == 3
    applied(changed, queries)
    assert changing(opened(changed).plan(wanted(changed, queries))) == []


def test_a_new_indicator_is_a_new_column_and_what_a_crawler_noted_stays(aws_account: AwsAccount) -> None:
    applied(settings())
    glue = aws_account.client("glue")
    table = glue.get_table(DatabaseName="marketpulse", Name="indicators")["Table"]
    noted = {key: table[key] for key in ("Name", "PartitionKeys", "StorageDescriptor", "TableType")}
    glue.update_table(
        DatabaseName="marketpulse", TableInput={**noted, "Parameters": {**table["Parameters"], "recordCount": "12"}}
    )
    assert changing(opened(settings()).plan(wanted(settings()))) == []
    more = wanted_objects(settings(), (*INDICATORS, "ema_12"), QUERIES)
    aws = opened(settings())
    (step,) = list(aws.do(aws.plan(more)))
    assert (step.action, step.name, list(step.changes)) == ("update", "indicators", ["columns"])
    table = glue.get_table(DatabaseName="marketpulse", Name="indicators")["Table"]
    assert table["Parameters"]["recordCount"] == "12"
    assert "ema_12" in {column["Name"] for column in table["StorageDescriptor"]["Columns"]}


def test_what_is_ours_and_no_longer_wanted_is_removed(aws_account: AwsAccount) -> None:
    applied(settings())
    aws = opened(settings())
    steps = list(aws.do(aws.plan(wanted(settings(), QUERIES[:1]))))
    assert actions(steps) == {("delete", "losers")}
    prefixed = settings(table_prefix="raw_")
    assert {("create", "raw_bars"), ("delete", "bars")} <= actions(opened(prefixed).plan(wanted(prefixed)))


def test_what_is_somebody_elses_is_left_as_it_is(aws_account: AwsAccount) -> None:
    glue, athena = aws_account.client("glue"), aws_account.client("athena")
    glue.create_database(DatabaseInput={"Name": "marketpulse"})
    theirs = {"Name": "trades", "StorageDescriptor": {"Columns": [], "Location": "s3://theirs/"}}
    glue.create_table(DatabaseName="marketpulse", TableInput=theirs)
    athena.create_work_group(Name="marketpulse", Configuration={})
    athena.create_named_query(
        Name="gainers", Database="d", QueryString="SELECT 0", WorkGroup="marketpulse", Description="mine"
    )
    kept = {(s.kind, s.name) for s in opened(settings()).plan(wanted(settings())) if s.action == "keep"}
    assert kept == {
        ("glue database", "marketpulse"), ("glue table", "trades"), ("athena workgroup", "marketpulse"),
        ("athena query", "gainers"),
    }  # fmt: skip
    applied(settings())
    assert (
        glue.get_table(DatabaseName="marketpulse", Name="trades")["Table"]["StorageDescriptor"]["Location"]
        == "s3://theirs/"
    )
    aws = opened(settings())
    list(aws.do(aws.destruction()))
    assert [t["Name"] for t in glue.get_tables(DatabaseName="marketpulse")["TableList"]] == ["trades"]
    assert [q["QueryString"] for q in named_queries(athena, "marketpulse")] == ["SELECT 0"]


def test_destroy_removes_all_that_is_ours_and_a_second_time_nothing(aws_account: AwsAccount) -> None:
    applied(settings())
    s3 = aws_account.client("s3")
    s3.create_bucket(Bucket="desk", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="desk", Key="market/archive/table=trades/x.parquet", Body=b"data")
    aws = opened(settings())
    steps = list(aws.do(aws.destruction()))
    assert [step.kind for step in steps] == (
        ["athena query"] * 2 + ["athena workgroup", "glue crawler"] + ["glue table"] * 7 + ["glue database"]
    )
    assert opened(settings()).destruction() == []
    assert aws_account.client("glue").get_databases()["DatabaseList"] == []
    assert s3.list_objects_v2(Bucket="desk")["KeyCount"] == 1  # no file is touched


def test_a_database_with_tables_of_others_stays(aws_account: AwsAccount) -> None:
    applied(settings())
    glue = aws_account.client("glue")
    glue.create_table(DatabaseName="marketpulse", TableInput={"Name": "theirs"})
    aws = opened(settings())
    steps = aws.destruction()
    list(aws.do(steps))
    assert [(s.action, s.kind) for s in steps][-1] == ("keep", "glue database")
    assert "theirs" in steps[-1].why
    assert [t["Name"] for t in glue.get_tables(DatabaseName="marketpulse")["TableList"]] == ["theirs"]


def test_a_fault_in_the_middle_leaves_what_was_done_and_the_next_apply_goes_on(
    aws_account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = opened(settings())
    doing = aws.do(aws.plan(wanted(settings())))
    done = [next(doing).name, next(doing).name]
    monkeypatch.setattr(aws._objects["glue table"], "create", _gone)
    with pytest.raises(Retryable, match="create glue table quotes: AWS does not answer"):
        next(doing)
    assert done == ["marketpulse", "trades"]
    steps = opened(settings()).plan(wanted(settings()))
    assert {("none", "marketpulse"), ("none", "trades"), ("create", "quotes")} <= actions(steps)
    assert len(applied(settings())) == 10


def _gone(wanted: Wanted) -> None:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="https://glue.eu-central-1.amazonaws.com")


def test_no_login_says_where_one_is_looked_for(aws_account: AwsAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Fatal, match=r"no AWS login .*AWS_ACCESS_KEY_ID"):
        opened(settings())


def test_an_arn_names_the_account_and_the_region(aws_account: AwsAccount) -> None:
    place = Account(settings()).place()
    assert place.arn("glue", "crawler/x") == f"arn:aws:glue:{REGION}:{ACCOUNT}:crawler/x"
    china = Account(Settings(s3={"region": "cn-north-1"})).place("1" * 12)
    assert china.bucket_arn("b") == "arn:aws-cn:s3:::b"
