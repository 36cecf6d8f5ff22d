"""/api/alerts on the real server: what is asked, what is refused, and who may change a rule."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from alert_desk import DeskInMemory
from marketpulse.alerts.rule import Rule
from marketpulse.settings import ServeSettings, Settings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.rest.alert_rules import BODY_MAX, TRIALS_WAITING, AlertRulesApi
from marketpulse.web.server import WebServer

HIGH = {"expression": "close > 100"}
TRIAL = {"rule": {"name": "x", **HIGH}, "from_ms": 0, "to_ms": 10}


class Served:
    def __init__(self, folder: Path) -> None:
        engine = {"timeframes": ("1s", "1m"), "indicators": "rsi(14)", "calendar": "24x7"}
        self.desk = DeskInMemory(Settings(data_dir=folder, engine=engine), (Rule("low", "close < 5"),))
        self.api = AlertRulesApi(lambda: self.desk)
        serve = ServeSettings(port=0)
        self.server = WebServer(create_app(Board(), serve, {}, routers=[self.api.router()]), serve)
        self.server.start()
        self.client = httpx.Client(base_url=self.server.url, timeout=60)
        self.origin = {"origin": self.server.url.rstrip("/")}

    def version(self, name: str) -> str:
        rules = self.client.get("/api/alerts/rules").json()["rules"]
        return str(next(rule["version"] for rule in rules if rule["name"] == name))

    def put(self, name: str, rule: dict[str, Any], **headers: str) -> httpx.Response:
        body = {"rule": rule}
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.put(f"/api/alerts/rules/{name}", json=body, headers={**self.origin, **named})

    def close(self) -> None:
        self.api.close()
        self.client.close()
        self.server.stop()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    started = Served(tmp_path)
    yield started
    started.close()


def test_a_rule_is_put_edited_muted_and_removed_each_on_the_version_that_was_read(served: Served) -> None:
    made = served.put("high", HIGH, if_none_match="*")
    assert (made.status_code, made.json()["said"]) == (200, "rule 'high' is put")
    assert made.json()["offsets"] == [41, 41, 41, 41]
    version = served.version("high")
    assert served.put("high", {**HIGH, "severity": "critical"}, if_match=f'"{version}"').status_code == 200
    late = served.put("high", {**HIGH, "severity": "info"}, if_match=f'"{version}"')
    assert late.status_code == 412
    assert "somebody else has changed" in late.json()["error"]
    assert served.put("high", HIGH, if_none_match="*").status_code == 412
    muted = served.client.post(
        "/api/alerts/rules/high/mute",
        json={"muted": True},
        headers={**served.origin, "if-match": f'"{served.version("high")}"'},
    )
    assert muted.status_code == 200
    assert served.desk.running["high"] == Rule("high", "close > 100", severity="critical", muted=True)
    gone = served.client.delete(
        "/api/alerts/rules/high", headers={**served.origin, "if-match": f'"{served.version("high")}"'}
    )
    assert gone.status_code == 200
    assert "high" not in served.desk.running


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 403, "changes are taken from the page alone"),
        ({"origin": "http://127.0.0.1:9"}, 403, "this Origin may not ask here"),
        ({"origin": "null"}, 403, "this Origin may not ask here"),
        ({"own": "", "sec-fetch-site": "cross-site"}, 403, "another site's page"),
        ({"own": "", "if-match": "*"}, 428, "say which version is changed"),
        ({"own": ""}, 428, "If-None-Match: * for a new rule"),
    ],
)
def test_only_this_page_changes_rules_and_only_a_version_that_it_names(
    served: Served, headers: dict[str, str], status: int, said: str
) -> None:
    sent = {k: v for k, v in headers.items() if k != "own"} | (served.origin if "own" in headers else {})
    for method, path, body in (
        ("PUT", "/api/alerts/rules/low", {"rule": HIGH}),
        ("POST", "/api/alerts/rules/low/mute", {"muted": True}),
        ("DELETE", "/api/alerts/rules/low", None),
    ):
        answer = served.client.request(method, path, json=body, headers=sent)
        assert answer.status_code == status, (method, answer.text)
        if method == "PUT":
            assert said in answer.text
    assert served.desk.running["low"] == Rule("low", "close < 5")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "the body is a JSON object"),
        (b"{}", 400, "say which rule"),
        (b'{"rule": {"expression": "clse > 1"}}', 400, "unknown column 'clse'"),
        (b'{"rule": {"expression": "close > 1", "colour": 1}}', 400, "unknown field 'colour'"),
        (b" " * (BODY_MAX + 1), 413, "longer than 300,000 bytes"),
    ],
)
def test_a_body_that_is_no_rule_is_refused_with_what_to_do(served: Served, body: bytes, status: int, said: str) -> None:
    headers = {**served.origin, "content-type": "application/json", "if-none-match": "*"}
    answer = served.client.put("/api/alerts/rules/new", content=body, headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    plain = served.client.post("/api/alerts/check", content=b"rule=1")
    assert (plain.status_code, "application/json" in plain.json()["error"]) == (400, True)


def test_a_fault_comes_with_its_character(served: Served) -> None:
    found = served.client.post("/api/alerts/check", json={"rule": {"name": "x", "expression": "rsi_15 < 30"}}).json()
    assert found["faults"] == [
        {"field": "expression", "message": "unknown column 'rsi_15'; did you mean 'rsi_14'?", "at": 0}
    ]
    assert served.client.get("/api/alerts/language").json()["timeframes"] == ["1s", "1m"]


def test_while_the_log_is_away_that_is_said(served: Served) -> None:
    served.desk.away = True
    answer = served.client.get("/api/alerts/rules")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "wait until it is back" in answer.json()["error"]
    served.desk.away = False
    assert served.client.get("/api/alerts/rules").status_code == 200


def test_a_trial_says_how_far_it_is_and_is_stopped(served: Served) -> None:
    served.desk.held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            lambda: httpx.post(f"{served.server.url}api/alerts/try", json={**TRIAL, "id": "one"}, timeout=60)
        )
        deadline = time.monotonic() + 30
        while not (found := served.client.get("/api/alerts/try/one").json()).get("total"):
            assert time.monotonic() < deadline
        assert found == {"running": True, "done": 3, "total": 10}
        assert served.client.delete("/api/alerts/try/one").json() == {"stopped": "one"}
        answer = running.result()
    assert (answer.status_code, answer.json()["kind"]) == (409, "cancelled")
    assert served.client.get("/api/alerts/try/one").json() == {"running": False}
    served.desk.held = None
    whole = served.client.post("/api/alerts/try", json=TRIAL).json()
    assert (whole["firings"], whole["rows"]) == (0, 0)


def test_more_trials_than_may_wait_are_told_to_come_again_and_the_others_are_heard(served: Served) -> None:
    served.desk.held = threading.Event()
    url = f"{served.server.url}api/alerts/try"
    with ThreadPoolExecutor(TRIALS_WAITING + 1) as pool:
        waiting = [
            pool.submit(lambda n=n: httpx.post(url, json={**TRIAL, "id": f"t{n}"}, timeout=60))  # type: ignore[misc]
            for n in range(TRIALS_WAITING + 1)
        ]
        deadline = time.monotonic() + 30
        while not all(served.client.get(f"/api/alerts/try/t{n}").json()["running"] for n in range(TRIALS_WAITING + 1)):
            assert time.monotonic() < deadline
        refused = served.client.post("/api/alerts/try", json=TRIAL)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert served.client.get("/api/alerts/rules").status_code == 200
        served.desk.held.set()
        assert [future.result().status_code for future in waiting] == [200] * (TRIALS_WAITING + 1)


@pytest.mark.parametrize(
    "change", [{"from_ms": "x"}, {"from_ms": -1}, {"to_ms": True}, {"symbols": "A"}, {"symbols": [1]}, {"id": "a b"}, {"from_ms": 11}]
)  # fmt: skip
def test_a_trial_that_cannot_be_is_refused(served: Served, change: dict[str, Any]) -> None:
    assert served.client.post("/api/alerts/try", json={**TRIAL, **change}).status_code == 400


def test_a_client_that_goes_away_stops_its_trial(served: Served) -> None:
    served.desk.held = threading.Event()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.server.url}api/alerts/try", json={**TRIAL, "id": "gone"}, timeout=0.5)
    deadline = time.monotonic() + 30
    while served.client.get("/api/alerts/try/gone").json()["running"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
