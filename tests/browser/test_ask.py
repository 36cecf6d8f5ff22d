"""The view that asks what is stored, in a real browser, over a real lake."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from browser_stage import SIZES, Stage, Visit
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
from real_rows import store_real_rows
from waiting import wait_until


class AskingStage(Stage):
    """A stage whose page may be asked about a lake."""

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


pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"


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

    write(page, ENDLESS)
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
