"""A schema registry that speaks Confluent's API: schemas by their id, each asked for once."""

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from marketpulse.errors import Fatal, RejectedRecord, Retryable

_TIMEOUT_S = 10.0


@dataclass(slots=True)
class SchemaRegistry:
    """`url` as clients have it, such as http://registry:8081; a path before `/schemas` belongs to it."""

    url: str
    user: str | None = None
    password: SecretStr | None = None
    _known: dict[int, dict[str, Any]] = field(default_factory=dict)

    def schema(self, number: int) -> dict[str, Any]:
        """The Avro schema with this id. Raises Retryable while the registry is away, Fatal when it refuses us,
        RejectedRecord for an id that it does not know or that is no Avro schema."""
        if number not in self._known:
            self._known[number] = self._ask(number)
        return self._known[number]

    def _ask(self, number: int) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url.rstrip('/')}/schemas/ids/{number}")  # noqa: S310  (settings allow http and https only)
        request.add_header("Accept", "application/vnd.schemaregistry.v1+json")
        if self.user is not None:
            password = "" if self.password is None else self.password.get_secret_value()
            login = base64.b64encode(f"{self.user}:{password}".encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise self._judged(error.code, number) from None
        except OSError as error:
            raise Retryable(f"the schema registry {self.url} does not answer: {error}") from None
        except ValueError:
            raise Retryable(
                f"the schema registry {self.url} answered with what is no JSON: check schema_registry"
            ) from None
        kind = found.get("schemaType", "AVRO") if isinstance(found, dict) else None
        if kind != "AVRO" or found.get("references"):
            raise RejectedRecord(f"the schema {number} is {kind} or refers to others: only whole Avro is read")
        schema: dict[str, Any] = json.loads(found["schema"])
        return schema

    def _judged(self, code: int, number: int) -> Exception:
        if code == 404:
            return RejectedRecord(f"the schema registry {self.url} has no schema {number}")
        if code in (401, 403):
            return Fatal(
                f"the schema registry {self.url} refuses us ({code}): check registry_user and registry_password"
            )
        return Retryable(f"the schema registry {self.url} answered {code}: asking again")
