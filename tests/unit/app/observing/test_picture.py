"""Two looks make a picture; the figures here are summed by hand."""

from typing import Any

import pytest

from marketpulse.app.observing.picture import Look, Span, labelled, picture
from marketpulse.app.observing.readings import Labels
from process_readings import look, reading


def drawn(first: Look, last: Look) -> dict[str, Any]:
    return picture(Span(first, last), Span(first, last))


def test_rates_are_what_grew_over_the_time_that_passed() -> None:
    found = drawn(
        look(
            0,
            reading(
                "produce-feed", rows_produced__source_feed__type_trade=100, rows_produced__source_feed__type_quote=10
            ),
        ),
        look(
            10,
            reading(
                "produce-feed", rows_produced__source_feed__type_trade=600, rows_produced__source_feed__type_quote=60
            ),
        ),
    )
    (source,) = found["sources"]
    assert source["rows_per_s"] == 55
    assert source["rows"] == 660
    assert source["types"] == {"trade": 600, "quote": 60}


def test_what_a_feed_did_not_bring_stands_beside_what_it_did() -> None:
    feed = reading(
        "produce-coinbase", rows_produced__source_coinbase__type_trade=5, stream_gaps__source_coinbase=2,
        stream_missing_trades__source_coinbase__what_found=46, stream_missing_trades__source_coinbase__what_healed=40,
        stream_reconnects__source_coinbase__why_closed=3, stream_reconnects__source_coinbase__why_silence=1,
    )  # fmt: skip
    (source,) = drawn(look(0, feed), look(1, feed))["sources"]
    assert (source["gaps"], source["reconnects"]) == (2, 4)
    assert source["missing"] == {"found": 46, "healed": 40}


def test_a_process_that_began_anew_counts_from_its_start() -> None:
    first = look(0, reading("sink-lake", 1, rows_stored__sink_lake__table_bars=1_000))
    last = look(5, reading("sink-lake", 2, rows_stored__sink_lake__table_bars=20))
    (sink,) = drawn(first, last)["sinks"]
    assert sink["rows_per_s"] == 4
    assert drawn(first, last)["processes"][0]["cpu_cores"] is None


def test_only_the_engine_counts_as_the_engine() -> None:
    first = look(0, reading("process-0"), reading("verify", 2))
    last = look(
        2, reading("process-0", records_consumed__topic_market=80, bars_closed__timeframe_1m=3, bars_revised=1),
        reading("verify", 2, records_consumed__topic_market=9_000),
    )  # fmt: skip
    engine = drawn(first, last)["engine"]
    assert engine["records_per_s"] == 40
    assert engine["rows_out_per_s"] == {"bars": 2, "alerts": 0}
    assert engine["workers"] == 1


def test_latencies_are_of_what_was_observed_between_the_looks() -> None:
    def flushed(fast: float, slow: float) -> dict[str, Any]:
        name = "flush_seconds_bucket__sink_lake__le_"
        return {f"{name}0.1": fast, f"{name}1.0": slow, f"{name}+Inf": slow, "rows_stored__sink_lake__table_bars": 1}

    found = drawn(
        look(0, reading("sink-lake", **flushed(1_000, 1_000))), look(1, reading("sink-lake", **flushed(1_000, 1_100)))
    )
    (sink,) = found["sinks"]
    assert sink["p50_ms"] == pytest.approx(100 + 0.5 * 900)  # a hundred flushes between 0.1 and 1 s
    assert sink["p99_ms"] == pytest.approx(100 + 0.99 * 900)
    quiet = drawn(look(0, reading("sink-lake", **flushed(5, 5))), look(1, reading("sink-lake", **flushed(5, 5))))
    assert quiet["sinks"][0]["p50_ms"] is None


def test_a_source_is_behind_as_far_as_in_its_worst_partition() -> None:
    found = drawn(
        look(0), look(1, reading("process-0", watermark_delay_seconds__source_feed=2), reading("process-1", 2, watermark_delay_seconds__source_feed=7))
    )  # fmt: skip
    assert [s["watermark_delay_ms"] for s in found["sources"]] == [7_000]


def test_a_process_is_told_with_what_it_uses() -> None:
    first = look(0, reading("serve", cpu_s=1.0), reading("up", 2))
    last = look(4, reading("serve", trouble="starting", cpu_s=3.0), reading("up", 2, child_restarts__child_serve=2))
    serve = drawn(first, last)["processes"][0]
    assert (serve["cpu_cores"], serve["trouble"], serve["restarts"], serve["started_ms"]) == (0.5, "starting", 2, 5_000)


def test_parity_is_unknown_where_nobody_compares() -> None:
    assert drawn(look(0), look(1, reading("serve")))["parity"] is None
    found = drawn(look(0), look(1, reading("verify", parity_rows_checked=50, parity_drift_rows=1)))["parity"]
    assert (found["rows_checked"], found["drift_rows"]) == (50, 1)


def test_suspect_rows_are_counted_by_rule_over_sources() -> None:
    engine = reading(
        "process-1",
        quality_found__rule_split__severity_mark__source_a=2,
        quality_found__rule_split__severity_mark__source_b=3,
        quality_found__rule_stale__severity_count__source_a=0,
    )
    assert drawn(look(0, engine), look(10, engine))["engine"]["quality"] == {"split": 5}


def test_counts_by_a_label_come_the_largest_first() -> None:
    counts: dict[Labels, float] = {(("why", "a"),): 1.0, (("why", "b"),): 0.0, (("why", "c"),): 9.0}
    assert list(labelled(counts, "why").items()) == [("c", 9), ("a", 1)]
