"""A whole `marketpulse up` with people at its pages: after it has settled, no process takes more memory.

MARKETPULSE_SOAK_MINUTES says for how long (60). What is kept is bounded by design: windows, histories, queues; this
finds what was forgotten.
"""

import asyncio
import csv
import json
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from board_rows import NeverReads, PageReader
from running_up import Up, held

MINUTES = float(os.environ.get("MARKETPULSE_SOAK_MINUTES", "60"))
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60 * MINUTES + 600)]

BOUNDS = {
    "MARKETPULSE_SOURCES": '{"market": {"kind": "simulate"}}', "MARKETPULSE_ENGINE__CORRECTION_WINDOW_S": "120",
    "MARKETPULSE_SINKS__LAKE__FLUSH_S": "20",
}  # fmt: skip
"""What grows by design until it is full (the engine keeps its window up to twice) is full before half of the time."""
SAMPLE_EVERY_S = 10.0
PAGES, NEVER_READ = 12, 2
GROWTH, GROWTH_BYTES = 1.03, 6 * 1024 * 1024  # of a quarter's median over that of the quarter before
ASKED = (
    "/api/health", "/metrics", "/api/symbols", "/api/pipeline", "/api/bars?symbol={symbol}&timeframe=1m&limit=50",
    "/api/indicators?symbol={symbol}&timeframe=1m&limit=20", "/api/alerts?limit=20", "/api/dead-letters?limit=20",
    "/api/sql?q=SELECT+symbol,count(*)+FROM+bars+GROUP+BY+1",
)  # fmt: skip


@pytest.fixture
def up(tmp_path: Path, broker_cache: Path) -> Iterator[Up]:
    whole = Up(tmp_path / "data", broker_cache)
    whole.environment |= BOUNDS
    with held(whole.start()) as running:
        yield running


async def look(url: str, symbols: list[str], end: float, draw: random.Random) -> int:
    """Someone who comes, looks at charts and views, loses the line, comes back, and leaves. How often they came."""
    came = 0
    while time.monotonic() < end:
        reader, leave = PageReader(), time.monotonic() + draw.uniform(5, 90)
        while time.monotonic() < min(leave, end):
            with suppress(WebSocketException, OSError):
                at = reader.resume()
                query = "" if at is None else f"?resume={quote(at)}"
                async with connect(f"{url.replace('http', 'ws', 1)}ws{query}", max_size=None) as page:
                    came += 1
                    await read(page, reader, symbols, min(leave, end, time.monotonic() + draw.uniform(1, 40)), draw)
    return came


async def read(
    page: ClientConnection, reader: PageReader, symbols: list[str], until: float, draw: random.Random
) -> None:
    wish_at = 0.0
    while (now := time.monotonic()) < until:
        if now >= wish_at:
            wish_at = now + draw.uniform(0.5, 15)
            chart = {"symbol": draw.choice(symbols), "timeframe": draw.choice(["1s", "1m", "5m"])}
            parts = draw.sample(["alerts", "market"], draw.randint(0, 2))
            await page.send(json.dumps({"subscribe": {"chart": draw.choice([None, chart]), "parts": parts}}))
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                reader.take(await page.recv(decode=True))
        reader.charts.clear()  # the page's own memory is not what is looked at
        reader.parts.clear()


async def ask(url: str, symbols: list[str], end: float, draw: random.Random) -> int:
    """Questions to the API, one after the other. How many were answered."""
    answered = 0
    async with httpx.AsyncClient(timeout=60) as client:
        while time.monotonic() < end:
            path = draw.choice(ASKED).format(symbol=draw.choice(symbols))
            answer = await client.get(url.rstrip("/") + path)
            assert answer.status_code < 500, (path, answer.status_code, answer.text)
            answered += answer.status_code == 200
            await asyncio.sleep(draw.uniform(0, 1))
    return answered


async def sample(up: Up, end: float, table: Path) -> dict[str, list[int]]:
    """Resident bytes of each of the pipeline's processes, every ten seconds; into a table too."""
    sizes: dict[str, list[int]] = defaultdict(list)
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["second", "process", "resident_bytes"])
        began = time.monotonic()
        while time.monotonic() < end:
            for path in sorted((up.data_dir / "run").glob("*.json")):
                process = psutil.Process(int(up.facts(path.stem)["pid"]))
                sizes[path.stem].append(process.memory_info().rss)
                rows.writerow([round(time.monotonic() - began), path.stem, sizes[path.stem][-1]])
            file.flush()
            await asyncio.sleep(SAMPLE_EVERY_S)
    return dict(sizes)


def grown(sizes: list[int]) -> tuple[int, int]:
    """The medians of the last quarter but one, and of the last one."""
    quarter = len(sizes) // 4
    return int(statistics.median(sizes[-2 * quarter : -quarter])), int(statistics.median(sizes[-quarter:]))


def test_memory_stays_flat_while_people_come_and_go(up: Up, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = up.until_ready()
    up.until("it moves", lambda: up.is_moving() and len(up.symbols()) > 3)
    symbols = [str(each["symbol"]) for each in up.symbols()]
    before = {path.stem: up.facts(path.stem)["pid"] for path in (up.data_dir / "run").glob("*.json")}

    async def soak() -> tuple[dict[str, list[int]], list[int]]:
        end = time.monotonic() + 60 * MINUTES
        sizes = asyncio.create_task(sample(up, end, tmp_path / "memory.csv"))
        people = [look(url, symbols, end, random.Random(i)) for i in range(PAGES)]
        counts = await asyncio.gather(ask(url, symbols, end, random.Random(PAGES)), *people)
        return await sizes, counts

    with ExitStack() as silent:
        for _ in range(NEVER_READ):
            silent.enter_context(NeverReads(int(url.rstrip("/").rpartition(":")[2])))
        sizes, counts = asyncio.run(soak())
    told = [f"{name}: {a / 2**20:.1f} -> {b / 2**20:.1f} MiB" for name, of in sizes.items() for a, b in [grown(of)]]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", f"{counts[0]} answers, pages opened {sum(counts[1:])} times", *told, ""]))
    assert min(counts) > 0
    assert {path.stem: up.facts(path.stem)["pid"] for path in (up.data_dir / "run").glob("*.json")} == before
    for name, of in sizes.items():
        last_but_one, last = grown(of)
        assert last <= GROWTH * last_but_one + GROWTH_BYTES, (name, told)
