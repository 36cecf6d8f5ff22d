"""The Market view in a real browser: what it says is what the board holds."""

import math
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from browser_stage import Stage, Visit
from marketpulse.telemetry import REGISTRY
from marketpulse.web.market import COLUMNS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def market(stage: Stage, visit: Visit, rest: str = "") -> Page:
    """The view with all symbols."""
    page = visit.open(f"{stage.server.url}#/market{rest}")
    expect(page.locator(".all-count")).to_have_text(re.compile("8"))
    return page


def table(page: Page) -> Locator:
    return page.get_by_role("table", name="All symbols")


def column(page: Page, name: str) -> list[str]:
    """What the rows in view say under a heading, from the top; of several words the last."""
    at = [text.strip() for text in table(page).get_by_role("columnheader").all_inner_texts()].index(name)
    rows = table(page).locator(f"tbody tr:not([aria-hidden]):not([hidden]) > :nth-child({at + 1})")
    return [text.split()[0 if name == "Symbol" else -1] for text in rows.all_inner_texts()]


def at_rest(stage: Stage) -> dict[str, dict[str, Any]]:
    """Nothing trades any more: what the board holds of each symbol, by falling traded value."""
    stage.freeze()
    sessions = stage.board.parts["market"].changes(-1)
    assert sessions is not None
    lists = zip(*(sessions[name] for name in COLUMNS), strict=True)
    of = {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in lists}
    for symbol, last, _, reference, *_ in stage.board.quote_rows():
        of[symbol] |= {"last": last, "percent": 100 * (last - reference) / reference}
    return dict(sorted(of.items(), key=lambda item: -item[1]["value"]))


def table_shows(visit: Visit, of: dict[str, dict[str, Any]]) -> None:
    """The page has all of it, symbol by symbol."""

    def look() -> list[tuple[str, float, str]]:
        last = [float(text.replace(",", "")) for text in column(visit.page, "Last")]
        return list(zip(column(visit.page, "Symbol"), last, column(visit.page, "Change"), strict=True))

    visit.shows(look, [(name, told["last"], percent(told["percent"])) for name, told in of.items()])


def percent(value: float) -> str:
    sign = "" if round(abs(value), 2) == 0 else "+" if value > 0 else "−"
    return f"{sign}{abs(value):.2f}%"


def test_table_words_and_breadth_say_what_the_board_holds_also_after_the_server_was_lost(
    stage: Stage, visit: Visit
) -> None:
    page = market(stage, visit)
    of = at_rest(stage)
    table_shows(visit, of)
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
        ("Most active", list(of)),
        ("Most volatile", sorted(of, key=lambda n: -of[n]["volatility"])),
    ):
        links = page.get_by_role("region", name=ranking).get_by_role("link")
        shown = [text.split()[0] for text in links.all_inner_texts()]
        assert shown == ordered[: len(shown)]
        assert len(shown) >= min(3, len(ordered))
    assert visit.complaints == []

    name, labels = "marketpulse_pages_resumed_total", {"how": "resumed"}
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    stage.feed.frozen = False
    stage.server.stop()
    expect(page.locator("#link-text")).to_have_text(re.compile("Disconnected|Reconnecting"))
    stage.restart_server()
    expect(page.locator("#link-text")).to_have_text("Live")
    assert (REGISTRY.get_sample_value(name, labels) or 0.0) == before + 1
    table_shows(visit, at_rest(stage))


def test_tiles_and_rows_are_opened_and_arrows_lead_from_one_to_the_next(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit, "?size=equal")
    tiles = page.get_by_role("group", name="Symbols by traded value")
    expect(tiles.get_by_role("link")).to_have_count(8)
    tiles.get_by_role("link", name=re.compile(r"^GOOG [+−0]")).click()
    expect(page.get_by_role("heading", name="GOOG")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Market", exact=True)).to_be_visible()
    tiles.get_by_role("link", name=re.compile(r"^AAPL ")).focus()
    page.keyboard.press("ArrowRight")
    reached = page.evaluate("document.activeElement.dataset.symbol")
    assert reached != "AAPL"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.symbol") == "AAPL"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=reached)).to_be_visible()

    page = market(stage, visit, "?sort=symbol")
    table(page).get_by_role("link", name="AAPL").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "BTC-USD.COINBASE"
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == "SPY"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="SPY")).to_be_visible()


def test_sort_and_filter_stand_in_the_address(stage: Stage, visit: Visit) -> None:
    page = market(stage, visit)
    table(page).get_by_role("button", name="Symbol").click()
    expect(table(page).get_by_role("columnheader", name="Symbol")).to_have_attribute("aria-sort", "ascending")
    names = column(page, "Symbol")
    assert names == sorted(names)
    page.get_by_role("searchbox", name="Filter symbols").fill("o")
    expect(page.locator(".all-count")).to_have_text("3 of 8")
    page.get_by_role("combobox", name="Data").select_option("Simulated")
    expect(page).to_have_url(re.compile(r"#/market\?sort=symbol&text=o&kind=simulated$"))
    page.reload()
    expect(page.locator(".all-count")).to_have_text("3 of 8")
    assert column(page, "Symbol") == ["BTC-USD.COINBASE", "GOOG", "KO"]
    page.get_by_role("combobox", name="Data").select_option("Real")
    expect(page.get_by_text("No symbol like “o” with these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".all-count")).to_have_text("8 symbols")
    page.get_by_role("combobox", name="Venue").select_option("No venue")
    expect(page.locator(".all-count")).to_have_text("1 of 8")


def test_nothing_overflows(stage: Stage, sized: Visit) -> None:
    page = market(stage, sized)
    expect(page.get_by_role("heading", name="Most volatile")).to_be_attached()
    root = "document.documentElement"
    whole = page.evaluate(f"({{ width: {root}.scrollWidth, height: {root}.scrollHeight }})")
    assert whole == page.viewport_size
    wide = page.evaluate(
        """() => ['.market', '.market-head', '.heat', '.movers', '.all', '.breadth-words', '.heat > header', '.all > header']
            .filter((name) => { const n = document.querySelector(name); return n.scrollWidth > n.clientWidth + 1; })"""
    )
    assert wide == []
