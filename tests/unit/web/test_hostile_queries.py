"""Fifty queries that would hurt who runs them: none hurts the page's server, and it stays served meanwhile."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from marketpulse.app.lock import remove_spill
from marketpulse.query import pool
from marketpulse.query.pool import ChildPool
from marketpulse.settings import ServeSettings, Settings
from marketpulse.telemetry import SQL_KILLED
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
from real_rows import real_trades, store
from served_app import served
from waiting import wait_until

ENDLESS = "sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
UNSTOPPABLE = "rpad('x', 2000000000, 'y')"  # DuckDB does not look up from it


def nested(before: str, inside: str, after: str, depth: int) -> str:
    return before * depth + inside + after * depth


DOUBLED = ["1 AS x", "'0123456789' AS x"]
for _ in range(40):
    DOUBLED = [f"{to} AS x FROM (SELECT {of})" for of, to in zip(DOUBLED, ["{'a': x, 'b': x}", "x || x"], strict=True)]

LIMIT = [  # 422: one value or list of gigabytes
    "range(0, 2000000000)", "generate_series(1, 2000000000)", UNSTOPPABLE, "lpad('x', 2000000000, 'y')",
    "repeat('x', 2000000000)", "list_resize([1], 2000000000, 0)", "unnest(range(2000000000))", "to_json(range(200000000))",
    "list_transform(range(200000000), lambda x: x * 2)", "map(range(90000000), range(90000000))", "list_sort(range(200000000))",
    "replace(repeat('a', 10000000), 'a', repeat('b', 1000))", "bitstring('1', 2000000000)", "hex(repeat('x', 1500000000))",
    "regexp_replace(repeat('a', 10000000), 'a', repeat('b', 1000), 'g')", "string_split(repeat('a,', 200000000), ',')",
    "levenshtein(repeat('a', 200000), repeat('b', 200000))", "[range(i) FOR i IN range(1000000)]", DOUBLED[0], DOUBLED[1],
    # rows without end
    ENDLESS, "max(hash(a.price, b.price, c.price)) FROM trades a, trades b, trades c", "list(i) FROM range(3000000000) t(i)",
    "repeat('x', 1000000) || i FROM range(100000) t(i)", "string_agg(repeat('x', 1000), '') FROM range(100000000)",
    "json_group_array(i) FROM range(1000000000) t(i)", "i, count(*) FROM range(3000000000) t(i) GROUP BY i ORDER BY 2",
    "sum(i) OVER (ORDER BY hash(i)) FROM range(3000000000) t(i)", "i FROM range(3000000000) t(i) ORDER BY hash(i) LIMIT 1",
    "(WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r)",
    "(WITH RECURSIVE r(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r)",
    # texts that take long to parse, or to plan
    nested("(", "1", ")", 49_000), nested("[", "", "]", 49_000), "1+" * 49_000 + "1", "1 WHERE " + "1=1 AND " * 12_000 + "true",
    " UNION ALL SELECT ".join(["1"] * 5_000), "a" + ".a" * 48_000, f"* FROM json_tree('{nested('[', '', ']', 45_000)}')",
    ",".join(f"sum(i) OVER (ORDER BY i + {k})" for k in range(2_500)) + " FROM range(1000) t(i)",
]  # fmt: skip
REFUSED = [  # 400
    "NOT " * 24_000 + "true", nested("CASE WHEN true THEN ", "1", " END", 4_000), nested("* FROM (SELECT ", "1", ")", 5_000),
    "/*" * 49_000, nested("abs(", "1", ")", 19_000), "1" * 100_001, "error(repeat('x', 100000))", "1 " + "JOIN range(1) " * 6_000,
]  # fmt: skip
SMALL = [
    "1" + ";" * 97_000,
    f"1 AS x WHERE 1 IN ({','.join(map(str, range(9_000)))})",
    "'1' LIKE '" + "%a" * 40_000 + "'",
]  # 200


class Page:
    """The page's server, with a client; the processes beside it run its queries."""

    def __init__(self, client: httpx.Client, data_dir: Path, others: list[psutil.Process]) -> None:
        self.client, self.data_dir, self.others = client, data_dir, others
        self.now_s: list[float] = []

    def ask(self, sql: str, **more: Any) -> httpx.Response:
        return self.client.post("/api/sql", json={"sql": f"SELECT {sql}", **more})

    def ask_now(self) -> None:
        begun = time.monotonic()
        assert self.client.get("/api/health").status_code == 200
        self.now_s.append(time.monotonic() - begun)

    @property
    def fork_server(self) -> psutil.Process:
        (process,) = self.processes()
        return process

    def processes(self) -> list[psutil.Process]:
        """The children of this process, but for `others`, which are of other tests."""
        return [child for child in psutil.Process().children() if child not in self.others]

    def spills(self) -> set[int]:
        return {int(path.name.split("-")[1]) for path in self.data_dir.glob("sql-*")}


def killed(why: str) -> float:
    return float(SQL_KILLED.labels(why)._value.get())


@pytest.fixture
def page(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    settings = Settings(data_dir=tmp_path, sql={"memory_limit_mb": 64, **request.param})
    store(settings, "trades", real_trades(), "market")
    others = psutil.Process().children()
    runs = SqlRuns(lambda: ChildPool(settings), settings.sql)
    with served(None, ServeSettings(port=0, requests_per_s=1e6), sql=SqlApi(runs)) as client, closing(runs):
        page = Page(client, tmp_path, others)
        assert page.ask("1 AS x").json()["rows"] == [[1]]
        yield page
        runs.close()
        assert (page.processes(), page.spills()) == ([], set())


@pytest.mark.parametrize("page", [{"timeout_s": 0.6}], indirect=True)
def test_fifty_hostile_queries_leave_the_servers_memory_as_it_is_and_the_page_served(page: Page) -> None:
    before = psutil.Process().memory_info().rss

    def try_one(sql: str, status: int) -> str:
        answer, resident = page.ask(sql), psutil.Process().memory_info().rss
        is_told = answer.status_code == status or (answer.status_code == 422 and "sql." in answer.json()["error"])
        is_as_before = resident < 1.05 * before + 2_000_000
        return "" if is_told and is_as_before else f"{sql[:80]}: {resident:,} bytes, {answer} {answer.text[:200]}"

    with ThreadPoolExecutor(2) as threads:
        hostile = [*((sql, 422) for sql in LIMIT), *((sql, 400) for sql in REFUSED), *((sql, 200) for sql in SMALL)]
        assert len(hostile) == 50
        asked = [threads.submit(try_one, sql, status) for sql, status in hostile]
        while wait(asked, 0.05).not_done:
            page.ask_now()
    assert [said for one in asked if (said := one.result())] == []
    assert page.ask("1 AS x").json()["rows"] == [[1]]
    sys.stdout.write(f"the page was answered {len(page.now_s)} times, within {1_000 * max(page.now_s):.0f} ms\n")


@pytest.mark.parametrize("page", [{"timeout_s": 60, "memory_limit_mb": 4_096}], indirect=True)
def test_what_does_not_look_up_ends_when_it_is_stopped_and_what_it_spilled_is_removed(page: Page) -> None:
    def busy() -> list[psutil.Process]:
        return [child for child in page.fork_server.children() if child.cpu_times().user > 0.5]

    stopped, by_kernel = killed("stopped"), killed("SIGKILL")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(page.ask, UNSTOPPABLE, id="mine")
        (victim,) = wait_until(busy)
        assert page.client.delete("/api/sql/mine").status_code == 200
        assert (asked.result().status_code, asked.result().json()["kind"]) == (409, "cancelled")
        wait_until(lambda: not victim.is_running() and victim.pid not in page.spills())
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{page.client.base_url}api/sql", json={"sql": f"SELECT {UNSTOPPABLE}"}, timeout=2)
        wait_until(lambda: not busy() and killed("stopped") == stopped + 2)
        asked = threads.submit(page.ask, ENDLESS)  # the machine lacks memory
        (victim,) = wait_until(busy)
        os.kill(victim.pid, signal.SIGKILL)
        assert (asked.result().status_code, asked.result().json()["kind"]) == (422, "limit")
        assert killed("SIGKILL") == by_kernel + 1


@pytest.mark.parametrize("page", [{"timeout_s": 2}], indirect=True)
def test_a_client_that_does_not_read_is_not_waited_for_and_its_rows_are_not_held(page: Page) -> None:
    unread, before = killed("unread"), psutil.Process().memory_info().rss
    asked = {"sql": "SELECT repeat('x', 100000) FROM range(400)", "format": "arrow"}
    with page.client.stream("POST", "/api/sql", json=asked) as answer:
        assert int(answer.headers["content-length"]) > 40_000_000
        wait_until(lambda: killed("unread") == unread + 1)
        assert psutil.Process().memory_info().rss < before + 10_000_000
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux has it")
@pytest.mark.parametrize("page", [{}], indirect=True)
def test_the_kernel_ends_children_first_and_with_their_fork_server_which_has_one_thread_and_none_is_there_for_ever(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = page.fork_server
    threads = [task.read_text().strip() for task in Path(f"/proc/{server.pid}/task").glob("*/comm")]
    assert [name for name in threads if name != "jemalloc_bg_thd"] == threads[:1]
    wait_until(
        lambda: len(server.children()) == 2 and all(c.rlimit(psutil.RLIMIT_AS)[1] > 0 for c in server.children())
    )
    children = server.children()
    for child in children:
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
        assert child.rlimit(psutil.RLIMIT_AS)[1] < 4 * 10**9
    server.kill()
    wait_until(lambda: not any(child.is_running() for child in children))
    monkeypatch.setattr(pool, "IDLE_S", 0.1)
    assert page.ask("1 AS x").status_code == 200
    wait_until(lambda: not page.processes())
    assert page.ask("2 AS x").status_code == 200
    remove_spill(page.data_dir)  # as the next start does
