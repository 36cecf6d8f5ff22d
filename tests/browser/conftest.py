"""A real Chromium, and the real server fed by a feed that moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser_stage import FLAGS, Stage, Visit, find_browser
from marketpulse.web.pages import STATIC
from moving_feed import MovingFeed
from running_up import Up, held

_PATIENCE_MS = 20_000  # a machine that does other work too shows things later
expect.set_options(timeout=_PATIENCE_MS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for a file's tests: closed behind them, since Playwright runs an event loop in this thread meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory, broker_cache: Path) -> Iterator[Up]:
    """The real pipeline, once for all views: broker, simulator, engine, lake and page."""
    with held(Up(tmp_path_factory.mktemp("up") / "data", broker_cache)) as running:
        running.start()
        running.until_ready()
        yield running


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
