"""An emulation of AWS (moto) on a free loopback port: Glue, Athena, STS, IAM.

`aws_account` (a fixture of conftest.py) is an empty account that the usual AWS variables lead to.

It keeps what it is told and gives it back; it runs no SQL and no crawler. Four operations that the emulation does not have
are added here in the shape that AWS documents.
"""

from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest

from s3_server import ACCESS_KEY, SECRET_KEY, aws_variables

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
