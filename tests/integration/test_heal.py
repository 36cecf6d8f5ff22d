"""What came too late for the correction window comes in by `heal`: on the real broker, from a real lake."""

from typing import Any

import pytest

import market_rows
from given_settings import changed
from market_rows import at, split
from marketpulse.app.healing import heal
from marketpulse.app.receipts.explain import explain
from marketpulse.app.receipts.trace import Ask
from marketpulse.kafka import rebuild_record
from marketpulse.query.stored_rows import ALWAYS, Wanted
from marketpulse.settings import Settings
from stored_pipeline import HELLO, Pipeline, heartbeat, trade

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

ENGINE = {
    "timeframes": ("2t", "1s", "1m"), "indicators": "sma(2),ema(3),rsi(2),vwap", "correction_window_s": 30,
    "alerts": ({"name": "high", "expression": "close > 17.5", "timeframe": "1s"},),
}  # fmt: skip


def the_log() -> list[dict[str, Any]]:
    """Ten seconds of two symbols; when the window is far past them, a trade, one again, a correction and a cancel."""
    ticks = [trade(s, t + 0.5, 10 + t, 2, trade_id=f"{s}{t}") for t in range(10) for s in ("AAA", "BBB")]
    too_late = [
        trade("AAA", 3.9, 20, 1, trade_id="late"), trade("AAA", 4.5, 14, 2, trade_id="AAA4"),
        market_rows.correction("AAA", "AAA5", 99, 3, 5.5, "test"), market_rows.cancel("AAA", "AAA7", 7.5, "test"),
    ]  # fmt: skip
    return [HELLO, *ticks, heartbeat(200), *too_late, heartbeat(201), heartbeat(260)]


@pytest.fixture
def pipeline(kafka_settings: Settings) -> Pipeline:
    return Pipeline(changed(kafka_settings, engine=ENGINE, sinks={"lake": {"flush_s": 0.2}}))


def second_of(row: dict[str, Any], name: str = "open_time_ns") -> float:
    return float(row[name] - at(0)) / 1e9


def take(pipeline: Pipeline, *records: dict[str, Any]) -> None:
    """Write these, and have them taken."""
    pipeline.write(*records)
    pipeline.wait_until_taken()


def last_bars(pipeline: Pipeline) -> dict[float, dict[str, Any]]:
    """The last revision of every 1s bar of AAA, by its second."""
    return {second_of(row): row for row in pipeline.told_of("bars", "AAA", "1s")}


def verified(pipeline: Pipeline, *, rows: bool = False) -> dict[str, dict[str, int]]:
    """The tables, of which every row is the same."""
    tables: dict[str, dict[str, int]] = pipeline.json("verify")["tables"]
    assert all(table["same"] == table["stored"] for table in tables.values())
    assert not rows or all(table["stored"] > 0 for table in tables.values())
    return tables


def assert_is_told_from_the_lake(pipeline: Pipeline, table: str, ask: Ask) -> None:
    """Also when the log has nothing any more."""
    pipeline.forget_log()
    assert pipeline.json("verify")["tables"][table]["from_lake"] > 0
    assert explain(pipeline.settings, ask).same


def test_what_came_too_late_comes_in_while_the_pipeline_runs_and_verifies_from_log_and_lake(pipeline: Pipeline) -> None:
    with pipeline.running():
        take(pipeline, *the_log())
        pipeline.wait_until_stored()
        before = last_bars(pipeline)
        assert {row["revision"] for row in before.values()} == {0}
        (dry,) = pipeline.json("heal", "--dry-run")
        assert (dry["outcome"], dry["trades"], dry["changed"], dry["again"]) == ("to heal", 1, 2, 1)
        assert dry["from_ns"] == at(3.9)
        assert pipeline.json("heal", "--symbol", "BBB") == []
        (done,) = pipeline.json("heal")
        assert (done["symbol"], done["outcome"], done["detail"]) == ("AAA", "healed", "")
        take(pipeline, heartbeat(261))
    bars = last_bars(pipeline)
    names = ("close", "high", "volume", "trade_count", "revision")
    assert {second: tuple(bars[second][n] for n in names) for second in (2, 3, 4, 5, 6, 7)} == {
        2: (12, 12, 2, 1, 0), 3: (20, 20, 3, 2, 1), 4: (14, 14, 2, 1, 0), 5: (99, 99, 3, 1, 1), 6: (16, 16, 2, 1, 0),
        7: (None, None, 0, 0, 1),
    }  # fmt: skip
    assert (bars[3]["vwap"], bars[3]["receipt"]["late_count"]) == ((13 * 2 + 20) / 3, 1)
    told_again = {second_of(row) for row in pipeline.told_of("indicators", "AAA", "1s") if row["revision"] == 1}
    assert told_again == {3, 4, 5, 6, 7, 8, 9}, "every later value of an ema has other bits"
    assert {row["symbol"] for row in pipeline.told("indicators") if row["revision"]} == {"AAA"}
    late = [(second_of(row, "event_time_ns"), row["state"]) for row in pipeline.told("alerts") if row["late"]]
    assert late == [(4, "raised"), (5, "cleared"), (6, "raised"), (7, "cleared")]

    verified(pipeline, rows=True)
    (nothing,) = pipeline.json("heal")
    assert (nothing["outcome"], nothing["trades"], nothing["again"]) == ("nothing", 0, 1)
    assert explain(pipeline.settings, Ask("AAA", "1s", at(3), "bar")).same
    assert_is_told_from_the_lake(pipeline, "bars", Ask("AAA", "1s", at(3), "vwap"))


def test_nothing_is_rebuilt_without_an_engine_or_from_a_lake_that_lacks_a_trade(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run(the_log())
    (dry,) = pipeline.json("heal", "--dry-run")
    assert dry["outcome"] == "to heal"
    with monkeypatch.context() as patched:
        patched.setattr(rebuild_record, "PARTS_MAX", 0)
        (refused,) = heal.heal(pipeline.settings, Wanted(*ALWAYS))  # without an engine: it begins nothing
    assert (refused.outcome, refused.detail[:24]) == ("refused", "its history is too long:")
    with monkeypatch.context() as patched:
        patched.setattr(heal, "_TAKEN_S", 1.0)
        done = pipeline.marketpulse("heal")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the engine does not come to where the log ends" in done.stderr
    with pipeline.running():
        with pipeline.rewritten("trades", lambda trades: trades.slice(1)):
            done = pipeline.marketpulse("heal")
        assert done.returncode == 1, done.stdout + done.stderr
        for words in ("AAA  refused", "the lake does not hold all trades that they were made of"):
            assert words in done.stdout
        take(pipeline, heartbeat(261))
        assert {row["revision"] for row in last_bars(pipeline).values()} == {0}
        (late,) = pipeline.json("heal")
        assert late["outcome"] == "healed"
        take(pipeline, heartbeat(262))
    assert last_bars(pipeline)[3]["volume"] == 3
    verified(pipeline)


def test_a_rebuild_record_that_is_not_whole_is_a_dead_letter_and_changes_nothing(pipeline: Pipeline) -> None:
    begins: dict[str, Any] = {"id": "x", "begins": True}
    part: dict[str, Any] = {"id": "x", "part": 0, "parts": 1, "covers_offset": 5}
    wrong = [{}, {"begins": True}, {**begins, "symbol": "ZZZ"}, {**part, "part": 1, "parts": 2}, part]
    wrong += [begins, {**part, "id": "y"}, begins, part]
    pipeline.run([*the_log(), *({"type": "rebuild", "symbol": "AAA", **more} for more in wrong), heartbeat(261)])
    letters = [row for row in pipeline.told("dead-letters") if "rebuild" in row["reason"]]
    reasons = [row["reason"] for row in sorted(letters, key=lambda row: row["offset"])]
    assert reasons == [*["bad_rebuild"] * 6, "stale_rebuild"]
    assert {row["revision"] for row in last_bars(pipeline).values()} == {0}
    verified(pipeline)


def test_a_split_that_came_too_late_comes_in_and_later_values_have_the_new_units(pipeline: Pipeline) -> None:
    ticks = [trade("AAA", t + 0.5, 40.0 + t if t < 5 else 10.0 + t / 4, 2) for t in range(10)]
    late = split("AAA", 5, 4.0, 5, "test")
    with pipeline.running():
        take(pipeline, HELLO, *ticks, heartbeat(200), late, heartbeat(201), heartbeat(260))
        pipeline.wait_until_stored()
        assert pipeline.told("dead-letters") == []
        (record,) = [row for row in pipeline.told("market") if row["type"] == "late"]
        assert (record["symbol"], record["timeframes"]) == ("AAA", ["2t", "1s"])
        (done,) = pipeline.json("heal")
        assert (done["outcome"], done["splits"], done["from_ns"]) == ("healed", 1, at(5))
        take(pipeline, heartbeat(261), trade("AAA", 300.5, 13, 2), heartbeat(400))
        pipeline.wait_until_stored()
    told = {second_of(row): (row["sma_2"], row["revision"]) for row in pipeline.told_of("indicators", "AAA", "1s")}
    assert [told[second] for second in (4, 5, 300)] == [(43.5, 0), ((44 / 4 + 11.25) / 2, 1), ((12.25 + 13) / 2, 0)]
    assert {row["revision"] for row in pipeline.told("bars")} == {0}
    verified(pipeline, rows=True)
    for name in ("sma_2", "rsi_2"):
        assert explain(pipeline.settings, Ask("AAA", "1s", at(6), name)).same
    (nothing,) = pipeline.json("heal")
    assert nothing["outcome"] == "nothing"
    assert_is_told_from_the_lake(pipeline, "indicators", Ask("AAA", "1s", at(6), "sma_2"))
