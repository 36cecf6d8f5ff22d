"""The Market view in a real browser: what it says is what the board holds; the page, and its token: the form, the link,
and that neither leaves the token anywhere."""

import math
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from pydantic import SecretStr

from board_rows import bars, row
from browser_stage import Stage, Visit
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web.alerts_feed import AlertsFeed
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.market import COLUMNS
from marketpulse.web.server import WebServer
from moving_feed import MovingFeed

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def market(stage: Stage, visit: Visit, rest: str = "") -> Page:
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
    assert page.evaluate(f"({{ width: {root}.scrollWidth, height: {root}.scrollHeight }})") == page.viewport_size
    wide = page.evaluate(
        """() => ['.market', '.market-head', '.heat', '.movers', '.all', '.breadth-words', '.heat > header', '.all > header']
            .filter((name) => { const n = document.querySelector(name); return n.scrollWidth > n.clientWidth + 1; })"""
    )
    assert wide == []


def test_the_page_moves_and_says_while_the_server_or_the_log_is_away(stage: Stage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#META/5m")
    shown = page.evaluate(
        """async () => {
            const seen = new Set();
            for (let i = 0; i < 200 && seen.size < 4; i++) {
                seen.add(document.querySelector('#legends .legend').textContent);
                await new Promise((done) => setTimeout(done, 50));
            }
            return [...seen];
        }"""
    )
    assert len(shown) > 3
    assert page.locator("#chart canvas").count() > 0
    link, banner = page.locator("#link-text"), page.locator("#banner")
    expect(link).to_have_text("Live")
    stage.feed.away = True
    expect(link).to_have_text("Log is away")
    expect(page.locator("#banner-text")).to_contain_text("goes on by itself")
    stage.feed.away = False
    expect(link).to_have_text("Live")
    expect(banner).to_be_hidden()
    assert visit.complaints == []
    stage.server.stop()
    expect(link).to_have_text(re.compile("Disconnected|Reconnecting"))
    expect(page.locator("#banner-text")).to_contain_text("as of")
    stage.restart_server()
    expect(link).to_have_text("Live")
    expect(banner).to_be_hidden()
    expect(page.locator("#symbol-text")).to_have_text("META")
    before = page.locator("#last").inner_text()
    expect(page.locator("#last")).not_to_have_text(before)


def test_the_page_shows_the_boards_figures_book_source_and_every_new_bar(stage: Stage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#AAPL/1m")
    expect(page.locator("#book")).to_be_visible()
    stage.freeze()
    quotes = {row[0]: row for row in stage.board.quote_rows()}
    _, last, _, reference, *_ = quotes["AAPL"]
    chart = stage.board.chart("AAPL", "1m", limit=1)
    assert chart is not None
    columns = dict(zip(stage.board.columns(), chart["rows"][0], strict=True))
    expect(page.locator("#last")).to_have_text(f"{last:,.2f}")
    expect(page.locator("#change")).to_contain_text(f"{abs(100 * (last - reference) / reference):.2f}%")
    expect(page).to_have_title(re.compile(rf"^AAPL {last:,.2f} "))
    legend = page.locator("#legends .legend").first
    for name in ("open", "high", "low", "close", "sma_20", "ema_26", "session_vwap"):
        expect(legend).to_contain_text(f"{columns[name]:,.2f}")
    listed = page.get_by_role("option", name=re.compile(r"^GOOG,"))
    expect(listed.locator(".watch-last")).to_have_text(f"{quotes['GOOG'][1]:,.2f}")
    expect(page.locator("#watch-count")).to_have_text("8 symbols")
    expect(page.get_by_title(re.compile("set aside")).first).to_contain_text("3")

    bid, bid_size, ask, ask_size = quotes["AAPL"][8:]
    assert (bid_size, ask_size) == (300, 1_200)
    expect(page.locator("#bid")).to_have_text(f"{bid:,.2f}")
    expect(page.locator("#ask")).to_have_text(f"{ask:,.2f}")
    expect(page.locator("#spread")).to_have_text(f"{ask - bid:,.2f}")
    expect(page.locator("#book")).to_have_attribute("title", re.compile(r"× 300, ask .* × 1.20"))
    expect(page.locator("#simulated")).to_be_visible()

    start = round(chart["rows"][0][0] / 1e3)  # several bars and a revision in one step are all drawn
    stage.board.take(bars(*(row("AAPL", "1m", start + 60 * i, 300.0 + i, revision=1) for i in range(4))))
    expect(legend).to_contain_text("C303.00")
    stage.board.take(bars(row("AAPL", "1m", start + 60, 299.5, revision=2), row("AAPL", "1m", start + 240, 304.0)))
    expect(legend).to_contain_text("C304.00")
    stage.board.take(bars(*(row("AAPL", "1m", start + 300 + 60 * i, 310.0 + i) for i in range(90))))
    expect(legend).to_contain_text("C399.00")

    for symbol, gone in (("KO", "#book"), ("SPY", "#simulated")):  # without quotes; of real data
        page.get_by_role("option", name=re.compile(f"^{symbol},")).click()
        expect(page.locator("#symbol-text")).to_have_text(symbol)
        expect(page.locator(gone)).to_be_hidden()
    assert visit.complaints == []


def test_before_the_first_bar_the_page_says_what_it_waits_for(visit: Visit) -> None:
    with closing(Stage(MovingFeed(symbols=0))) as empty:
        visit.page.goto(empty.server.url)
        expect(visit.page.get_by_role("heading", name="Waiting for the first bar")).to_be_visible()
        empty.feed = MovingFeed(symbols=3, history=30)
        expect(visit.page.locator("body")).to_have_attribute("data-state", "shown")
        expect(visit.page.locator("#watch-count")).to_have_text("3 symbols")


def test_a_link_follows_what_is_chosen_and_panes_and_theme_are_kept(stage: Stage, visit: Visit) -> None:
    page = visit.open(stage.server.url + "#META/1h")
    expect(page.locator("#symbol-text")).to_have_text("META")
    expect(page.get_by_role("radio", name="1h", exact=True)).to_be_checked()
    page.get_by_role("radio", name="5m", exact=True).click()
    expect(page).to_have_url(re.compile("#META/5m$"))
    page.keyboard.press("/")
    page.keyboard.type("jp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#JPM/5m$"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#symbol-text")).to_have_text("KO")
    page.go_back()
    expect(page.locator("#symbol-text")).to_have_text("JPM")

    macd, panes = page.get_by_role("button", name="MACD 12 26 9"), page.locator("#legends .legend")
    expect(panes).to_have_count(3)  # price, volume, RSI
    macd.click()
    expect(panes).to_have_count(4)
    page.get_by_role("button", name="Switch to light").click()
    page.reload()
    expect(panes).to_have_count(4)
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(243, 245, 248)"
    macd.click()
    expect(panes).to_have_count(3)


def test_nothing_overflows_and_the_theme_is_the_machines(stage: Stage, sized: Visit) -> None:
    page = sized.open(stage.server.url + "#BTC-USD.COINBASE/1m")
    expect(page.locator("#book")).to_be_visible()
    theme = page.evaluate("matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    root = "document.documentElement"
    whole = page.evaluate(f"({{ width: {root}.scrollWidth, height: {root}.scrollHeight }})")
    assert whole == page.viewport_size
    outside = page.evaluate(
        """() => ['#symbol-text', '#last', '#change', '#book', '#link', '#theme', '#timeframes', '#chart', '#strip', '#s-volume']
            .filter((name) => {
                const box = document.querySelector(name).getBoundingClientRect();
                return box.width === 0 || box.left < 0 || box.right > innerWidth + 0.5 || box.bottom > innerHeight + 0.5;
            })"""
    )
    assert outside == []
    chart = page.locator("#chart").bounding_box()
    assert chart is not None
    assert chart["height"] > 0.4 * whole["height"]


def test_on_a_phone_the_watch_list_is_a_drawer(stage: Stage, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open(stage.server.url + "#AAPL/1m")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.get_by_role("button", name="Watch list").click()
    page.get_by_role("option", name=re.compile(r"^GOOG,")).click()
    expect(page.locator("#symbol-text")).to_have_text("GOOG")
    expect(page.get_by_role("listbox")).to_be_hidden()


def test_policies_stop_inline_scripts_foreign_requests_and_a_page_of_another_origin(stage: Stage, visit: Visit) -> None:
    page = visit.open(stage.server.url)
    assert visit.complaints == []
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.broken = true';
            document.body.append(script);
            document.body.insertAdjacentHTML('beforeend', '<img src="x" onerror="window.broken = true">');
        }"""
    )
    visit.shows(lambda: sum("inline" in said and "Security Policy" in said for said in visit.complaints), 2)
    assert page.evaluate("window.broken") is None
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate("fetch('http://127.0.0.1:9/')")
    with closing(Stage(MovingFeed(symbols=1, history=30))) as other:
        # The API's JSON carries no policy of its own against connecting, so it can play the foreign page.
        page.route("**/foreign", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto(other.server.url + "foreign")
        opened = """(address) => new Promise((done) => {
            const socket = new WebSocket(address);
            socket.onopen = () => done('opened');
            socket.onerror = () => done('refused');
        })"""
        assert page.evaluate(opened, stage.server.url.replace("http", "ws") + "ws") == "refused"
        read = "(a) => fetch(a).then((r) => r.text()).catch(() => 'refused')"
        assert page.evaluate(read, stage.server.url + "api/symbols") == "refused"


RIGHT = "a-token-of-24-characters"


@pytest.fixture
def guarded() -> Iterator[WebServer]:
    serve = ServeSettings(port=0, token=SecretStr(RIGHT))
    server = WebServer(create_app(Board(parts={"alerts": AlertsFeed()}), serve), serve)
    server.start()
    yield server
    server.stop()


def test_who_gives_the_token_sees_the_page_and_its_stream_and_stays_logged_in(guarded: WebServer, visit: Visit) -> None:
    page = visit.page
    page.goto(guarded.url + "#AAPL/1m")
    page.get_by_label("Token").fill("a-wrong-one-of-characters")
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text("This token is wrong.")
    page.get_by_label("Token").fill(RIGHT)
    page.get_by_label("Token").press("Enter")
    page.wait_for_selector("body[data-state]")
    assert page.url.startswith(guarded.url)
    assert RIGHT not in page.url
    assert page.evaluate("document.cookie") == ""
    page.goto(guarded.url)
    page.wait_for_selector("body[data-state]")
    assert page.evaluate("fetch('/api/symbols').then(answer => answer.status)") == 200
    assert not [said for said in visit.complaints if "Security Policy" in said]


def test_a_link_with_the_token_logs_in_and_leaves_it_nowhere(guarded: WebServer, visit: Visit) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.page.goto(f"{guarded.url}login#token={RIGHT}")
    visit.page.wait_for_selector("body[data-state]")
    assert RIGHT not in visit.page.url
    assert not [url for url in asked if RIGHT in url.partition("#")[0]]
    visit.page.go_back()
    assert RIGHT not in visit.page.url
    assert not [said for said in visit.complaints if "Security Policy" in said]
