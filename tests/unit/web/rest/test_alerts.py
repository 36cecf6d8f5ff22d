"""/api/alerts over a real lake and the newest alerts of the log."""

from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from board_rows import alerts, bars, row
from lake_store import LakeRows
from marketpulse.ports import AlertSpan, FeedBatch
from marketpulse.query.history import LakeHistory
from marketpulse.settings import Settings
from marketpulse.web.board import Board
from marketpulse.web.rest.alert_rows import RecentAlerts
from marketpulse.web.rest.stored import Stored
from served_app import app_of, ask


def alert(minute: int, state: str = "raised", revision: int = 0, **other: Any) -> dict[str, Any]:
    bar = row("AAA", "1m", 60 * minute, 1.0)
    return {
        "symbol": "AAA", "rule": "high", "severity": "info", "timeframe": "1m", "open_time_ns": bar["open_time_ns"],
        "event_time_ns": bar["close_time_ns"], "state": state, "was": None, "late": False, "value": float(minute),
        "message": f"minute {minute}", "revision": revision, "receipt": bar["receipt"],
    } | other  # fmt: skip


class Site:
    """The application over a lake and recent alerts."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.lake = LakeRows(self.settings)
        self.recent = RecentAlerts()

    def tell(self, *rows: dict[str, Any]) -> None:
        Board(parts={"recent_alerts": self.recent}).take(alerts(*rows))

    def get(self, address: str = "", **options: Any) -> httpx.Response:
        with closing(Stored(lambda: LakeHistory(self.settings))) as stored:
            return ask(app_of(stored=stored, alerts=self.recent), address or "/api/alerts", params=options or None)

    def values(self, **options: Any) -> list[float]:
        return [one["value"] for one in self.get(**options).json()["alerts"]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_stored_and_live_alerts_come_once_in_order_of_time_and_each_is_a_line_of_csv(site: Site) -> None:
    site.lake.add("alerts", [alert(i) for i in range(5)])
    site.tell(*(alert(i) for i in range(3, 8)))
    assert site.values() == [float(i) for i in range(8)]
    assert site.get().json()["alerts"][-1] == {
        "symbol": "AAA", "rule": "high", "severity": "info", "timeframe": "1m", "open_time_ms": 420_000.0,
        "event_time_ms": 480_000.0, "state": "raised", "was": None, "late": False, "value": 7.0, "message": "minute 7",
        "revision": 0, "partition": 0, "last_offset": 420, "event_time_ns": "480000000000",
    }  # fmt: skip
    lines = site.get(format="csv").text.splitlines()
    assert len(lines) == 9
    assert lines[1] == '"AAA","high","info","1m",0,60000,"raised",,false,0,"minute 0",0,0,0,"60000000000"'


def test_pages_follow_their_links_through_alerts_of_one_moment(site: Site) -> None:
    pairs = [("AAA", "high"), ("AAA", "low"), ("BBB", "high"), ("BBB", "low")]
    rows = [alert(i, symbol=symbol, rule=rule) for i in range(3) for symbol, rule in pairs]
    site.lake.add("alerts", rows[:8])
    site.tell(*rows[4:])
    seen: list[tuple[float, str, str]] = []
    address = "/api/alerts?limit=3"
    while address:
        answer = site.get(address)
        body = answer.json()
        seen = [(a["event_time_ms"], a["symbol"], a["rule"]) for a in body["alerts"]] + seen
        assert (body["next"] is not None) == ("next" in answer.links)
        address = answer.links["next"]["url"] if "next" in answer.links else ""
    assert seen == [(r["event_time_ns"] / 1e6, r["symbol"], r["rule"]) for r in rows]


def test_what_a_revision_withdrew_is_gone_unless_it_is_asked_for_and_what_it_changed_is_as_it_says(site: Site) -> None:
    site.lake.add("alerts", [alert(i) for i in range(5)])
    site.lake.add("alerts", [alert(0, "withdrawn", 1), alert(2, "withdrawn", 1), alert(2, "raised", 2)])
    site.tell(alert(3, "withdrawn", 1))
    assert site.values() == [1.0, 2.0, 4.0]
    told = site.get(withdrawn=True).json()["alerts"]
    assert [(one["value"], one["state"], one["revision"]) for one in told] == [
        (0.0, "withdrawn", 1), (1.0, "raised", 0), (2.0, "raised", 2), (3.0, "withdrawn", 1), (4.0, "raised", 0),
    ]  # fmt: skip
    assert site.values(withdrawn=True, limit=2) == [3.0, 4.0]
    assert site.values(withdrawn=True, state="raised") == [1.0, 2.0, 4.0]
    site.tell(alert(1, "withdrawn", 1), alert(4, "cleared", 1), alert(4, "raised", 0), alert(5))
    assert (site.values(limit=2), site.values(state="raised")) == ([4.0, 5.0], [2.0, 5.0])
    assert site.values(state="cleared") == [4.0]


def test_what_is_stored_tells_its_place_in_the_log_as_what_is_live(site: Site) -> None:
    place = alert(0)["receipt"] | {"partition": 3, "last_offset": 2**40}
    site.lake.add("alerts", [alert(0, receipt=place)])
    site.tell(alert(1, receipt=place))
    told = site.get().json()["alerts"]
    assert [(one["partition"], one["last_offset"]) for one in told] == [(3, 2**40)] * 2


def test_each_filter_leaves_what_it_names(site: Site) -> None:
    site.lake.add("alerts", [alert(0), alert(1, symbol="BBB"), alert(2, rule="low"), alert(3, severity="critical")])
    site.tell(alert(4, symbol="BBB"), alert(5, severity="critical"))
    assert (site.values(symbol="BBB"), site.values(rule="low")) == ([1.0, 4.0], [2.0])
    assert site.values(severity="critical") == [3.0, 5.0]
    assert (site.values(from_ms=180_000, to_ms=300_000), site.values(symbol="' OR true --")) == ([2.0, 3.0], [])


@pytest.mark.parametrize("options", [
    {"cursor": "x"}, {"cursor": "W10="}, {"cursor": "WzEsMiwzXQ=="}, {"severity": "loud"}, {"state": "withdrawn"},
    {"limit": 0}, {"from_ms": "1.5"}, {"from_ms": 2**63}, {"unknown": 1},
])  # fmt: skip
def test_a_wrong_question_is_refused(site: Site, options: dict[str, Any]) -> None:
    answer = site.get(**options)
    assert (answer.status_code, list(answer.json())) == (400, ["error", "kind"])


def told(*events: tuple[int, int, str]) -> FeedBatch:
    """Alerts of AAA as (event time, revision, state)."""
    return alerts(*(alert(0, state, revision) | {"event_time_ns": time} for time, revision, state in events))


def states(recent: RecentAlerts) -> list[tuple[int, str]]:
    return [(row["event_time_ns"], row["state"]) for row in recent.within(AlertSpan()).values()]


def test_the_highest_revision_stays_in_whichever_order_rows_come_and_only_so_many_the_newest() -> None:
    recent = RecentAlerts()
    assert not recent.take(told((1, 1, "withdrawn"), (1, 0, "raised"), (2, 0, "raised"), (1, 1, "withdrawn")), 1)
    assert states(recent) == [(1, "withdrawn"), (2, "raised")]
    assert not recent.take(bars(row("AAA", "1m", 0, 1.0)), 1), "another topic"
    assert states(recent) == [(1, "withdrawn"), (2, "raised")]
    recent = RecentAlerts(most=2)
    recent.take(told((1, 0, "raised"), (2, 0, "raised")), 1)
    recent.take(told((1, 1, "cleared"), (3, 0, "raised")), 2)
    assert states(recent) == [(1, "cleared"), (3, "raised")]
