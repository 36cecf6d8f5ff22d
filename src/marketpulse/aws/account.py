"""The AWS account that a login belongs to, its services, and what their faults mean."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.settings import Settings

ATTEMPTS = 5  # of one request, by the client: Glue and Athena throttle
_NO_LOGIN = (
    NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError, ProfileNotFound,
)  # fmt: skip
_DENIED = {
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException",
    "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException",
}  # fmt: skip
_PASSES = {"ThrottlingException", "Throttling", "TooManyRequestsException", "InternalServerException", "OperationTimeoutException", "ServiceUnavailable"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects lie: what an ARN begins with."""

    partition: str  # aws, aws-cn, aws-us-gov
    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def bucket_arn(self, resource: str) -> str:
        return f"arn:{self.partition}:s3:::{resource}"


class Account:
    """Clients of one account in one region. The login comes from the usual AWS chain."""

    def __init__(self, settings: Settings) -> None:
        with explained():
            self._session = boto3.session.Session(region_name=settings.s3.region)
        if self._session.region_name is None:
            raise SettingsError("the AWS region is unknown: set s3.region, or AWS_REGION")
        self.region: str = self._session.region_name
        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=10,
            read_timeout=settings.s3.timeout_s,
        )
        with explained():
            self.glue, self.athena, self._sts = (
                self._session.client(service, config=config) for service in ("glue", "athena", "sts")
            )

    def place(self, account: str | None = None) -> Place:
        """Where this login's objects lie. With the account's number nothing is asked of AWS."""
        if account is None:
            with explained("sts:GetCallerIdentity"):
                account = str(self._sts.get_caller_identity()["Account"])
        return Place(self._session.get_partition_for_region(self.region), self.region, account)


@contextlib.contextmanager
def explained(doing: str = "the AWS login") -> Iterator[None]:
    """Turn a fault of AWS into what the reader does next. What was done before it stays done."""
    try:
        yield
    except _NO_LOGIN as error:
        raise Fatal(
            f"there is no AWS login ({error}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
            "or run under a role"
        ) from error
    except ClientError as error:
        code = error_code(error)
        if code in _DENIED:
            raise Fatal(
                f"{doing}: AWS refuses this login ({_said(error)}): have its rights or its keys renewed"
            ) from error
        if code in _PASSES:
            raise Retryable(f"{doing}: AWS is busy ({_said(error)}): try again") from error
        raise Fatal(f"{doing}: AWS refuses it ({_said(error)})") from error
    except BotoCoreError as error:
        raise Retryable(f"{doing}: AWS does not answer ({_said(error)}): try again") from error


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def dictionary(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags as Athena lists them -> by key."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def _said(error: Exception) -> str:
    return " ".join(str(error).split())
