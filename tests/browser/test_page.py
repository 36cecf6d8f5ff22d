"""The real page in a real browser."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from board_rows import bars, row
from browser_stage import Stage, Visit
from moving_feed import MovingFeed

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


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
