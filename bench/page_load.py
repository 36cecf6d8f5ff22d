"""What a market that moves costs the page's server and the page's main thread.

    python bench/page_load.py [--symbols 500] [--updates 20] [--seconds 15] [--pages 10 200] [--no-browser]

All symbols trade with each update. Of 200 pages ten never read. Processor times are those of the server's own threads,
of one update that the board takes in and of one frame that is sent, times the full rate: so a machine with other work to
do, which sends fewer frames, tells the same. A frame's latency counts from when its newest price was made to when a page
has it, with the wait for the next tick. The browser shows the Market view; its tasks are those of a trace of the page's
main thread.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from quick_market import QuickMarket
from results import report
from websockets.asyncio.client import ClientConnection, connect

NEVER_READ = 10
SETTLE_S = 3.0
LONG_MS = 8.0


def serve(symbols: int, updates: float, told: Connection) -> None:
    """The page's server and a market: tells its port, then its processor seconds each time it is asked."""
    from marketpulse.settings import ServeSettings
    from marketpulse.telemetry import PAGE_FRAMES
    from marketpulse.web.alerts_feed import AlertsFeed
    from marketpulse.web.api import create_app
    from marketpulse.web.board import Board
    from marketpulse.web.market import MarketPart
    from marketpulse.web.server import WebServer

    board, market = Board(parts={"alerts": AlertsFeed(), "market": MarketPart()}), QuickMarket(symbols)
    settings = ServeSettings(port=0, frames_per_s=updates)
    server = WebServer(create_app(board, settings), settings)
    board.take(market.history())
    board.take(market.session())
    taken = [0.0, 0.0]  # updates, and their seconds
    over = threading.Event()

    def trade() -> None:
        due = time.monotonic()
        while not over.is_set():
            batch = market.step()  # its cost is not the server's
            began = time.thread_time()
            board.take(batch)
            taken[1] += time.thread_time() - began
            taken[0] += 1
            due = max(due + 1 / updates, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    server.start()
    thread = threading.Thread(target=trade)
    thread.start()
    told.send(server.port)
    web = time.pthread_getcpuclockid(next(t.ident for t in threading.enumerate() if t.name == "web") or 0)
    while told.recv():
        told.send((*taken, PAGE_FRAMES._value.get(), time.clock_gettime(web)))
    over.set()
    thread.join()
    server.stop()


def visit(port: int, pages: int, silent: int, seconds: float, told: Connection) -> None:
    """`pages` pages that read, of which every second one wants the market, and some that never do."""
    told.send(asyncio.run(_visit(port, pages, silent, seconds, told)))


async def _visit(port: int, pages: int, silent: int, seconds: float, told: Connection) -> tuple[list[float], int]:
    address = f"ws://127.0.0.1:{port}/ws"
    held = [_never_reads(port) for _ in range(silent)]
    sockets = [await connect(address, max_size=None, compression=None, ping_interval=None) for _ in range(pages)]
    for i, page in enumerate(sockets):
        await page.send(json.dumps({"subscribe": {"chart": None, "parts": ["market"] if i % 2 else []}}))
    latencies: list[float] = []
    size = [0]
    begin = time.monotonic() + SETTLE_S
    readers = [asyncio.create_task(_read(page, begin, latencies, size)) for page in sockets]
    await asyncio.sleep(SETTLE_S)
    told.send("ready")
    await asyncio.sleep(seconds)
    told.send("done")
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    for one in held:
        one.close()
    return latencies, size[0]


async def _read(page: ClientConnection, begin: float, latencies: list[float], size: list[int]) -> None:
    while True:
        text = await page.recv(decode=False)
        now = time.time()
        at = text.find(b'"until":')
        if at < 0 or time.monotonic() < begin:
            continue
        size[0] += len(text)
        latencies.append(now * 1_000 - int(text[at + 8 : at + 21]))


def _never_reads(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return one


class Server:
    """The server in a process of its own."""

    def __init__(self, symbols: int, updates: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(symbols, updates, theirs), daemon=True)
        self._process.start()
        self.port: int = self._ours.recv()

    def counts(self) -> np.ndarray:
        """Updates taken and their seconds, frames sent and their seconds."""
        self._ours.send(True)
        return np.array(self._ours.recv())

    def close(self) -> None:
        self._ours.send(False)
        self._process.join()


def with_pages(server: Server, pages: int, seconds: float) -> tuple[np.ndarray, np.ndarray, int]:
    """What the server did meanwhile (Server.counts), latencies in ms, bytes read."""
    silent = NEVER_READ if pages >= 100 else 0
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=visit, args=(server.port, pages - silent, silent, seconds, theirs), daemon=True)
    process.start()
    assert ours.recv() == "ready"
    before = server.counts()
    assert ours.recv() == "done"
    used = server.counts() - before
    latencies, size = ours.recv()
    process.join()
    return used, np.array(latencies), size


FIRST_PICTURES = 7
_WATCH = """
const look = () => {
  if (document.body?.dataset.state === "shown" && document.querySelector(SELECTOR))
    requestAnimationFrame(() => { window.firstPicture ??= performance.now(); });
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def first_pictures(port: int, address: str, selector: str) -> np.ndarray:
    """Milliseconds from asking for the page to its first picture with data, each time in a browser profile without a
    cache."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from playwright.sync_api import sync_playwright

    from browser_stage import FLAGS, find_browser

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for _ in range(FIRST_PICTURES):
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            context.add_init_script(_WATCH.replace("SELECTOR", json.dumps(selector)))
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{port}/{address}")
            while (shown_ms := page.evaluate("window.firstPicture ?? null")) is None:
                page.wait_for_timeout(50)
            found.append(shown_ms)
            context.close()
        browser.close()
    return np.array(found)


def in_browser(port: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each task of the main thread while the Market view is open: how long it took, and the
    processor's time of it, which other work on the machine does not lengthen."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from playwright.sync_api import sync_playwright

    from browser_stage import FLAGS, find_browser

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/#/market")
        page.wait_for_selector(".heat-links a", timeout=60_000)
        page.wait_for_timeout(SETTLE_S * 1_000)
        trace = str(Path(folder, "trace.json"))
        browser.start_tracing(
            page=page, path=trace, categories=["toplevel", "disabled-by-default-devtools.timeline", "devtools.timeline"]
        )
        page.wait_for_timeout(seconds * 1_000)
        browser.stop_tracing()
        events = json.loads(Path(trace).read_text())["traceEvents"]
        browser.close()
    frames = [e for e in events if e["name"] == "FireAnimationFrame"]
    thread = max({(e["pid"], e["tid"]) for e in frames}, key=lambda of: sum((e["pid"], e["tid"]) == of for e in frames))
    tasks = [e for e in events if e["name"] == "RunTask" and (e["pid"], e["tid"]) == thread and "tdur" in e]
    return np.array([e["dur"] / 1_000 for e in tasks]), np.array([e["tdur"] / 1_000 for e in tasks])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--updates", type=float, default=20, help="of every symbol, and frames, a second")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--pages", type=int, nargs="+", default=[10, 200])
    parser.add_argument("--no-browser", action="store_true")
    given = parser.parse_args()
    server = Server(given.symbols, given.updates)
    for pages in given.pages:
        (taken, taking_s, sent, sending_s), latencies, size = with_pages(server, pages, given.seconds)
        rate = latencies.size / given.seconds / (pages - (NEVER_READ if pages >= 100 else 0))
        for name, value, unit in (
            ("board_cpu", round(taking_s / taken * given.updates, 3), "cores"),
            ("server_cpu_per_10_of", round(sending_s / sent * given.updates * 10, 3), "cores"),
            ("frame_latency_p50", round(float(np.percentile(latencies, 50)), 1), "ms"),
            ("frame_latency_p99", round(float(np.percentile(latencies, 99)), 1), "ms"),
            ("frames_per_s", round(rate, 1), "1/s"),
            ("frame_bytes", round(size / latencies.size), "bytes"),
        ):
            report({"name": f"page_{name}_{pages}", "value": value, "unit": unit})
    if not given.no_browser:
        for view, address, selector in (("symbol", "", "#chart canvas"), ("market", "#/market", ".heat-links a")):
            times = first_pictures(server.port, address, selector)
            for name, value in (("median", np.median(times)), ("max", times.max())):
                report({"name": f"page_first_picture_{view}_{name}", "value": round(float(value)), "unit": "ms"})
        for kind, tasks in zip(("task", "task_cpu"), in_browser(server.port, given.seconds), strict=True):
            for name, value in (
                ("p95", np.percentile(tasks, 95)),
                ("p99", np.percentile(tasks, 99)),
                ("max", tasks.max()),
            ):
                report({"name": f"page_{kind}_{name}", "value": round(float(value), 2), "unit": "ms"})
            under = float((tasks < LONG_MS).mean() * 100)
            report({"name": f"page_{kind}s_under_8ms", "value": round(under, 2), "unit": "%"})
        busy = float(tasks.sum() / given.seconds / 1_000)
        report({"name": "page_main_thread_cpu", "value": round(busy, 3), "unit": "cores"})
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
