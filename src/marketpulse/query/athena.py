"""SQL on Amazon Athena: the same questions, asked there.

    start -> look, less and less often, until it has ended -> its rows, a thousand at a time

Only statements that read are sent. Keys and roles come from where AWS's own tools take them.
"""

import importlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import sqlglot
from sqlglot.errors import TokenError

from marketpulse.errors import Fatal, ParameterError, QueryCancelled, QueryLimit, QueryRefused, Retryable
from marketpulse.ports import SqlAnswer, SqlMistake, SqlQuestion
from marketpulse.query.athena_rows import AthenaRows
from marketpulse.query.dialect import written_in
from marketpulse.query.named import named
from marketpulse.query.named.days import Days
from marketpulse.query.to_athena import Columns, to_athena
from marketpulse.settings import Settings

_FIRST_LOOK_S, _LOOK_S_MAX, _SLOWER = 0.1, 5.0, 1.5
_PAGE = 1_000  # the service's own most
_BILLED_BYTES_MIN = 10_000_000
_TB = 1e12
_READS = ("SELECT", "WITH", "VALUES", "TABLE", "(")


class AthenaDesk:
    """Answers as LakeDesk does. `cost` tells, after each answer, what was read and what that is in money."""

    def __init__(self, settings: Settings, columns: Columns | None = None) -> None:
        self._all = settings
        self._settings = settings.athena
        self._bytes_max = settings.sql.memory_limit_mb * 1_000_000
        self._columns = columns or {}
        self.cost = ""

    @cached_property
    def _client(self) -> Any:
        return _client(self._all)

    def answer(self, question: SqlQuestion, cancelled: threading.Event) -> SqlAnswer:
        """Raises QueryRefused for what does not read, or what Athena rejects, QueryLimit, QueryCancelled, Retryable
        while AWS does not answer, and Fatal, with what to do, for an account that is not set up."""
        sql, dialect = self.text(question)
        with _said_plainly(self._all.athena_workgroup()):
            rows, more = self._run(sql, question, cancelled)
        note = ""
        if question.named is not None:  # nothing is looked up there for it: that would cost money
            days = Days(named(question.named), question.parameters)
            note = " ".join([days.covered(), *([] if rows.num_rows or question.skip else [days.why_empty([])])])
        return SqlAnswer(rows, more, sql, dialect, note=note)

    def text(self, question: SqlQuestion) -> tuple[str, Literal["duckdb", "athena"]]:
        """What would be sent, and the dialect that it was written in."""
        if question.named is not None:
            return named(question.named).bound(question.parameters), "athena"
        if question.parameters:
            raise ParameterError("parameters belong to a named query: name one, or write the values themselves")
        dialect = written_in(question.sql) if question.dialect == "auto" else question.dialect
        sql = question.sql if dialect == "athena" else to_athena(question.sql, self._columns)
        _check_reads(sql)
        return sql, dialect

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def _run(self, sql: str, question: SqlQuestion, cancelled: threading.Event) -> tuple[pa.Table, bool]:
        if cancelled.is_set():
            raise QueryCancelled("the query was cancelled")
        query = self._client.start_query_execution(**self._request(sql))["QueryExecutionId"]
        try:
            execution = self._await(query, cancelled)
            self.cost = _cost(execution.get("Statistics", {}), self._settings.usd_per_tb)
            state = execution["Status"]
            if state["State"] != "SUCCEEDED":
                raise _failure(sql, str(state.get("StateChangeReason", state["State"])))
            return self._rows(query, question, cancelled)
        except (QueryCancelled, QueryLimit, KeyboardInterrupt):
            self._client.stop_query_execution(QueryExecutionId=query)
            raise

    def _request(self, sql: str) -> dict[str, Any]:
        own = self._settings
        request: dict[str, Any] = {
            "QueryString": sql,
            "QueryExecutionContext": {"Database": self._all.athena_database(), "Catalog": own.catalog},
            "WorkGroup": self._all.athena_workgroup(),
        }
        if own.output_location is not None:
            request["ResultConfiguration"] = {"OutputLocation": own.output_location}
        return request

    def _await(self, query: str, cancelled: threading.Event) -> dict[str, Any]:
        """Until it has ended."""
        end = time.monotonic() + self._settings.timeout_s
        pause = _FIRST_LOOK_S
        while True:
            execution: dict[str, Any] = self._client.get_query_execution(QueryExecutionId=query)["QueryExecution"]
            if execution["Status"]["State"] not in ("QUEUED", "RUNNING"):
                return execution
            if cancelled.wait(min(pause, max(end - time.monotonic(), 0))):
                raise QueryCancelled("the query was cancelled, at Athena too")
            if time.monotonic() >= end:
                raise QueryLimit(
                    f"the query took longer than {self._settings.timeout_s:g} s and was stopped: narrow it, or raise "
                    "athena.timeout_s"
                )
            pause = min(pause * _SLOWER, _LOOK_S_MAX)

    def _rows(self, query: str, question: SqlQuestion, cancelled: threading.Event) -> tuple[pa.Table, bool]:
        wanted = None if question.limit is None else question.skip + question.limit + 1
        rows, token = AthenaRows(), None
        while True:
            if cancelled.is_set():
                raise QueryCancelled("the query was cancelled")
            more: dict[str, Any] = {} if token is None else {"NextToken": token}
            page = self._client.get_query_results(QueryExecutionId=query, MaxResults=_PAGE, **more)
            rows.add(page["ResultSet"])
            token = page.get("NextToken")
            if rows.nbytes > self._bytes_max:
                raise QueryLimit(
                    f"the result is larger than {self._bytes_max // 1_000_000} MB: add LIMIT, or raise "
                    "sql.memory_limit_mb"
                )
            if token is None or (wanted is not None and len(rows) >= wanted):
                break
        table = rows.table()
        return table.slice(question.skip, question.limit), wanted is not None and table.num_rows >= wanted


def _client(settings: Settings) -> Any:
    boto3 = importlib.import_module("boto3")
    config = importlib.import_module("botocore.config").Config(
        connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 5}
    )
    with _said_plainly(settings.athena_workgroup()):
        return boto3.Session().client(
            "athena", region_name=settings.s3.region, endpoint_url=settings.athena.endpoint_url, config=config
        )


def _check_reads(sql: str) -> None:
    """One statement begins with one word, and with these it only reads; Athena takes one at a time."""
    try:
        first = next(iter(sqlglot.tokenize(sql, read="athena")), None)
    except TokenError as error:
        raise QueryRefused(f"Parser Error: {error}") from None
    if first is None or first.text.upper() not in _READS:
        raise QueryRefused("only SELECT (or WITH … SELECT) is sent: nothing can be changed or loaded")


def _cost(statistics: dict[str, Any], usd_per_tb: float) -> str:
    scanned = int(statistics.get("DataScannedInBytes", 0))
    took_s = int(statistics.get("TotalExecutionTimeInMillis", 0)) / 1_000
    usd = max(scanned, _BILLED_BYTES_MIN) / _TB * usd_per_tb if scanned else 0.0
    return (
        f"Athena read {scanned / 1e6:,.1f} MB in {took_s:.1f} s: about {usd:.6f} USD at {usd_per_tb:g} USD per TB "
        "(10 MB at least)"
    )


def _failure(sql: str, reason: str) -> QueryRefused:
    """Athena's own words, and under the line that they name a caret."""
    _, _, after = reason.partition("line ")
    place = after.split(":", 2)
    if len(place) < 3 or not (place[0].isdigit() and place[1].isdigit()):
        return QueryRefused(f"Athena: {reason}")
    line, column = int(place[0]), int(place[1])
    lines = sql.splitlines()
    if not 1 <= line <= len(lines):
        return QueryRefused(f"Athena: {reason}")
    head = f"LINE {line}: "
    message = f"Athena: {reason}\n\n{head}{lines[line - 1]}\n{' ' * (len(head) + column - 1)}^"
    refusal = QueryRefused(message)
    refusal.mistake = SqlMistake(message, line, column)
    return refusal


@contextmanager
def _said_plainly(workgroup: str) -> Iterator[None]:
    """What AWS's client raises, as what to do."""
    botocore = importlib.import_module("botocore.exceptions")
    try:
        yield
    except (botocore.NoCredentialsError, botocore.PartialCredentialsError):
        raise Fatal(
            "AWS is asked without credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "run `aws sso login`"
        ) from None
    except botocore.NoRegionError:
        raise Fatal("AWS has no region: set s3.region, or AWS_DEFAULT_REGION") from None
    except botocore.ProfileNotFound as error:
        raise Fatal(f"{error}: correct AWS_PROFILE") from None
    except (botocore.ConnectionError, botocore.HTTPClientError) as error:
        raise Retryable(f"Athena does not answer ({error}): try again") from None
    except botocore.ClientError as error:
        raise _refusal(error, workgroup) from None


def _refusal(error: Any, workgroup: str) -> Exception:
    said = error.response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", error))
    lower = message.lower()
    if code in ("ThrottlingException", "TooManyRequestsException", "InternalServerException"):
        return Retryable(f"Athena has too much to do ({message}): try again")
    if code in ("AccessDeniedException", "AccessDenied"):
        return Fatal(
            f"Athena refuses this user ({message}): allow it athena:StartQueryExecution, GetQueryExecution, "
            "GetQueryResults and StopQueryExecution, glue:Get*, and to read the lake and write the output location on S3"
        )
    if code in ("UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "ExpiredToken"):
        return Fatal(f"AWS does not know these credentials ({message}): renew them")
    if "output location" in lower or "outputlocation" in lower:
        return Fatal(
            f"Athena has no place for results ({message}): set athena.output_location to s3://bucket/prefix/, or set "
            f"one in the workgroup {workgroup}"
        )
    if "workgroup" in lower:
        return Fatal(
            f"Athena has no workgroup {workgroup!r} ({message}): create it with `marketpulse aws apply`, or set athena.workgroup to one that there is"
        )
    return _failure("", message)
