"""A polled vendor and pushed rows on the real broker: through faults and kills every bar once, and whole larger bars."""

import json
import os
import random
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from bare_clients import BareTopic, rows
from forked import Forked, forked_command
from given_settings import done_by
from marketpulse.app.pipeline import process
from marketpulse.app.pipeline.produce import run
from marketpulse.settings import HttpSettings, Settings, load_settings
from stored_pipeline import Working
from vendor_server import Reply, Request, recorded, scripted, vendor
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kernels")]

VENDORS_KEY = "K3Y-OF-THE-VENDOR"
SYMBOLS = ("AAPL", "BRK.B", "IBM", "MSFT", "NVDA", "TSLA")


class GrowingMarket:
    """A recorded answer's bars, of which each question shows some more; of the last one nobody knows that it closed."""

    def __init__(self) -> None:
        body = recorded("mock_time_series")
        self.meta = body["Meta Data"]
        self.bars = list(reversed(body["Time Series (1min)"].items()))
        self.shown: dict[str, int] = defaultdict(lambda: 20)
        self.rng = random.Random(8)
        self.whole = threading.Event()

    def __call__(self, request: Request) -> Reply:
        assert request.parameters["apikey"] == VENDORS_KEY
        if self.rng.random() < 0.1:
            busy, html = Reply(429, headers={"Retry-After": "0"}), Reply(200, b"<html></html>")
            return self.rng.choice([busy, Reply(500), html, Reply(200, b"{}" * 50, cut=9)])
        symbol = request.parameters["symbol"]
        until = self.shown[symbol] = min(len(self.bars), self.shown[symbol] + 3)
        if len(self.shown) == len(SYMBOLS) and min(self.shown.values()) == len(self.bars):
            self.whole.set()
        newest_first = dict(reversed(self.bars[max(0, until - 40) : until]))
        return Reply.json({"Meta Data": self.meta, "Time Series (1min)": newest_first})


def committed(settings: Settings, topic: str = "market") -> list[dict[str, Any]]:
    return [record.row for record in BareTopic.of(settings, topic).committed()]


HOW = {
    "alpha_vantage": """
        function = "intraday"
        interval = "1min"
        requests_per_day = 5_000
        spread = ["00:00", "00:01"]
        base_url = "{url}" """,
    "rest": """
        url = "{url}/query?symbol={{symbol}}&apikey=${{API_KEY}}"
        rows = "Time Series (1min).*"
        mapping.timezone = "America/New_York" """,
}


def configured(folder: Path, kafka: Settings, url: str, kind: str = "alpha_vantage") -> Path:
    """A configuration as a person writes it."""
    file = folder / "marketpulse.toml"
    file.write_text(
        f"""
        data_dir = "{kafka.data_dir}"
        cache_dir = "{kafka.cache_dir}"
        [kafka]
        bootstrap_servers = "{kafka.kafka.bootstrap_servers}"
        topic_prefix = "{kafka.kafka.topic_prefix}"
        [engine]
        timeframes = ["1m", "5m"]
        indicators = "sma(2)"
        [telemetry]
        log_level = "debug"
        [sources.{kind}-1]
        kind = "{kind}"
        symbols = {json.dumps(SYMBOLS)}
        every_s = 0.05
        delay_s = 1e9
        requests_per_minute = 60_000
        {HOW[kind].format(url=url)}
        """
    )
    return file


def words(source: str, config: Path, *more: str) -> tuple[str, ...]:
    return ("produce", source, *more, "--config", str(config))


@pytest.mark.parametrize("kind", HOW)
def test_a_polled_vendor_through_faults_and_kills(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("API_KEY", VENDORS_KEY)
    monkeypatch.chdir(tmp_path)
    market = GrowingMarket()
    output = tmp_path / "child.out"
    with vendor(market) as server:
        config = configured(tmp_path, kafka_settings, server.url, kind)
        settings = load_settings(config)
        for asked in (40, 80):
            child = forked_command(*words(f"{kind}-1", config), environment=os.environ, cwd=tmp_path, output=output)

            def has_asked(child: Forked = child, asked: int = asked) -> bool:
                assert child.poll() is None, output.read_text()
                return len(server.requests) >= asked

            wait_until(has_asked)
            child.kill()
            child.wait()

        def all_are_there() -> bool:
            bars = [r for r in committed(settings) if r["type"] == "bar"]
            return len(bars) >= len(SYMBOLS) * (len(market.bars) - 1)

        with Working(settings, run, settings.sources[f"{kind}-1"], f"{kind}-1", name="x"):
            wait_until(market.whole.is_set, "all was asked")
            wait_until(all_are_there)
    records = committed(settings)
    bars = [r for r in records if r["type"] == "bar"]
    for symbol in SYMBOLS:
        own = [r["open_time_ns"] for r in bars if r["symbol"] == symbol]
        assert len(own) == len(market.bars) - 1, "all but the one that still forms"
        assert own == sorted(set(own))
    assert not [r for r in committed(settings, "dead-letters") if r["reason"] != "bad_answer"]
    for shown in (output, *settings.data_dir.glob("budgets/*")):
        assert VENDORS_KEY.encode() not in shown.read_bytes()
    assert VENDORS_KEY not in repr(records)

    wanted = len(SYMBOLS) * (99 + 20)  # from 13:17 on twenty periods of five minutes have ended before 14:56
    with Working(settings, process.run):
        built = rows(BareTopic.of(settings, "bars").wait_for(wanted))
    volume_of = {(r["symbol"], r["open_time_ns"]): r["volume"] for r in bars}
    fives = [r for r in built if r["timeframe"] == "5m"]
    assert len(fives) == len(SYMBOLS) * 20
    for five in fives:
        parts = [volume_of.get((five["symbol"], five["open_time_ns"] + i * 60 * 10**9), 0) for i in range(5)]
        assert five["volume"] == sum(parts), "no larger bar closed before its parts were there"
        assert five["revision"] == 0


def test_a_wrong_key_ends_the_source_with_a_code_of_its_own_after_one_question(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", VENDORS_KEY)
    told = {"Error Message": f"the parameter apikey is invalid or missing: {VENDORS_KEY}"}
    with vendor(scripted(Reply.json(told))) as server:
        config = configured(tmp_path, kafka_settings, server.url)
        ended = done_by(*words("alpha_vantage-1", config), environment=os.environ, cwd=tmp_path)
        assert len(server.requests) == 1
    assert ended.returncode == 3
    assert "does not accept the key" in ended.stderr
    assert "`.env`" in ended.stderr
    assert VENDORS_KEY not in ended.stderr + ended.stdout


def test_rows_on_a_pipe_are_in_the_log_when_it_ends(kafka_settings: Settings, tmp_path: Path) -> None:
    config = configured(tmp_path, kafka_settings, "http://127.0.0.1:1")
    table = "time,symbol,price\n" + "".join(f"{1_772_463_600 + i},S{i % 3},{i + 1}\n" for i in range(500))
    ended = done_by(*words("replay", config, "-", "--no-wait"), typed=table, environment=os.environ, cwd=tmp_path)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (0, "stdin: 500 rows read, 500 sent, 0 dead letters")
    assert sorted([r["price"] for r in committed(kafka_settings) if r["type"] == "trade"]) == list(range(1, 501))


def test_pushed_rows_are_in_the_log_when_the_answer_comes(kafka_settings: Settings) -> None:
    word = "a-token-of-more-than-20-letters"
    source = HttpSettings(port=0, token=SecretStr(word), mode="historical")
    with Working(kafka_settings, run, source, "push", name="push") as pushing:
        url = pushing.facts()["ingest_url"]
        body = "\n".join(
            f'{{"symbol": "S{i % 3}", "price": {i + 1}, "timestamp": {1_772_463_600 + i}, "id": "{i}"}}'
            for i in range(60)
        )
        for part in (body, body, "[" + body.replace("\n", ",").replace('"id": "', '"id": "x') + "]"):
            headers = {"Authorization": f"Bearer {word}", "Idempotency-Key": part[:1]}
            assert httpx.post(url, content=part, headers=headers, timeout=60, trust_env=False).status_code == 200
            assert sum(r["type"] == "trade" for r in committed(kafka_settings)) == (60 if part is body else 120)
