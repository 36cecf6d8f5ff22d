"""An accessibility checker (IBM Equal Access, WCAG 2.2 AA) finds nothing wrong in any view, in either theme."""

import json

import pytest
from playwright.sync_api import Browser

from accessibility import violations
from running_up import Up

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

VIEWS = {
    "market": "#/market",
    "symbol": "#",
    "alerts": "#/alerts",
    "a new rule": "#/alerts/new",
    "pipeline": "#/pipeline",
    "ask": "#/ask/most_active?timeframe=1s",
}


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_keeps_anybody_out(up: Up, chromium: Browser, view: str, theme: str) -> None:
    # The page's policy takes no script but its own, and the checker is none of it.
    context = chromium.new_context(
        viewport={"width": 1400, "height": 900},
        color_scheme="light" if theme == "light" else "dark",
        bypass_csp=True,
        reduced_motion="reduce",
    )
    try:
        page = context.new_page()
        page.goto(up.until_ready() + VIEWS[view])
        page.wait_for_selector("body[data-state=shown]")
        page.wait_for_timeout(2_000)
        found = violations(page)
        assert found == [], json.dumps(list({one[0]: one for one in found}.values()), indent=1)
    finally:
        context.close()
