import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aws_server import ACCOUNT, AwsAccount
from marketpulse.app.cli.main import app
from marketpulse.errors import Fatal, ParameterError, Retryable, SettingsError


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_account: AwsAccount) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "marketpulse.toml").write_text(
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


def test_plan_says_what_apply_then_does_and_afterwards_nothing() -> None:
    before = run("plan")
    assert "create  glue table        trades" in before
    assert "20 to create, 0 to update, 0 to delete, 0 as wanted, 0 not touched" in before
    done = run("apply")
    assert done[0] == "[1/20] create  glue database     marketpulse"
    assert done[-1] == "20 done"
    assert "0 to create, 0 to update, 0 to delete, 20 as wanted, 0 not touched" in run("plan")
    assert run("apply") == ["nothing to do"]


def test_plan_shows_the_fields_that_differ_and_what_is_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    run("apply")
    monkeypatch.setenv("MARKETPULSE_AWS__BYTES_SCANNED_MAX", "50000000")
    monkeypatch.setenv("MARKETPULSE_ENGINE__INDICATORS", "sma(20)")
    lines = run("plan")
    assert "          bytes_scanned_max: 10737418240 -> 50000000" in lines
    assert "          columns.ema_12: double -> nothing" in lines
    assert not any("columns.sma_20" in line for line in lines)
    assert any("here at most 50,000,000 a query" in line for line in lines)


def test_plan_as_json_holds_every_step_whole() -> None:
    found: dict[str, Any] = json.loads("\n".join(run("plan", "--format", "json")))
    steps = {step["kind"] + " " + step["name"]: step for step in found["steps"]}
    assert steps["glue table trades"]["action"] == "create"
    assert steps["glue table trades"]["wanted"]["partition_keys"] == {"symbol": "string", "date": "string"}
    assert found["billed"]
    assert found["left_out"] == []


def test_destroy_asks_and_without_anybody_to_answer_needs_yes(aws_account: AwsAccount) -> None:
    run("apply")
    with pytest.raises(ParameterError, match="add --yes"):
        run("destroy")
    assert len(aws_account.client("glue").get_databases()["DatabaseList"]) == 1
    assert run("destroy", "--yes")[-1] == "20 done"
    assert run("destroy") == ["nothing to do"]
    assert aws_account.client("glue").get_databases()["DatabaseList"] == []


def test_a_fault_says_how_far_it_came_and_apply_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from marketpulse.aws.glue import Crawlers

    def away(*arguments: object) -> None:
        raise Retryable("glue is away")

    with monkeypatch.context() as patched:
        patched.setattr(Crawlers, "create", away)
        with pytest.raises(Retryable, match=r"glue is away; 8 of 20 steps are done: `marketpulse aws apply`"):
            run("apply")
    assert run("apply")[-1] == "12 done"


def test_a_policy_is_printed_for_this_account_or_a_named_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f":{ACCOUNT}:workgroup/marketpulse" in "\n".join(run("policy", "reader"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    named = json.loads("\n".join(run("policy", "writer", "--account", "999999999999")))
    assert named["Version"] == "2012-10-17"
    with pytest.raises(Fatal, match="no AWS login"):
        run("policy", "writer")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("policy", "owner"), "writer, reader, crawler"),
        (("policy", "writer", "--account", "12"), "twelve digits"),
        (("plan", "--format", "yaml"), "text or json"),
    ],
)
def test_wrong_usage_says_what_is_right(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        run(*arguments)


def test_without_a_region_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SettingsError, match=r"set s3\.region"):
        run("plan")


def test_an_account_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Retryable, match=r"sts:GetCallerIdentity: AWS does not answer"):
        run("plan")
