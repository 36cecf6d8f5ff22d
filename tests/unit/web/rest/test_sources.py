"""/api/sources, with a watch that is made up of a keeper."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from market_rows import trade
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.processes import with_processes
from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.rest.sources import Sources, SourcesApi, SymbolScores
from score_rows import card_of


class Watch:
    """What a keeper has heard; `heard` is None before it has."""

    def __init__(self, heard: Card | None) -> None:
        self.heard = heard

    def sources(self) -> Mapping[str, Any] | None:
        if self.heard is None:
            return None
        rows = with_processes(self.heard.sources(), None, {})
        return {
            "hours": 1, "log_time_ms": 5, "catching_up": False, "left_out_rows": 0, "sources": rows,
            "dead_letters_of_nobody": {},
        }  # fmt: skip

    def symbols(self, source: str, limit: int) -> Mapping[str, Any] | None:
        return None if self.heard is None else self.heard.symbols(source, limit)


def ask(path: str, watch: Watch | None) -> httpx.Response:
    api = SourcesApi(watch)
    app = create_app(Board(), ServeSettings(), {}, routers=[api.router()])

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    try:
        return asyncio.run(run())
    finally:
        api.close()


@pytest.fixture
def watch() -> Watch:
    rows = [(trade(name, 3_600.0 + i, 1.0, 1.0), 3_600.0 + i) for i, name in enumerate("ABC")]
    return Watch(card_of(rows))


def test_the_answers_are_as_they_are_described(watch: Watch) -> None:
    found = Sources.model_validate(ask("/api/sources", watch).json())
    assert [(one.source, one.symbols, one.reconnects) for one in found.sources] == [("feed", 3, None)]
    symbols = SymbolScores.model_validate(ask("/api/sources/symbols?source=feed&limit=2", watch).json())
    assert [one.symbol for one in symbols.symbols] == ["A", "B"]
    assert SymbolScores.model_validate(ask("/api/sources/symbols?source=other", watch).json()).symbols == []


@pytest.mark.parametrize(
    "query", ["", "?source=feed&limit=0", "?source=feed&limit=1001", "?source=", "?source=feed&more=1"]
)
def test_a_wrong_question_is_refused(watch: Watch, query: str) -> None:
    assert ask(f"/api/sources/symbols{query}", watch).status_code == 400


@pytest.mark.parametrize(("watch", "words"), [(None, "set scorecard.enabled"), (Watch(None), "try again")])
def test_without_a_card_it_says_why(watch: Watch | None, words: str) -> None:
    for path in ("/api/sources", "/api/sources/symbols?source=feed"):
        answer = ask(path, watch)
        assert answer.status_code == 503
        assert words in answer.json()["error"]
