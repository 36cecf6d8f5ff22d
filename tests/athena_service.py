"""Athena's protocol on a loopback port, answering from a script: what moto's does not do (it runs no SQL, ends at once,
never fails, has one page and reads no bytes)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vendor_server import Reply, Request, vendor

Json = dict[str, Any]


class AthenaService:
    """One query's script: `states`, one by one, the last for ever; `pages` of rows; a fault instead, by operation."""

    def __init__(self) -> None:
        self.states: list[str] = ["SUCCEEDED"]
        self.reason = ""
        self.columns: list[Json] = []
        self.pages: list[list[list[str | None]]] = [[]]
        self.scanned = 0
        self.faults: dict[str, list[tuple[int, str, str]]] = {}
        self.calls: list[tuple[str, Json]] = []
        self.url = ""

    def named(self, operation: str) -> list[Json]:
        return [body for name, body in self.calls if name == operation]

    def answer(self, operation: str, asked: Json) -> tuple[int, Json]:
        self.calls.append((operation, asked))
        if self.faults.get(operation):
            status, code, message = self.faults[operation].pop(0)
            return status, {"__type": code, "Message": message}
        if operation == "StartQueryExecution":
            return 200, {"QueryExecutionId": "q-1"}
        if operation == "GetQueryExecution":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            about = {"State": state} | ({"StateChangeReason": self.reason} if self.reason else {})
            statistics = {"DataScannedInBytes": self.scanned, "TotalExecutionTimeInMillis": 1_500}
            return 200, {"QueryExecution": {"QueryExecutionId": "q-1", "Status": about, "Statistics": statistics}}
        if operation == "GetQueryResults":
            place = int(asked.get("NextToken", 0))
            rows: list[list[str | None]] = list(self.pages[place])
            if place == 0:
                rows = [[c["Name"] for c in self.columns], *rows]
            more = {"NextToken": str(place + 1)} if place + 1 < len(self.pages) else {}
            data = [{"Data": [{} if v is None else {"VarCharValue": v} for v in row]} for row in rows]
            return 200, {"ResultSet": {"Rows": data, "ResultSetMetadata": {"ColumnInfo": self.columns}}, **more}
        return 200, {}


@contextmanager
def athena_service() -> Iterator[AthenaService]:
    """Serves a new script inside the block, at its `url`."""
    service = AthenaService()

    def reply(asked: Request) -> Reply:
        operation = asked.headers["x-amz-target"].rpartition(".")[2]
        status, answer = service.answer(operation, json.loads(asked.body))
        return Reply.json(answer, status, content_type="application/x-amz-json-1.1")

    with vendor(reply) as server:
        service.url = server.url
        yield service
