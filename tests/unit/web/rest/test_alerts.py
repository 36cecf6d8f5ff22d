"""/api/alerts over a real lake and the newest alerts of the log; and its rules on the real server: what is asked, what
is refused, and who may change one."""

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from alert_rows import DeskInMemory
from board_rows import alerts, app_of, ask, bars, row, served
from lake_store import LakeRows
from marketpulse.alerts.rule import Rule
from marketpulse.ports import AlertSpan, FeedBatch
from marketpulse.query.history import LakeHistory
from marketpulse.settings import Settings
from marketpulse.web.board import Board
from marketpulse.web.rest.alert_rows import RecentAlerts
from marketpulse.web.rest.alert_rules import BODY_MAX, TRIALS_WAITING, AlertRulesApi
from marketpulse.web.rest.stored import Stored
from waiting import wait_until


def alert(minute: int, state: str = "raised", revision: int = 0, **other: Any) -> dict[str, Any]:
    bar = row("AAA", "1m", 60 * minute, 1.0)
    return {
        "symbol": "AAA", "rule": "high", "severity": "info", "timeframe": "1m", "open_time_ns": bar["open_time_ns"],
        "event_time_ns": bar["close_time_ns"], "state": state, "was": None, "late": False, "value": float(minute),
        "message": f"minute {minute}", "revision": revision, "receipt": bar["receipt"],
    } | other  # fmt: skip


class Site:
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
    assert [(one["partition"], one["last_offset"]) for one in site.get().json()["alerts"]] == [(3, 2**40)] * 2


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


HIGH = {"expression": "close > 100"}
TRIAL = {"rule": {"name": "x", **HIGH}, "from_ms": 0, "to_ms": 10}


class RulesSite:
    def __init__(self, desk: DeskInMemory, client: httpx.Client) -> None:
        self.desk, self.client = desk, client
        self.origin = {"origin": str(client.base_url).rstrip("/")}

    def rules(self) -> httpx.Response:
        return self.client.get("/api/alerts/rules")

    def match(self, name: str) -> dict[str, str]:
        """What names the version of a rule that was read."""
        version = next(rule["version"] for rule in self.rules().json()["rules"] if rule["name"] == name)
        return {"if-match": f'"{version}"'}

    def put(self, name: str, rule: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        return self.client.put(f"/api/alerts/rules/{name}", json={"rule": rule}, headers={**self.origin, **headers})

    def trial(self, name: str) -> Any:
        return self.client.get(f"/api/alerts/try/{name}").json()

    def start(self, name: str, timeout_s: float = 60) -> httpx.Response:
        """On a connection of its own."""
        return httpx.post(f"{self.client.base_url}api/alerts/try", json={**TRIAL, "id": name}, timeout=timeout_s)


@pytest.fixture
def editor(tmp_path: Path) -> Iterator[RulesSite]:
    engine = {"timeframes": ("1s", "1m"), "indicators": "rsi(14)", "calendar": "24x7"}
    desk = DeskInMemory(Settings(data_dir=tmp_path, engine=engine), (Rule("low", "close < 5"),))
    api = AlertRulesApi(lambda: desk)
    with served(routers=[api.router()]) as client, closing(api):
        yield RulesSite(desk, client)


def test_a_rule_is_put_edited_muted_and_removed_each_on_the_version_that_was_read(editor: RulesSite) -> None:
    new = {"if-none-match": "*"}
    made = editor.put("high", HIGH, new)
    assert (made.status_code, made.json()["said"]) == (200, "rule 'high' is put")
    assert made.json()["offsets"] == [41, 41, 41, 41]
    first = editor.match("high")
    assert editor.put("high", {**HIGH, "severity": "critical"}, first).status_code == 200
    late = editor.put("high", {**HIGH, "severity": "info"}, first)
    assert (late.status_code, "somebody else has changed" in late.json()["error"]) == (412, True)
    assert editor.put("high", HIGH, new).status_code == 412
    headers = {**editor.origin, **editor.match("high")}
    assert editor.client.post("/api/alerts/rules/high/mute", json={"muted": True}, headers=headers).status_code == 200
    assert editor.desk.running["high"] == Rule("high", "close > 100", severity="critical", muted=True)
    gone = editor.client.delete("/api/alerts/rules/high", headers={**editor.origin, **editor.match("high")})
    assert (gone.status_code, "high" in editor.desk.running) == (200, False)


@pytest.mark.parametrize(("headers", "status", "said"), [
    ({}, 403, "changes are taken from the page alone"),
    ({"origin": "http://127.0.0.1:9"}, 403, "this Origin may not ask here"),
    ({"origin": "null"}, 403, "this Origin may not ask here"),
    ({"own": "", "sec-fetch-site": "cross-site"}, 403, "another site's page"),
    ({"own": "", "if-match": "*"}, 428, "say which version is changed"),
    ({"own": ""}, 428, "If-None-Match: * for a new rule"),
])  # fmt: skip
def test_only_this_page_changes_a_version_it_names(
    editor: RulesSite, headers: dict[str, str], status: int, said: str
) -> None:
    sent = {k: v for k, v in headers.items() if k != "own"} | (editor.origin if "own" in headers else {})
    put: tuple[str, str, dict[str, Any] | None] = ("PUT", "", {"rule": HIGH})
    for method, path, body in (put, ("POST", "/mute", {"muted": True}), ("DELETE", "", None)):
        answer = editor.client.request(method, f"/api/alerts/rules/low{path}", json=body, headers=sent)
        assert answer.status_code == status, (method, answer.text)
        assert method != "PUT" or said in answer.text
    assert editor.desk.running["low"] == Rule("low", "close < 5")


@pytest.mark.parametrize(("body", "status", "said"), [
    (b"{", 400, "not JSON"), (b"[]", 400, "the body is a JSON object"), (b"{}", 400, "say which rule"),
    (b'{"rule": {"expression": "clse > 1"}}', 400, "unknown column 'clse'"),
    (b'{"rule": {"expression": "close > 1", "colour": 1}}', 400, "unknown field 'colour'"),
    (b'{"rule": {"name": "old", "expression": "close > 1"}}', 400, "named 'old', the address 'new': write one name"),
    (b" " * (BODY_MAX + 1), 413, "longer than 300,000 bytes"),
])  # fmt: skip
def test_a_body_that_is_no_rule_is_refused_with_hints(editor: RulesSite, body: bytes, status: int, said: str) -> None:
    headers = {**editor.origin, "content-type": "application/json", "if-none-match": "*"}
    answer = editor.client.put("/api/alerts/rules/new", content=body, headers=headers)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True)
    plain = editor.client.post("/api/alerts/check", content=b"rule=1")
    assert (plain.status_code, "application/json" in plain.json()["error"]) == (400, True)


def test_a_fault_comes_with_its_character_a_log_away_is_said_and_too_many_trials_come_again(editor: RulesSite) -> None:
    found = editor.client.post("/api/alerts/check", json={"rule": {"name": "x", "expression": "rsi_15 < 30"}}).json()
    message = "unknown column 'rsi_15'; did you mean 'rsi_14'?"
    assert found["faults"] == [{"field": "expression", "message": message, "at": 0}]
    assert editor.client.get("/api/alerts/language").json()["timeframes"] == ["1s", "1m"]
    editor.desk.away = True
    answer = editor.rules()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "wait until it is back" in answer.json()["error"]
    editor.desk.away = False
    assert editor.rules().status_code == 200
    editor.desk.held = threading.Event()
    names = [f"t{n}" for n in range(TRIALS_WAITING + 1)]
    with ThreadPoolExecutor(len(names)) as pool:
        waiting = [pool.submit(editor.start, name) for name in names]
        wait_until(lambda: all(editor.trial(name)["running"] for name in names))
        refused = editor.client.post("/api/alerts/try", json=TRIAL)
        assert (refused.status_code, refused.headers["retry-after"], editor.rules().status_code) == (429, "1", 200)
        editor.desk.held.set()
        assert [future.result().status_code for future in waiting] == [200] * len(names)


def test_a_trial_says_how_far_it_is_and_is_stopped_also_by_a_client_that_goes_away(editor: RulesSite) -> None:
    editor.desk.held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(editor.start, "one")
        wait_until(lambda: editor.trial("one").get("total"))
        assert editor.trial("one") == {"running": True, "done": 3, "total": 10}
        assert editor.client.delete("/api/alerts/try/one").json() == {"stopped": "one"}
        answer = running.result()
    assert (answer.status_code, answer.json()["kind"], editor.trial("one")) == (409, "cancelled", {"running": False})
    with pytest.raises(httpx.ReadTimeout):
        editor.start("gone", timeout_s=0.5)
    wait_until(lambda: not editor.trial("gone")["running"])
    editor.desk.held = None
    whole = editor.client.post("/api/alerts/try", json=TRIAL).json()
    assert (whole["firings"], whole["rows"]) == (0, 0)


@pytest.mark.parametrize(
    "change", [{"from_ms": "x"}, {"from_ms": -1}, {"to_ms": True}, {"symbols": "A"}, {"symbols": [1]}, {"id": "a b"}, {"from_ms": 11}]
)  # fmt: skip
def test_a_trial_that_cannot_be_is_refused(editor: RulesSite, change: dict[str, Any]) -> None:
    assert editor.client.post("/api/alerts/try", json={**TRIAL, **change}).status_code == 400


def test_the_description_says_what_a_change_takes_and_how_it_may_be_refused(editor: RulesSite) -> None:
    paths = editor.client.get("/api/openapi.json").json()["paths"]
    put = paths["/api/alerts/rules/{name}"]["put"]
    assert {"412", "413", "422", "428"} <= set(put["responses"])
    assert [one["name"] for one in put["parameters"]] == ["name", "If-Match", "If-None-Match"]
    body = put["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]["rule"]["properties"]) == {field.name for field in dataclasses.fields(Rule)}
    jsonschema.validate({"rule": {"name": "high", **HIGH}}, body)
    for path, method in (("/api/alerts/check", "post"), ("/api/alerts/try", "post")):
        assert paths[path][method]["requestBody"]["required"], path
