"""What is seen of one `up` with a feed that loses trades: its view, the scorecard, and that no view keeps anybody out."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page, ViewportSize, expect
from websockets.sync.server import ServerConnection

from browser_stage import Stage, Visit
from exchange_server import Exchange, running
from notebooks import outputs, run_notebook
from running_up import Up, held

_CHECKER = Path(__file__).parents[2] / "ui" / "node_modules" / "accessibility-checker-engine" / "ace.js"
_CHECK = """async () => {
    const report = await new ace.Checker().check(document, ["WCAG_2_2"]);
    return report.results
        .filter((one) => one.value[0] === "VIOLATION" && one.value[1] === "FAIL")
        .map((one) => [one.ruleId, one.message, one.path.dom, one.snippet]);
}"""


def violations(page: Page) -> list[list[str]]:
    """What it finds wrong. The page's policy takes no script but its own: its context must pass the policy by."""
    page.add_script_tag(path=_CHECKER)
    found: list[list[str]] = page.evaluate(_CHECK)
    return found


pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TRADE = {"type": "trade", "symbol": "SENT-AGAIN", "source": "desk", "event_time_ns": 0, "price": 12.5, "size": 100}
PAIRS = ("BTC-USD", "ETH-USD")
LOST = 5  # trades
VIEWS = {
    "market": "#/market", "symbol": "#", "alerts": "#/alerts", "a new rule": "#/alerts/new", "pipeline": "#/pipeline",
    "ask": "#/ask/most_active?timeframe=1s",
}  # fmt: skip


class Losing(Exchange):
    """Does not send the next trades of its first pair once it is to lose some, and gives them by REST once it is let."""

    def __init__(self) -> None:
        super().__init__("coinbase", PAIRS, 50_000, seed=3, every_s=0.05)
        self.losing, self.mended = threading.Event(), threading.Event()
        self._lost = set[int]()

    def send_one(self, socket: ServerConnection, known: list[Any], i: int, rng: Any) -> int:
        if self.losing.is_set() and known[i][0] == PAIRS[0] and len(self._lost | {known[i][1]}) <= LOST:
            self._lost.add(known[i][1])
            return 1
        return super().send_one(socket, known, i, rng)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        return super().answer(path, query) if self.mended.is_set() else (503, b"busy")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Losing]:
    with running(Losing()) as exchange:
        assert isinstance(exchange, Losing)
        yield exchange


@pytest.fixture(scope="module")
def up(exchange: Losing, tmp_path_factory: pytest.TempPathFactory, broker_cache: Path) -> Iterator[Up]:
    """The real pipeline, once for all: broker, simulator and that feed, engine, lake and page."""
    folder = tmp_path_factory.mktemp("up")
    config = folder / "feed.toml"
    config.write_text(
        f'[sources.market]\nkind = "simulate"\n[sources.coinbase]\nkind = "coinbase"\nsymbols = {json.dumps(PAIRS)}\n'
        f'url = "{exchange.url}"\nrest_url = "{exchange.rest_url}"\nsilence_s = 20\n'
    )
    with held(Up(folder / "data", broker_cache)) as running_up:
        running_up.start("--source", "coinbase", "--config", str(config))
        running_up.until_ready()
        yield running_up


def open_pipeline(up: Up, visit: Visit) -> Page:
    page = visit.open(up.until_ready() + "#/pipeline")
    expect(page.get_by_role("link", name="Pipeline")).to_have_attribute("aria-current", "page")
    return page


def test_the_way_of_the_data_shows_what_the_processes_count(up: Up, visit: Visit) -> None:
    page = open_pipeline(up, visit)
    way = page.get_by_role("group", name="The way of the data")
    for name in ("market", "Engine", "bars", "lake", "Pages"):
        expect(way.get_by_role("region", name=name, exact=True)).to_be_visible()
    engine = way.get_by_role("region", name="Engine", exact=True)
    expect(engine).to_contain_text(re.compile(r"[1-9][\d.]*\s?k?/s"))
    expect(engine).to_contain_text("1 worker")
    processes = page.get_by_role("table", name="Processes")
    for name in ("broker", "process-0", "produce-market", "serve", "sink-lake", "up"):
        expect(processes.get_by_role("row", name=re.compile(f"^{name} works"))).to_be_visible()
    hops = page.get_by_role("table", name="Latency by hop")
    expect(hops.get_by_role("row", name=re.compile(r"^One commit of the engine [\d.]+\s(ms|s)"))).to_be_visible()
    quality = page.get_by_role("table", name="Feed quality")
    expect(quality.get_by_role("row", name=re.compile("simulate-market"))).to_be_visible()
    assert visit.complaints == []


def test_what_is_wrong_stands_at_the_top_and_a_record_is_mended_and_sent_again(up: Up, visit: Visit) -> None:
    page = open_pipeline(up, visit)
    wrong = page.get_by_role("region", name="What is wrong")
    expect(wrong).not_to_contain_text("set aside")
    producer = Producer({"bootstrap.servers": up.facts("broker")["bootstrap_servers"]})
    newest_ns = 1_000_000 * json.loads(up.get("/api/health"))["now_ms"]
    producer.produce("market", json.dumps({**TRADE, "event_time_ns": newest_ns, "price": -3}), "SENT-AGAIN")
    producer.flush(20)
    expect(wrong).to_contain_text(re.compile("1 record.* set aside"))

    row = page.get_by_role("table", name="Dead letters").get_by_role("row", name=re.compile("Bad price SENT-AGAIN"))
    expect(row).to_contain_text("price must be above 0")
    row.get_by_role("button").click()
    dialog = page.get_by_role("dialog", name="Bad price")
    record = dialog.get_by_role("textbox", name="The record")
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_role("status")).to_contain_text("no market data still: price must be above 0")
    record.fill(record.input_value().replace("-3", "12.5"))
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_role("status")).to_contain_text(re.compile(r"Sent again: it stands at market/\d+@\d+ now"))
    dialog.get_by_role("button", name="Close").click()
    expect(row.get_by_role("button")).to_have_text("Sent again")
    found = up.until("the board has it", lambda: [one for one in up.symbols() if one["symbol"] == "SENT-AGAIN"])
    assert found[0]["last"] == 12.5


def test_a_page_without_a_pipeline_behind_it_says_so(stage: Stage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#/pipeline")
    expect(page.get_by_role("region", name="What is wrong")).to_contain_text("The pipeline cannot be seen")
    assert httpx.get(stage.server.url + "api/pipeline").status_code == 404


def open_detail(page: Page, url: str, source: str) -> None:
    page.goto(url + "#/pipeline")
    page.wait_for_selector("body[data-state=shown]")
    page.get_by_role("table", name="Feed quality").get_by_role("button", name=re.compile(f"^{source}")).click()


def test_a_source_without_gaps_says_so_and_a_gap_is_seen_healing(up: Up, exchange: Losing, visit: Visit) -> None:
    page = visit.page
    open_detail(page, up.until_ready(), "simulate-market")
    detail = page.get_by_role("region", name="Symbols of a source")
    expect(detail).to_contain_text("No gap in these hours.")
    page.get_by_role("button", name=re.compile("^simulate-market")).click()
    expect(detail).to_be_hidden()
    assert visit.complaints == []
    open_detail(page, up.until_ready(), "coinbase")
    expect(detail.get_by_role("listitem").filter(has_text=PAIRS[1])).to_be_visible()
    exchange.losing.set()
    gap = detail.get_by_role("table", name="Gaps").get_by_role("row", name=re.compile(f"^{PAIRS[0]}"))
    expect(gap).to_contain_text("asked for")
    expect(gap).to_contain_text("5")
    row = page.get_by_role("table", name="Feed quality").get_by_role("row", name=re.compile("^coinbase"))
    expect(row).to_contain_text("5, 5 open")
    exchange.mended.set()
    expect(gap).to_contain_text("healed")
    expect(row).to_contain_text("5, all healed")
    expect(row).to_contain_text("live")
    [told] = [one for one in json.loads(up.get("/api/sources"))["sources"] if one["source"] == "coinbase"]
    assert told["gaps"]["healed"] == {"gaps": 1, "trades": LOST}
    assert told["requests"]["asked"] >= 1
    assert told["lag_p50_ms"] is not None


def test_the_notebook_over_live_data_shows_it_and_draws_a_chart(up: Up, tmp_path: Path) -> None:
    up.until_ready()
    book = run_notebook("live", {"MARKETPULSE_DATA_DIR": str(up.data_dir)}, tmp_path)
    texts = outputs(book, "text/plain")
    assert texts[0] == "True"  # so many changes came
    assert "closed" in texts[1]
    assert base64.b64decode(outputs(book, "image/png")[0])[:4] == b"\x89PNG"
    assert texts[-1].startswith("<Live SIM-ACME 1s, ")
    assert texts[-1].endswith("changes, closed>")


@pytest.mark.parametrize(("view", "width"), [*((view, 1400) for view in VIEWS), ("a source", 1440), ("a source", 390)])
def test_no_view_keeps_anybody_out(up: Up, chromium: Browser, view: str, width: int) -> None:
    """The page's policy lets the checker's script in, which must find nothing, in the dark and in the light."""
    size: ViewportSize = {"width": width, "height": 900}
    context = chromium.new_context(viewport=size, color_scheme="dark", bypass_csp=True, reduced_motion="reduce")
    with closing(context):
        page = context.new_page()
        if view == "a source":
            open_detail(page, up.until_ready(), "coinbase")
            expect(page.get_by_role("region", name="Symbols of a source")).to_contain_text(PAIRS[0])
        else:
            page.goto(up.until_ready() + VIEWS[view])
            page.wait_for_selector("body[data-state=shown]")
        page.wait_for_load_state("networkidle")
        themes: tuple[Literal["dark", "light"], ...] = ("dark", "light")
        for theme in themes:
            page.emulate_media(color_scheme=theme)
            expect(page.locator("html")).to_have_attribute("data-theme", theme)
            found = violations(page)
            assert found == [], theme + json.dumps(list({one[0]: one for one in found}.values()), indent=1)
