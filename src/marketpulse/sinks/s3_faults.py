"""What a fault of an S3 API means for whoever stores there: wait, or have a person look.

Told apart by the error's code, and by the HTTP status where a server has codes of its own.
"""

import contextlib
from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)

from marketpulse.errors import Fatal, MarketPulseError, Retryable

_KEPT = "nothing is lost, the rows are still in the topics"
_NO_LOGIN = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    ProfileNotFound,
)
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity", "NotSignedUp"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_DENIED = {"AccessDenied", "AllAccessDisabled"}  # also told of one object among many, without a status
_SKEWED = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_FULL = {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "507"}
_MISSING = {"NoSuchKey", "404", "NotFound"}


def code_of(error: Exception) -> str:
    """The error's code as the server gave it, such as `NoSuchKey`; its class for an error without an answer."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def status_of(error: Exception) -> int:
    """The answer's HTTP status; 0 where there was none."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0


def is_missing(error: Exception) -> bool:
    """Whether the object is not there (the bucket is)."""
    return code_of(error) in _MISSING


@contextlib.contextmanager
def explained(where: str, bucket: str) -> Iterator[None]:
    """Turn a fault into what the reader does next. No key, token or header of the request is in the message.

    Raises FileNotFoundError for an object that is not there, Retryable while the store is away or full, and Fatal
    for a bucket that is missing, an access that is refused or a clock that is wrong.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (BotoCoreError, ClientError, OSError) as error:
        if is_missing(error):
            raise FileNotFoundError(where) from error
        raise meaning(error, where, bucket) from error


def meaning(error: Exception, where: str, bucket: str) -> MarketPulseError:
    """The fault as an error of ours."""
    code, status = code_of(error), status_of(error)
    said = _said(error)
    if code == "NoSuchBucket":
        return Fatal(f"the bucket {bucket} does not exist: create it, or set another url for {where}; {_KEPT}")
    if isinstance(error, _NO_LOGIN):
        return Fatal(
            f"there is no AWS login for {where} ({said}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            f"AWS_PROFILE, or run under a role; {_KEPT}"
        )
    if code in _EXPIRED:
        return Fatal(f"the AWS login for {where} has expired ({said}): renew it; {_KEPT}")
    if code in _SKEWED:
        return Fatal(f"{where} refuses this machine's clock ({said}): set it by NTP; {_KEPT}")
    if code in _REFUSED:
        return Fatal(f"{where} does not know this AWS login ({said}): check its keys; {_KEPT}")
    if code in _ELSEWHERE:
        return Fatal(f"the bucket of {where} lies in another region ({said}): set s3.region; {_KEPT}")
    if code in _FULL or status == 507:
        return Retryable(f"{where} is full ({said}): free some space; nothing is lost, storing goes on by itself")
    if status in (401, 403) or code in _DENIED:
        return Fatal(
            f"{where} refuses access ({said}): give this login the rights that `marketpulse aws policy writer` "
            f"prints; {_KEPT}"
        )
    if _is_wrong_address(error):
        return Fatal(f"{where} cannot be asked ({said}): check s3.endpoint_url and the url; {_KEPT}")
    return Retryable(f"{where} does not answer ({said}): trying again, nothing is lost")


def _is_wrong_address(error: Exception) -> bool:
    """A name that is no bucket's or no address, or a certificate that is not the server's."""
    certificate = isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    return certificate or isinstance(error, (ParamValidationError, ValueError))


def _said(error: Exception) -> str:
    """The fault in one line."""
    return " ".join(str(error).split())
