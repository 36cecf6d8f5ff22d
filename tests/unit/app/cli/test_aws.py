"""`marketpulse aws` against an emulation of AWS."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from aws_server import ACCOUNT, AwsAccount
from marketpulse.app.cli.main import app
from marketpulse.aws.glue import Crawlers
from marketpulse.errors import Fatal, ParameterError, Retryable, SettingsError
from refused import assert_raises


@pytest.fixture(autouse=True)
def _archive_on_s3(own_place: Path, aws_account: AwsAccount) -> None:
    (own_place / "marketpulse.toml").write_text(
        '[sinks.archive]\nenabled = true\nformat = "parquet"\nlayout = "symbol/date"\nurl = "s3://desk/market/archive"\n'
        '[aws]\ncrawler_role = "crawls"\n'
    )


def run(*arguments: str) -> list[str]:
    """The lines that the command says."""
    done = CliRunner().invoke(app, ["aws", *arguments], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_plan_says_what_apply_then_does_and_what_differs_and_destroy_asks(
    aws_account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = "21 to create, 0 to update, 0 to delete, 0 as wanted, 0 not touched"
    assert {"create  glue table        trades", counted} <= set(run("plan"))
    found = json.loads("\n".join(run("plan", "--format", "json")))
    (table,) = [step for step in found["steps"] if (step["kind"], step["name"]) == ("glue table", "trades")]
    assert (table["action"], table["wanted"]["partition_keys"]) == ("create", {"symbol": "string", "date": "string"})
    assert found["billed"]
    assert found["left_out"] == []

    done = run("apply")
    assert (done[0], done[-1]) == ("[1/21] create  glue database     marketpulse", "21 done")
    assert "0 to create, 0 to update, 0 to delete, 21 as wanted, 0 not touched" in run("plan")
    assert run("apply") == ["nothing to do"]

    with monkeypatch.context() as changed:
        changed.setenv("MARKETPULSE_AWS__BYTES_SCANNED_MAX", "50000000")
        changed.setenv("MARKETPULSE_ENGINE__INDICATORS", "sma(20)")
        lines = run("plan")
    assert "          bytes_scanned_max: 10737418240 -> 50000000" in lines
    assert "          columns.ema_12: double -> nothing" in lines
    assert not any("columns.sma_20" in line for line in lines)
    assert any("here at most 50,000,000 a query" in line for line in lines)

    glue = aws_account.client("glue")
    with pytest.raises(ParameterError, match="add --yes"):  # there is nobody to answer
        run("destroy")
    assert len(glue.get_databases()["DatabaseList"]) == 1
    assert run("destroy", "--yes")[-1] == "21 done"
    assert run("destroy") == ["nothing to do"]
    assert glue.get_databases()["DatabaseList"] == []


def test_a_fault_says_how_far_it_came_and_a_policy_is_for_a_named_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Crawlers, "create", Mock(side_effect=Retryable("glue is away")))
        assert_raises(Retryable, r"glue is away; 9 of 21 steps are done: `marketpulse aws apply`", run, "apply")
    assert run("apply")[-1] == "12 done"
    assert f":{ACCOUNT}:workgroup/marketpulse" in "\n".join(run("policy", "reader"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert json.loads("\n".join(run("policy", "writer", "--account", "999999999999")))["Version"] == "2012-10-17"
    assert_raises(Fatal, "no AWS login", run, "policy", "writer")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("policy owner", "writer, reader, crawler"), ("policy writer --account 12", "twelve digits"), ("plan --format yaml", "text or json")],
)  # fmt: skip
def test_wrong_usage_says_what_is_right(arguments: str, said: str) -> None:
    assert_raises(ParameterError, said, run, *arguments.split())


@pytest.mark.parametrize(
    ("name", "value", "error", "said"),
    [("AWS_DEFAULT_REGION", "", SettingsError, r"set s3\.region"),
     ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", Retryable, r"sts:GetCallerIdentity: AWS does not answer")],
)  # fmt: skip
def test_without_a_region_or_an_account_that_answers_that_is_said(
    name: str, value: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value:
        monkeypatch.setenv(name, value)
    else:
        monkeypatch.delenv(name)
    assert_raises(error, said, run, "plan")
