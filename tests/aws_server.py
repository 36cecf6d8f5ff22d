"""An emulation of AWS (moto) on a free loopback port: Glue, Athena, STS, IAM.

`aws_account` (a fixture of conftest.py) is an empty account that the usual AWS variables lead to.

It keeps what it is told and gives it back; it runs no SQL and no crawler. Four operations that the emulation does not have
are added here in the shape that AWS documents.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import httpx
import pytest

from s3_server import ACCESS_KEY, SECRET_KEY, aws_variables
from vendor_server import Reply, Request, vendor

REGION = "eu-central-1"
ACCOUNT = "123456789012"  # the emulation's


def update_work_group(self: Any) -> str:
    group = self.athena_backend.work_groups[self._get_param("WorkGroup")]
    changes = dict(self._get_param("ConfigurationUpdates"))
    results = {**group.configuration.get("ResultConfiguration", {}), **changes.pop("ResultConfigurationUpdates", {})}
    group.configuration = {**group.configuration, **changes, "ResultConfiguration": results}
    return "{}"


def update_named_query(self: Any) -> str:
    query = self.athena_backend.named_queries[self._get_param("NamedQueryId")]
    query.name, query.description, query.query_string = map(self._get_param, ("Name", "Description", "QueryString"))
    return "{}"


def delete_named_query(self: Any) -> str:
    del self.athena_backend.named_queries[self._get_param("NamedQueryId")]
    return "{}"


def update_crawler(self: Any) -> Any:
    from moto.core.responses import EmptyResult

    crawler = self.glue_backend.get_crawler(self._get_param("Name"))
    fields = {"Role": "role", "Targets": "targets", "Schedule": "schedule", "Configuration": "configuration",
              "SchemaChangePolicy": "schema_change_policy"}  # fmt: skip
    for said, kept in fields.items():
        if self._get_param(said) is not None:
            setattr(crawler, kept, self._get_param(said))
    return EmptyResult()


class AwsAccount:
    """The emulated account. `reset` empties it."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url

    def client(self, service: str) -> Any:
        login = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        return boto3.client(service, endpoint_url=self.endpoint_url, region_name=REGION, **login)

    def reset(self) -> None:
        httpx.post(f"{self.endpoint_url}/moto-api/reset", timeout=30).raise_for_status()


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsAccount]:
    """The emulation, once per test process."""
    from moto.athena.responses import AthenaResponse  # it takes a while to import
    from moto.glue.responses import GlueResponse
    from moto.server import ThreadedMotoServer

    for added in (update_work_group, update_named_query, delete_named_query, update_crawler):
        home = GlueResponse if added is update_crawler else AthenaResponse
        assert not hasattr(home, added.__name__), "the emulation has it by now"
        setattr(home, added.__name__, added)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield AwsAccount(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def aws_account(aws_server: AwsAccount, monkeypatch: pytest.MonkeyPatch) -> AwsAccount:
    """An empty account, and the variables that let a test and its processes in."""
    aws_server.reset()
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    own = {"AWS_ENDPOINT_URL": aws_server.endpoint_url, "AWS_DEFAULT_REGION": REGION}
    for name, value in {**aws_variables(), **own}.items():
        monkeypatch.setenv(name, value)
    return aws_server


Json = dict[str, Any]


class AthenaService:
    """One query's script: `states`, one by one, the last for ever; `pages` of rows; a fault instead, by operation."""

    def __init__(self) -> None:
        self.states: list[str] = ["SUCCEEDED"]
        self.reason = ""
        self.columns: list[Json] = []
        self.pages: list[list[list[str | None]]] = [[]]
        self.scanned = 0
        self.faults: dict[str, list[tuple[int, str, str]]] = {}
        self.calls: list[tuple[str, Json]] = []
        self.url = ""

    def named(self, operation: str) -> list[Json]:
        return [body for name, body in self.calls if name == operation]

    def answer(self, operation: str, asked: Json) -> tuple[int, Json]:
        self.calls.append((operation, asked))
        if self.faults.get(operation):
            status, code, message = self.faults[operation].pop(0)
            return status, {"__type": code, "Message": message}
        if operation == "StartQueryExecution":
            return 200, {"QueryExecutionId": "q-1"}
        if operation == "GetQueryExecution":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            about = {"State": state} | ({"StateChangeReason": self.reason} if self.reason else {})
            statistics = {"DataScannedInBytes": self.scanned, "TotalExecutionTimeInMillis": 1_500}
            return 200, {"QueryExecution": {"QueryExecutionId": "q-1", "Status": about, "Statistics": statistics}}
        if operation == "GetQueryResults":
            place = int(asked.get("NextToken", 0))
            rows: list[list[str | None]] = list(self.pages[place])
            if place == 0:
                rows = [[c["Name"] for c in self.columns], *rows]
            more = {"NextToken": str(place + 1)} if place + 1 < len(self.pages) else {}
            data = [{"Data": [{} if v is None else {"VarCharValue": v} for v in row]} for row in rows]
            return 200, {"ResultSet": {"Rows": data, "ResultSetMetadata": {"ColumnInfo": self.columns}}, **more}
        return 200, {}


@contextmanager
def athena_service() -> Iterator[AthenaService]:
    """Serves a new script inside the block, at its `url`."""
    service = AthenaService()

    def reply(asked: Request) -> Reply:
        status, answer = service.answer(asked.headers["x-amz-target"].rpartition(".")[2], json.loads(asked.body))
        return Reply.json(answer, status, content_type="application/x-amz-json-1.1")

    with vendor(reply) as server:
        service.url = server.url
        yield service
