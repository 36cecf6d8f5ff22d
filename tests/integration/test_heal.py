"""What came too late for the correction window comes in by `heal`: on the real broker, from a real lake."""

import json
from functools import partial
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

import market_rows
from bare_clients import BareTopic, rows
from market_rows import at
from marketpulse.app.receipts.explain import explain
from marketpulse.app.receipts.trace import Ask
from marketpulse.app.warm import warm_up
from marketpulse.settings import Settings
from split_rows import split
from stored_pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

HELLO = {"type": "hello", "source": "test", "mode": "historical", "run_id": "1", "event_time_ns": at(0)}
trade = partial(market_rows.trade, source="test")


def heartbeat(seconds: float) -> dict[str, Any]:
    return {"type": "heartbeat", "source": "test", "event_time_ns": at(seconds)}


def the_log() -> list[dict[str, Any]]:
    """Ten seconds of two symbols; when the window is far past them, a trade, one again, a correction and a cancel."""
    ticks = [trade(s, t + 0.5, 10 + t, 2, trade_id=f"{s}{t}") for t in range(10) for s in ("AAA", "BBB")]
    too_late = [
        trade("AAA", 3.9, 20, 1, trade_id="late"), trade("AAA", 4.5, 14, 2, trade_id="AAA4"),
        market_rows.correction("AAA", "AAA5", 99, 3, 5.5, "test"), market_rows.cancel("AAA", "AAA7", 7.5, "test"),
    ]  # fmt: skip
    return [HELLO, *ticks, heartbeat(200), *too_late, heartbeat(201), heartbeat(260)]


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Compiled before the clock of any test runs."""
    warm_up()


@pytest.fixture
def pipeline(kafka_settings: Settings) -> Pipeline:
    engine = kafka_settings.engine.model_copy(
        update={
            "timeframes": ("2t", "1s", "1m"), "indicators": "sma(2),ema(3),rsi(2),vwap", "correction_window_s": 30,
            "alerts": ({"name": "high", "expression": "close > 17.5", "timeframe": "1s"},),
        }
    )  # fmt: skip
    lake = kafka_settings.sinks.lake.model_copy(update={"flush_s": 0.2})
    sinks = kafka_settings.sinks.model_copy(update={"lake": lake})
    return Pipeline(kafka_settings.model_copy(update={"engine": engine, "sinks": sinks}))


def healed(pipeline: Pipeline, *words: str) -> list[dict[str, Any]]:
    done = pipeline.marketpulse("heal", "--format", "json", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def last_bars(pipeline: Pipeline) -> dict[float, dict[str, Any]]:
    """The last revision of every 1s bar of AAA, by its second."""
    told = rows(BareTopic.of(pipeline.settings, "bars").committed())
    mine = [row for row in told if (row["symbol"], row["timeframe"]) == ("AAA", "1s")]
    return {(row["open_time_ns"] - at(0)) / 1e9: row for row in mine}


def verified(pipeline: Pipeline) -> dict[str, dict[str, int]]:
    done = pipeline.marketpulse("verify", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, int]] = json.loads(done.stdout)["tables"]
    return found


def test_what_came_too_late_comes_in_while_the_pipeline_runs_and_verifies_from_log_and_lake(pipeline: Pipeline) -> None:
    market = BareTopic.of(pipeline.settings)
    market.write(the_log())
    with pipeline.running():
        pipeline.wait_until_taken()
        pipeline.wait_until_stored()
        before = last_bars(pipeline)
        assert {row["revision"] for row in before.values()} == {0}
        (dry,) = healed(pipeline, "--dry-run")
        assert (dry["outcome"], dry["trades"], dry["changed"], dry["again"]) == ("to heal", 1, 2, 1)
        assert dry["from_ns"] == at(3.9)
        assert healed(pipeline, "--symbol", "BBB") == []
        (done,) = healed(pipeline)
        assert (done["symbol"], done["outcome"], done["detail"]) == ("AAA", "healed", "")
        market.write([heartbeat(261)])
        pipeline.wait_until_taken()
    bars = last_bars(pipeline)
    names = ("close", "high", "volume", "trade_count", "revision")
    assert {second: tuple(bars[second][n] for n in names) for second in (2, 3, 4, 5, 6, 7)} == {
        2: (12, 12, 2, 1, 0),
        3: (20, 20, 3, 2, 1),
        4: (14, 14, 2, 1, 0),
        5: (99, 99, 3, 1, 1),
        6: (16, 16, 2, 1, 0),
        7: (None, None, 0, 0, 1),
    }
    assert bars[3]["vwap"] == (13 * 2 + 20) / 3
    assert bars[3]["receipt"]["late_count"] == 1
    values = rows(BareTopic.of(pipeline.settings, "indicators").committed())
    told_again = {
        (row["open_time_ns"] - at(0)) / 1e9 for row in values
        if (row["symbol"], row["timeframe"]) == ("AAA", "1s") and row["revision"] == 1
    }  # fmt: skip
    assert told_again == {3, 4, 5, 6, 7, 8, 9}, "every later value of an ema has other bits"
    assert {row["symbol"] for row in values if row["revision"]} == {"AAA"}
    alerts = rows(BareTopic.of(pipeline.settings, "alerts").committed())
    late = [((row["event_time_ns"] - at(0)) / 1e9, row["state"]) for row in alerts if row["late"]]
    assert late == [(4, "raised"), (5, "cleared"), (6, "raised"), (7, "cleared")]

    tables = verified(pipeline)
    assert all(table["same"] == table["stored"] > 0 for table in tables.values())
    (nothing,) = healed(pipeline)
    assert (nothing["outcome"], nothing["trades"], nothing["again"]) == ("nothing", 0, 1)
    shown = explain(pipeline.settings, Ask("AAA", "1s", at(3), "bar"))
    assert shown.same
    end = market.ends()[0]
    admin = AdminClient({"bootstrap.servers": str(pipeline.settings.kafka.bootstrap_servers)})
    place = TopicPartition(market.name, 0, end)
    admin.delete_records([place])[place].result(20)
    tables = verified(pipeline)
    assert tables["bars"]["from_lake"] > 0
    assert explain(pipeline.settings, Ask("AAA", "1s", at(3), "vwap")).same


def test_without_an_engine_nothing_is_changed_and_it_is_said(pipeline: Pipeline) -> None:
    pipeline.run(the_log())
    (dry,) = healed(pipeline, "--dry-run")
    assert dry["outcome"] == "to heal"
    done = pipeline.marketpulse("heal")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the engine does not come to where the log ends" in done.stderr
    with pipeline.running():
        (late,) = healed(pipeline)
        assert late["outcome"] == "healed"
        BareTopic.of(pipeline.settings).write([heartbeat(261)])
        pipeline.wait_until_taken()
    assert last_bars(pipeline)[3]["volume"] == 3
    assert all(table["same"] == table["stored"] for table in verified(pipeline).values())


def test_nothing_is_rebuilt_from_a_lake_that_lacks_a_trade(pipeline: Pipeline) -> None:
    pipeline.run(the_log())
    pipeline.rewrite("trades", lambda trades: trades.slice(1))
    with pipeline.running():
        done = pipeline.marketpulse("heal")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "AAA  refused" in done.stdout
        assert "the lake does not hold all trades that they were made of" in done.stdout
        BareTopic.of(pipeline.settings).write([heartbeat(261)])
        pipeline.wait_until_taken()
    assert {row["revision"] for row in last_bars(pipeline).values()} == {0}


def test_a_rebuild_record_that_is_not_whole_is_a_dead_letter_and_changes_nothing(pipeline: Pipeline) -> None:
    wrong: list[dict[str, Any]] = [
        {"type": "rebuild", "symbol": "AAA"},
        {"type": "rebuild", "symbol": "AAA", "begins": True},
        {"type": "rebuild", "symbol": "ZZZ", "id": "x", "begins": True},
        {"type": "rebuild", "symbol": "AAA", "id": "x", "part": 1, "parts": 2, "covers_offset": 5},
        {"type": "rebuild", "symbol": "AAA", "id": "x", "part": 0, "parts": 1, "covers_offset": 5},
        {"type": "rebuild", "symbol": "AAA", "id": "x", "begins": True},
        {"type": "rebuild", "symbol": "AAA", "id": "y", "part": 0, "parts": 1, "covers_offset": 5},
        {"type": "rebuild", "symbol": "AAA", "id": "x", "begins": True},
        {"type": "rebuild", "symbol": "AAA", "id": "x", "part": 0, "parts": 1, "covers_offset": 5},
    ]  # fmt: skip
    pipeline.run([*the_log(), *wrong, heartbeat(261)])
    letters = [
        row for row in rows(BareTopic.of(pipeline.settings, "dead-letters").committed()) if "rebuild" in row["reason"]
    ]  # fmt: skip
    reasons = [row["reason"] for row in sorted(letters, key=lambda row: row["offset"])]
    assert reasons == [*["bad_rebuild"] * 6, "stale_rebuild"]
    assert {row["revision"] for row in last_bars(pipeline).values()} == {0}
    assert all(table["same"] == table["stored"] for table in verified(pipeline).values())


def test_a_split_that_came_too_late_comes_in_and_every_value_behind_it_has_the_units_of_the_new_shares(
    pipeline: Pipeline,
) -> None:
    market = BareTopic.of(pipeline.settings)
    ticks = [trade("AAA", t + 0.5, 40.0 + t if t < 5 else 10.0 + t / 4, 2) for t in range(10)]
    late = split("AAA", 5, 4.0, 5, "test")
    market.write([HELLO, *ticks, heartbeat(200), late, heartbeat(201), heartbeat(260)])
    with pipeline.running():
        pipeline.wait_until_taken()
        pipeline.wait_until_stored()
        (letter,) = rows(BareTopic.of(pipeline.settings, "dead-letters").committed())
        assert (letter["reason"], letter["timeframes"]) == ("too_late", ["2t", "1s"])
        (done,) = healed(pipeline)
        assert (done["outcome"], done["splits"], done["from_ns"]) == ("healed", 1, at(5))
        market.write([heartbeat(261), trade("AAA", 300.5, 13, 2), heartbeat(400)])
        pipeline.wait_until_taken()
        pipeline.wait_until_stored()
    told = rows(BareTopic.of(pipeline.settings, "indicators").committed())
    second = {
        (row["open_time_ns"] - at(0)) / 1e9: (row["sma_2"], row["revision"]) for row in told if row["timeframe"] == "1s"
    }
    assert second[4] == (43.5, 0)
    assert second[5] == ((44 / 4 + 11.25) / 2, 1)
    assert second[300] == ((12.25 + 13) / 2, 0)
    assert {row["revision"] for row in rows(BareTopic.of(pipeline.settings, "bars").committed())} == {0}
    tables = verified(pipeline)
    assert all(table["same"] == table["stored"] > 0 for table in tables.values())
    for name in ("sma_2", "rsi_2"):
        assert explain(pipeline.settings, Ask("AAA", "1s", at(6), name)).same
    (nothing,) = healed(pipeline)
    assert nothing["outcome"] == "nothing"
    end = market.ends()[0]
    admin = AdminClient({"bootstrap.servers": str(pipeline.settings.kafka.bootstrap_servers)})
    place = TopicPartition(market.name, 0, end)
    admin.delete_records([place])[place].result(20)
    tables = verified(pipeline)
    assert tables["indicators"]["from_lake"] > 0
    assert explain(pipeline.settings, Ask("AAA", "1s", at(6), "sma_2")).same
