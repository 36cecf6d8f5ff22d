"""Files in a bucket behind any S3 API: AWS's, or a server of one's own.

The two promises of a store (storage.py) rest on S3 itself: an object appears when its PUT, or the last step of
its multipart upload, ends; and a PUT with `If-None-Match: *` is refused where the name is taken. Not every S3
API knows that header, and one that passes over it would let two writers both win, so it is tried once before it is
relied on.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.model.commit_log import TEMPORARY_DIRECTORY
from marketpulse.settings import S3Settings
from marketpulse.sinks.filing import filed_for
from marketpulse.sinks.s3_faults import code_of, explained, meaning, status_of

ATTEMPTS = 3  # of one request, by the client; what fails then is waited for by who drives the sink
MULTIPART_BYTES = 16 * 1024 * 1024
_CONNECT_S = 5.0
_REQUESTS = 8  # at a time, of one call of `put`
_CONNECTIONS = 4 * _REQUESTS
_DELETED_AT_A_TIME = 1_000  # as many as the API takes
_PROBE = f"{TEMPORARY_DIRECTORY}/conditional-put"
_DENIED, _TAKEN, _TWO_AT_ONCE = 403, 412, 409
_UNKNOWN_HEADER = {"NotImplemented", "InvalidArgument", "InvalidRequest"}


def s3_client(settings: S3Settings) -> Any:
    """A client for this S3 API. The login comes from the usual AWS chain: environment, profile, role."""
    own_server = settings.endpoint_url is not None
    more: dict[str, Any] = {}
    if own_server:  # checksums in trailers are AWS's own: others refuse them
        more = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    session = boto3.session.Session(region_name=settings.region)
    region = session.region_name or ("us-east-1" if own_server else None)
    return session.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=region,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=min(_CONNECT_S, settings.timeout_s),
            read_timeout=settings.timeout_s,
            max_pool_connections=_CONNECTIONS,
            s3={"addressing_style": "path" if settings.path_style else "auto"},
            **more,
        ),
    )


class S3Storage:
    """storage.Storage in a bucket, below a prefix. Opening it asks nothing of the server."""

    def __init__(self, url: str, settings: S3Settings) -> None:
        bucket, _, prefix = url.partition("://")[2].partition("/")
        if not bucket:
            raise SettingsError(f"{url} names no bucket: write s3://bucket/prefix")
        self.where = url
        self._bucket, self._root = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        try:
            self._client = s3_client(settings)
        except (BotoCoreError, ValueError) as error:  # an address that is none, a profile that there is not
            raise meaning(error, url, bucket) from error
        self._refuses_taken_names = False  # until it was tried

    def put(self, files: Mapping[str, bytes], owner: str) -> None:  # noqa: ARG002
        with explained(self.where, self._bucket), ThreadPoolExecutor(min(_REQUESTS, len(files) or 1)) as pool:
            for _ in pool.map(lambda item: self._put(*item), files.items()):
                pass

    def create(self, path: str, data: bytes, owner: str) -> bool:  # noqa: ARG002
        with explained(self.where, self._bucket):
            self._try_taken_name()
            return self._put_new(path, data)

    def read(self, path: str) -> bytes:
        with explained(self.where, self._bucket):
            for attempt in range(1, ATTEMPTS + 1):
                answer = self._get(path)
                try:
                    return bytes(answer["Body"].read())
                except (BotoCoreError, OSError):
                    if attempt == ATTEMPTS:  # the client tries a request again, not an answer that broke off
                        raise
        raise AssertionError("every attempt returns or raises")

    def names(self, directory: str) -> list[str]:
        prefix = f"{self._root}{directory}/"
        with explained(self.where, self._bucket):
            return [name.removeprefix(prefix).rstrip("/") for name in self._list(prefix, Delimiter="/")]

    def find(self) -> list[str]:
        with explained(self.where, self._bucket):
            paths = [key.removeprefix(self._root) for key in self._list(self._root)]
        return [path for path in paths if not path.startswith("_")]

    def delete(self, paths: Iterable[str]) -> None:
        with explained(self.where, self._bucket):
            keys = [self._root + path for path in paths]
            for begin in range(0, len(keys), _DELETED_AT_A_TIME):
                some = keys[begin : begin + _DELETED_AT_A_TIME]
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
                for fault in answer.get("Errors", []):
                    if fault.get("Code") != "NoSuchKey":
                        raise ClientError({"Error": fault}, "DeleteObjects")

    def clear_interrupted(self, owner: str) -> None:
        """Give up this owner's uploads in parts that a kill has left open: they are no objects, but they are billed."""
        with explained(self.where, self._bucket):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._root
            )
            for upload in (one for page in pages for one in page.get("Uploads", [])):
                if filed_for(upload["Key"].removeprefix(self._root)) == owner:
                    self._abort(upload["Key"], upload["UploadId"])

    def _get(self, path: str) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._root + path)
        except ClientError as error:
            # Who may list only the prefix is told "access denied" of an object that is not there.
            if status_of(error) == _DENIED and self._root + path not in self._list(self._root + path):
                raise FileNotFoundError(path) from error
            raise

    def _put(self, path: str, data: bytes) -> None:
        key = self._root + path
        if len(data) < MULTIPART_BYTES:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentMD5=_digest(data))
            return
        parts = TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, max_concurrency=_REQUESTS
        )
        self._client.upload_fileobj(io.BytesIO(data), self._bucket, key, Config=parts)

    def _put_new(self, path: str, data: bytes) -> bool:
        """Whether the name was free. An answer that got lost makes our own object look like another's."""
        for _ in range(ATTEMPTS):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._root + path, Body=data, ContentMD5=_digest(data),
                    IfNoneMatch="*",
                )  # fmt: skip
            except ClientError as error:
                if status_of(error) == _TAKEN:
                    return False
                if status_of(error) != _TWO_AT_ONCE:
                    raise
            else:
                return True
        raise Retryable(f"{self.where} is written by another process right now: trying again, nothing is lost")

    def _try_taken_name(self) -> None:
        """See that a name that is taken is refused. Raises Fatal where it is not."""
        if self._refuses_taken_names:
            return
        self._put(_PROBE, b"is a name given twice?\n")
        try:
            given_twice = self._put_new(_PROBE, b"yes\n")
        except ClientError as error:
            if status_of(error) not in (400, 501) or code_of(error) not in _UNKNOWN_HEADER:
                raise
            given_twice = True
        if given_twice:
            raise Fatal(
                f"{self.where} does not know conditional PUTs (If-None-Match: *), so two processes could both store "
                "the same rows there: take an S3 server that knows them, or a directory; nothing was stored and nothing "
                "is lost, the rows are still in the topics"
            )
        self._refuses_taken_names = True

    def _list(self, prefix: str, **more: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **more)
        return [
            found
            for page in pages
            for found in [
                *(item["Key"] for item in page.get("Contents", [])),
                *(item["Prefix"] for item in page.get("CommonPrefixes", [])),
            ]
        ]

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise


def _digest(data: bytes) -> str:
    """For Content-MD5: without it some servers keep an empty object where the writer died between head and body."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
