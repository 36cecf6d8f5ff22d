"""Files in a bucket of a real S3 server: whole or not at all, one winner, and faults that say what to do."""

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import botocore.auth
import httpx
import pytest
from botocore import exceptions as refusals
from botocore.exceptions import ClientError

from marketpulse.errors import Fatal, Retryable
from marketpulse.settings import S3Settings
from marketpulse.sinks import s3
from marketpulse.sinks.filing import series_directory
from marketpulse.sinks.s3 import S3Storage
from marketpulse.sinks.s3_faults import explained, meaning
from refused import assert_raises
from s3_server import ACCESS_KEY, SECRET_KEY, Bucket, free_ports
from vendor_server import Reply, Request, vendor

COMMIT = "_commits/market-00/000000000001.json"
DATA = "table=trades/date=2024-05-01/market-00-000000000000-000000000010.parquet"


def opened(bucket: Bucket, **changes: Any) -> S3Storage:
    return S3Storage(f"{bucket.url}/a/b/", S3Settings(**{**bucket.settings(), **changes}))


@pytest.fixture
def storage(s3_bucket: Bucket) -> S3Storage:
    return opened(s3_bucket)


def test_keys_are_the_paths_below_the_prefix_and_nothing_beside_them(storage: S3Storage, s3_bucket: Bucket) -> None:
    escaped = f"table=trades/{series_directory('BTC/USD Ω%')}date=2024-05-01/x.parquet"  # stands in a key as it is
    storage.put({"table=a/x": b"1", escaped: b"5"}, "a-00")
    assert s3_bucket.keys() == ["a/b/table=a/x", f"a/b/{escaped}"]
    beside = S3Storage(f"{s3_bucket.url}/a/bc", S3Settings(**s3_bucket.settings()))  # a prefix of the same beginning
    beside.put({"table=a/y": b"1"}, "a")
    assert (storage.read(escaped), sorted(storage.find())) == (b"5", ["table=a/x", escaped])
    storage.delete([escaped])
    storage.delete([])
    assert storage.find() == ["table=a/x"]


def test_more_names_than_one_answer_holds_are_found_and_a_large_file_goes_in_parts(storage: S3Storage) -> None:
    paths = [f"table=a/{n:04d}" for n in range(1_003)]
    storage.put(dict.fromkeys(paths, b"."), "a-00")
    assert (storage.find(), len(storage.names("table=a"))) == (paths, len(paths))
    storage.delete(paths)
    assert storage.find() == []
    data = bytes(range(256)) * (2 * s3.MULTIPART_BYTES // 256) + b"end"
    create = storage._client.create_multipart_upload
    with patch.object(storage._client, "create_multipart_upload", wraps=create) as created:
        storage.put({DATA: data}, "market-00")
    assert ([call.kwargs["Key"] for call in created.call_args_list], storage.read(DATA)) == ([f"a/b/{DATA}"], data)


def test_a_conditional_put_whose_answer_got_lost_is_refused_and_not_written_twice(s3_bucket: Bucket) -> None:
    lost: list[str] = []

    def forwarded(asked: Request) -> Reply:
        headers = {name: text for name, text in asked.headers.items() if name != "expect"}
        url = f"{s3_bucket.server.endpoint_url}{asked.path}"
        found = httpx.request(asked.method, url, headers=headers, content=asked.body)
        if first := not lost and asked.method == "PUT" and asked.path.endswith(COMMIT):
            lost.append(asked.path)
        return Reply(found.status_code, found.content, lost=first)

    with vendor(forwarded) as proxy:
        storage = opened(s3_bucket, endpoint_url=proxy.url)
        assert storage.create(COMMIT, b"mine", "a") is False  # the caller looks who wrote it: commits.py
        assert (storage.read(COMMIT), len(lost)) == (b"mine", 1)


# Files in parts.


def test_parts_of_a_killed_process_are_given_up_by_the_next_owner_alone(storage: S3Storage, s3_bucket: Bucket) -> None:
    client = s3_bucket.server.client
    other = DATA.replace("market-00", "market-01")
    for path in (DATA, other):
        key = f"a/b/{path}"
        upload = client.create_multipart_upload(Bucket=s3_bucket.name, Key=key)["UploadId"]
        client.upload_part(Bucket=s3_bucket.name, Key=key, UploadId=upload, PartNumber=1, Body=b"half")
    assert storage.find() == []  # no reader sees them
    storage.clear_interrupted("market-00")
    left = client.list_multipart_uploads(Bucket=s3_bucket.name).get("Uploads", [])
    assert [upload["Key"] for upload in left] == [f"a/b/{other}"]


def test_access_denied_may_mean_a_missing_object(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.put({DATA: b"there"}, "market-00")

    def denied(**request: Any) -> Any:
        said = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(said, "GetObject")  # type: ignore[arg-type,unused-ignore]

    monkeypatch.setattr(storage._client, "get_object", denied)
    assert_raises(FileNotFoundError, "", storage.read, COMMIT)
    assert_raises(Fatal, "refuses access", storage.read, DATA)


# A server that is away, slow or gone.


def test_a_killed_server_is_waited_for_and_has_what_it_acknowledged(storage: S3Storage, s3_bucket: Bucket) -> None:
    storage.put({DATA: b"kept"}, "market-00")
    s3_bucket.server.kill()
    for call in calls(storage):
        assert_raises(Retryable, r"does not answer .* nothing is lost", call)
    s3_bucket.server.start()
    assert storage.read(DATA) == b"kept"


def test_a_server_that_answers_too_slowly_is_given_up_and_asked_again(s3_bucket: Bucket) -> None:
    storage = opened(s3_bucket, timeout_s=0.2)
    storage.put({DATA: b"kept"}, "market-00")
    s3_bucket.server.freeze()
    try:
        for call in calls(storage):
            assert_raises(Retryable, "does not answer", call)
    finally:
        s3_bucket.server.thaw()
    patient = opened(s3_bucket)
    patient.put({DATA: b"later"}, "market-00")
    assert patient.read(DATA) == b"later"


def test_an_answer_that_breaks_off_is_asked_for_again(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.put({DATA: b"whole"}, "market-00")
    get, broken = storage._client.get_object, [2]

    class Torn:
        def read(self) -> bytes:
            raise ConnectionResetError("reset by peer")

    def torn(**request: Any) -> Any:
        broken[0] -= 1
        return {"Body": Torn()} if broken[0] >= 0 else get(**request)

    monkeypatch.setattr(storage._client, "get_object", torn)
    assert storage.read(DATA) == b"whole"
    broken[0] = 99
    assert_raises(Retryable, "reset by peer", storage.read, DATA)


class _Killed(BaseException):
    """The writer died."""


@pytest.mark.parametrize("how", ["create", "put"])
def test_a_writer_that_dies_before_the_first_byte_leaves_none(storage: S3Storage, s3_bucket: Bucket, how: str) -> None:
    def write() -> None:
        if how == "create":
            assert storage.create(COMMIT, b"whole", "a")
        else:
            storage.put({DATA: b"whole"}, "a")

    def die_after_the_head(request: Any, **_: Any) -> None:
        url = urlsplit(request.url)
        if unquote(url.path).endswith(COMMIT if how == "create" else DATA):
            head = [f"PUT {url.path} HTTP/1.1", f"Host: {url.netloc}"]
            texts = ((k, v.decode() if isinstance(v, bytes) else v) for k, v in request.headers.items())
            head += [f"{name}: {value}" for name, value in texts if name.lower() not in ("expect", "host")]
            with socket.create_connection((url.hostname, url.port), timeout=30) as line:
                line.sendall("\r\n".join([*head, "", ""]).encode())
                line.shutdown(socket.SHUT_WR)
                while line.recv(4_096):
                    pass  # until the server has done with it
            raise _Killed

    storage.put({"other": b"see that the bucket is there"}, "a")
    events = storage._client.meta.events
    events.register("before-send.s3.PutObject", die_after_the_head)
    assert_raises(_Killed, "", write)
    events.unregister("before-send.s3.PutObject", die_after_the_head)
    stored = s3_bucket.keys()
    assert not any(key.endswith((COMMIT, DATA)) for key in stored)
    write()


# What a person must mend.


def test_a_missing_bucket_and_a_wrong_clock_are_named(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in calls(S3Storage("s3://never-made/x", S3Settings(**s3_bucket.settings()))):
        assert_raises(Fatal, r"bucket never-made does not exist: create it.*nothing is lost", call)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).replace(tzinfo=None)
    with monkeypatch.context() as patched:
        patched.setattr(botocore.auth, "get_current_datetime", lambda **_: yesterday)
        assert_raises(Fatal, "this machine's clock", opened(s3_bucket).find)


def test_a_bad_login_is_said_and_shows_no_secret(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-but-secret")
    for call in calls(opened(s3_bucket)):
        with pytest.raises(Fatal, match="check its keys") as caught:
            call()
        assert "wrong-but-secret" not in str(caught.value)
        assert ACCESS_KEY not in str(caught.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert_raises(Fatal, "check its keys", opened(s3_bucket).find)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert_raises(Fatal, r"no AWS login .* AWS_ACCESS_KEY_ID .* AWS_PROFILE", opened(s3_bucket).find)
    monkeypatch.setenv("AWS_PROFILE", "never-made")
    assert_raises(Fatal, r"no AWS login .*never-made", opened, s3_bucket)


# A server that does not know conditional PUTs.


@pytest.mark.parametrize(("status", "said"), [(200, b""), (501, b"<Error><Code>NotImplemented</Code></Error>")])
def test_a_server_without_conditional_puts_is_refused_at_once(s3_bucket: Bucket, status: int, said: bytes) -> None:
    def taken(asked: Request) -> Reply:
        return Reply(*((status, said) if "if-none-match" in asked.headers else (200, b"")), {"ETag": '"0"'})

    with vendor(taken) as server:
        storage = opened(s3_bucket, endpoint_url=server.url)
        assert_raises(Fatal, r"does not know conditional PUTs .* nothing is lost", storage.create, COMMIT, b"mine", "a")


def calls(storage: S3Storage) -> list[Callable[[], object]]:
    """Everything that asks the server, on a file that is there."""
    own = "market-00"
    writes: list[Callable[[], object]] = [
        lambda: storage.put({DATA: b"x"}, own),
        lambda: storage.create(COMMIT, b"x", own),
    ]
    reads = [lambda: storage.read(DATA), lambda: storage.names("_commits"), storage.find]
    return [*writes, *reads, lambda: storage.delete([DATA]), lambda: storage.clear_interrupted(own)]


URL = "s3://quotes/market"


def answer(code: str, status: int) -> ClientError:
    said = {"Error": {"Code": code, "Message": "as the server says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "PutObject")  # type: ignore[arg-type,unused-ignore]


@pytest.mark.parametrize(("fault", "kind", "said"), [
    (answer("NoSuchBucket", 404), Fatal, "bucket quotes does not exist: create it"),
    *((answer("AccessDenied", status), Fatal, "marketpulse aws policy writer") for status in (403, 0)),  # 0: of one object among many
    (answer("Forbidden", 403), Fatal, "marketpulse aws policy writer"),
    *((answer(code, 403), Fatal, "check its keys") for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch")),
    (answer("ExpiredToken", 400), Fatal, "renew it"), (answer("RequestTimeTooSkewed", 403), Fatal, "clock .* set it by NTP"),
    (answer("PermanentRedirect", 301), Fatal, r"set s3\.region"),
    (refusals.NoCredentialsError(), Fatal, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (refusals.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), Fatal, "AWS_PROFILE"),
    (refusals.ProfileNotFound(profile="desk"), Fatal, "AWS_PROFILE"),
    (refusals.ParamValidationError(report="Invalid bucket name"), Fatal, "check s3.endpoint_url and the url"),
    (refusals.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), Fatal, r"check s3\.endpoint_url"),
    (answer("SlowDown", 503), Retryable, ""), (answer("InternalError", 500), Retryable, ""),
    (answer("RequestTimeout", 400), Retryable, ""), (ConnectionResetError("reset by peer"), Retryable, ""),
    (refusals.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), Retryable, ""),
    (refusals.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"), Retryable, ""),
    (refusals.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), Retryable, ""),
    (refusals.SSLError(endpoint_url="https://x", error="EOF occurred in violation of protocol"), Retryable, ""),
    (answer("QuotaExceeded", 403), Retryable, "free some space"), (answer("Whatever", 507), Retryable, "free some space"),
])  # fmt: skip
def test_a_fault_says_what_to_do_or_is_waited_for(fault: Exception, kind: type, said: str) -> None:
    found = meaning(fault, URL, "quotes")
    assert isinstance(found, kind)
    assert re.search(said, str(found))
    assert "nothing is lost" in str(found)
    assert URL in str(found)


def test_no_object_is_no_fault_ours_pass_a_wrong_url_is_refused_and_nobody_listening_awaited(s3_bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError), explained(URL, "quotes"):
        raise answer("NoSuchKey", 404)
    with pytest.raises(Retryable, match=r"^as it is$"), explained(URL, "quotes"):
        raise Retryable("as it is")
    for url in ("s3://", "s3:///prefix"):
        assert_raises(Fatal, "names no bucket", S3Storage, url, S3Settings())
    assert_raises(Fatal, r"check s3\.endpoint_url", S3Storage, "s3://bucket", S3Settings(endpoint_url="no address"))
    (port,) = free_ports(1)
    assert_raises(Retryable, "does not answer", opened(s3_bucket, endpoint_url=f"http://127.0.0.1:{port}").find)
