"""Receipts on the real broker and a real lake: what was told comes again, one wrong row is found and named; and what
came too late for the correction window comes in by `heal`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from confluent_kafka import Producer

import market_rows
from given_settings import changed, child
from market_rows import at, split
from marketpulse.app.engine_config import engine_config
from marketpulse.app.healing import heal
from marketpulse.app.pipeline.verify import tell
from marketpulse.app.receipts.explain import explain
from marketpulse.app.receipts.explain_text import as_object
from marketpulse.app.receipts.report import Progress, Report
from marketpulse.app.receipts.report_text import difference_text
from marketpulse.app.receipts.time_text import parse_time
from marketpulse.app.receipts.trace import Ask
from marketpulse.app.receipts.verify import verify
from marketpulse.app.receipts.watch import Watch
from marketpulse.catalog import open_lake
from marketpulse.clock import ManualClock, SystemClock
from marketpulse.errors import Fatal
from marketpulse.kafka import rebuild_record
from marketpulse.kafka.log_reader import LogReader
from marketpulse.model.rows import RECEIPT
from marketpulse.query.stored_rows import ALWAYS, Wanted
from marketpulse.settings import Settings
from marketpulse.sinks.lake_chores import Chores
from marketpulse.telemetry import PARITY_DRIFT_ROWS
from stored_pipeline import HELLO, Pipeline, heartbeat, trade

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

ALERTS = (
    {"name": "rising", "expression": "close > prev(close)", "message": "{symbol} at {close}, {volume}"},
    {"name": "high", "expression": "close > 13 and rsi_2 > 0", "clear": "close < 12", "for_s": 1, "timeframe": "1s"},
    {"name": "counted", "expression": "close > 12", "timeframe": "2t"},
)
ENGINE = {"timeframes": ("2t", "1s", "1m"), "indicators": "sma(2),ema(3),rsi(2),vwap", "alerts": ALERTS}


def the_log(quiet_s: float = 20, end_s: float = 60) -> list[dict[str, Any]]:
    """Ten seconds of two symbols; after so long a late, a doubled, a corrected and a cancelled trade; a minute's end."""
    ticks = [trade(s, t + 0.5, 10 + t, 2, trade_id=f"{s}{t}") for t in range(10) for s in ("AAA", "BBB")]
    changes = [
        trade("AAA", 3.9, 20, 1, trade_id="late"), trade("AAA", 4.5, 14, 2, trade_id="AAA4"),
        market_rows.correction("AAA", "AAA5", 99, 3, 5.5, "test"), market_rows.cancel("AAA", "AAA7", 7.5, "test"),
    ]  # fmt: skip
    return [HELLO, *ticks, heartbeat(quiet_s), *changes, heartbeat(quiet_s + 1), heartbeat(end_s)]


@pytest.fixture(scope="module")
def pipeline(shared_kafka_settings: Settings, kernels: None) -> Pipeline:
    """One run of the log, to be looked at: who changes a file puts it back."""
    running = Pipeline(changed(shared_kafka_settings, engine=ENGINE, sinks={"lake": {"flush_s": 0.2}}))
    running.run(the_log())
    return running


@pytest.fixture
def own(kafka_settings: Settings) -> Pipeline:
    """For a log of its own."""
    return Pipeline(changed(kafka_settings, engine=ENGINE, sinks={"lake": {"flush_s": 0.2}}))


def explained(pipeline: Pipeline, timeframe: str, time: str, name: str, day: str = "2026-01-01") -> dict[str, Any]:
    """What the command shows of AAA, for programs."""
    return as_object(explain(pipeline.settings, Ask("AAA", timeframe, parse_time(f"{day}T{time}Z", "time"), name)))


def test_every_row_carries_its_whole_receipt_and_verify_names_the_one_that_was_changed(pipeline: Pipeline) -> None:
    good = child(pipeline.settings, "verify")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "Every checked row has the bits that its inputs give." in good.stdout
    tallies, whole = pipeline.json("verify")["tables"], {field.name for field in RECEIPT}
    for name in ("bars", "indicators", "alerts"):
        told = pipeline.told(name)
        assert all(set(row["receipt"]) == whole and None not in row["receipt"].values() for row in told)
        assert tallies[name]["stored"] == tallies[name]["same"] == len(told)
        assert sum(row["revision"] > 0 for row in told) > 0
    with pipeline.tampered("indicators", "ema_3") as was:
        bad = pipeline.marketpulse("verify")
        elsewhere = pipeline.marketpulse("verify", "--symbol", "BBB" if was["symbol"] == "AAA" else "AAA")
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert f"indicators {was['symbol']} {was['timeframe']}" in bad.stdout
    assert f"recomputed {was['ema_3']!r}" in bad.stdout
    assert "1 rows differ." in bad.stdout
    assert elsewhere.returncode == 0, elsewhere.stdout


def test_rows_that_are_checked_a_few_at_once_are_judged_as_all_together(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.or_(pc.equal(rows["symbol"], "AAA"), pc.less(rows["open_time_ns"], at(5))))

    def found() -> tuple[int, Report, Report]:
        said: list[Progress] = []
        good = verify(pipeline.settings, Wanted(*ALWAYS), said.append)
        with pipeline.rewritten("bars", lost):
            return said[-1].shares, good, verify(pipeline.settings, Wanted(*ALWAYS))

    few, good, bad = found()
    monkeypatch.setattr("marketpulse.app.receipts.verify._AT_ONCE", 20)
    more, *reports = found()
    assert (more > few, good.drift, bad.drift > 0) == (True, 0, True)
    assert reports == [good, bad]


def test_verify_finds_an_alert_that_was_changed_one_that_is_lost_and_one_that_is_forged(pipeline: Pipeline) -> None:
    def said(change: Callable[[pa.Table], pa.Table]) -> tuple[dict[str, int], list[dict[str, Any]], dict[str, Any]]:
        with pipeline.rewritten("alerts", change) as good:
            found = pipeline.json("verify", code=1)
        return found["tables"]["alerts"], found["differences"], good.slice(0, 1).to_pylist()[0]

    def with_state(rows: pa.Table) -> pa.Table:
        states = rows["state"].to_pylist()
        states[0] = "cleared" if states[0] == "raised" else "raised"
        return rows.set_column(rows.column_names.index("state"), "state", pa.array(states))

    def with_one_more(rows: pa.Table) -> pa.Table:
        late = pa.array([rows["revision"][0].as_py() + 7], pa.int64())
        forged = rows.slice(0, 1).set_column(rows.column_names.index("revision"), "revision", late)
        return pa.concat_tables([rows, forged])

    tally, (wrong,), good = said(with_state)
    assert tally["differing"] == 1
    assert (wrong["rule"], wrong["column"], wrong["recomputed"]) == (good["rule"], "state", good["state"])
    tally, (lost,), good = said(lambda rows: rows.slice(1))
    assert tally["missing"] == 1
    assert (lost["symbol"], lost["rule"]) == (good["symbol"], good["rule"])
    tally, (forged,), good = said(with_one_more)
    assert (tally["extra"], forged["revision"]) == (1, good["revision"] + 7)


def test_alerts_of_rules_that_run_no_more_are_not_checked_and_those_of_a_new_one_are(own: Pipeline) -> None:
    """A start with other rules: `high` is gone, `rising` is another one, and `low` is new."""
    own.run(the_log())
    told = own.told("alerts")
    rising, low = {"name": "rising", "expression": "close > 30.5"}, {"name": "low", "expression": "close < 31"}
    other = Pipeline(changed(own.settings, engine={"alerts": (rising, ALERTS[2], low)}))
    ticks = [trade("AAA", 61.5, 30, 2), trade("AAA", 62.5, 31, 2)]
    other.run([*ticks, heartbeat(70), trade("AAA", 62.9, 30, 2), heartbeat(130)])
    since = own.told("alerts")[len(told) :]
    assert {"rising", "low"} <= {row["rule"] for row in since}
    found = other.json("verify")
    before = sum(row["rule"] != "counted" for row in told)
    assert found["tables"]["alerts"]["unchecked"] == before > 0
    assert found["tables"]["alerts"]["same"] == len(told) + len(since) - before
    assert "alerts were passed over whose rule was another one then" in found["notes"][0]


def test_past_the_logs_retention_the_lakes_trades_serve_also_for_a_rule_put_by_a_record(own: Pipeline) -> None:
    put = {"action": "put_rule", "rule": {"name": "mine", "expression": "close > prev(close)", "timeframe": "1s"}}
    own.run([*the_log()[:16], {"type": "control", "change": put}, *the_log()[16:]])
    told = [row for row in own.told("alerts") if (row["symbol"], row["rule"]) == ("AAA", "mine")]
    assert [row["state"] for row in told]
    alerts = own.json("verify")["tables"]["alerts"]
    assert alerts["same"] == alerts["stored"] > len(told)
    ask = Ask("AAA", "1s", told[-1]["open_time_ns"], "mine")
    by_log = explain(own.settings, ask)
    assert by_log.same

    own.forget_log(before=26)
    tables = own.json("verify")["tables"]
    assert tables["bars"]["from_lake"] == tables["bars"]["same"] > 0
    alerts = tables["alerts"]
    assert alerts["from_lake"] == alerts["same"] > 0
    assert alerts["unchecked"] == alerts["stored"] - alerts["same"]
    by_lake = explain(own.settings, ask)
    assert (by_lake.same, by_lake.trace.from_log) == (True, False)
    assert by_log.alert is not None
    assert by_lake.alert is not None
    assert (by_lake.alert.before, by_lake.alert.lines) == (by_log.alert.before, by_log.alert.lines)
    shown = own.marketpulse("explain", "AAA", "1s", "2026-01-01T00:00:05Z", "ema_3")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "the lake's trades" in shown.stdout
    assert "corrected" in shown.stdout
    for second in (0, 1, 2, 3, 4, 5, 6, 8, 9):  # the only trade at 7 s was cancelled
        for rule in ("rising", "alert:high"):
            assert explained(own, "1s", f"00:00:{second:02}", rule)["same"]
    with own.tampered("alerts", "value"):
        assert [d["table"] for d in own.json("verify", code=1)["differences"]] == ["alerts"]
        with own.tampered("bars", "vwap"):
            assert own.marketpulse("verify").returncode == 1


def test_rows_that_the_lakes_retention_has_deleted_are_not_missing(own: Pipeline) -> None:
    own.run(the_log())
    later = ManualClock(SystemClock().now_ns() + 9 * 86_400 * 10**9)
    gone = Chores(open_lake(own.settings), own.settings, later).delete_old("bars")
    assert [(one.what, one.rows > 10) for one in gone] == [("bars@1s", True)]
    for forgets in (False, True):
        if forgets:
            own.forget_log()
        tally = verify(own.settings, Wanted(*ALWAYS)).tallies["bars"]
        assert tally.same == tally.stored > 0
        assert tally.drift == 0


def test_explain_shows_late_double_corrected_and_cancelled_trades_and_indicators_to_the_bit(pipeline: Pipeline) -> None:
    late = explained(pipeline, "1s", "00:00:03", "vwap")
    assert [(i["offset"], i["marks"]) for i in late["inputs"]] == [(7, []), (22, ["late"])]
    assert late["same"]
    assert late["late_count_same"]
    assert late["values"][0]["worked_out"] == (13 * 2 + 20) / 3
    told = [(t["table"], t["values"]["revision"], t["offset"]) for t in late["revisions"]]
    assert told[0] == ("bars", 0, 13), "the trade at 6.5 s moves the watermark past its end"
    assert ("bars", 1, 26) in told
    doubled = explained(pipeline, "1s", "00:00:04", "trade_count")
    assert [(i["marks"], i["counts"]) for i in doubled["inputs"]] == [([], True), (["duplicate"], False)]
    corrected = explained(pipeline, "1s", "00:00:05", "close")
    assert corrected["inputs"][0]["marks"] == ["corrected at 24, after it had closed: was 15.0 x 2.0"]
    assert corrected["values"][0]["worked_out"] == 99
    gone = explained(pipeline, "1s", "00:00:07", "bar")
    assert gone["inputs"][0]["marks"] == ["cancelled at 25, after it had closed"]
    assert gone["known"]["bars"][-1]["close"] is None
    for timeframe, time in (("1s", "00:00:08"), ("1m", "00:00:00"), ("2t", "00:00:02.5")):
        for name in ("sma_2", "ema_3", "rsi_2", "session_vwap"):
            found = explained(pipeline, timeframe, time, name)
            assert found["same"], (timeframe, name)
            assert found["values"][0]["before"]["state"]


def test_explain_shows_what_a_rule_made_of_a_bar_that_was_revised(pipeline: Pipeline) -> None:
    """A late trade makes the close at 3 s 20, a correction that at 5 s 99; the only trade at 7 s is cancelled."""
    told = pipeline.told_of("alerts", "AAA", "1s")
    assert {row["revision"] for row in told} > {0}
    assert {"raised", "cleared", "withdrawn"} <= {row["state"] for row in told}
    for second in range(10):
        for rule in ("rising", "alert:high"):
            found = explained(pipeline, "1s", f"00:00:{second:02}", rule)
            mine = [r for r in told if (r["rule"], r["open_time_ns"]) == (rule.removeprefix("alert:"), at(second))]
            assert found["same"], found["alert"]
            assert [t["values"] for t in found["revisions"] if t["table"] == "alerts"] == mine
            last = mine[-1]["state"] if mine and mine[-1]["state"] != "withdrawn" else ""
            assert found["alert"]["worked_out"]["state"] == last
    shown = child(pipeline.settings, "explain", "AAA", "1s", "2026-01-01T00:00:06Z", "rising")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "  prev(close) = 99.0\n  close > prev(close): 16.0 > 99.0, false\n" in shown.stdout
    assert "  it is raised, and cleared now\n" in shown.stdout
    assert "known cleared at 16.0, replayed cleared at 16.0, by these words cleared at 16.0" in shown.stdout
    ticks = explained(pipeline, "2t", "00:00:02.5", "counted")
    assert (ticks["same"], ticks["alert"]["worked_out"]["state"]) == (True, "raised")
    assert pipeline.marketpulse("explain", "AAA", "1m", "2026-01-01T00:00:00Z", "alert:high").returncode == 2
    with pipeline.tampered("alerts", "value") as was:
        ask = Ask(was["symbol"], was["timeframe"], was["open_time_ns"], f"alert:{was['rule']}")
        wrong = explain(pipeline.settings, ask)
    assert wrong.alert is not None
    assert (wrong.same, wrong.alert.same, wrong.alert.replayed.value) == (False, False, was["value"])


def test_explain_of_nothing_says_what_there_is(pipeline: Pipeline) -> None:
    for words, code, said in (
        ("ZZZ 1s 2026-01-01T00:00:03Z bar", 1, "there is no symbol 'ZZZ': choose one of AAA, BBB"),
        ("AAA 1s 2026-01-01T01:00:00Z bar", 1, "no 1s bar of AAA opens at 2026-01-01T01:00:00Z"),
        ("AAA 1s 2026-01-01T00:00:03Z rsi_9", 2, "'rsi_9' is not computed: choose one of bar, open"),
        ("AAA 7m 2026-01-01T00:00:03Z bar", 2, "timeframe '7m' is not built: choose one of 2t, 1s, 1m"),
        ("AAA 1s yesterday bar", 2, "OPEN_TIME 'yesterday' is no time"),
    ):
        done = pipeline.marketpulse("explain", *words.split())
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_bars_by_count_that_open_at_one_time_have_each_its_receipt_where_a_page_shows_it(own: Pipeline) -> None:
    ties = [trade("AAA", 1.000000123, 10 + i, 1, trade_id=str(i)) for i in range(8)]
    own.run([HELLO, trade("AAA", 0.5, 9, 1), trade("AAA", 0.6, 9, 1), *ties, heartbeat(5)])
    for nothing in ("no 2t bar of AAA opens at", "nothing is stored yet"):
        for i in range(4):
            shown_ms = (at(1.000000123) + 1_000 * i) / 1e6  # as web/series.py shows them
            told = as_object(explain(own.settings, Ask("AAA", "2t", round(shown_ms * 1e6), "close", as_shown=True)))
            assert [i["price"] for i in told["inputs"]] == [10 + 2 * i, 11 + 2 * i]
            assert (told["same"], told["values"][0]["known"]) == (True, 11 + 2 * i)
        with pytest.raises(Fatal, match=nothing):
            explain(own.settings, Ask("AAA", "2t", at(1.000000123) + 4_000, "close", as_shown=True))
        lake = Path(own.settings.data_dir / "lake")
        shutil.rmtree(lake, ignore_errors=True)  # what the topics tell is as good


def test_explain_shows_a_bar_that_was_filled_in_and_a_print_of_the_closing_auction(own: Pipeline) -> None:
    """The last seconds of the session of 2 January 2026 on XNYS, which ends at 21:00 UTC."""
    engine = {"fill": "previous", "timeframes": ("1s", "1m"), "alerts": ALERTS[:2]}
    pipeline = Pipeline(changed(own.settings, engine=engine))
    close = 86_400 + 21 * 3_600
    pipeline.run([
        {**HELLO, "event_time_ns": at(close - 5)},
        *(trade("AAA", close + t, price, 2, venue="XNYS") for t, price in ((-3.5, 10), (-1.5, 11), (-0.5, 12), (30, 15))),
        heartbeat(close + 301), heartbeat(close + 303),
    ])  # fmt: skip
    filled = explained(pipeline, "1s", "20:59:57", "bar", "2026-01-02")
    assert (filled["inputs"], filled["same"]) == ([], True)
    bar = filled["known"]["bars"][-1]
    assert [bar[name] for name in ("open", "close", "volume", "trade_count")] == [10, 10, 0, 0]
    average = explained(pipeline, "1s", "20:59:57", "sma_2", "2026-01-02")
    assert (average["same"], average["values"][0]["worked_out"]) == (True, 10.0)
    for timeframe, opens in (("1s", "20:59:59"), ("1m", "20:59:00")):
        last = explained(pipeline, timeframe, opens, "close", "2026-01-02")
        assert (last["same"], last["values"][0]["worked_out"]) == (True, 15.0), timeframe
        assert last["inputs"][-1]["offset"] == 4, "the print of the auction, half a minute after the close"
    assert pipeline.marketpulse("verify").returncode == 0


def test_a_volume_that_a_source_does_not_give_is_null_in_the_log_the_lake_and_sql_and_explained(own: Pipeline) -> None:
    def second(n: int, **more: Any) -> dict[str, Any]:
        row = {"type": "bar", "symbol": "AAA", "source": "test", "timeframe": "1s", "event_time_ns": at(n + 1), **more}
        prices = dict.fromkeys(("open", "high", "low", "close"), 10)
        return {**row, "open_time_ns": at(n), "close_time_ns": at(n + 1), **prices}

    own.run([HELLO, second(0, volume=7, vwap=10), second(1, vwap=10), second(60, volume=0), heartbeat(120)])
    own.wait_until_stored()
    assert [(b["timeframe"], b["volume"], b["vwap"]) for b in own.told("bars")] == [
        ("1s", 7, 10), ("1s", None, None), ("1s", 0, None), ("1m", None, None), ("1m", 0, None),
    ]  # fmt: skip
    sql = "FROM bars JOIN indicators AS i USING (symbol, timeframe, open_time) SELECT volume IS NULL AS a, i.vwap IS NULL AS b"
    rows = own.json("sql", f"{sql} ORDER BY ALL")
    assert [(r["a"], r["b"]) for r in rows] == [(False, False)] * 2 + [(False, True)] + [(True, True)] * 2
    for timeframe, opens, name in (
        ("1s", 1, "volume"), ("1m", 0, "volume"), ("1m", 0, "vwap"), ("1s", 1, "session_vwap"), ("1m", 0, "session_vwap"),
    ):  # fmt: skip
        found = explained(own, timeframe, f"00:00:0{opens}", name)
        assert (found["same"], found["values"][0]["worked_out"]) == (True, None), (timeframe, name)
    assert own.marketpulse("verify").returncode == 0


def test_the_continuous_check_passes_good_rows_and_finds_a_changed_file_and_a_forgery(own: Pipeline) -> None:
    settings, log = own.settings, LogReader(own.settings)
    drift = PARITY_DRIFT_ROWS._value.get
    own.run(the_log())
    watch = Watch(settings, engine_config(settings.engine), log)
    assert watch.look(lambda: True).drift == []
    own.run([trade("AAA", 61.5, 9, 2), trade("AAA", 62.5, 31, 2), heartbeat(70)])
    with own.tampered("bars", "high", since=61) as bar, own.tampered("alerts", "value", since=61) as alert:
        found = watch.look(lambda: True)
    assert found.checked > found.drift_rows == 2
    assert [(d.column, d.recomputed) for d in found.drift] == [("high", bar["high"]), ("value", alert["value"])]
    assert found.drift[1].rule == alert["rule"]
    before = drift()
    tell(found)
    assert drift() == before + 2

    more = [trade("AAA", 121.5, 30, 2), trade("BBB", 122.5, 30, 2), trade("AAA", 122.5, 31, 2), heartbeat(130)]
    own.run([*more, heartbeat(190)])
    forged = json.dumps({**own.told("bars")[-1], "revision": 7})
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random"})
    producer.produce(settings.topic("bars"), forged.encode(), b"AAA")
    assert producer.flush(20) == 0
    own.run([heartbeat(191)])
    first, second = watch.look(lambda: True), watch.look(lambda: True)
    assert first.drift_rows == 0, "a new row has one look's time"
    assert [d.revision for d in second.drift] == [7]
    before = drift()
    tell(second)
    assert drift() == before + 1
    assert "revision 7: is stored, and nothing gives it" in difference_text(second.drift[0])
    log.close()


BEHIND = (200, 260)  # the correction window
HEALED = {
    "timeframes": ("2t", "1s", "1m"), "indicators": "sma(2),ema(3),rsi(2),vwap", "correction_window_s": 30,
    "alerts": ({"name": "high", "expression": "close > 17.5", "timeframe": "1s"},),
}  # fmt: skip


@pytest.fixture
def stage(kafka_settings: Settings) -> Pipeline:
    return Pipeline(changed(kafka_settings, engine=HEALED, sinks={"lake": {"flush_s": 0.2}}))


def second_of(row: dict[str, Any], name: str = "open_time_ns") -> float:
    return float(row[name] - at(0)) / 1e9


def take(stage: Pipeline, *records: dict[str, Any]) -> None:
    stage.write(*records)
    stage.wait_until_taken()


def last_bars(stage: Pipeline) -> dict[float, dict[str, Any]]:
    """The last revision of every 1s bar of AAA, by its second."""
    return {second_of(row): row for row in stage.told_of("bars", "AAA", "1s")}


def verified(stage: Pipeline, *, rows: bool = False) -> dict[str, dict[str, int]]:
    """The tables, of which every row is the same."""
    tables: dict[str, dict[str, int]] = stage.json("verify")["tables"]
    assert all(table["same"] == table["stored"] for table in tables.values())
    assert not rows or all(table["stored"] > 0 for table in tables.values())
    return tables


def assert_is_told_from_the_lake(stage: Pipeline, table: str, ask: Ask) -> None:
    """Also when the log has nothing any more."""
    stage.forget_log()
    assert stage.json("verify")["tables"][table]["from_lake"] > 0
    assert explain(stage.settings, ask).same


def test_what_came_too_late_comes_in_while_the_pipeline_runs_and_verifies_from_log_and_lake(stage: Pipeline) -> None:
    with stage.running():
        take(stage, *the_log(*BEHIND))
        stage.wait_until_stored()
        assert {row["revision"] for row in last_bars(stage).values()} == {0}
        (dry,) = stage.json("heal", "--dry-run")
        assert (dry["outcome"], dry["trades"], dry["changed"], dry["again"]) == ("to heal", 1, 2, 1)
        assert dry["from_ns"] == at(3.9)
        assert stage.json("heal", "--symbol", "BBB") == []
        (done,) = stage.json("heal")
        assert (done["symbol"], done["outcome"], done["detail"]) == ("AAA", "healed", "")
        take(stage, heartbeat(261))
    bars = last_bars(stage)
    names = ("close", "high", "volume", "trade_count", "revision")
    assert {second: tuple(bars[second][n] for n in names) for second in (2, 3, 4, 5, 6, 7)} == {
        2: (12, 12, 2, 1, 0), 3: (20, 20, 3, 2, 1), 4: (14, 14, 2, 1, 0), 5: (99, 99, 3, 1, 1), 6: (16, 16, 2, 1, 0),
        7: (None, None, 0, 0, 1),
    }  # fmt: skip
    assert (bars[3]["vwap"], bars[3]["receipt"]["late_count"]) == ((13 * 2 + 20) / 3, 1)
    told_again = {second_of(row) for row in stage.told_of("indicators", "AAA", "1s") if row["revision"] == 1}
    assert told_again == {3, 4, 5, 6, 7, 8, 9}, "every later value of an ema has other bits"
    assert {row["symbol"] for row in stage.told("indicators") if row["revision"]} == {"AAA"}
    late = [(second_of(row, "event_time_ns"), row["state"]) for row in stage.told("alerts") if row["late"]]
    assert late == [(4, "raised"), (5, "cleared"), (6, "raised"), (7, "cleared")]

    verified(stage, rows=True)
    (nothing,) = stage.json("heal")
    assert (nothing["outcome"], nothing["trades"], nothing["again"]) == ("nothing", 0, 1)
    assert explain(stage.settings, Ask("AAA", "1s", at(3), "bar")).same
    assert_is_told_from_the_lake(stage, "bars", Ask("AAA", "1s", at(3), "vwap"))


def test_nothing_is_rebuilt_without_an_engine_or_from_a_lake_that_lacks_a_trade(
    stage: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.run(the_log(*BEHIND))
    (dry,) = stage.json("heal", "--dry-run")
    assert dry["outcome"] == "to heal"
    with monkeypatch.context() as patched:
        patched.setattr(rebuild_record, "PARTS_MAX", 0)
        (refused,) = heal.heal(stage.settings, Wanted(*ALWAYS))  # without an engine: it begins nothing
    assert (refused.outcome, refused.detail[:24]) == ("refused", "its history is too long:")
    with monkeypatch.context() as patched:
        patched.setattr(heal, "_TAKEN_S", 1.0)
        done = stage.marketpulse("heal")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the engine does not come to where the log ends" in done.stderr
    with stage.running():
        with stage.rewritten("trades", lambda trades: trades.slice(1)):
            done = stage.marketpulse("heal")
        assert done.returncode == 1, done.stdout + done.stderr
        for words in ("AAA  refused", "the lake does not hold all trades that they were made of"):
            assert words in done.stdout
        take(stage, heartbeat(261))
        assert {row["revision"] for row in last_bars(stage).values()} == {0}
        (late,) = stage.json("heal")
        assert late["outcome"] == "healed"
        take(stage, heartbeat(262))
    assert last_bars(stage)[3]["volume"] == 3
    verified(stage)


def test_a_rebuild_record_that_is_not_whole_is_a_dead_letter_and_changes_nothing(stage: Pipeline) -> None:
    begins: dict[str, Any] = {"id": "x", "begins": True}
    part: dict[str, Any] = {"id": "x", "part": 0, "parts": 1, "covers_offset": 5}
    wrong = [{}, {"begins": True}, {**begins, "symbol": "ZZZ"}, {**part, "part": 1, "parts": 2}, part]
    wrong += [begins, {**part, "id": "y"}, begins, part]
    stage.run([*the_log(*BEHIND), *({"type": "rebuild", "symbol": "AAA", **more} for more in wrong), heartbeat(261)])
    letters = [row for row in stage.told("dead-letters") if "rebuild" in row["reason"]]
    reasons = [row["reason"] for row in sorted(letters, key=lambda row: row["offset"])]
    assert reasons == [*["bad_rebuild"] * 6, "stale_rebuild"]
    assert {row["revision"] for row in last_bars(stage).values()} == {0}
    verified(stage)


def test_a_split_that_came_too_late_comes_in_and_later_values_have_the_new_units(stage: Pipeline) -> None:
    ticks = [trade("AAA", t + 0.5, 40.0 + t if t < 5 else 10.0 + t / 4, 2) for t in range(10)]
    late = split("AAA", 5, 4.0, 5, "test")
    with stage.running():
        take(stage, HELLO, *ticks, heartbeat(200), late, heartbeat(201), heartbeat(260))
        stage.wait_until_stored()
        assert stage.told("dead-letters") == []
        (record,) = [row for row in stage.told("market") if row["type"] == "late"]
        assert (record["symbol"], record["timeframes"]) == ("AAA", ["2t", "1s"])
        (done,) = stage.json("heal")
        assert (done["outcome"], done["splits"], done["from_ns"]) == ("healed", 1, at(5))
        take(stage, heartbeat(261), trade("AAA", 300.5, 13, 2), heartbeat(400))
        stage.wait_until_stored()
    told = {second_of(row): (row["sma_2"], row["revision"]) for row in stage.told_of("indicators", "AAA", "1s")}
    assert [told[second] for second in (4, 5, 300)] == [(43.5, 0), ((44 / 4 + 11.25) / 2, 1), ((12.25 + 13) / 2, 0)]
    assert {row["revision"] for row in stage.told("bars")} == {0}
    verified(stage, rows=True)
    for name in ("sma_2", "rsi_2"):
        assert explain(stage.settings, Ask("AAA", "1s", at(6), name)).same
    (nothing,) = stage.json("heal")
    assert nothing["outcome"] == "nothing"
    assert_is_told_from_the_lake(stage, "indicators", Ask("AAA", "1s", at(6), "sma_2"))
