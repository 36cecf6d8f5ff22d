"""/api/sources: how good each source is, and its symbols."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from marketpulse.ports import SourceWatch
from marketpulse.web.problems import described, problem
from marketpulse.web.rest.answers import tell_fresh

SYMBOLS_MAX = 1_000


class Asked(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


class SymbolsAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, Field(min_length=1, max_length=200)]
    limit: Annotated[int, Field(ge=1, le=SYMBOLS_MAX, description="the worst covered first")] = 100


class RowCounts(BaseModel):
    trade: int
    quote: int
    bar: int


class GapCounts(BaseModel):
    gaps: int
    trades: int


class GapsByState(BaseModel):
    """`found`: still asked for; `healed`: all its trades have come; `open`: some cannot be had."""

    found: GapCounts
    healed: GapCounts
    open: GapCounts


class Requests(BaseModel):
    asked: int = Field(description="since the process began")
    today: int | None
    a_day: int | None = Field(description="what the vendor allows; null: no budget")


class SourceScore(BaseModel):
    """Counts are of the last `hours`; null: not known, or it means nothing for this source."""

    source: str
    kind: str | None
    state: Literal["live", "silent", "ended"]
    mode: Literal["live", "historical"]
    simulated: bool
    symbols: int
    rows: RowCounts
    rows_per_s: float = Field(description="over the last minute")
    lag_p50_ms: float | None = Field(description="from event time to the log's append")
    lag_p99_ms: float | None
    newest_event_ms: int | None
    behind_ms: float | None = Field(description="from the newest event to the log's time now")
    coverage: float | None = Field(description="the part of its venues' open minutes in which its symbols had rows")
    gaps: GapsByState
    quality: dict[str, int] = Field(description="suspect rows that were marked, by rule")
    dead_letters: dict[str, int] = Field(description="those that name the source, by reason")
    rejected: dict[str, int] | None = Field(
        description="what its process refused of its input, by reason, since it began"
    )
    disagreement_p50_bps: float | None
    disagreement_p99_bps: float | None
    reconnects: int | None
    faults: int | None
    requests: Requests | None
    rows_on_disk: int | None
    on_disk_s: float | None


class Sources(BaseModel):
    hours: int
    log_time_ms: int | None
    catching_up: bool = Field(description="the log's last hours are still being read")
    left_out_rows: int = Field(description="rows of symbols beyond scorecard.series_max")
    sources: list[SourceScore]
    dead_letters_of_nobody: dict[str, int] = Field(description="those whose source is not known, by reason")


class SymbolScore(BaseModel):
    symbol: str
    venue: str | None
    calendar: str
    rows: int = Field(description="since the card began")
    newest_event_ms: int
    coverage: float | None
    minutes: str = Field(description="from `from_ms` on: 1 with rows, 0 without, . not counted")


class GapScore(BaseModel):
    symbol: str
    state: Literal["found", "healed", "open"]
    from_ms: int
    to_ms: int
    trades: int | None
    reason: str
    told_ms: int


class Apart(BaseModel):
    """Seen from this source: above 0 where its price is the higher one."""

    instrument: str
    symbol: str
    other_source: str
    other_symbol: str
    minutes: int
    p50_bps: float | None
    p99_bps: float | None
    line_bps: list[float | None] = Field(description="the last hour by minute")


class SymbolScores(BaseModel):
    from_ms: int = 0
    to_ms: int = 0
    symbols: list[SymbolScore]
    gaps: list[GapScore]
    disagreements: list[Apart]


class SourcesApi:
    """The two routes. `watch`: None where the scorecard is switched off. It is asked in a thread of its own."""

    def __init__(self, watch: SourceWatch | None) -> None:
        self._watch = watch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sources")

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/sources", tags=["pipeline"])
        router.add_api_route(
            "", self.sources, methods=["GET"], response_class=Response,
            responses={200: {"model": Sources, "description": "A row for each source."}, **described(400, 503)},
        )  # fmt: skip
        router.add_api_route(
            "/symbols", self.symbols, methods=["GET"], response_class=Response,
            responses={200: {"model": SymbolScores, "description": "Its symbols."}, **described(400, 503)},
        )  # fmt: skip
        return router

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def sources(self, asked: Annotated[Asked, Query()]) -> Response:  # noqa: ARG002
        """How good each source is: lag, coverage, gaps, disagreement, cost."""
        return await self._answered(lambda watch: watch.sources())

    async def symbols(self, asked: Annotated[SymbolsAsked, Query()]) -> Response:
        """A source's symbols minute by minute, its gaps, and how far it is from other sources."""
        return await self._answered(lambda watch: watch.symbols(asked.source, asked.limit))

    async def _answered(self, ask: Callable[[SourceWatch], Any]) -> Response:
        watch = self._watch
        if watch is None:
            return problem(503, "the scorecard is switched off: set scorecard.enabled")
        found = await asyncio.get_running_loop().run_in_executor(self._thread, lambda: ask(watch))
        return (
            problem(503, "the log has not been read yet: try again in a moment") if found is None else tell_fresh(found)
        )
