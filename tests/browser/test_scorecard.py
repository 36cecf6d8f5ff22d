"""The scorecard over a real pipeline: a feed that loses trades, and what the page says of it, as it happens."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.sync.server import ServerConnection

from accessibility import violations
from browser_stage import Visit
from exchange_server import Exchange, running
from running_up import Up, held

pytestmark = [pytest.mark.browser, pytest.mark.timeout(280)]

PAIRS = ("BTC-USD", "ETH-USD")
LOST = range(1_020, 1_025)


class Losing(Exchange):
    """Does not send some trades of its first pair, and gives them by REST once it is let."""

    def __init__(self) -> None:
        super().__init__("coinbase", PAIRS, 50_000, seed=3, every_s=0.05)
        self.mended = threading.Event()

    def send_one(self, socket: ServerConnection, known: list[Any], i: int, rng: Any) -> int:
        if known[i][0] == PAIRS[0] and known[i][1] in LOST:
            return 1
        return super().send_one(socket, known, i, rng)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        return super().answer(path, query) if self.mended.is_set() else (503, b"busy")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Losing]:
    with running(Losing()) as exchange:
        assert isinstance(exchange, Losing)
        yield exchange


@pytest.fixture(scope="module")
def fed(exchange: Losing, tmp_path_factory: pytest.TempPathFactory, broker_cache: Path) -> Iterator[Up]:
    """A pipeline with that feed, and the simulated market beside it."""
    folder = tmp_path_factory.mktemp("fed")
    config = folder / "feed.toml"
    config.write_text(
        f'[sources.market]\nkind = "simulate"\n[sources.coinbase]\nkind = "coinbase"\nsymbols = {json.dumps(PAIRS)}\n'
        f'url = "{exchange.url}"\nrest_url = "{exchange.rest_url}"\nsilence_s = 20\n'
    )
    with held(Up(folder / "data", broker_cache)) as running_up:
        running_up.start("--source", "coinbase", "--config", str(config))
        running_up.until_ready()
        yield running_up


def open_detail(page: Page, url: str, source: str) -> None:
    page.goto(url + "#/pipeline")
    page.wait_for_selector("body[data-state=shown]")
    page.get_by_role("table", name="Feed quality").get_by_role("button", name=re.compile(f"^{source}")).click()


def test_a_gap_is_seen_found_and_then_healed(fed: Up, exchange: Losing, visit: Visit) -> None:
    page = visit.page
    open_detail(page, fed.until_ready(), "coinbase")
    detail = page.get_by_role("region", name="Symbols of a source")
    expect(detail.get_by_role("listitem").filter(has_text=PAIRS[1])).to_be_visible()
    gap = detail.get_by_role("table", name="Gaps").get_by_role("row", name=re.compile(f"^{PAIRS[0]}"))
    expect(gap).to_contain_text("asked for")
    expect(gap).to_contain_text("5")
    row = page.get_by_role("table", name="Feed quality").get_by_role("row", name=re.compile("^coinbase"))
    expect(row).to_contain_text("5, 5 open")
    exchange.mended.set()
    expect(gap).to_contain_text("healed")
    expect(row).to_contain_text("5, all healed")
    expect(row).to_contain_text("live")
    found = json.loads(fed.get("/api/sources"))
    [told] = [one for one in found["sources"] if one["source"] == "coinbase"]
    assert told["gaps"]["healed"] == {"gaps": 1, "trades": len(LOST)}
    assert told["requests"]["asked"] >= 1
    assert told["lag_p50_ms"] is not None


def test_a_source_without_gaps_says_so_and_closes_again(fed: Up, visit: Visit) -> None:
    page = visit.page
    open_detail(page, fed.until_ready(), "simulate-market")
    detail = page.get_by_role("region", name="Symbols of a source")
    expect(detail).to_contain_text("No gap in these hours.")
    page.get_by_role("button", name=re.compile("^simulate-market")).click()
    expect(detail).to_be_hidden()
    assert visit.complaints == []


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_symbols_of_a_source_keep_nobody_out(fed: Up, chromium: Browser, theme: str, width: int) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme="light" if theme == "light" else "dark", bypass_csp=True,
        reduced_motion="reduce",
    )  # fmt: skip
    try:
        page = context.new_page()
        open_detail(page, fed.until_ready(), "coinbase")
        expect(page.get_by_role("region", name="Symbols of a source")).to_contain_text(PAIRS[0])
        found = violations(page)
        assert found == [], json.dumps(list({one[0]: one for one in found}.values()), indent=1)
    finally:
        context.close()
