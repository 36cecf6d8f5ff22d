"""The services that a lake may lie on, each on free loopback ports: an S3 API with an Iceberg REST catalogue, and Glue."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

KEY, SECRET, REGION = "AK", "SK", "us-east-1"
_READY_S = 90
_BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Buckets:
    """A SeaweedFS: S3 at `endpoint`, its Iceberg REST catalogue at `catalog`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        ports = free_ports(9)
        self.endpoint, self.catalog = (f"http://127.0.0.1:{port}" for port in ports[:2])
        (directory / "data").mkdir(parents=True)
        login = {"name": "a", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}  # fmt: skip
        (directory / "s3.json").write_text(json.dumps({"identities": [login]}))
        names = ("s3.port", "s3.port.iceberg", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc")  # fmt: skip
        self._command = [
            str(_BIN / "weed"), "server", "-dir", str(directory / "data"), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1",
            "-filer", "-s3", "-s3.config", str(directory / "s3.json"), "-master.volumeSizeLimitMB", "64",
            "-volume.max", "40", "-master.telemetry=false", "-master.electionTimeout", "1s", "-s3.port.lance", "0",
            *(word for name, port in zip(names, ports, strict=True) for word in (f"-{name}", str(port))),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self._directory / "weed.log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for(lambda: bool(self.client().list_buckets()), self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self) -> Any:
        limits = Config(s3={"addressing_style": "path"}, connect_timeout=2, retries={"max_attempts": 0})
        return boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION,
            config=limits,
        )  # fmt: skip


@contextmanager
def buckets(directory: Path) -> Iterator[Buckets]:
    server = Buckets(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def glue(directory: Path) -> Iterator[str]:
    """The address of a server that speaks Glue's API."""
    (port,) = free_ports(1)
    log = (directory / "moto.log").open("ab")
    process = subprocess.Popen(
        [str(_BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/moto-api/data.json"), process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  (loopback)
            return True
    except urllib.error.HTTPError:
        return True


def wait_for(ready: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline, said = time.monotonic() + _READY_S, ""
    while True:
        try:
            if ready():
                return
        except Exception as error:  # noqa: BLE001  (whatever a server says while it starts)
            said = repr(error)
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, f"the server is not ready in time: {said}"
        time.sleep(0.1)


def login() -> dict[str, str]:
    """The usual AWS variables, for the server."""
    return {
        **os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
