"""What a fault of the catalogue, or of the place with the files, means for who asked."""

import contextlib
import errno
from collections.abc import Iterator
from importlib import import_module

from marketpulse.errors import Fatal, Retryable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_DENIED = ("ACCESS_DENIED", "AccessDenied", "InvalidAccessKeyId", "INVALID_ACCESS_KEY_ID", "SignatureDoesNotMatch",
           "SIGNATURE_DOES_NOT_MATCH", "[code 15]", "readonly database")  # fmt: skip
_DENIED_CODES = {"AccessDenied", "AccessDeniedException", "InvalidAccessKeyId", "SignatureDoesNotMatch",
                 "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"}  # fmt: skip


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Raises Retryable where waiting helps, Fatal where a person must look, both in place of the library's own.

    A conflict with another writer is left alone, and so is a file that is not there: the caller knows what it means.
    """
    from pydantic import ValidationError
    from pyiceberg import exceptions as iceberg
    from sqlalchemy.exc import DatabaseError

    botocore = import_module("botocore.exceptions")
    denied = (
        iceberg.UnauthorizedError, iceberg.ForbiddenError, iceberg.OAuthError, iceberg.AuthorizationExpiredError,
        botocore.NoCredentialsError, botocore.PartialCredentialsError, PermissionError,
    )  # fmt: skip
    try:
        yield
    except (FileNotFoundError, iceberg.CommitFailedException, iceberg.ValidationException):
        raise
    except denied as error:
        raise _forbidden(where, error) from None
    except (OSError, DatabaseError, botocore.ClientError) as error:
        raise _of_the_store(where, error) from error
    except ValidationError as error:
        raise Fatal(
            f"{where}: the table's metadata is damaged ({error.error_count()} faults): register the newest whole "
            "metadata file again (docs/stores.md#lake)"
        ) from None
    except (botocore.BotoCoreError, iceberg.RESTError, iceberg.CommitStateUnknownException) as error:
        raise _away(where, error) from error


def _of_the_store(where: str, error: Exception) -> Fatal | Retryable:
    text, number = str(error), getattr(error, "errno", None)
    answer = getattr(error, "response", None)  # of AWS a dictionary; of a REST catalogue something else, or nothing
    code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
    if number in _FULL or "database or disk is full" in text:
        return Retryable(
            f"{where} is full ({_short(error)}): free some space; nothing is lost, storing goes on by itself"
        )
    if number in _FORBIDDEN or code in _DENIED_CODES or any(word in text for word in _DENIED):
        return _forbidden(where, error)
    if "malformed" in text or "not a database" in text:
        return Fatal(
            f"{where}: the catalogue is damaged ({_short(error)}): restore catalog.db, or register the tables' newest "
            "metadata files in a new one (docs/stores.md#lake); nothing is lost"
        )
    if "NoSuchBucket" in text or "NO_SUCH_BUCKET" in text or code == "NoSuchBucket":
        return Fatal(f"{where} does not exist: create the bucket, or set another url; nothing is lost")
    return _away(where, error)


def _forbidden(where: str, error: Exception) -> Fatal:
    return Fatal(
        f"{where} cannot be written or read ({_short(error)}): give this user access, or set another url or login; "
        "nothing is lost, the rows are still in the topics"
    )


def _away(where: str, error: Exception) -> Retryable:
    return Retryable(f"{where} does not answer ({_short(error)}): trying again, nothing is lost")


def _short(error: Exception) -> str:
    """The first line: what follows may be a whole statement, or a page."""
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0][:300] or type(error).__name__
