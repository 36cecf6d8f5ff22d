"""/api/pipeline and /api/dead-letters: how the data flows, what is wrong, and what was set aside."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from marketpulse.errors import MarketPulseError, ParameterError, RejectedRecord
from marketpulse.ports import DeadLetterDesk, PipelineWatch
from marketpulse.telemetry import REQUESTS_REFUSED
from marketpulse.web.board import Board
from marketpulse.web.problems import problem, problem_of
from marketpulse.web.rest.answers import tell_fresh

LETTERS_MAX = 500
RECORD_CHARACTERS_MAX = 1_000_000


class Mended(BaseModel):
    """A dead letter's place, and its record as it shall be sent again."""

    letter_partition: Annotated[int, Field(ge=0, le=2**31 - 1)]
    letter_offset: Annotated[int, Field(ge=0, le=2**62)]
    value: Annotated[
        str, Field(min_length=1, max_length=RECORD_CHARACTERS_MAX, description="One JSON object of `market`")
    ]


class PipelineApi:
    """The routes. The desk is opened with the first question, and asked in a thread of its own."""

    def __init__(self, board: Board, watch: PipelineWatch, open_desk: Callable[[], DeadLetterDesk]) -> None:
        self._board, self._watch, self._open_desk = board, watch, open_desk
        self._desk: DeadLetterDesk | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dead-letters")

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["pipeline"])
        router.add_api_route("/pipeline", self.pipeline, methods=["GET"], summary="The way of the data, as it is now")
        router.add_api_route(
            "/dead-letters", self.letters, methods=["GET"], summary="What was set aside, the newest first"
        )
        router.add_api_route(
            "/dead-letters/send", self.send, methods=["POST"], summary="Send a mended record into `market` again"
        )
        return router

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._desk is not None:
            self._desk.close()

    async def pipeline(self) -> Response:
        return tell_fresh({"figures": self._board.figures(), "pipeline": self._watch.picture()})

    async def letters(self, limit: Annotated[int, Query(ge=1, le=LETTERS_MAX)] = 100) -> Response:
        return await self._answered(lambda desk: {"letters": desk.newest(limit)})

    async def send(self, mended: Annotated[Mended, Body()]) -> Response:
        return await self._answered(
            lambda desk: {
                "sent_to": desk.send_again(mended.letter_partition, mended.letter_offset, mended.value.encode())
            }
        )

    async def _answered(self, ask: Callable[[DeadLetterDesk], dict[str, Any]]) -> Response:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, lambda: ask(self._opened()))
        except RejectedRecord as error:
            REQUESTS_REFUSED.labels("record").inc()
            return problem(422, f"this is no market data still: {error}")
        except ParameterError as error:
            return problem(409, str(error))
        except MarketPulseError as error:
            return problem_of(error)
        return tell_fresh(found)

    def _opened(self) -> DeadLetterDesk:
        if self._desk is None:
            self._desk = self._open_desk()
        return self._desk
