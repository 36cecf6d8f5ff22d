"""The view of alerts in a real browser: what stands, what passed, rules written, tried, changed."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Locator, Page, expect

from alert_rows import DeskInMemory
from board_rows import alert
from board_rows import alerts as told_alerts
from browser_stage import Stage, Visit
from lake_store import real_bars, store
from marketpulse.alerts.rule import Rule
from marketpulse.model.rows import ALERT
from marketpulse.settings import Settings
from moving_feed import MovingFeed

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
RULES = (
    Rule("high", "close > 100", timeframe="1m"),
    Rule("dip", "rsi_14 < 30", timeframe="1m", severity="critical", clear="rsi_14 > 50", for_s=60),
)


class AlertStage(Stage):
    """With rules, and a lake of real bars to try them on."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder, engine={"timeframes": ("1m", "1d"), "indicators": "rsi(14),sma(20)"})
        store(settings, "bars", real_bars(), "bars")
        self.desk = DeskInMemory(settings, RULES)
        super().__init__(MovingFeed(symbols=4, history=60), self.desk, settings)
        self.settings = settings

    def tell(self, *rows: dict[str, Any]) -> None:
        self.board.take(told_alerts(*rows))


@pytest.fixture
def alerts(tmp_path: Path) -> Iterator[AlertStage]:
    stage = AlertStage(tmp_path)
    yield stage
    stage.close()


def opened(stage: AlertStage, visit: Visit, address: str = "#/alerts") -> Page:
    visit.page.goto(stage.server.url + address)
    return visit.page


def some(stage: AlertStage) -> None:
    """Two stand, one of them late; one was cleared after 90 s; one was withdrawn."""
    dip: dict[str, Any] = {"rule": "dip", "severity": "critical", "timeframe": "1m"}
    stage.tell(
        alert(NOON, "raised", "KO", timeframe="1m"), alert(NOON + 90, "cleared", "KO", timeframe="1m"),
        alert(NOON + 100, "raised", "AAPL", value=227.4, timeframe="1m"), alert(NOON + 120, "raised", "META", late=True, **dip),
        alert(NOON + 130, "withdrawn", "JPM", revision=1, was="raised", **dip),
    )  # fmt: skip


def told(page: Page, text: str) -> Locator:
    """What the page says, whose role is a status."""
    return page.get_by_role("status").filter(has_text=text)


def link(page: Page, symbol: str) -> Locator:
    return page.get_by_role("link", name=symbol, exact=True)


def cells(page: Page, table: str, symbol: str) -> list[str]:
    row = page.get_by_role("table", name=table).get_by_role("row").filter(has_text=symbol)
    return [" ".join(text.split()) for text in row.get_by_role("cell").all_inner_texts()]


def test_what_stands_is_told_apart_from_what_passed_with_how_long_it_stood(alerts: AlertStage, visit: Visit) -> None:
    some(alerts)
    page = opened(alerts, visit)
    expect(told(page, "2 stand now")).to_be_visible()
    expect(page).to_have_title(re.compile("^2 stand now · Alerts"))
    assert page.get_by_role("table", name="Standing now").get_by_role("row").count() == 3  # with its head
    first = ["Cleared", "warning", "KO 1m", "high", "1.50"]
    assert cells(page, "Passed", "KO") == [*first, "22 Nov 2026 12:00:00", "1 min", "KO: high is raised at 1.5"]
    assert cells(page, "Standing now", "META")[:2] == ["Standing late", "critical"]
    assert cells(page, "Standing now", "AAPL")[4] == "227.40"
    assert cells(page, "Passed", "JPM")[0] == "Withdrawn"
    alerts.tell(alert(NOON + 200, "cleared", "AAPL", timeframe="1m"))
    expect(told(page, "1 stands now")).to_be_visible()
    expect(page.get_by_role("table", name="Passed").get_by_role("row").filter(has_text="AAPL")).to_contain_text("1 min")
    gone: dict[str, Any] = {"revision": 1, "was": "raised", "severity": "critical", "timeframe": "1m"}
    alerts.tell(alert(NOON + 120, "withdrawn", "META", "dip", **gone))
    expect(told(page, "Nothing stands now")).to_be_visible()
    expect(link(page, "KO")).to_have_attribute("href", f"#KO/1m?receipt={(NOON - 1) * 1000}~bar")
    assert visit.complaints == []
    link(page, "KO").click()
    expect(page.locator("#symbol-text")).to_have_text("KO")


def test_filters_are_in_the_address_and_a_rule_is_muted_and_removed(alerts: AlertStage, visit: Visit) -> None:
    some(alerts)
    page = opened(alerts, visit)
    page.get_by_role("button", name="Critical").click()
    expect(link(page, "META")).to_be_visible()
    expect(link(page, "KO")).to_have_count(0)
    assert page.url.endswith("#/alerts?severity=critical")
    page.get_by_role("button", name="Withdrawn").click()
    expect(link(page, "META")).to_have_count(0)
    expect(link(page, "JPM")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Withdrawn")).to_have_attribute("aria-pressed", "true")
    expect(link(page, "JPM")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Rule", exact=True).select_option("high")
    expect(link(page, "META")).to_have_count(0)
    symbol = page.get_by_role("combobox", name="Symbol", exact=True)  # a search box with a list
    symbol.fill("aapl")
    symbol.press("Enter")
    expect(link(page, "AAPL")).to_be_visible()
    expect(link(page, "KO")).to_have_count(0)

    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Mute high").click()
    expect(told(page, "1 stands now, and 1 muted")).to_be_visible()
    assert alerts.desk.running["high"].muted
    page.get_by_role("button", name="Unmute high").click()
    expect(told(page, "2 stand now")).to_be_visible()
    page.get_by_role("button", name="Remove high").click()
    page.get_by_role("button", name="Keep high").click()
    assert "high" in alerts.desk.running
    page.get_by_role("button", name="Remove high").click()
    page.get_by_role("button", name="Remove for good high").click()
    expect(page.get_by_role("button", name="Edit high")).to_have_count(0)
    assert "high" not in alerts.desk.running
    expect(told(page, "1 stands now")).to_be_visible()  # no rule tells of AAPL any more
    assert cells(page, "Passed", "AAPL")[0] == "Ended"


def test_stored_alerts_join_what_came_live_without_a_seam(alerts: AlertStage, visit: Visit) -> None:
    rows = [alert(NOON + 60 * i, "raised" if i % 2 == 0 else "cleared", "KO", timeframe="1m") for i in range(600)]
    store(alerts.settings, "alerts", pa.Table.from_pylist(rows[:400], ALERT), "alerts")
    alerts.tell(*rows[300:])  # the lake and the log overlap
    page = opened(alerts, visit)
    count = page.get_by_role("heading", name=re.compile("^Passed")).locator(".count")
    expect(count).to_have_text("100 of 150")
    older = page.get_by_role("button", name="Show older alerts")
    for text in (re.compile("^200"), re.compile("^300$")):
        older.click()
        expect(count).to_have_text(text)
    expect(older).to_be_hidden()
    stood = page.get_by_role("table", name="Passed").locator("tbody .cell-stood").all_inner_texts()
    assert ({text.replace("\u202f", " ") for text in stood}, len(stood)) == ({"1 min"}, 300)


def test_a_rule_is_written_with_its_fault_under_the_character_tried_and_saved(alerts: AlertStage, visit: Visit) -> None:
    alerts.desk.behind = True
    page = opened(alerts, visit)
    page.get_by_role("button", name="New rule").click()
    dialog = page.get_by_role("dialog", name="New rule")
    dialog.get_by_label("Name", exact=True).fill("breakout")
    expression = dialog.get_by_label("Expression", exact=True)
    expression.fill("close > 100 and clse > 3")
    told = "Character 17: unknown column 'clse'; did you mean 'close'?"
    expect(dialog.get_by_role("alert").filter(has_text="Character 17")).to_have_text(told)
    assert dialog.locator(".expression mark").first.inner_text() == "clse"
    expression.fill("")
    expression.press_sequentially("close crosses_above sm")
    option = dialog.get_by_role("option", name=re.compile("^sma_20"))
    expect(option).to_be_visible()
    expression.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    expression.press("Enter")
    expect(expression).to_have_value("close crosses_above sma_20")
    expect(dialog.get_by_text("Reads close, sma_20 on closed bars of 1m.")).to_be_visible()
    dialog.get_by_label("Timeframe").select_option("1d")
    dialog.get_by_label("Severity").select_option("critical")
    dialog.get_by_role("button", name="Try on stored history").click()
    said = dialog.get_by_role("status").filter(has_text="Would have fired")
    expect(said).to_have_text(re.compile(r"^Would have fired [\d,]+ times; (no|\d+) flaps?"), timeout=60_000)
    times = int(re.sub(r"\D", "", said.inner_text().split(";")[0]))
    expect(dialog.get_by_text("Computed for this trial, since it is not stored: sma(20)")).to_be_visible()
    listed = dialog.get_by_role("table", name="Firings of the trial").get_by_role("row").count() - 1
    assert listed == min(times, 100)
    expect(dialog.get_by_role("img", name=re.compile("firings$"))).to_be_visible()
    dialog.get_by_role("button", name="Save rule").click()
    expect(dialog).to_be_hidden()
    assert alerts.desk.running["breakout"].severity == "critical"
    item = page.get_by_role("listitem").filter(has_text="breakout")
    expect(item).to_contain_text("waits for the engine: 1 of 4 partitions (offset 41 of partition 0)")
    alerts.desk.behind = False
    expect(item).to_contain_text("taken by the engine (offset 41 of partition 0)")
    assert visit.complaints == []


def test_a_trial_is_stopped_and_the_later_of_two_editors_is_told(alerts: AlertStage, visit: Visit) -> None:
    alerts.desk.held = threading.Event()
    page = opened(alerts, visit, "#/alerts/rule/high")
    dialog = page.get_by_role("dialog", name="Rule high")
    dialog.get_by_role("button", name="Try on stored history").click()
    expect(dialog.get_by_role("status").filter(has_text="3 of 10 bars")).to_be_visible()
    expect(dialog.get_by_role("progressbar", name="Progress of the trial")).to_be_visible()
    dialog.get_by_role("button", name="Stop").click()
    expect(dialog.get_by_role("status").filter(has_text="Stopped: nothing was changed.")).to_be_visible()
    expect(dialog.get_by_role("button", name="Try on stored history")).to_be_enabled()

    page = opened(alerts, visit)
    page.get_by_role("button", name="Edit high").click()
    expect(dialog.get_by_label("Expression", exact=True)).to_have_value("close > 100")
    dialog.get_by_label("Expression", exact=True).fill("close > 300")
    alerts.desk.running["high"] = Rule("high", "close > 200", timeframe="1m")
    dialog.get_by_role("button", name="Save rule").click()
    expect(dialog.get_by_role("alert").filter(has_text="somebody else has changed rule 'high'")).to_be_visible()
    expect(dialog.get_by_label("Expression", exact=True)).to_have_value("close > 300")
    assert alerts.desk.running["high"].expression == "close > 200"
    dialog.get_by_role("button", name="Compare with what runs now").click()
    expect(dialog.get_by_role("alert").filter(has_text="Runs now: close > 200")).to_be_visible()
    dialog.get_by_role("button", name="Save rule").click()
    expect(dialog).to_be_hidden()
    assert alerts.desk.running["high"].expression == "close > 300"


def test_without_the_log_rules_say_so_and_without_any_it_says_how_one_is_made(alerts: AlertStage, visit: Visit) -> None:
    alerts.desk.away = True
    page = opened(alerts, visit)
    expect(page.get_by_role("alert").filter(has_text="The rules cannot be read: the broker is away")).to_be_visible()
    alerts.desk.away = False
    expect(page.get_by_role("button", name="Edit high")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="cannot be read")).to_be_hidden()
    alerts.desk.running.clear()
    page.reload()
    expect(page.get_by_role("heading", name="No rule watches the market yet")).to_be_visible()
    page.get_by_role("button", name="Make the first rule").click()
    expect(page.get_by_role("dialog", name="New rule")).to_be_visible()
    assert page.url.endswith("#/alerts/new")


def test_nothing_overflows(alerts: AlertStage, sized: Visit) -> None:
    some(alerts)
    page = opened(alerts, sized)
    expect(link(page, "META")).to_be_visible()
    assert page.viewport_size is not None
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    wide = "[document.documentElement.scrollWidth, document.querySelector('#view-alerts').scrollWidth]"
    assert page.evaluate(wide) == [width, width]
    page.get_by_role("button", name="New rule").click()
    box = page.get_by_role("dialog", name="New rule").bounding_box()
    assert box is not None
    assert 0 <= box["x"] <= width - box["width"]
    assert box["y"] + box["height"] <= height
