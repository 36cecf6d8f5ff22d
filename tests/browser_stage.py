"""What the browser tests stand on: a browser of this machine, a server fed by a feed that moves, a visit."""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, Page

from marketpulse.app.charts.desk import LiveDesk
from marketpulse.ports import AlertDesk
from marketpulse.query.history import LakeHistory
from marketpulse.settings import ServeSettings, Settings
from marketpulse.web.alerts_feed import AlertsFeed
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.market import MarketPart
from marketpulse.web.rest.alert_rules import AlertRulesApi
from marketpulse.web.rest.charts import ChartApi
from marketpulse.web.rest.stored import Stored
from marketpulse.web.server import WebServer
from moving_feed import MovingFeed
from waiting import wait_until

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
SIZES = {"phone": (390, 844), "laptop": (1400, 900), "wall": (3840, 2160)}


def find_browser() -> str:
    """MARKETPULSE_BROWSER, else what `make dev` brought, else the machine's own Chromium or Chrome."""
    brought, on_macos = f"{sys.prefix}/bin/chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    places = (brought, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", on_macos)
    found = os.environ.get("MARKETPULSE_BROWSER") or next(filter(None, map(shutil.which, places)), None)
    if not found:
        raise FileNotFoundError(
            "no Chromium: `make dev` brings one on Linux x86-64; elsewhere install Chromium or Chrome, "
            "or name it in MARKETPULSE_BROWSER"
        )
    return found


class Stage:
    """The page's server on a free port, its board, and a thread that carries rows from a feed to it. `alerts`: the desk
    of the alert rules. `lake`: whose lake lies behind the board."""

    def __init__(self, feed: MovingFeed, alerts: AlertDesk | None = None, lake: Settings | None = None) -> None:
        self.feed = feed
        self._lake = lake or Settings(sinks={"lake": {"enabled": False}})
        self.board = Board(400, parts={"alerts": AlertsFeed(), "market": MarketPart()})
        self._alerts = None if alerts is None else AlertRulesApi(lambda: alerts)
        self.server = self._serve(0)
        self._stop = threading.Event()
        self._rounds = 0
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def restart_server(self) -> None:
        """A server that was stopped comes back on its port, with what the board holds."""
        self.server = self._serve(self.server.port)

    def freeze(self) -> None:
        """Nothing trades any more, and the board holds all that did."""
        self.feed.frozen = True
        last = self._rounds + 2  # the round under way may not have seen it
        wait_until(lambda: self._rounds >= last, "the feed stands still", 20)

    def chart_desk(self) -> LiveDesk:
        return LiveDesk(self._lake)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        if self._alerts is not None:
            self._alerts.close()
        self.server.stop()
        self._charts.close()
        if self._stored is not None:
            self._stored.close()

    def _serve(self, port: int) -> WebServer:
        serve = ServeSettings(port=port)
        self._stored = Stored(lambda: LakeHistory(self._lake)) if self._lake.sinks.lake.enabled else None
        self._charts = ChartApi(self.board, self.chart_desk)
        routers = [self._charts.router(), *([] if self._alerts is None else [self._alerts.router()])]
        server = WebServer(create_app(self.board, serve, stored=self._stored, routers=routers), serve)
        server.start()
        return server

    def _carry(self) -> None:
        while not self._stop.is_set():
            self.board.take_stats(self.feed.stats())
            for batch in self.feed.batches(0.1):
                self.board.take(batch)
            self._rounds += 1


class Visit:
    """A page in a context of its own, with everything that its console complained about."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> Page:
        self.page.goto(url)
        self.page.wait_for_selector("body[data-state=shown]")
        return self.page

    def shows(self, look: Callable[[], Any], expected: Any) -> None:
        """Wait until `look` finds this on the page, which goes on only while Playwright is asked for something."""
        for _ in range(400):
            if look() == expected:
                return
            self.page.wait_for_timeout(50)
        assert look() == expected
