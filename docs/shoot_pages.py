"""Draws docs/images/pages/: every view of the page in both themes and three sizes, over a pipeline that runs.

marketpulse up --no-browser            # in one terminal; wait until it has some minutes of data
python docs/shoot_pages.py http://127.0.0.1:8080/
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent / "tests"))

from browser_stage import FLAGS, find_browser  # noqa: E402  (of the tests)

PICTURES = ROOT / "images" / "pages"
SIZES = {"phone": (390, 844), "laptop": (1400, 900), "wall": (3840, 2160)}
VIEWS = {
    "market": "#/market",
    "symbol": "#SPY/1m",
    "alerts": "#/alerts",
    "pipeline": "#/pipeline",
    "ask": "#/ask/volatility_ranking?timeframe=1m",
}
_SETTLES_MS = 6_000


def main(url: str, *only: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for size, (width, height) in SIZES.items():
            for theme in ("dark", "light"):
                page = opened(browser, url, theme, width, height)
                for view, address in VIEWS.items():
                    if not only or view in only:
                        shoot(page, url + address, PICTURES / f"{view}-{theme}-{size}.png")
                page.context.close()
        browser.close()


def opened(browser: Browser, url: str, theme: str, width: int, height: int) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="light" if theme == "light" else "dark"
    )
    page = context.new_page()
    page.goto(url)
    return page


def shoot(page: Page, address: str, target: Path) -> None:
    page.goto(address)
    page.wait_for_selector("body[data-state=shown]")
    page.wait_for_timeout(_SETTLES_MS)
    page.screenshot(path=target)
    print(target.name)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("say where the page is: python docs/shoot_pages.py http://127.0.0.1:8080/ [view …]")
    main(*sys.argv[1:])
