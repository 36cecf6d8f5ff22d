"""An accessibility checker (IBM Equal Access, WCAG 2.2 AA) over a page as it stands."""

from pathlib import Path

from playwright.sync_api import Page

_CHECKER = Path(__file__).parents[1] / "ui" / "node_modules" / "accessibility-checker-engine" / "ace.js"
_CHECK = """async () => {
    const report = await new ace.Checker().check(document, ["WCAG_2_2"]);
    return report.results
        .filter((one) => one.value[0] === "VIOLATION" && one.value[1] === "FAIL")
        .map((one) => [one.ruleId, one.message, one.path.dom, one.snippet]);
}"""


def violations(page: Page) -> list[list[str]]:
    """What it finds wrong. The page's policy takes no script but its own: its context must pass the policy by."""
    page.add_script_tag(path=_CHECKER)
    found: list[list[str]] = page.evaluate(_CHECK)
    return found
