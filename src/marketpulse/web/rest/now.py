"""/api/symbols, /api/health and /metrics: what the board and this process say at this moment."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.telemetry import metrics_text
from marketpulse.web.board import Board
from marketpulse.web.problems import described
from marketpulse.web.rest.answers import Format, described_rows, form_of, tell, tell_rows

_NAMES = (
    "symbol", "last", "last_time_ms", "reference", "reference_kind", "simulated", "venue", "timeframes",
    "bid", "bid_size", "ask", "ask_size",
)  # fmt: skip


class Nothing(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


class SymbolsAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Format | None = Field(None, description="unset: by the header Accept")


class Quote(BaseModel):
    """The last price of a symbol, and what its change is counted from."""

    symbol: str
    last: float | None
    last_time_ms: float
    reference: float | None
    reference_kind: Literal["previous_close", "session_open"]
    simulated: bool
    venue: str | None
    timeframes: list[str]
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None


class Symbols(BaseModel):
    timeframes: list[str]
    indicators: list[str]
    symbols: list[Quote]


class Reason(BaseModel):
    severity: Literal["down", "degraded"]
    what: str = Field(description="what is wrong")
    do: str = Field(description="what to do about it")


class Health(BaseModel):
    """Rates are per second over 5 s, latencies milliseconds over 10 s; null: not known yet."""

    status: Literal["ok", "degraded", "down", "starting"] = Field(
        description="down: rows do not reach their readers now"
    )
    reasons: list[Reason] = Field(description="why it is not ok, the worst first")
    events_per_s: float | None
    bars_per_s: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    lag_records: int | None = Field(description="records of `market` that the engine has not taken in")
    dead_letters: int | None
    broker_reachable: bool | None
    newest_row_ms: int | None = Field(description="when the broker appended the newest row that was read")
    now_ms: int
    symbols: int


_QUOTE = {
    "symbol": "AAPL", "last": 248.2, "last_time_ms": 1_734_553_859_412.0, "reference": 247.1, "reference_kind": "previous_close",
    "simulated": False, "venue": "XNAS", "timeframes": ["1s", "1m", "1d"], "bid": 248.19, "bid_size": 300.0, "ask": 248.21, "ask_size": 200.0,
}  # fmt: skip
_SYMBOLS: dict[str, Any] = {
    "timeframes": ["1s", "1m", "1d"], "indicators": ["sma_20", "vwap"], "symbols": [_QUOTE],
}  # fmt: skip


class NowApi:
    """The three routes."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def router(self) -> APIRouter:
        router = APIRouter(tags=["now"])
        router.add_api_route(
            "/api/symbols", self.symbols, methods=["GET"], response_class=Response,
            responses=described_rows(Symbols, _SYMBOLS, 400),
        )  # fmt: skip
        router.add_api_route(
            "/api/health", self.health, methods=["GET"], response_class=Response,
            responses={200: {"model": Health, "description": "How it goes."}, **described(400)},
        )  # fmt: skip
        text = {"text/plain": {"schema": {"type": "string"}}}
        router.add_api_route(
            "/metrics", self.metrics, methods=["GET"], response_class=Response,
            responses={200: {"content": text, "description": "Prometheus text."}, **described(400)},
        )  # fmt: skip
        return router

    async def symbols(self, request: Request, asked: Annotated[SymbolsAsked, Query()]) -> Response:
        """Every symbol with its newest price and quote."""
        rows = self._board.quote_rows()
        form = form_of(request, asked.format)
        if form == "csv":
            rows = [[" ".join(v) if isinstance(v, list) else v for v in row] for row in rows]
        if form != "json":
            return tell_rows(request, form, {}, _NAMES, rows)
        quotes = [dict(zip(_NAMES, row, strict=True)) for row in rows]
        head = {"timeframes": self._board.timeframes, "indicators": self._board.names}
        return tell(request, {**head, "symbols": quotes})

    async def health(self, asked: Annotated[Nothing, Query()]) -> Response:  # noqa: ARG002
        """Whether the pipeline does its work, why not, and how far behind it is. The HTTP status is 200 in every case."""
        body = orjson.dumps(self._board.figures())
        return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")

    async def metrics(self, asked: Annotated[Nothing, Query()]) -> Response:  # noqa: ARG002
        """The metrics of `serve`, as at its own metrics port."""
        body, media_type = metrics_text()
        return Response(body, headers={"cache-control": "no-store", "content-type": media_type})
