"""A real Chromium, and the real server fed by a feed that moves."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser_stage import FLAGS, SIZES, Stage, Visit, find_browser
from marketpulse.web.pages import STATIC
from moving_feed import MovingFeed

_PATIENCE_MS = 20_000  # a machine that does other work too shows things later
expect.set_options(timeout=_PATIENCE_MS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for a file's tests: closed behind them, since Playwright runs an event loop in this thread meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    assert (STATIC / "index.html").is_file(), "the pages are not built: run `make setup`"
    stage = Stage(MovingFeed(symbols=8, history=120))
    yield stage
    stage.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, color_scheme="dark")
    context.set_default_timeout(_PATIENCE_MS)
    yield Visit(context)
    context.close()


@pytest.fixture(params=[(size, theme) for size in SIZES for theme in ("dark", "light")], ids="-".join)
def sized(request: pytest.FixtureRequest, visit: Visit) -> Iterator[Visit]:
    """A visit with a screen of each size and in each theme, about which nothing complains."""
    size, theme = request.param
    width, height = SIZES[size]
    visit.page.set_viewport_size({"width": width, "height": height})
    visit.page.emulate_media(color_scheme=theme)
    yield visit
    assert visit.complaints == []
