"""The Market view in a real browser: what it says is what the board holds."""

import math
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser_stage import Stage, Visit
from marketpulse.telemetry import REGISTRY
from marketpulse.web.market import COLUMNS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SIZES = {"phone": (390, 844), "laptop": (1400, 900), "screen": (3840, 2160)}


def market(stage: Stage, visit: Visit, rest: str = "") -> Page:
    """The view with all symbols."""
    page = visit.open(f"{stage.server.url}#/market{rest}")
    expect(page.locator(".all-count")).to_have_text(re.compile("8"))
    return page


def table(page: Page) -> Locator:
    return page.get_by_role("table", name="All symbols")


def column(page: Page, name: str) -> list[str]:
    """What the rows in view say under a heading, from the top."""
    head = table(page).get_by_role("columnheader")
    at = [text.strip() for text in head.all_inner_texts()].index(name)
    rows = table(page).locator("tbody tr:not([aria-hidden]):not([hidden])")
    return [row.locator("th, td").nth(at).inner_text() for row in rows.all()]


def at_rest(stage: Stage, page: Page) -> dict[str, dict[str, Any]]:
    """Nothing trades any more, and the page has what the board holds of each symbol."""
    stage.feed.frozen = True
    page.wait_for_timeout(2_500)
    sessions = stage.board.parts["market"].changes(-1)
    assert sessions is not None
    lists = zip(*(sessions[name] for name in COLUMNS), strict=True)
    of = {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in lists}
    for symbol, last, _, reference, *_ in stage.board.quote_rows():
        of[symbol] |= {"last": last, "percent": 100 * (last - reference) / reference}
    return of


def percent(value: float) -> str:
    sign = "" if round(abs(value), 2) == 0 else "+" if value > 0 else "−"
    return f"{sign}{abs(value):.2f}%"


def test_the_table_says_what_the_board_holds(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit)
    of = at_rest(stage, page)
    by_value = sorted(of, key=lambda name: -of[name]["value"])
    names = [text.split()[0] for text in column(page, "Symbol")]
    assert names == by_value
    assert [float(text.replace(",", "")) for text in column(page, "Last")] == [of[name]["last"] for name in names]
    assert [text.split()[1] for text in column(page, "Change")] == [percent(of[name]["percent"]) for name in names]
    assert visit.complaints == []


def test_words_and_breadth_count_what_the_board_holds(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit)
    of = at_rest(stage, page)
    rounded = {name: round(told["percent"], 2) for name, told in of.items()}
    up, down = sum(p > 0 for p in rounded.values()), sum(p < 0 for p in rounded.values())
    breadth = page.get_by_role("region", name="Breadth")
    expect(breadth).to_contain_text(f"{up} up")
    expect(breadth).to_contain_text(f"{down} down")
    expect(breadth.get_by_role("img")).to_have_accessible_name(f"{up} up, {8 - up - down} unchanged, {down} down")
    above = sum(told["last"] > told["open"] for told in of.values())
    expect(breadth).to_contain_text(f"{math.floor(100 * above / 8 + 0.5)}% above their open")
    for ranking, ordered in (
        ("Gainers", sorted((n for n in of if rounded[n] > 0), key=lambda n: -of[n]["percent"])),
        ("Losers", sorted((n for n in of if rounded[n] < 0), key=lambda n: of[n]["percent"])),
        ("Most active", sorted(of, key=lambda n: -of[n]["value"])),
        ("Most volatile", sorted(of, key=lambda n: -of[n]["volatility"])),
    ):
        links = page.get_by_role("region", name=ranking).get_by_role("link")
        shown = [text.split()[0] for text in links.all_inner_texts()]
        assert shown == ordered[: len(shown)]
        assert len(shown) >= min(3, len(ordered))


def test_a_tile_opens_its_symbol_and_arrows_lead_from_tile_to_tile(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit, "?size=equal")
    tiles = page.get_by_role("group", name="Symbols by traded value")
    expect(tiles.get_by_role("link")).to_have_count(8)
    tiles.get_by_role("link", name=re.compile(r"^GOOG [+−0]")).click()
    expect(page.get_by_role("heading", name="GOOG")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Market", exact=True)).to_be_visible()
    first = tiles.get_by_role("link", name=re.compile(r"^AAPL "))
    first.focus()
    page.keyboard.press("ArrowRight")
    reached = page.evaluate("document.activeElement.dataset.symbol")
    assert reached != "AAPL"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.symbol") == "AAPL"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=reached)).to_be_visible()


def test_sort_and_filter_stand_in_the_address(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit)
    table(page).get_by_role("button", name="Symbol").click()
    expect(table(page).get_by_role("columnheader", name="Symbol")).to_have_attribute("aria-sort", "ascending")
    names = [text.split()[0] for text in column(page, "Symbol")]
    assert names == sorted(names)
    page.get_by_role("searchbox", name="Filter symbols").fill("o")
    expect(page.locator(".all-count")).to_have_text("3 of 8")
    page.get_by_role("combobox", name="Data").select_option("Simulated")
    expect(page).to_have_url(re.compile(r"#/market\?sort=symbol&text=o&kind=simulated$"))
    page.reload()
    expect(page.locator(".all-count")).to_have_text("3 of 8")
    assert [text.split()[0] for text in column(page, "Symbol")] == ["BTC-USD.COINBASE", "GOOG", "KO"]
    page.get_by_role("combobox", name="Data").select_option("Real")
    expect(page.get_by_text("No symbol like “o” with these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".all-count")).to_have_text("8 symbols")
    page.get_by_role("combobox", name="Venue").select_option("No venue")
    expect(page.locator(".all-count")).to_have_text("1 of 8")


def test_rows_are_reached_with_arrows_and_opened(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit, "?sort=symbol")
    table(page).get_by_role("link", name="AAPL").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "BTC-USD.COINBASE"
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == "SPY"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="SPY")).to_be_visible()


def test_a_page_that_lost_its_server_goes_on_where_it_was(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit)
    name, labels = "marketpulse_pages_resumed_total", {"how": "resumed"}
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    stage.server.stop()
    expect(page.locator("#link-text")).to_have_text(re.compile("Disconnected|Reconnecting"))
    stage.restart_server()
    expect(page.locator("#link-text")).to_have_text("Live")
    assert (REGISTRY.get_sample_value(name, labels) or 0.0) == before + 1
    of = at_rest(stage, page)
    assert [float(text.replace(",", "")) for text in column(page, "Last")] == [
        of[name]["last"] for name in sorted(of, key=lambda name: -of[name]["value"])
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_overflows(stage: Stage, chromium: Browser, size: str, theme: str) -> None:
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme="light" if theme == "light" else "dark"
    )
    visit = Visit(context)
    page = market(stage, visit)
    expect(page.get_by_role("heading", name="Most volatile")).to_be_attached()
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        width,
        height,
    ]
    wide = page.evaluate(
        """() => ['.market', '.market-head', '.heat', '.movers', '.all', '.breadth-words', '.heat > header', '.all > header']
            .filter((name) => { const n = document.querySelector(name); return n.scrollWidth > n.clientWidth + 1; })"""
    )
    assert wide == []
    assert visit.complaints == []
    context.close()
