"""The view that asks what is stored, in a real browser, over a real lake. And what is seen of one `up` with a feed that
loses trades: its view, the scorecard, and that no view keeps anybody out."""

import base64
import csv
import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page, ViewportSize, expect
from websockets.sync.server import ServerConnection

from browser_stage import SIZES, Stage, Visit
from exchange_server import Exchange, running
from lake_store import store_real_rows
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.query.pool import ChildPool
from marketpulse.settings import ServeSettings, Settings
from marketpulse.web.api import create_app
from marketpulse.web.rest.ask import AskApi
from marketpulse.web.rest.charts import ChartApi
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
from moving_feed import MovingFeed
from notebooks import outputs, run_notebook
from running_up import Up, held
from waiting import wait_until


class AskingStage(Stage):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__(MovingFeed(symbols=4, history=30))

    def close(self) -> None:
        self._runs.close()
        super().close()

    def _serve(self, port: int) -> WebServer:
        serve = ServeSettings(port=port)
        self._stored = None  # what comes live is enough of bars here
        self._charts = ChartApi(self.board, lambda: LiveDesk(self._settings))
        self._runs = SqlRuns(lambda: ChildPool(self._settings), self._settings.sql)
        routers = [self._charts.router(), AskApi(self._runs).router()]
        server = WebServer(create_app(self.board, serve, sql=SqlApi(self._runs), routers=routers), serve)
        server.start()
        return server


pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskingStage]:
    stage = AskingStage(store_real_rows(tmp_path_factory.mktemp("lake")))
    yield stage
    stage.close()


def stored(stage: AskingStage, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{stage.server.url}api/sql", params=options, timeout=60).json()
    return answer


def write(page: Page, sql: str) -> None:
    page.get_by_role("textbox", name="SQL query").fill(sql)


def run(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Run")).click()


def cells(page: Page, row: int) -> list[str]:
    line = page.get_by_role("region", name="Rows of the result").get_by_role("row").nth(row)
    return line.get_by_role("cell").all_inner_texts()


def test_a_library_query_shows_and_downloads_the_lakes_rows(asking: AskingStage, visit: Visit, tmp_path: Path) -> None:
    page = visit.open(asking.server.url)
    page.get_by_role("link", name="Ask").click()
    page.get_by_role("button", name=re.compile("^Losers")).click()
    expect(page.get_by_role("heading", name="Losers")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="row")).to_be_visible()
    page.get_by_label("Days back").fill("90")
    page.get_by_label("Days back").press("Enter")
    expect(page.get_by_role("status").filter(has_text="2 rows")).to_be_visible()
    expected = stored(asking, named="losers", **{"param.days": 90})["rows"]
    symbols = [row[0] for row in expected]
    assert [cells(page, i + 1)[0] for i in range(2)] == symbols
    assert cells(page, 1)[3] == f"{expected[0][3]:.4f}".replace("-", "−")
    expect(page).to_have_url(re.compile(r"#/ask/losers\?days=90$"))
    expect(page.get_by_text(re.compile(r"as of the newest commit, \d+ (s|min) ago"))).to_be_visible()
    assert visit.complaints == []
    for form in ("CSV", "Parquet"):
        with page.expect_download() as coming:
            page.get_by_role("button", name=f"Download {form}").click()
        path = tmp_path / coming.value.suggested_filename
        coming.value.save_as(path)
        assert path.name == f"losers.{form.lower()}"
    assert [line["symbol"] for line in csv.DictReader((tmp_path / "losers.csv").read_text().splitlines())] == symbols
    assert pq.read_table(tmp_path / "losers.parquet")["symbol"].to_pylist() == symbols


def test_own_sql_is_completed_and_run_by_keys_and_nothing_blocked(asking: AskingStage, visit: Visit) -> None:
    page = visit.open(asking.server.url + "#/ask")
    page.get_by_role("textbox", name="SQL query").click()
    page.keyboard.type("SELECT symbol, count(*) AS n FROM stoc", delay=20)
    expect(page.get_by_role("option", name=re.compile("^stock_data"))).to_be_visible()
    page.wait_for_timeout(150)  # the editor takes no key for a list that has only just opened
    page.keyboard.press("Enter")
    page.keyboard.type(" GROUP BY symbol ORDER BY n DESC LIMIT 1 ")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status").filter(has_text="1 row")).to_be_visible()
    assert cells(page, 1)[:2] == ["SPY", "1,564"]
    assert page.evaluate("document.querySelector('#nav [aria-current=page]').textContent") == "Ask"
    assert page.evaluate("document.head.querySelectorAll('style').length") == 0
    assert visit.complaints == []


def test_a_mistake_a_cancelled_query_and_a_lost_server_are_shown(asking: AskingStage, visit: Visit) -> None:
    page = visit.open(asking.server.url + "#/ask")
    write(page, "SELECT symbol,\n  prize\nFROM trades")
    run(page)
    expect(page.get_by_role("alert").filter(has_text="Line 2, column 3")).to_be_visible()
    assert page.locator(".wrong").inner_text() == "prize"
    below, word = (page.locator(name).bounding_box() for name in (".said", ".wrong"))
    assert below is not None
    assert word is not None
    assert below["y"] >= word["y"] + word["height"] - 2

    write(page, "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)")
    run(page)
    expect(page.get_by_role("status").filter(has_text="Running")).to_be_visible()
    expect(page.get_by_role("timer", name="Time running")).to_have_text(re.compile(r"^[1-9]\d*\.\d s$"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    running = f"{asking.server.url}api/sql/running"
    wait_until(lambda: not httpx.get(running).json()["queries"], "nothing runs any more", 30)

    write(page, "SELECT 1")
    page.route("**/api/sql", lambda route: route.abort())
    run(page)
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()


def test_headings_sort_and_only_rows_in_sight_are_in_the_document(asking: AskingStage, visit: Visit) -> None:
    sql = "SELECT symbol, open_time_ns, close FROM bars WHERE timeframe = '1d' ORDER BY open_time_ns, symbol"
    page = visit.open(f"{asking.server.url}#/ask?sql={quote(sql)}")
    expect(page.get_by_role("status").filter(has_text="3,016 rows")).to_be_visible()
    assert page.get_by_role("table").locator("tbody tr").count() < 120
    page.get_by_role("button", name=re.compile("^close")).click()
    highest = stored(asking, q=sql.replace("open_time_ns, symbol", "close DESC LIMIT 1"))["rows"][0]
    assert cells(page, 1)[:2] == [highest[0], str(highest[1])]
    expect(page.get_by_role("columnheader", name=re.compile("^close"))).to_have_attribute("aria-sort", "descending")
    page.get_by_role("region", name="Rows of the result").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    lowest = stored(asking, q="SELECT min(close) FROM bars WHERE timeframe = '1d'")["rows"][0][0]
    expect(page.get_by_role("table").locator("tbody tr:not([aria-hidden])").last).to_contain_text(f"{lowest:.4f}")


def test_a_chart_suits_the_columns_and_can_be_changed(asking: AskingStage, visit: Visit) -> None:
    page = visit.open(asking.server.url + "#/ask/losers?days=90&show=chart")
    expect(page.get_by_role("img", name="Bars of change_percent by symbol, 2 values")).to_be_visible()
    page.get_by_role("tabpanel", name="Chart").get_by_label("Values", exact=True).select_option(label="last_close")
    expect(page.get_by_role("img", name="Bars of last_close by symbol, 2 values")).to_be_visible()
    write_sql = "SELECT symbol, open_time, close FROM bars WHERE timeframe = '1d' ORDER BY 1, 2"
    page.goto(f"{asking.server.url}#/ask?sql={quote(write_sql)}&show=chart")
    chart = page.get_by_role("img", name="Lines of close by open_time, 3016 values")
    expect(chart).to_be_visible()
    assert chart.locator("path.line").count() == 4
    chart.focus()
    page.keyboard.press("ArrowRight")
    of_ibm = "SELECT close FROM bars WHERE timeframe = '1d' AND symbol = 'IBM' ORDER BY open_time LIMIT 1"
    expect(page.locator(".plot-tip")).to_contain_text(f"{stored(asking, q=of_ibm)['rows'][0][0]:.4f}")
    assert visit.complaints == []


def test_what_was_run_is_found_and_runs_again_and_a_plan_shows_what_it_left(asking: AskingStage, visit: Visit) -> None:
    page = visit.open(f"{asking.server.url}#/ask?sql={quote('SELECT 41 + 1 AS answer')}")
    expect(page.get_by_role("status").filter(has_text="1 row")).to_be_visible()
    page.goto(asking.server.url + "#/ask/gaps")
    expect(page.get_by_role("status").filter(has_text="20 rows")).to_be_visible()
    page.reload()
    page.get_by_role("tab", name="History").click()
    page.get_by_label("Search history").fill("answer 41")
    page.get_by_role("tabpanel", name="History").get_by_role("button", name=re.compile("SELECT 41")).click()
    expect(page.get_by_role("columnheader", name=re.compile("^answer"))).to_be_visible()
    assert cells(page, 1)[0] == "42"

    sql = "SELECT count(*) FROM bars WHERE symbol = 'AAPL'"
    page = visit.open(f"{asking.server.url}#/ask?sql={quote(sql)}")
    page.get_by_role("tab", name="Plan").click()
    plan = page.get_by_role("tabpanel", name="Plan")
    expect(plan.get_by_text(re.compile(r"\d+ of \d+ files?, \d+ of \d+ row groups?")).first).to_be_visible()
    expect(plan.get_by_text(re.compile(r"\d+% left out")).first).to_be_visible()
    expect(page).to_have_url(re.compile("show=plan"))


def test_tables_are_browsed_and_typed_text_is_kept(asking: AskingStage, visit: Visit) -> None:
    page = visit.open(asking.server.url + "#/ask")
    editor = page.get_by_role("textbox", name="SQL query")
    editor.click()
    theme = page.locator("html").get_attribute("data-theme")
    page.keyboard.type("t?/ g5")  # keys of the page elsewhere
    expect(editor).to_contain_text("t?/ g5")
    assert page.locator("html").get_attribute("data-theme") == theme
    expect(page.get_by_role("dialog")).to_be_hidden()
    write(page, "SELECT 1 AS one")
    page.get_by_role("link", name="Symbol").click()
    page.get_by_role("link", name="Ask").click()
    expect(editor).to_contain_text("SELECT 1 AS one")
    page.get_by_role("tab", name="Tables").click()
    page.get_by_text("stock_data").click()
    write(page, "SELECT ")
    page.get_by_role("button", name=re.compile("^price number")).click()
    expect(editor).to_contain_text("SELECT price")
    page.get_by_role("button", name="Look at 100 rows").and_(page.locator(":visible")).click()
    expect(page.get_by_role("status").filter(has_text="100 rows")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_stands_out_over_the_edge(asking: AskingStage, visit: Visit, size: str) -> None:
    width, height = SIZES[size]
    visit.page.set_viewport_size({"width": width, "height": height})
    page = visit.open(asking.server.url + "#/ask/gaps")
    expect(page.get_by_role("status").filter(has_text="20 rows")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    over = page.evaluate(
        "w => [...document.querySelectorAll('.ask button, .ask input, .ask h2')].filter(n => n.offsetParent &&"
        " !n.closest('.grid') && n.getBoundingClientRect().right > w + 1).map(n => n.outerHTML.slice(0, 80))",
        width,
    )
    assert over == []


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
    url = up.until_ready()
    up.until(
        "the log has been read", lambda: up.get("/api/sources")
    )  # till then it is 503, which a browser complains of
    page = visit.open(url + "#/pipeline")
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
        page.wait_for_load_state("networkidle", timeout=120_000)
        themes: tuple[Literal["dark", "light"], ...] = ("dark", "light")
        for theme in themes:
            page.emulate_media(color_scheme=theme)
            expect(page.locator("html")).to_have_attribute("data-theme", theme)
            found = violations(page)
            assert found == [], theme + json.dumps(list({one[0]: one for one in found}.values()), indent=1)
