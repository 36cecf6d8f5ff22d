"""Two looks make a picture, whose figures here are summed by hand; what is wrong is said in words, the worst first."""

from typing import Any

import pytest

from marketpulse.app.observing.findings import Finding, find
from marketpulse.app.observing.picture import Look, Span, labelled, picture
from marketpulse.app.observing.readings import Labels
from process_readings import look, reading

LOST: Any = {"stream_missing_trades__source_x__what_given up": 12}


def drawn(first: Look, last: Look) -> dict[str, Any]:
    return picture(Span(first, last), Span(first, last))


def test_rates_are_what_grew_over_the_time_that_passed() -> None:
    def feed(at_s: float, trades: int, quotes: int) -> Look:
        rows: Any = {f"rows_produced__source_feed__type_{t}": n for t, n in (("trade", trades), ("quote", quotes))}
        return look(at_s, reading("produce-feed", **rows))

    (source,) = drawn(feed(0, 100, 10), feed(10, 600, 60))["sources"]
    assert (source["rows_per_s"], source["rows"], source["types"]) == (55, 660, {"trade": 600, "quote": 60})


def test_what_a_feed_did_not_bring_stands_beside_what_it_did() -> None:
    feed = reading(
        "produce-coinbase", rows_produced__source_coinbase__type_trade=5, stream_gaps__source_coinbase=2,
        stream_missing_trades__source_coinbase__what_found=46, stream_missing_trades__source_coinbase__what_healed=40,
        source_rows__fate_rows__source_coinbase=5, source_rows__fate_duplicates__source_coinbase=2,
        stream_reconnects__source_coinbase__why_closed=3, stream_reconnects__source_coinbase__why_silence=1,
    )  # fmt: skip
    (source,) = drawn(look(0, feed), look(1, feed))["sources"]
    assert (source["gaps"], source["reconnects"]) == (2, 4)
    assert (source["missing"], source["engine"]) == ({"found": 46, "healed": 40}, {"rows": 5, "duplicates": 2})


def test_a_process_that_began_anew_counts_from_its_start_and_each_is_told_with_what_it_uses() -> None:
    first = look(0, reading("sink-lake", 1, rows_stored__sink_lake__table_bars=1_000))
    last = look(5, reading("sink-lake", 2, rows_stored__sink_lake__table_bars=20))
    (sink,) = drawn(first, last)["sinks"]
    assert sink["rows_per_s"] == 4
    assert drawn(first, last)["processes"][0]["cpu_cores"] is None
    first = look(0, reading("serve", cpu_s=1.0), reading("up", 2))
    last = look(4, reading("serve", trouble="starting", cpu_s=3.0), reading("up", 2, child_restarts__child_serve=2))
    serve = drawn(first, last)["processes"][0]
    assert (serve["cpu_cores"], serve["trouble"], serve["restarts"], serve["started_ms"]) == (0.5, "starting", 2, 5_000)


def test_only_the_engine_counts_as_the_engine() -> None:
    first = look(0, reading("process-0"), reading("verify", 2))
    last = look(
        2, reading("process-0", records_consumed__topic_market=80, bars_closed__timeframe_1m=3, bars_revised=1),
        reading("verify", 2, records_consumed__topic_market=9_000),
    )  # fmt: skip
    engine = drawn(first, last)["engine"]
    assert (engine["records_per_s"], engine["workers"]) == (40, 1)
    assert engine["rows_out_per_s"] == {"bars": 2, "alerts": 0}


def test_latencies_are_of_what_was_observed_between_the_looks() -> None:
    def flushed(at_s: float, fast: float, slow: float) -> Look:
        counts = (("0.1", fast), ("1.0", slow), ("+Inf", slow))
        buckets: Any = {f"flush_seconds_bucket__sink_lake__le_{le}": count for le, count in counts}
        return look(at_s, reading("sink-lake", rows_stored__sink_lake__table_bars=1, **buckets))

    (sink,) = drawn(flushed(0, 1_000, 1_000), flushed(1, 1_000, 1_100))["sinks"]
    assert sink["p50_ms"] == pytest.approx(100 + 0.5 * 900)  # a hundred flushes between 0.1 and 1 s
    assert sink["p99_ms"] == pytest.approx(100 + 0.99 * 900)
    assert drawn(flushed(0, 5, 5), flushed(1, 5, 5))["sinks"][0]["p50_ms"] is None


def test_a_source_is_behind_as_far_as_in_its_worst_partition_and_parity_is_unknown_where_nobody_compares() -> None:
    workers = (reading(f"process-{i}", i + 1, watermark_delay_seconds__source_feed=s) for i, s in enumerate((2, 7)))
    assert [s["watermark_delay_ms"] for s in drawn(look(0), look(1, *workers))["sources"]] == [7_000]
    assert drawn(look(0), look(1, reading("serve")))["parity"] is None
    found = drawn(look(0), look(1, reading("verify", parity_rows_checked=50, parity_drift_rows=1)))["parity"]
    assert (found["rows_checked"], found["drift_rows"]) == (50, 1)


def test_suspect_rows_are_counted_by_rule_over_sources_and_counts_come_the_largest_first() -> None:
    engine = reading(
        "process-1", quality_found__rule_split__severity_mark__source_a=2, quality_found__rule_split__severity_mark__source_b=3,
        quality_found__rule_stale__severity_count__source_a=0,
    )  # fmt: skip
    assert drawn(look(0, engine), look(10, engine))["engine"]["quality"] == {"split": 5}
    by_why: dict[Labels, float] = {(("why", "a"),): 1.0, (("why", "b"),): 0.0, (("why", "c"),): 9.0}
    assert list(labelled(by_why, "why").items()) == [("c", 9), ("a", 1)]


def findings(first: Look, last: Look, *, reachable: bool | None = True, lag: int | None = 0) -> list[Finding]:
    span = Span(first, last)
    return find(span, picture(span, span), broker_reachable=reachable, engine_lag=lag)


@pytest.mark.parametrize(("last", "words"), [
    (look(60, reading("serve", trouble="starting")), "serve does not do its work: starting"),
    (look(60, reading("up", child_restarts__child_serve=1)), "serve died and was started again once in the last minute"),
    (look(600, reading("up", child_restarts__child_serve=3)), "3 times in the last 10 minutes"),
    (look(60, reading("verify", parity_rows_checked=9, parity_drift_rows=2)), "2 stored rows are not what the log gives"),
    (look(60, reading("produce-x", source_errors__source_x=4)), "The source x failed 4 times"),
    (look(60, reading("produce-x", spool_rows__source_x=1_234, spool_age_seconds__source_x=70)), "1,234 rows of the source x wait on the disk for the broker, the oldest for 70 s"),
    (look(60, reading("process-0", watermark_delay_seconds__source_x=90)), "x is 90 s behind the log's time"),
    (look(60, reading("sink-lake", sink_errors__sink_lake=1)), "The store lake failed once"),
    (look(60, reading("sink-lake", sink_lag_records__sink_lake=60_000)), "lake has 60,000 records still to store"),
    (look(60, reading("produce-x", **LOST)), "did not bring 12 trades, and its far end cannot give them any more"),
    (look(60, free=2 * 10**9), "Only 2.0 GB are free"),
])  # fmt: skip
def test_what_is_wrong_is_named(last: Look, words: str) -> None:
    names = [(r.name, r.pid) for r in last.readings]
    (finding,) = findings(look(0, *(reading(name, pid) for name, pid in names)), last)
    assert words in finding.what
    assert finding.do.endswith(".")


def test_dead_letters_are_told_with_their_most_frequent_reason() -> None:
    for letters, said in (
        ({"bad_price": 2}, "2 records were set aside in the last minute: a price is not above 0 and finite, or above 1e18."),
        ({"bad_price": 2, "not_json": 5}, "7 records were set aside in the last minute, 5 of them since the value is not a JSON object"),
    ):  # fmt: skip
        counts: dict[str, Any] = {f"dead_letters__reason_{reason}": count for reason, count in letters.items()}
        (finding,) = findings(look(0, reading("process-0")), look(60, reading("process-0", **counts)))
        assert finding.what.startswith(said)
        assert finding.what == said or len(letters) > 1


def test_the_worst_comes_first_and_nothing_is_said_when_nothing_is_wrong() -> None:
    well = look(0, reading("serve")), look(60, reading("serve"))
    assert findings(*well) == findings(*well, reachable=None, lag=None) == []
    last = look(60, reading("sink-lake", sink_errors__sink_lake=1), free=10**8)
    told = findings(look(0, reading("sink-lake")), last, reachable=False, lag=90_000)
    assert [finding.severity for finding in told] == ["bad", "bad", "warn", "warn"]
    assert "Kafka" in told[0].what
