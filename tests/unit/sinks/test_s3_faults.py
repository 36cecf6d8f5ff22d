"""What a fault of an S3 API means."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)

from marketpulse.errors import Fatal, Retryable
from marketpulse.sinks.s3_faults import explained, meaning

URL = "s3://quotes/market"


def answer(code: str, status: int) -> ClientError:
    said = {"Error": {"Code": code, "Message": "as the server says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "PutObject")  # type: ignore[arg-type,unused-ignore]


@pytest.mark.parametrize(
    ("fault", "what_to_do"),
    [
        (answer("NoSuchBucket", 404), "bucket quotes does not exist: create it"),
        (answer("AccessDenied", 403), "marketpulse aws policy writer"),
        (answer("AccessDenied", 0), "marketpulse aws policy writer"),  # of one object among many
        (answer("Forbidden", 403), "marketpulse aws policy writer"),
        (answer("InvalidAccessKeyId", 403), "check its keys"),
        (answer("SignatureDoesNotMatch", 403), "check its keys"),
        (answer("ExpiredToken", 400), "renew it"),
        (answer("RequestTimeTooSkewed", 403), "clock .* set it by NTP"),
        (answer("PermanentRedirect", 301), r"set s3\.region"),
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "AWS_PROFILE"),
        (ProfileNotFound(profile="desk"), "AWS_PROFILE"),
        (ParamValidationError(report="Invalid bucket name"), "check s3.endpoint_url and the url"),
        (SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), r"check s3\.endpoint_url"),
    ],
)
def test_what_a_person_must_mend_is_fatal_and_says_how(fault: Exception, what_to_do: str) -> None:
    found = meaning(fault, URL, "quotes")
    assert isinstance(found, Fatal)
    with pytest.raises(Fatal, match=what_to_do):
        raise found
    assert "nothing is lost" in str(found)
    assert URL in str(found)


@pytest.mark.parametrize(
    "fault",
    [
        answer("SlowDown", 503),
        answer("InternalError", 500),
        answer("RequestTimeout", 400),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
        SSLError(endpoint_url="https://x", error="EOF occurred in violation of protocol"),
        ConnectionResetError("reset by peer"),
    ],
)
def test_what_passes_is_waited_for(fault: Exception) -> None:
    found = meaning(fault, URL, "quotes")
    assert isinstance(found, Retryable)
    assert "nothing is lost" in str(found)


@pytest.mark.parametrize("fault", [answer("QuotaExceeded", 403), answer("Whatever", 507)])
def test_a_full_store_asks_for_space(fault: Exception) -> None:
    found = meaning(fault, URL, "quotes")
    assert isinstance(found, Retryable)
    assert "free some space" in str(found)


def test_an_object_that_is_not_there_is_no_fault_of_the_store() -> None:
    with pytest.raises(FileNotFoundError), explained(URL, "quotes"):
        raise answer("NoSuchKey", 404)


def test_an_error_of_ours_passes_as_it_is() -> None:
    with pytest.raises(Retryable, match=r"^as it is$"), explained(URL, "quotes"):
        raise Retryable("as it is")
