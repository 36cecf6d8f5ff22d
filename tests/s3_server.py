"""A real S3 server (SeaweedFS) on free loopback ports, and a bucket of its own for each test.

`s3_bucket` (a fixture of conftest.py) sets the usual AWS variables for the test and the processes that it starts; the server may be killed,
frozen and started again at the same address. What it has acknowledged stays.
"""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sink_stores import ServerProcess
from sink_stores import free_ports as free_ports

ACCESS_KEY, SECRET_KEY = ("AKIDTEST", "only-for-tests")  # of a server on loopback that lives as long as the tests
REGION = "us-east-1"
_READY_S = 90.0
_UNKNOWN_MAX = 200  # answers, 50 ms apart
botocore.session.create_loader = cache(botocore.session.create_loader)
"""One for all sessions of a process: each would read and parse the descriptions of the services again, 0.6 s of processor
time."""
_STARTS = 3  # now and then one that was killed comes back without its logins, and stays so
_PORT_OPTIONS = (
    "-master.port", "-master.port.grpc", "-volume.port", "-volume.port.grpc", "-filer.port", "-filer.port.grpc",
    "-s3.port", "-s3.port.grpc", "-s3.port.iceberg",
)  # fmt: skip


class S3Server(ServerProcess):
    """The server's process, its directory and its addresses: of S3, and of its Iceberg REST catalogue. It is not
    started yet."""

    def __init__(self, home: Path) -> None:
        ports = dict(zip(_PORT_OPTIONS, free_ports(len(_PORT_OPTIONS)), strict=True))
        logins = home / "logins.json"
        command = [
            str(Path(sys.executable).parent / "weed"), "server", "-dir", str(home / "data"), "-ip", "127.0.0.1",
            "-ip.bind", "127.0.0.1", *(text for option, port in ports.items() for text in (option, str(port))),
            "-filer", "-s3", "-s3.config", str(logins), "-s3.port.lance", "0", "-s3.autoCreateBucket=false",
            "-master.volumeSizeLimitMB", "64", "-volume.max", "1000", "-master.telemetry=false",
            "-master.electionTimeout", "300ms", "-master.heartbeatInterval", "50ms",
        ]  # fmt: skip
        super().__init__(command, home, ports["-s3.port"], start_new_session=True)
        self.endpoint_url = f"http://127.0.0.1:{ports['-s3.port']}"
        self.catalog_url = f"http://127.0.0.1:{ports['-s3.port.iceberg']}"
        (home / "data").mkdir(parents=True)
        keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        login = {"name": "tests", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        logins.write_text(json.dumps({"identities": [login]}))

    def start(self) -> None:
        """Run, and wait until it stores and reads. Running already: nothing to do."""
        if self._process is not None:
            return
        for _ in range(_STARTS):
            self.launch()
            if self._await_ready():
                return
            self.kill()
        raise AssertionError(f"the S3 server does not know its logins; its log ends:\n{self.end_of_log()}")

    @cached_property
    def client(self) -> Any:
        """A bare client, for what a test puts there and looks at itself."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url, region_name=REGION,
            aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30, retries={"max_attempts": 0}),
        )  # fmt: skip

    def _await_ready(self) -> bool:
        """False when it answers and does not know who asks, and keeps to that."""
        client, deadline = self.client, time.monotonic() + _READY_S
        probe = f"ready-{uuid.uuid4().hex[:12]}"
        unknown = 0
        while True:
            try:
                if probe not in {found["Name"] for found in client.list_buckets().get("Buckets", [])}:
                    client.create_bucket(Bucket=probe)
                client.put_object(Bucket=probe, Key="ready", Body=b"?")  # volumes come after the gateway
                client.delete_object(Bucket=probe, Key="ready")
                client.delete_bucket(Bucket=probe)
                return True
            except (BotoCoreError, ClientError) as error:
                unknown += "InvalidAccessKeyId" in str(error)
                if unknown > _UNKNOWN_MAX:
                    return False
                said = f"the S3 server is not ready ({error}); its log ends:\n{self.end_of_log()}"
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, said
            time.sleep(0.05)


@dataclass(frozen=True)
class Bucket:
    """A bucket that is empty at first."""

    name: str
    server: S3Server

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def settings(self) -> dict[str, Any]:
        """The section `s3` of the settings, to reach it."""
        return {"endpoint_url": self.server.endpoint_url, "region": REGION, "path_style": True}

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        data: bytes = self.server.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def drop(self) -> None:
        client = self.server.client
        for key in self.keys():
            client.delete_object(Bucket=self.name, Key=key)
        client.delete_bucket(Bucket=self.name)


def aws_variables() -> dict[str, str]:
    """The login as the usual AWS chain finds it; no other is looked for."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server, once per test process; started where a test before has killed it."""
    home = tmp_path_factory.mktemp("s3")
    server = S3Server(home)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def s3_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket of this test's own, and the variables that let it in."""
    s3_server.start()
    for name in ("SESSION_TOKEN", "PROFILE", "REGION", "ENDPOINT_URL", "ENDPOINT_URL_S3", "S3_BUCKET"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name, value in aws_variables().items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(f"test-{uuid.uuid4().hex[:16]}", s3_server)
    s3_server.client.create_bucket(Bucket=bucket.name)
    yield bucket
    s3_server.start()
    bucket.drop()
