"""The chart in a real browser: history, styles, indicators, comparison, receipts, over a lake and a moving feed."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from board_rows import alerts
from browser_stage import Stage, Visit
from lake_store import LakeRows
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.errors import Fatal
from marketpulse.ports import ReceiptAsk
from marketpulse.settings import Settings
from moving_feed import NAMES, RECEIPT, MovingFeed

OLDER = 1_500  # bars of AAPL in the lake, before those of the feed
TOLD = json.loads((Path(__file__).parents[1] / "data" / "receipts" / "simulated_rsi_14.json").read_text())


class Desk(LiveDesk):
    """The lake's own, but that receipts of RSI are one that the pipeline gave: here is no log to replay."""

    def receipt(self, ask: ReceiptAsk, cancelled: threading.Event) -> Mapping[str, Any]:
        if ask.name != "rsi_14" or cancelled.is_set():
            raise Fatal(f"the inputs of {ask.symbol} are gone")
        told: Mapping[str, Any] = TOLD
        return told


class StoredStage(Stage):
    def __init__(self, feed: MovingFeed, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        begin = feed._market["AAPL"].history["1m"][0].open_s
        lake = LakeRows(self.settings)
        for start in range(0, OLDER, 500):
            rows = [_bar(begin - 60 * (OLDER - i), 150 + 50 * i / OLDER) for i in range(start, start + 500)]
            lake.add("bars", rows)
            lake.add("indicators", [row | {"rsi_14": 50.0} for row in rows], NAMES)
        times = {"open_time_ns": (begin + 6_000) * 10**9, "event_time_ns": (begin + 6_060) * 10**9}
        rule = {"symbol": "AAPL", "rule": "rebound", "severity": "warning", "timeframe": "1m", "message": "up again"}
        now = {"state": "raised", "was": None, "late": False, "value": 1.0, "revision": 0, "receipt": RECEIPT}
        self.alert = {**rule, **times, **now}
        lake.add("alerts", [self.alert])
        super().__init__(feed, lake=self.settings)

    def chart_desk(self) -> LiveDesk:
        return Desk(self.settings)


def _bar(open_s: int, close: float) -> dict[str, Any]:
    revision = 1 if open_s % 3_000 == 0 else 0
    times = {"open_time_ns": open_s * 10**9, "close_time_ns": (open_s + 60) * 10**9, "session_date": open_s // 86_400}
    prices = {"open": close - 0.25, "high": close + 0.5, "low": close - 0.5, "close": close, "vwap": close}
    head = {"symbol": "AAPL", "timeframe": "1m", "source": "simulate", "venue": "XNAS", "receipt": RECEIPT}
    return {**head, **times, **prices, "volume": 100.0, "trade_count": 5, "revision": revision}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[StoredStage]:
    started = StoredStage(MovingFeed(symbols=8), tmp_path)
    yield started
    started.close()


def values(page: Page) -> Locator:
    return page.get_by_role("group", name="Values")


def test_older_bars_come_as_one_goes_back_until_there_are_no_more_and_the_chart_does_not_jump(
    stage: StoredStage, visit: Visit
) -> None:
    with visit.page.expect_response(re.compile("api/chart/sessions")):  # the legend names the session of a bar
        page = visit.open(stage.server.url + "#AAPL/1m")
    stage.freeze()
    chart = page.get_by_role("application", name=re.compile("Candle chart of AAPL, 1m"))
    found = re.search(r"(\d+) shown", chart.get_attribute("aria-label") or "")
    before = int(found[1]) if found else 0
    chart.focus()
    page.keyboard.press("Home")
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    pointed = values(page).inner_text()
    expect(chart).to_have_attribute("aria-label", re.compile(f"{before + 1_000} shown"))
    assert values(page).inner_text() == pointed
    page.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-label", re.compile(f"{before + OLDER} shown"))
    page.keyboard.press("Home")
    expect(page.get_by_text(re.compile("history begins"))).to_be_attached()
    page.mouse.move(box["x"] + 40, box["y"] + 200)
    asked: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1m", "limit": 10_000}
    assert len(httpx.get(stage.server.url + "api/bars", params=asked).json()["rows"]) == before + OLDER
    page.keyboard.press("End")
    page.get_by_role("button", name="Newest").wait_for(state="hidden")
    assert visit.complaints == []


def test_style_comparison_and_indicators_are_in_the_address(stage: StoredStage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#AAPL/1m")
    page.get_by_role("radio", name="Heikin-Ashi").click()
    expect(page).to_have_url(re.compile(r"#AAPL/1m\?style=heikin$"))
    expect(page.get_by_role("application", name="Heikin-Ashi chart of AAPL")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("radio", name="Line")).to_be_checked()
    page.reload()
    expect(page.get_by_role("application", name="Line chart of AAPL")).to_be_visible()

    expect(page.get_by_role("option", name=re.compile("^GOOG,"))).to_be_visible()
    field = page.get_by_label("Compare with symbol")
    field.fill("zzz")
    field.press("Enter")
    assert "no symbol ZZZ" in field.evaluate("(node) => node.validationMessage")
    field.fill("goog")
    field.press("Enter")
    expect(page).to_have_url(re.compile("compare=GOOG"))
    for said in (re.compile(r"AAPL[+−]?\d+\.\d\d%"), re.compile(r"GOOG[+−]?\d+\.\d\d%"), "since"):
        expect(values(page)).to_contain_text(said)
    page.get_by_role("button", name="Remove GOOG from the comparison").click()
    expect(page).not_to_have_url(re.compile("compare"))
    expect(values(page)).not_to_contain_text("GOOG")
    assert visit.complaints == []

    page.goto(stage.server.url + "#AAPL/1m?with=bbands_10_2p5,nothing_3&style=line")
    page.reload()
    expect(page.get_by_role("button", name="Remove BB 10 2.5")).to_be_visible()
    expect(page.get_by_text("'nothing_3' is no indicator")).to_be_visible()
    page.get_by_role("button", name="Remove nothing_3").click()
    expect(page.get_by_text("'nothing_3' is no indicator")).to_be_hidden()


def test_prices_are_adjusted_for_a_split_and_the_address_says_so(stage: StoredStage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#AAPL/1m")
    stage.freeze()
    expect(page.get_by_role("radiogroup", name="Prices adjusted for")).to_be_hidden()
    told = httpx.get(stage.server.url + "api/bars", params={"symbol": "AAPL", "timeframe": "1m", "limit": 3}).json()
    first, second, last = told["rows"]
    body = {"ratio": 4.0, "ex_time_ns": int(second[0] * 1e6) + 10**9}
    split = {"type": "split", "symbol": "AAPL", "source": "files", "event_time_ns": 1, "body": json.dumps(body)}
    LakeRows(stage.settings).add("events", [{**split, "topic": "market", "partition": 0, "offset": 0, "row": 0}])
    page.reload()
    page.get_by_role("radio", name="Split-adjusted").click()
    expect(page).to_have_url(re.compile(r"#AAPL/1m\?adjust=split$"))
    chart = page.get_by_role("application", name=re.compile("Candle chart of AAPL, 1m"))
    chart.focus()
    closes = {}
    for row in (last, second, first):
        page.keyboard.press("ArrowLeft")
        closes[row[0]] = page.locator("#chart-said").inner_text()
        if row is second:
            expect(chart).to_have_attribute("title", "Split 4:1")
    said = {at: float(re.search(r"close ([\d.,]+)", text)[1].replace(",", "")) for at, text in closes.items()}  # type: ignore[index]
    close = told["columns"].index("close")
    for row, factor in ((first, 4), (second, 4), (last, 1)):
        assert abs(said[row[0]] - row[close] / factor) < 0.02, closes
    page.reload()
    expect(page.get_by_role("radio", name="Split-adjusted")).to_be_checked()
    assert visit.complaints == []


def test_an_indicator_is_found_set_drawn_from_the_server_and_removed(stage: StoredStage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#AAPL/1m")
    page.get_by_role("button", name="Indicators", exact=True).click()
    dialog = page.get_by_role("dialog", name="Indicators")
    expect(dialog.get_by_role("listitem")).to_have_count(90)
    dialog.get_by_role("searchbox", name="Search indicators").fill("relative strength index")
    dialog.get_by_role("button", name=re.compile("^Relative strength index")).click()
    period = dialog.get_by_label("Period")
    period.fill("1")
    expect(dialog.get_by_role("alert")).to_have_text("From 2 to 10000.")
    expect(dialog.get_by_role("button", name="Add to the chart")).to_be_disabled()
    period.fill("21")
    dialog.get_by_role("radio", name="Green").check(force=True)
    dialog.get_by_role("button", name="Add to the chart").click()
    expect(page.get_by_role("button", name="Remove RSI 21")).to_be_visible()
    expect(page).to_have_url(re.compile(r"with=.*rsi_21~4"))
    page.mouse.move(5, 5)  # away from the chart: the legend tells of the newest bar
    stage.freeze()
    asked: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1m", "indicator": "rsi_21", "limit": 1}
    address = stage.server.url + "api/chart/indicators"
    receipt = page.get_by_title("Receipt of RSI 21")
    visit.shows(lambda: receipt.inner_text() == f"{httpx.get(address, params=asked).json()['rows'][0][1]:.1f}", True)
    page.reload()
    page.get_by_role("button", name="Remove RSI 21").click()
    expect(page.get_by_title("Receipt of RSI 21")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("rsi_21"))
    assert visit.complaints == []


def test_keys_clicks_and_the_legend_lead_to_a_receipt_with_a_link(stage: StoredStage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#AAPL/1m")
    stage.freeze()
    chart, said = page.get_by_role("application"), page.locator("#chart-said")
    panel = page.get_by_role("complementary", name="Receipt")
    close = page.get_by_role("button", name="Close the receipt")
    rows = stage.board.chart("AAPL", "1m", limit=3)
    assert rows is not None
    expect(values(page)).to_contain_text(f"C{rows['rows'][-1][5]:,.2f}")  # the page has all of it
    chart.focus()
    for key, back in (("ArrowLeft", 1), ("ArrowLeft", 2), ("ArrowRight", 1)):
        page.keyboard.press(key)
        expect(said).to_contain_text(f"close {rows['rows'][-back][5]:,.2f}")
    page.keyboard.press("Enter")
    expect(panel).to_be_visible()
    close.click()
    expect(panel).to_be_hidden()

    chart.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_title("Receipt of RSI 14").click()
    expect(panel.get_by_label("Value")).to_have_value("rsi_14")
    close.click()

    chart.click(position={"x": 500, "y": 150})
    expect(panel).to_contain_text("the inputs of AAPL are gone")
    expect(panel.get_by_role("button", name="Try again")).to_be_visible()
    panel.get_by_label("Value").select_option("rsi_14")
    expect(panel.get_by_role("status")).to_contain_text("Verified")
    for line in TOLD["values"][0]["lines"]:
        expect(panel.get_by_role("listitem").filter(has_text=line)).to_be_visible()
    inputs = panel.get_by_role("table").first
    expect(inputs.get_by_role("row")).to_have_count(len(TOLD["inputs"]) + 1)
    prices = inputs.locator("tbody td:nth-child(2)").all_inner_texts()
    assert [float(cell) for cell in prices] == [record["price"] for record in TOLD["inputs"]]
    expect(page).to_have_url(re.compile(r"receipt=\d+~rsi_14"))
    page.reload()
    expect(panel.get_by_role("status")).to_contain_text("Verified")
    close.click()
    expect(panel).to_be_hidden()
    expect(page).not_to_have_url(re.compile("receipt"))


def test_revised_bars_alerts_and_sessions_are_told_at_the_bar(stage: StoredStage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#AAPL/1m")
    stage.freeze()
    moment = (stage.feed._market["AAPL"].history["1m"][0].open_s + 6_000) * 1_000
    page.goto(f"{stage.server.url}#AAPL/1m?receipt={moment}~bar")
    page.reload()
    expect(page.get_by_role("complementary", name="Receipt")).to_be_visible()
    expect(values(page)).to_contain_text("rebound raised")
    expect(page.get_by_label("Value", exact=True).locator("option").filter(has_text="Alert rebound")).to_have_count(1)
    told = stage.alert | {"rule": "just now", "severity": "critical"}
    stage.board.take(alerts(told))
    expect(values(page)).to_contain_text("just now raised")  # nothing was asked for
    gone = told | {"state": "withdrawn", "revision": 1}
    stage.board.take(alerts(gone))
    expect(values(page)).not_to_contain_text("just now")
    expect(values(page)).to_contain_text("rebound raised")


@pytest.mark.parametrize("width", [390, 1280, 3_840])
def test_with_a_receipt_open_nothing_overflows(stage: StoredStage, visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 844 if width == 390 else 900})
    page = visit.open(stage.server.url + "#AAPL/1m")
    page.get_by_role("application").click(position={"x": 120, "y": 120})
    expect(page.get_by_role("complementary", name="Receipt")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """() => [...document.querySelectorAll('#receipt, #receipt select, #receipt button, #styles, #open-picker, #compare')]
            .filter((node) => {
                const box = node.getBoundingClientRect();
                return box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5);
            }).map((node) => node.id || node.textContent)"""
    )
    assert outside == []
