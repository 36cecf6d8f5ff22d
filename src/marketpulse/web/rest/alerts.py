"""/api/alerts: what is stored, and what has come since, page by page into the past."""

import base64
import dataclasses
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import ParameterError
from marketpulse.model.market import SYMBOL_BYTES_MAX
from marketpulse.ports import AlertKey, AlertSpan
from marketpulse.web.rest.alert_rows import COLUMNS, AlertRow, RecentAlerts, key_of
from marketpulse.web.rest.answers import Format, described_rows, form_of, next_link, tell, tell_rows
from marketpulse.web.rest.stored import Stored

_MS_MAX = 2**63 // 10**6 - 1
_SHOWN = (*(name.replace("_ns", "_ms") for name in COLUMNS), "event_time_ns")

Ms = Annotated[int, Field(ge=-_MS_MAX, le=_MS_MAX)]


class AlertsAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    symbol: str | None = Field(None, min_length=1, max_length=SYMBOL_BYTES_MAX, examples=["AAPL"])
    rule: str | None = Field(None, min_length=1, max_length=100, description="the rule's name")
    severity: Literal["info", "warning", "critical", "muted"] | None = None
    state: Literal["raised", "cleared"] | None = Field(None, description="what the alert's row says")
    withdrawn: bool = Field(False, description="those too that a revision has made untrue")
    from_ms: Ms | None = Field(None, description="raised or cleared at this time or later, ms since 1970")
    to_ms: Ms | None = Field(None, description="… before this time")
    limit: int = Field(200, ge=1, le=10_000, description="at most so many rows, the newest")
    cursor: str | None = Field(
        None, max_length=1_000, description="`next` of the page before; the other parameters as there"
    )
    format: Format | None = Field(None, description="unset: by the header Accept")

    def span(self) -> AlertSpan:
        """Raises ParameterError for a cursor that is none."""
        return AlertSpan(
            self.symbol, self.rule, self.severity, self.state, _ns(self.from_ms), _ns(self.to_ms),
            None if self.cursor is None else _read_cursor(self.cursor), self.limit, self.withdrawn,
        )  # fmt: skip


class Alert(BaseModel):
    """One change of an alert, as its newest revision says."""

    symbol: str
    rule: str
    severity: Literal["info", "warning", "critical", "muted"]
    timeframe: str
    open_time_ms: float = Field(description="of the bar that it happened on")
    event_time_ms: float = Field(description="when that bar closed")
    state: Literal["raised", "cleared", "withdrawn"]
    was: str | None = Field(description="the state that readers knew there before; null: none")
    late: bool = Field(description="a revision brought it")
    value: float | None
    message: str
    revision: int
    partition: int | None = Field(description="of `market`, where that bar lies; null: nothing was read of it")
    last_offset: int | None = Field(description="of the last record that made that bar")
    event_time_ns: str = Field(description="as digits, since a double cannot hold them: with symbol and rule its key")


class AlertsPage(BaseModel):
    """The newest last."""

    alerts: list[Alert]
    next: str | None = Field(description="the `cursor` of the next page, further back; null: there is none")


_EXAMPLE: dict[str, Any] = {
    "alerts": [{
        "symbol": "AAPL", "rule": "oversold", "severity": "info", "timeframe": "1m", "open_time_ms": 1_734_553_800_000.0,
        "event_time_ms": 1_734_553_860_000.0, "state": "cleared", "was": "raised", "late": True, "value": 31.4,
        "message": "AAPL: rsi_14 is 31.4", "revision": 1, "partition": 0, "last_offset": 81_422,
        "event_time_ns": "1734553860000000000",
    }],
    "next": "WzE3MzQ1NTM4NjAwMDAwMDAwMDAsIkFBUEwiLCJvdmVyc29sZCJd",
}  # fmt: skip


class AlertsApi:
    """The route. `stored`: None where nothing is stored."""

    def __init__(self, recent: RecentAlerts, stored: Stored | None) -> None:
        self._recent = recent
        self._stored = stored

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["alerts"])
        router.add_api_route(
            "/alerts", self.alerts, methods=["GET"], response_class=Response,
            responses=described_rows(AlertsPage, _EXAMPLE, 400, 422, 503),
        )  # fmt: skip
        return router

    async def alerts(self, request: Request, asked: Annotated[AlertsAsked, Query()]) -> Response:
        """Alerts that were raised and cleared, stored and live."""
        rows, older = await self._page(asked.span())
        following = _cursor(key_of(rows[0])) if older else None
        link = None if following is None else next_link(request, cursor=following)
        form = form_of(request, asked.format)
        told = [[*(_shown(name, row[name]) for name in COLUMNS), str(row["event_time_ns"])] for row in rows]
        if form != "json":
            return tell_rows(request, form, {}, _SHOWN, told, following=link)
        alerts = [dict(zip(_SHOWN, row, strict=True)) for row in told]
        headers = {} if link is None else {"link": f'<{link}>; rel="next"'}
        return tell(request, {"alerts": alerts, "next": following}, headers)

    async def _page(self, span: AlertSpan) -> tuple[list[AlertRow], bool]:
        """The newest rows of the span in order, and whether there are older ones."""
        live = self._recent.within(span)
        found: dict[AlertKey, AlertRow] = {}
        if self._stored is not None:
            revised = sum(row["revision"] > 0 for row in live.values())
            wider = dataclasses.replace(span, limit=span.limit + 1 + revised)
            table = await self._stored.ask(lambda history: history.alerts(wider))
            found = {key_of(row): row for row in table.to_pylist()}
            if table.num_rows == wider.limit:  # what is stored goes on below its last
                oldest = min(found)
                live = {key: row for key, row in live.items() if key >= oldest}
        for key, row in live.items():
            if key not in found or row["revision"] >= found[key]["revision"]:
                found[key] = row
        wanted = [key for key, row in sorted(found.items()) if _is_wanted(row, span)]
        return [found[key] for key in wanted[-span.limit :]], len(wanted) > span.limit


def _is_wanted(row: AlertRow, span: AlertSpan) -> bool:
    return (
        (span.withdrawn or row["state"] != "withdrawn")
        and span.state in (None, row["state"])
        and span.severity in (None, row["severity"])
    )


def _shown(name: str, value: Any) -> Any:
    return value / 1e6 if name.endswith("_ns") else value


def _ns(ms: int | None) -> int | None:
    return None if ms is None else ms * 10**6


def _cursor(key: AlertKey) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode()


def _read_cursor(text: str) -> AlertKey:
    try:
        time_ns, symbol, rule = orjson.loads(base64.b64decode(text, b"-_", validate=True))
    except (ValueError, TypeError):
        time_ns = symbol = rule = None
    if not (isinstance(time_ns, int) and abs(time_ns) < 2**63 and isinstance(symbol, str) and isinstance(rule, str)):
        raise ParameterError("cursor: give the `next` of the page before, as it stands there")
    return time_ns, symbol, rule
