"""InfluxDB's three HTTP APIs, as far as a sink needs them: make the database, write lines, remove points.

1.x (and VictoriaMetrics), 2.x and 3.x differ in addresses, in how they name a database, and in what they can do:

| | write | database | remove a point |
| --- | --- | --- | --- |
| v1 | /write?db= | CREATE DATABASE | DELETE FROM … |
| v2 | /api/v2/write?org=&bucket= | /api/v2/buckets | /api/v2/delete |
| v3 | /api/v3/write_lp?db= | /api/v3/configure/database | no way |
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from influxdb_client.client.bucket_api import BucketsApi
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from marketpulse.errors import Fatal, MarketPulseError, Retryable, SettingsError
from marketpulse.settings import InfluxSettings
from marketpulse.sinks.influx_http import Answer, Connection
from marketpulse.telemetry import POINTS_REFUSED, get_logger

Key = tuple[Mapping[str, str], int]  # tags and time of a point
_DELETES = 200  # statements in one request
_SECONDS = {"h": 3_600, "d": 86_400, "w": 604_800}
_OLD = re.compile(r"(?:points )?beyond retention policy.*?(?:dropped=(\d+))?$")


class TooLarge(Exception):
    """The server takes no body of this size."""


class Api(Protocol):
    """What one version offers. All methods raise Retryable or Fatal."""

    def prepare(self) -> None:
        """The database is there, or the login may not look: then writing tells."""
        ...

    def write(self, lines: bytes) -> None:
        """Durable when it returns. Raises TooLarge too."""
        ...

    def remove(self, measurement: str, keys: Sequence[Key]) -> None:
        """These points are gone, where the version knows a way."""
        ...


def connect(settings: InfluxSettings, connection: Connection) -> Api:
    """The API that the settings name, or that the server at their address has."""
    version = settings.api if settings.api != "auto" else _ask_version(connection)
    if version == "v3":
        connection.scheme = "Bearer"
    if version == "v2":
        return _V2(settings, connection)
    return _V3(settings, connection) if version == "v3" else _V1(settings, connection)


def _ask_version(connection: Connection) -> str:
    """`/ping` needs no login up to 2.x, and names the version; in 3.x it may be behind the login."""
    answer = connection.get("/ping")
    told = answer.json()
    version = next((v for name, v in answer.headers.items() if name.lower() == "x-influxdb-version"), "")
    if not version and isinstance(told, dict):
        version = str(told.get("version", ""))
    major = version.lstrip("v")[:1]
    if major in ("2", "3"):
        return f"v{major}"
    if not version and answer.status in (401, 403):
        return "v3"
    if answer.status >= 500 and (fault := connection.guarded(answer, "a look at its version")):
        raise fault
    return "v1"


class _Version:
    """What the versions share: how a refused write is read."""

    def __init__(self, settings: InfluxSettings, connection: Connection) -> None:
        self._settings, self._connection = settings, connection
        self._name = settings.database

    def _written(self, answer: Answer) -> None:
        """Whether all is stored; raises what is wrong otherwise."""
        if answer.status < 300:
            return
        if answer.status == 413:
            raise TooLarge
        said, where = self._connection.shown(answer), f"{self._settings.url}/{self._name}"
        if answer.status in (400, 422) and "conflict" not in said and (old := _OLD.search(said)):
            POINTS_REFUSED.labels("influx", "beyond_retention").inc(int(old[1] or 1))
            get_logger().info("points_beyond_retention", store=where, said=said)
            return
        if fault := self._connection.guarded(answer, "a write"):
            raise fault
        POINTS_REFUSED.labels("influx", "refused").inc()
        if answer.status == 404:
            raise Fatal(f"InfluxDB at {where} has no such database ({said}): {self._how_to_make()}; nothing is lost")
        if "conflict" in said or "invalid column type" in said.lower():
            raise Fatal(
                f"InfluxDB at {where} holds a field of another type ({said}). Give sinks.influx.database another name, or drop "
                "that measurement there; nothing is lost, the rows stay in the topics"
            )
        if "max-" in said or "limit" in said:
            raise Fatal(
                f"InfluxDB at {where} is at a limit of its own ({said}): raise it there, or write fewer series (sinks.influx.tables, "
                "sinks.influx.trade_slots; docs/stores.md#influxdb has their number); nothing is lost, the rows stay in the topics"
            )
        raise Fatal(
            f"InfluxDB at {where} did not take the rows ({answer.status}: {said}); nothing is lost, the rows stay in the topics. "
            "Check sinks.influx.api and sinks.influx.database"
        )

    def _how_to_make(self) -> str:
        return f"create it, or let the login create databases (sinks.influx.database is {self._name!r})"

    def _may_not_look(self, answer: Answer) -> None:
        """The login may write, perhaps, but not administer: writing will tell."""
        get_logger().warning("database_not_checked", database=self._name, said=self._connection.shown(answer))

    def _check_retention(self, seconds: int, how: str) -> None:
        """The database is kept as the settings say. Nobody's data is shortened by a setting."""
        wanted = _seconds(self._settings.retention)
        if self._settings.retention is not None and seconds != wanted:
            raise SettingsError(
                f"InfluxDB keeps {self._name!r} for {f'{seconds:,} s' if seconds else 'ever'}, sinks.influx.retention says "
                f"{self._settings.retention}: {how}, or take that setting out; nothing is lost"
            )


class _V1(_Version):
    def prepare(self) -> None:
        databases = self._query("SHOW DATABASES")
        if databases is None:
            return
        kept = self._settings.retention
        if self._name not in {row[0] for row in databases}:
            self._query(f"CREATE DATABASE {_quoted(self._name)}" + (f" WITH DURATION {kept}" if kept else ""))
        elif kept:
            policies = self._query(f"SHOW RETENTION POLICIES ON {_quoted(self._name)}") or []
            for name, duration, *_, default in (row for row in policies if len(row) >= 5):
                if default is True:
                    how = f"ALTER RETENTION POLICY {_quoted(name)} ON {_quoted(self._name)} DURATION {kept} there"
                    self._check_retention(_v1_seconds(duration), how)

    def write(self, lines: bytes) -> None:
        self._written(self._connection.post("/write", lines, db=self._name))

    def remove(self, measurement: str, keys: Sequence[Key]) -> None:
        for first in range(0, len(keys), _DELETES):
            self._query("; ".join(_v1_delete(measurement, *key) for key in keys[first : first + _DELETES]))

    def _query(self, text: str) -> list[Any] | None:
        """The first result's rows; None where the server has no such language or does not let us."""
        answer = self._connection.post_form("/query", db=self._name, q=text)
        if answer.status in (403, 404, 405):
            self._may_not_look(answer)
            return None
        if fault := self._connection.guarded(answer, f'"{text[:60]}"'):
            raise fault
        told = answer.json() if answer.status < 300 else None
        results: list[dict[str, Any]] = (
            told.get("results", []) if isinstance(told, dict) else [{"error": self._connection.shown(answer)}]
        )
        for wrong in (result["error"] for result in results if "error" in result):
            raise Fatal(f"InfluxDB at {self._settings.url} refused {text!r}: {wrong}; nothing is lost")
        return [
            row for result in results[:1] for series in result.get("series", []) for row in series.get("values") or []
        ]

    def _how_to_make(self) -> str:
        return f"CREATE DATABASE {_quoted(self._name)} there, or use a login that may (sinks.influx.user)"


class _V2(_Version):
    def prepare(self) -> None:
        if self._settings.org is None:  # what only speaks its write API has no organizations
            return
        buckets = BucketsApi(self._connection.client)  # type: ignore[no-untyped-call]
        try:
            found = self._bucket(buckets)
            if found is None:
                kept = _seconds(self._settings.retention)
                rule = BucketRetentionRules(type="expire", every_seconds=kept)  # type: ignore[no-untyped-call]
                buckets.create_bucket(
                    bucket_name=self._name, org=self._settings.org, retention_rules=[rule] if kept else None
                )
                return
            rules = found.retention_rules
            self._check_retention(
                (rules[0].every_seconds or 0) if rules else 0,
                f"influx bucket update --id {found.id} --retention {self._settings.retention}",
            )
        except ApiException as error:
            answer = Answer(error.status or 0, error.body or "", dict(error.headers or {}))
            if answer.status in (403, 422):  # not allowed; made by another in between
                self._may_not_look(answer)
                return
            raise self._connection.guarded(answer, "a look at its buckets") or Fatal(
                f"InfluxDB at {self._settings.url} does not tell its buckets ({answer.status}: {self._connection.shown(answer)}); "
                "nothing is lost. Check sinks.influx.api and sinks.influx.org"
            ) from None
        except InfluxDBError as error:  # the client's own: there is no such organization
            raise Fatal(f"InfluxDB at {self._settings.url}: {error}; nothing is lost. Check sinks.influx.org") from None
        except (HTTPError, OSError) as error:
            raise Retryable(
                f"InfluxDB at {self._settings.url} does not answer ({type(error).__name__}); nothing is lost, it is tried again"
            ) from None

    def _bucket(self, buckets: BucketsApi) -> Any:
        """The bucket; None where there is none, which one server says with an empty list and another with 404."""
        try:
            found = buckets.find_buckets(name=self._name, org=self._settings.org).buckets  # type: ignore[no-untyped-call]
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        return found[0] if found else None

    def write(self, lines: bytes) -> None:
        self._written(self._connection.post("/api/v2/write", lines, **self._place(), precision="ns"))

    def remove(self, measurement: str, keys: Sequence[Key]) -> None:
        for tags, time_ns in keys:
            wanted = {"_measurement": measurement, **tags}
            answer = self._connection.post_json(
                "/api/v2/delete",
                {
                    "start": _rfc3339(time_ns), "stop": _rfc3339(time_ns),
                    "predicate": " AND ".join(f"{name}={_quoted(value)}" for name, value in wanted.items()),
                },
                **self._place(),
            )  # fmt: skip
            if answer.status in (404, 405, 501):  # the field `withdrawn` tells all the same
                return
            self._written(answer)

    def _place(self) -> dict[str, str]:
        org = {"org": self._settings.org} if self._settings.org is not None else {}
        return {**org, "bucket": self._name}

    def _how_to_make(self) -> str:
        org = f" --org {self._settings.org}" if self._settings.org else ""
        return (
            f"influx bucket create --name {self._name}{org}, and set sinks.influx.org and a token that may write to it"
        )


class _V3(_Version):
    def prepare(self) -> None:
        kept = {"retention_period": self._settings.retention} if self._settings.retention else {}
        answer = self._connection.post_json("/api/v3/configure/database", {"db": self._name, **kept})
        if answer.status < 300 or answer.status == 409:  # it is there already; how long it keeps it does not tell
            return
        if answer.status in (403, 404, 405):
            self._may_not_look(answer)
            return
        fault: MarketPulseError = self._connection.guarded(answer, "to make a database") or Fatal(
            f"InfluxDB at {self._settings.url} did not make the database {self._name!r} ({answer.status}: "
            f"{self._connection.shown(answer)}); nothing is lost. Check sinks.influx.database and sinks.influx.api"
        )
        raise fault

    def write(self, lines: bytes) -> None:
        self._written(
            self._connection.post(
                "/api/v3/write_lp", lines, db=self._name, precision="nanosecond", accept_partial="false"
            )
        )

    def remove(self, measurement: str, keys: Sequence[Key]) -> None:
        """3.x removes no single points: the field `withdrawn` tells."""


def _v1_delete(measurement: str, tags: Mapping[str, str], time_ns: int) -> str:
    same = " AND ".join(f"{_quoted(name)} = {_literal(value)}" for name, value in tags.items())
    return f"DELETE FROM {_quoted(measurement)} WHERE {same} AND time >= {time_ns} AND time <= {time_ns}"  # noqa: S608


def _quoted(name: str) -> str:
    """In double quotes: a name of InfluxQL, a value of a 2.x predicate."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _rfc3339(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _seconds(retention: str | None) -> int:
    return int(retention[:-1]) * _SECONDS[retention[-1]] if retention else 0


def _v1_seconds(duration: str) -> int:
    """`720h0m0s` as seconds; 0: for ever."""
    return sum(int(n) * {"h": 3_600, "m": 60, "s": 1}[unit] for n, unit in re.findall(r"(\d+)([hms])", str(duration)))
