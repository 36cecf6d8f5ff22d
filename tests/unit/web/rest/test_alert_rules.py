"""/api/alerts on the real server: what is asked, what is refused, and who may change a rule."""

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

from alert_desk import DeskInMemory
from marketpulse.alerts.rule import Rule
from marketpulse.settings import Settings
from marketpulse.web.rest.alert_rules import BODY_MAX, TRIALS_WAITING, AlertRulesApi
from served_app import served
from waiting import wait_until

HIGH = {"expression": "close > 100"}
TRIAL = {"rule": {"name": "x", **HIGH}, "from_ms": 0, "to_ms": 10}


class Site:
    """The routes over rules in memory, on the real server."""

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
def site(tmp_path: Path) -> Iterator[Site]:
    engine = {"timeframes": ("1s", "1m"), "indicators": "rsi(14)", "calendar": "24x7"}
    desk = DeskInMemory(Settings(data_dir=tmp_path, engine=engine), (Rule("low", "close < 5"),))
    api = AlertRulesApi(lambda: desk)
    with served(routers=[api.router()]) as client, closing(api):
        yield Site(desk, client)


def test_a_rule_is_put_edited_muted_and_removed_each_on_the_version_that_was_read(site: Site) -> None:
    new = {"if-none-match": "*"}
    made = site.put("high", HIGH, new)
    assert (made.status_code, made.json()["said"]) == (200, "rule 'high' is put")
    assert made.json()["offsets"] == [41, 41, 41, 41]
    first = site.match("high")
    assert site.put("high", {**HIGH, "severity": "critical"}, first).status_code == 200
    late = site.put("high", {**HIGH, "severity": "info"}, first)
    assert (late.status_code, "somebody else has changed" in late.json()["error"]) == (412, True)
    assert site.put("high", HIGH, new).status_code == 412
    headers = {**site.origin, **site.match("high")}
    muted = site.client.post("/api/alerts/rules/high/mute", json={"muted": True}, headers=headers)
    assert muted.status_code == 200
    assert site.desk.running["high"] == Rule("high", "close > 100", severity="critical", muted=True)
    gone = site.client.delete("/api/alerts/rules/high", headers={**site.origin, **site.match("high")})
    assert (gone.status_code, "high" in site.desk.running) == (200, False)


@pytest.mark.parametrize(("headers", "status", "said"), [
    ({}, 403, "changes are taken from the page alone"),
    ({"origin": "http://127.0.0.1:9"}, 403, "this Origin may not ask here"),
    ({"origin": "null"}, 403, "this Origin may not ask here"),
    ({"own": "", "sec-fetch-site": "cross-site"}, 403, "another site's page"),
    ({"own": "", "if-match": "*"}, 428, "say which version is changed"),
    ({"own": ""}, 428, "If-None-Match: * for a new rule"),
])  # fmt: skip
def test_only_this_page_changes_a_version_it_names(site: Site, headers: dict[str, str], status: int, said: str) -> None:
    sent = {k: v for k, v in headers.items() if k != "own"} | (site.origin if "own" in headers else {})
    put: tuple[str, str, dict[str, Any] | None] = ("PUT", "", {"rule": HIGH})
    for method, path, body in (put, ("POST", "/mute", {"muted": True}), ("DELETE", "", None)):
        answer = site.client.request(method, f"/api/alerts/rules/low{path}", json=body, headers=sent)
        assert answer.status_code == status, (method, answer.text)
        assert method != "PUT" or said in answer.text
    assert site.desk.running["low"] == Rule("low", "close < 5")


@pytest.mark.parametrize(("body", "status", "said"), [
    (b"{", 400, "not JSON"), (b"[]", 400, "the body is a JSON object"), (b"{}", 400, "say which rule"),
    (b'{"rule": {"expression": "clse > 1"}}', 400, "unknown column 'clse'"),
    (b'{"rule": {"expression": "close > 1", "colour": 1}}', 400, "unknown field 'colour'"),
    (b'{"rule": {"name": "old", "expression": "close > 1"}}', 400, "named 'old', the address 'new': write one name"),
    (b" " * (BODY_MAX + 1), 413, "longer than 300,000 bytes"),
])  # fmt: skip
def test_a_body_that_is_no_rule_is_refused_with_what_to_do(site: Site, body: bytes, status: int, said: str) -> None:
    headers = {**site.origin, "content-type": "application/json", "if-none-match": "*"}
    answer = site.client.put("/api/alerts/rules/new", content=body, headers=headers)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True)
    plain = site.client.post("/api/alerts/check", content=b"rule=1")
    assert (plain.status_code, "application/json" in plain.json()["error"]) == (400, True)


def test_a_fault_comes_with_its_character_a_log_that_is_away_is_said_and_too_many_trials_come_again(site: Site) -> None:
    found = site.client.post("/api/alerts/check", json={"rule": {"name": "x", "expression": "rsi_15 < 30"}}).json()
    message = "unknown column 'rsi_15'; did you mean 'rsi_14'?"
    assert found["faults"] == [{"field": "expression", "message": message, "at": 0}]
    assert site.client.get("/api/alerts/language").json()["timeframes"] == ["1s", "1m"]
    site.desk.away = True
    answer = site.rules()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "wait until it is back" in answer.json()["error"]
    site.desk.away = False
    assert site.rules().status_code == 200
    site.desk.held = threading.Event()
    names = [f"t{n}" for n in range(TRIALS_WAITING + 1)]
    with ThreadPoolExecutor(len(names)) as pool:
        waiting = [pool.submit(site.start, name) for name in names]
        wait_until(lambda: all(site.trial(name)["running"] for name in names))
        refused = site.client.post("/api/alerts/try", json=TRIAL)
        assert (refused.status_code, refused.headers["retry-after"], site.rules().status_code) == (429, "1", 200)
        site.desk.held.set()
        assert [future.result().status_code for future in waiting] == [200] * len(names)


def test_a_trial_says_how_far_it_is_and_is_stopped_also_by_a_client_that_goes_away(site: Site) -> None:
    site.desk.held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(site.start, "one")
        wait_until(lambda: site.trial("one").get("total"))
        assert site.trial("one") == {"running": True, "done": 3, "total": 10}
        assert site.client.delete("/api/alerts/try/one").json() == {"stopped": "one"}
        answer = running.result()
    assert (answer.status_code, answer.json()["kind"], site.trial("one")) == (409, "cancelled", {"running": False})
    with pytest.raises(httpx.ReadTimeout):
        site.start("gone", timeout_s=0.5)
    wait_until(lambda: not site.trial("gone")["running"])
    site.desk.held = None
    whole = site.client.post("/api/alerts/try", json=TRIAL).json()
    assert (whole["firings"], whole["rows"]) == (0, 0)


@pytest.mark.parametrize(
    "change", [{"from_ms": "x"}, {"from_ms": -1}, {"to_ms": True}, {"symbols": "A"}, {"symbols": [1]}, {"id": "a b"}, {"from_ms": 11}]
)  # fmt: skip
def test_a_trial_that_cannot_be_is_refused(site: Site, change: dict[str, Any]) -> None:
    assert site.client.post("/api/alerts/try", json={**TRIAL, **change}).status_code == 400


def test_the_description_says_what_a_change_takes_and_how_it_may_be_refused(site: Site) -> None:
    paths = site.client.get("/api/openapi.json").json()["paths"]
    put = paths["/api/alerts/rules/{name}"]["put"]
    assert {"412", "413", "422", "428"} <= set(put["responses"])
    assert [one["name"] for one in put["parameters"]] == ["name", "If-Match", "If-None-Match"]
    body = put["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]["rule"]["properties"]) == {field.name for field in dataclasses.fields(Rule)}
    jsonschema.validate({"rule": {"name": "high", **HIGH}}, body)
    for path, method in (("/api/alerts/check", "post"), ("/api/alerts/try", "post")):
        assert paths[path][method]["requestBody"]["required"], path
