"""/api/bars and /api/indicators: a series as far as it is known, stored and live, page by page into the past."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import ParameterError
from marketpulse.model.adjusting import Adjust, Adjustments, Step
from marketpulse.model.market import SYMBOL_BYTES_MAX
from marketpulse.model.timeframe import Timeframe
from marketpulse.ports import BarSpan
from marketpulse.web.board import Board
from marketpulse.web.problems import described, problem
from marketpulse.web.rest.adjusting import InPrices, adjusted
from marketpulse.web.rest.answers import Format, described_rows, form_of, next_link, tell, tell_rows
from marketpulse.web.rest.seamless import Stretch, stretch
from marketpulse.web.rest.stored import Stored
from marketpulse.web.series import BAR_COLUMNS

LIMIT_MAX = 10_000
_TIME_MAX = 2.0**53
_VALUES_HEAD = ("open_time_ms", "close_time_ms", "close", "revision")

Time = Annotated[float, Field(ge=-_TIME_MAX, le=_TIME_MAX, allow_inf_nan=False)]


class SeriesAsked(BaseModel):
    """What every question about a series says."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(
        min_length=1, max_length=SYMBOL_BYTES_MAX, description="as /api/symbols names it", examples=["AAPL"]
    )
    timeframe: str = Field(
        pattern=r"^[1-9][0-9]{0,5}[smhdt]$", description="1s, 1m, 5m, 1h, 1d …, or 100t", examples=["1m"]
    )
    from_ms: Time | None = Field(None, description="bars that open at this time or later, ms since 1970")
    to_ms: Time | None = Field(None, description="bars that open before this time, ms since 1970")
    before_ms: Time | None = Field(
        None, description="as `to_ms`: a page's first `open_time_ms` gives the page before it"
    )
    limit: int = Field(500, ge=1, le=LIMIT_MAX, description="at most so many rows, the newest of the span")
    cursor: Time | None = Field(None, description="`next` of the page before; the other parameters as there")
    adjust: Adjust = Field(
        "none", description="`split`: prices and volumes as if no split had been; `all`: and no dividend"
    )
    format: Format | None = Field(None, description="unset: by the header Accept")

    def span(self) -> BarSpan:
        """Raises ParameterError for a timeframe that there cannot be."""
        ends = [end for end in (self.to_ms, self.before_ms, self.cursor) if end is not None]
        before_ms = min(ends) if ends else None
        return BarSpan(self.symbol, Timeframe.parse(self.timeframe).name, self.from_ms, before_ms, self.limit)


class ValuesAsked(SeriesAsked):
    names: str | None = Field(
        None, max_length=4_000, description="which, joined by commas; unset: all", examples=["sma_20,rsi_14"]
    )


class ActionsAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(min_length=1, max_length=SYMBOL_BYTES_MAX, examples=["AAPL"])
    timeframe: str = Field(pattern=r"^[1-9][0-9]{0,5}[smhdt]$", examples=["1d"])


class ToldAction(BaseModel):
    """A split or dividend, as it was told last."""

    type: Literal["split", "dividend"]
    ex_ms: float = Field(description="bars that open before it are adjusted")
    value: float = Field(description="the ratio of a split, the amount of a dividend")


class ToldStep(BaseModel):
    """What a bar is multiplied by that opens before `before_ms`, and not before an earlier step."""

    before_ms: float
    price: float
    volume: float


class Actions(BaseModel):
    symbol: str
    timeframe: str
    actions: list[ToldAction]
    split: list[ToldStep] = Field(description="for splits")
    all: list[ToldStep] = Field(description="for dividends too")


class Session(BaseModel):
    """The symbol's session so far."""

    date: int = Field(description="days since 1970-01-01")
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


class Missing(BaseModel):
    """Between two bars, neither of which is missing."""

    after_ms: float | None = Field(description="the last bar before the hole; null: nothing is stored")
    before_ms: float


class SeriesPage(BaseModel):
    """Rows as arrays, oldest first, in the order of `columns`. A bar that may still change has the revision -1."""

    symbol: str
    timeframe: str
    columns: list[str]
    rows: list[list[float | None]]
    older: bool = Field(description="there are bars before these")
    missing: Missing | None = Field(
        description="a hole in these rows, or before the first: bars that are not stored yet; null: none"
    )
    next: float | None = Field(description="the `cursor` of the next page, further back; null: there is none")


class BarsPage(SeriesPage):
    session: Session | None


_HOLE = {"after_ms": 1_734_553_680_000.0, "before_ms": 1_734_553_800_000.0}
_BARS: dict[str, Any] = {
    "symbol": "AAPL", "timeframe": "1m", "older": True, "missing": _HOLE, "next": 1_734_553_800_000.0,
    "session": {"date": 20_075, "open": 247.5, "high": 248.4, "low": 246.9, "close": 248.2, "volume": 1_250_300.0},
    "columns": [*BAR_COLUMNS, "sma_20"],
    "rows": [[1_734_553_800_000.0, 1_734_553_860_000.0, 248.1, 248.4, 248.0, 248.2, 18_250.0, 248.19, 312.0, 0.0, 247.6]],
}  # fmt: skip
_VALUES: dict[str, Any] = {
    "symbol": "AAPL", "timeframe": "1m", "older": True, "missing": _HOLE, "next": 1_734_553_800_000.0,
    "columns": [*_VALUES_HEAD, "sma_20"],
    "rows": [[1_734_553_800_000.0, 1_734_553_860_000.0, 248.2, 0.0, 247.6]],
}  # fmt: skip
_UNCHANGED = {"description": "The client has this answer already (If-None-Match)."}
_ADJUSTED: tuple[Adjust, ...] = ("split", "all")
_STATUSES = (400, 404, 422, 503)


class BarsApi:
    """The routes. `stored`: None where nothing is stored. `in_prices`: which indicators' columns are prices."""

    def __init__(self, board: Board, stored: Stored | None, in_prices: InPrices = lambda _: False) -> None:
        self._board = board
        self._stored = stored
        self._in_prices = in_prices

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["series"])
        for path, answer, example in (("/bars", self.bars, _BARS), ("/indicators", self.indicators, _VALUES)):
            model = BarsPage if path == "/bars" else SeriesPage
            router.add_api_route(
                path, answer, methods=["GET"], response_class=Response,
                responses=described_rows(model, example, *_STATUSES),
            )  # fmt: skip
        router.add_api_route(
            "/corporate_actions", self.actions, methods=["GET"], response_class=Response,
            responses={200: {"model": Actions, "description": "What was told."}, 304: _UNCHANGED, **described(400, 422, 503)},
        )  # fmt: skip
        return router

    async def actions(self, request: Request, asked: Annotated[ActionsAsked, Query()]) -> Response:
        """Splits and dividends of a symbol, and by what the bars of a series are multiplied for them."""
        by = await self._adjustments(asked.symbol, Timeframe.parse(asked.timeframe).name)
        actions = [{"type": a.type, "ex_ms": a.ex_time_ns / 1e6, "value": a.value} for a in by.actions]
        steps = {adjust: [_told_step(step) for step in by.steps.get(adjust, ())] for adjust in _ADJUSTED}
        return tell(request, {"symbol": asked.symbol, "timeframe": asked.timeframe, "actions": actions} | steps)

    async def _adjustments(self, symbol: str, timeframe: str) -> Adjustments:
        if self._stored is None:
            return Adjustments()
        return await self._stored.ask(lambda history: history.adjustments(symbol, timeframe))

    async def _stretch(self, asked: SeriesAsked) -> Stretch | None:
        found = await stretch(self._board, self._stored, asked.span())
        if found is None or asked.adjust == "none":
            return found
        span = asked.span()
        by = await self._adjustments(span.symbol, span.timeframe)
        return adjusted(found, by, asked.adjust, self._in_prices)

    async def bars(self, request: Request, asked: Annotated[SeriesAsked, Query()]) -> Response:
        """Bars with their indicator values, stored and live."""
        found = await self._stretch(asked)
        if found is None:
            return _unknown()
        return _told(request, asked, found, {"session": found.session})

    async def indicators(self, request: Request, asked: Annotated[ValuesAsked, Query()]) -> Response:
        """The values of closed bars, and the provisional ones of the forming bar."""
        found = await self._stretch(asked)
        if found is None:
            return _unknown()
        there = found.columns[len(BAR_COLUMNS) :]
        names = there if asked.names is None else [name.strip() for name in asked.names.split(",")]
        if missing := [name for name in names if name not in there]:
            raise ParameterError(
                f"there are no values {missing[0][:80]!r} here: there are {', '.join(there) or 'none yet'}"
            )
        columns = [*_VALUES_HEAD, *names]
        places = [found.columns.index(name) for name in columns]
        rows = [[row[place] for place in places] for row in found.rows]
        return _told(request, asked, Stretch(columns, rows, found.older, None, found.missing), {})


def _told_step(step: Step) -> dict[str, float]:
    return {"before_ms": step.before_ns / 1e6, "price": step.price, "volume": step.volume}


def _unknown() -> Response:
    return problem(404, "no bars of this symbol and timeframe yet: see /api/symbols")


def _told(request: Request, asked: SeriesAsked, found: Stretch, more: dict[str, Any]) -> Response:
    following = found.rows[0][0] if found.older and found.rows else None
    hole = found.missing
    missing = None if hole is None else {"after_ms": hole[0], "before_ms": hole[1]}
    head = {
        "symbol": asked.symbol, "timeframe": asked.timeframe, **more, "older": found.older, "missing": missing,
        "next": following,
    }  # fmt: skip
    link = None if following is None else next_link(request, cursor=repr(following))
    return tell_rows(request, form_of(request, asked.format), head, found.columns, found.rows, following=link)
