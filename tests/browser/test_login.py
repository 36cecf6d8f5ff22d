"""The token in a real browser: the form, the link, and that neither leaves the token anywhere."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from pydantic import SecretStr

from browser_stage import Visit
from marketpulse.settings import ServeSettings
from marketpulse.web.alerts_feed import AlertsFeed
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer

pytestmark = pytest.mark.browser

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
