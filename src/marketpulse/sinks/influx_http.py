"""One request to a server of InfluxDB's kind, and what its answer means for whoever asked.

The connection is the official client's. A fault becomes Retryable when waiting helps (the server is away, busy, or its
disk is full), and Fatal when a person must look; either says that nothing is lost, and none shows a secret.
"""

import base64
import gzip
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from marketpulse.errors import Fatal, MarketPulseError, Retryable
from marketpulse.settings import InfluxSettings

_BUSY = (429, 500, 502, 503, 504, 507)
_LONGEST_PAUSE_S = 300.0
_SHOWN = 400  # characters of what a server says
_FULL = re.compile(r"no space|disk (is )?full|insufficient storage|not enough space", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: `text` is its own message where it gave one, else the body."""

    status: int
    text: str
    headers: Mapping[str, str]

    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """What it says is wrong, by whichever name its version has for that."""
        told = self.json()
        if isinstance(told, dict):
            first = next((str(told[name]) for name in ("error", "message") if told.get(name)), "")
            details = told.get("data")
            return f"{first}: {json.dumps(details)}" if details else first or self.text
        return self.text.strip()


class Connection:
    """The server at `settings.url`. `scheme` is the word before the token: Token up to 2.x, Bearer in 3.x."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._settings = settings
        self.client = InfluxDBClient(
            settings.url, token=_plain(settings.token), org=settings.org or "",
            timeout=round(settings.timeout_s * 1_000), retries=False,
        )  # fmt: skip
        self.scheme = "Token"
        self._not_before = 0.0  # a busy server has asked to be left alone until then

    def close(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]

    def get(self, path: str, **parameters: str) -> Answer:
        return self._ask("GET", path, parameters)

    def post(self, path: str, body: bytes, **parameters: str) -> Answer:
        """Text, such as lines."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._settings.gzip:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        return self._ask("POST", path, parameters, body, headers)

    def post_form(self, path: str, **fields: str) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return self._ask("POST", path, {}, urlencode(fields).encode(), headers)

    def post_json(self, path: str, value: Mapping[str, Any], **parameters: str) -> Answer:
        headers = {"Content-Type": "application/json"}
        return self._ask("POST", path, parameters, dict(value), headers)

    def guarded(self, answer: Answer, doing: str) -> MarketPulseError | None:
        """What every version means by the answer; None where it depends on what was asked for."""
        said = self.shown(answer)
        if answer.status in (401, 403):
            return Fatal(
                f"InfluxDB at {self._settings.url} refused {doing} ({answer.status}: {said}). Set "
                f"MARKETPULSE_SINKS__INFLUX__TOKEN, or sinks.influx.user and MARKETPULSE_SINKS__INFLUX__PASSWORD, to a login "
                f"that may write to {self._settings.database!r}; nothing is lost, the rows stay in the topics"
            )
        if answer.status == 507 or _FULL.search(answer.text):
            return Retryable(
                f"the disk of InfluxDB at {self._settings.url} is full ({answer.status}: {said}): make room there; nothing is lost, "
                "it is tried again"
            )
        if answer.status in _BUSY:
            pause = self._pause(answer)
            wait = f", it asks for {pause:g} s" if pause else ""
            return Retryable(
                f"InfluxDB at {self._settings.url} is busy ({answer.status}: {said}){wait}; nothing is lost, it is tried again"
            )
        return None

    def shown(self, answer: Answer) -> str:
        """The server's words, fit to be logged."""
        text = answer.message[:_SHOWN]
        for secret in filter(None, (_plain(self._settings.token), _plain(self._settings.password))):
            text = text.replace(secret, "…")
        return text or "no reason given"

    def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Any answer at all; raises Retryable when there is none, and while the server wants to be left alone."""
        if (pause := self._not_before - time.monotonic()) > 0:
            raise Retryable(
                f"InfluxDB at {self._settings.url} has asked to be left alone for {pause:.0f} s more; nothing is lost, it is tried again"
            )
        url = f"{self._settings.url}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            found = self.client.api_client.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers={**self._login(), **(headers or {})}, body=body
            )
            return Answer(found.status, found.data or "", dict(found.getheaders()))
        except ApiException as error:
            if not error.status:
                raise Fatal(
                    f"no secure connection to InfluxDB at {self._settings.url}: {error.reason}; nothing is lost. "
                    "Check the server's certificate, and SSL_CERT_FILE for one of your own"
                ) from None
            return Answer(error.status, error.body or "", dict(error.headers or {}))
        except (HTTPError, OSError) as error:
            raise Retryable(
                f"InfluxDB at {self._settings.url} does not answer ({type(error).__name__}); nothing is lost, it is tried again"
            ) from None

    def _login(self) -> dict[str, str]:
        if self._settings.token is not None:
            return {"Authorization": f"{self.scheme} {_plain(self._settings.token)}"}
        if self._settings.user is not None:
            both = f"{self._settings.user}:{_plain(self._settings.password)}"
            return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
        return {}

    def _pause(self, answer: Answer) -> float:
        """Leave the server alone for as long as it asks, in seconds; 0 when it does not say."""
        asked = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "")
        pause = min(float(asked), _LONGEST_PAUSE_S) if asked.strip().isdigit() else 0.0
        self._not_before = time.monotonic() + pause
        return pause


def _plain(secret: Any) -> str:
    return secret.get_secret_value() if secret is not None else ""
