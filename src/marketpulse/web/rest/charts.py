"""What a chart asks for beside its bars. Times are milliseconds.

GET /api/catalog            the indicators, with parameters, ranges and panes
GET /api/chart/indicators   any of them on a series, stored and live, warm-up included
GET /api/chart/sessions     when a symbol's venue opens and closes
GET /api/explain            a bar's or value's receipt: inputs, arithmetic, revisions
"""

import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import Fatal, MarketPulseError, ParameterError
from marketpulse.model.market import SYMBOL_BYTES_MAX
from marketpulse.model.timeframe import Cut, Timeframe
from marketpulse.ports import BarSpan, ChartDesk, LiveBars, ReceiptAsk
from marketpulse.telemetry import CHART_QUESTIONS, CHART_SECONDS
from marketpulse.web.board import Board
from marketpulse.web.problems import described, problem
from marketpulse.web.rest.answers import tell
from marketpulse.web.turns import Turns

VALUES_MAX = 20_000
STEMS_MAX = 24
_DAYS_MAX_MS = 20 * 366 * 86_400_000
_TIME_MAX = 9.0e12
T = TypeVar("T")

Time = Annotated[float, Field(ge=-_TIME_MAX, le=_TIME_MAX, allow_inf_nan=False)]
Symbol = Annotated[str, Field(min_length=1, max_length=SYMBOL_BYTES_MAX, examples=["AAPL"])]
Frame = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[smhdt]$", examples=["1m"])]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IndicatorsAsked(_Asked):
    symbol: Symbol
    timeframe: Frame
    indicator: str = Field(
        min_length=1, max_length=1_000, description="names with their values, joined by commas", examples=["rsi_21,bbands_20_2"]
    )  # fmt: skip
    from_ms: Time | None = Field(None, description="of bars that open at this time or later")
    before_ms: Time | None = Field(None, description="of bars that open before this time")
    limit: int = Field(VALUES_MAX, ge=1, le=VALUES_MAX, description="at most so many rows, the newest ones")


class SessionsAsked(_Asked):
    symbol: Symbol
    from_ms: Time
    to_ms: Time


class ReceiptAsked(_Asked):
    symbol: Symbol
    timeframe: Frame
    open_ms: Time = Field(description="when the bar opens, as /api/bars tells it")
    name: str = Field("bar", max_length=200, description="bar, one of its columns, an indicator's, or alert:RULE")


class ChartApi:
    """The routes, and the threads behind them. The desk is opened with the first question."""

    def __init__(self, board: Board, open_desk: Callable[[], ChartDesk]) -> None:
        self._board = board
        self._open_desk = open_desk
        self._desk: ChartDesk | None = None
        self._opening = threading.Lock()
        self._quick = Turns("chart questions", 1, 64)
        self._slow = Turns("receipts", 1, 8)

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["charts"])
        routes: list[tuple[str, Any, tuple[int, ...]]] = [
            ("/catalog", self.catalog, (429,)),
            ("/chart/indicators", self.indicators, (400, 422, 429, 503)),
            ("/chart/sessions", self.sessions, (400, 429)),
            ("/explain", self.explain, (400, 404, 422, 429, 503)),
        ]
        for path, answer, statuses in routes:
            router.add_api_route(path, answer, methods=["GET"], response_class=Response, responses=described(*statuses))
        return router

    async def catalog(self, request: Request) -> Response:
        """Every indicator that there is."""
        return await self._told(request, "catalog", lambda desk: {"indicators": desk.catalogue()})

    async def indicators(self, request: Request, asked: Annotated[IndicatorsAsked, Query()]) -> Response:
        """The values of a person's choice, by the engine's own operators."""
        stems = list(dict.fromkeys(part.strip() for part in asked.indicator.split(",") if part.strip()))
        if not 1 <= len(stems) <= STEMS_MAX:
            raise ParameterError(f"indicator: name from 1 to {STEMS_MAX}, such as rsi_21,bbands_20_2")
        span = BarSpan(asked.symbol, Timeframe.parse(asked.timeframe).name, asked.from_ms, asked.before_ms, asked.limit)
        held = self._board.held(span.symbol, span.timeframe)
        live = LiveBars() if held is None else LiveBars(held[0].rows, held[0].gone)

        def work(desk: ChartDesk) -> Any:
            columns, rows = desk.values(stems, span, live)
            named = {"symbol": span.symbol, "timeframe": span.timeframe, "indicators": stems}
            return named | {"columns": ["open_time_ms", *columns], "rows": rows}

        return await self._told(request, "indicators", work)

    async def sessions(self, request: Request, asked: Annotated[SessionsAsked, Query()]) -> Response:
        """The sessions of the symbol's venue, by its exchange's calendar."""
        if not 0 < asked.to_ms - asked.from_ms <= _DAYS_MAX_MS:
            raise ParameterError("to_ms must lie after from_ms, by 20 years at most")
        venue = self._board.venue(asked.symbol)
        return await self._told(
            request,
            "sessions",
            lambda desk: (
                {"symbol": asked.symbol, "venue": venue} | dict(desk.sessions(venue, asked.from_ms, asked.to_ms))
            ),
        )

    async def explain(self, request: Request, asked: Annotated[ReceiptAsked, Query()]) -> Response:
        """Where a value comes from. It replays a slice of the log, which may take seconds."""
        frame = Timeframe.parse(asked.timeframe)
        ticks = frame.cut is Cut.TICKS
        open_ns = round(asked.open_ms * 1e6) if ticks else round(asked.open_ms * 1_000) * 1_000
        ask = ReceiptAsk(asked.symbol, frame.name, open_ns, asked.name, ticks)
        begun = time.monotonic()
        try:
            found = await self._slow.take(request, lambda cancelled: self._open().receipt(ask, cancelled))
        except MarketPulseError as error:
            return _refused("receipt", error, missing=404)
        finally:
            CHART_SECONDS.observe(time.monotonic() - begun)
        CHART_QUESTIONS.labels("receipt", "answered").inc()
        return tell(request, found)

    def close(self) -> None:
        """Stop what runs. To be called from any thread, once the server has stopped."""
        self._slow.close()
        self._quick.close()
        if self._desk is not None:
            self._desk.close()

    async def _told(self, request: Request, kind: str, work: Callable[[ChartDesk], Any]) -> Response:
        begun = time.monotonic()
        try:
            found = await self._quick.take(request, lambda _: work(self._open()))
        except MarketPulseError as error:
            return _refused(kind, error)
        finally:
            CHART_SECONDS.observe(time.monotonic() - begun)
        CHART_QUESTIONS.labels(kind, "answered").inc()
        return tell(request, found)

    def _open(self) -> ChartDesk:
        with self._opening:
            if self._desk is None:
                self._desk = self._open_desk()
            return self._desk


def _refused(kind: str, error: MarketPulseError, missing: int = 500) -> Response:
    """`missing`: the status of a Fatal that is none of the finer ones, such as a row that is not there."""
    CHART_QUESTIONS.labels(kind, type(error).__name__).inc()
    if type(error) is Fatal and missing != 500:
        return problem(missing, str(error))
    raise error
