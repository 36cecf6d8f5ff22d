"""What a worker counts, what it says of rows that look wrong, and how much it takes at once."""

import orjson
import pyarrow as pa
import pytest

from market_rows import MIDNIGHT_NS, Engine, Row, bar, batch_of, config_of, hello, trade
from marketpulse.app.counts import count_alerts, count_findings, count_sources
from marketpulse.app.pace import RECORDS_MOST, Pace
from marketpulse.app.partition import OwnedPartition
from marketpulse.app.quality_notices import quality_notices
from marketpulse.engine.state import new_state
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.records import records_of
from marketpulse.kafka.source_counts import SourceCount, SourceCounts
from marketpulse.model.market import Kind
from marketpulse.model.rows import ALERT
from marketpulse.telemetry import REGISTRY

HELLO = hello(mode="historical", lateness_ns=0)
PRICED: list[Row] = [HELLO, trade("A", 0, 100, 1), trade("A", 1, 10_000, 1)]


def checking(**quality: str) -> Engine:
    return Engine(config_of(["1m"], quality=quality, quality_limits={"warm_trades": 1.0}))


def counted(name: str, severity: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_alerts_{name}_total", {"severity": severity}) or 0.0


def test_alerts_are_counted_by_severity_unless_only_the_value_differs_and_findings_by_rule_and_source() -> None:
    names = [("raised", "info"), ("raised", "critical"), ("cleared", "info"), ("withdrawn", "info")]
    before = [counted(*name) for name in names]
    changes = [
        ("raised", None, "info"), ("raised", None, "critical"), ("raised", "raised", "critical"),
        ("cleared", None, "info"), ("withdrawn", "cleared", "info"), ("withdrawn", "raised", "info"),
    ]  # fmt: skip
    rows = [dict(zip(("state", "was", "severity"), change, strict=True)) for change in changes]
    count_alerts(pa.RecordBatch.from_pylist(rows, schema=ALERT))
    assert [counted(*name) - b for name, b in zip(names, before, strict=True)] == [1, 1, 1, 2]
    engine = checking(price_unit="drop")
    rows = [HELLO, *(trade("A", i, price, 1) for i, price in enumerate((100, 10_000, 100, 1, 130)))]

    def found() -> list[float]:
        labels = [{"rule": "price_unit", "severity": "drop"}, {"rule": "price_band", "severity": "mark"}]
        name = "marketpulse_quality_found_total"
        return [REGISTRY.get_sample_value(name, {**label, "source": "feed"}) or 0.0 for label in labels]

    before = found()
    count_findings(engine.step(rows), batch_of(rows, 0, engine.strings))
    assert [now - then for now, then in zip(found(), before, strict=True)] == [2, 1]


def test_rows_are_counted_by_source_and_process_where_sources_are_mixed_and_one_says_hello_again() -> None:
    engine, counts = Engine(config_of(["1s"])), SourceCounts()

    def numbered(source: str, second: int) -> Row:
        return trade("A", second, 100, 1, source, trade_id=str(second))

    hellos = [hello(s, "historical", lateness_ns=0, sender=f"{s}1") for s in ("x", "y")]
    in_turn = [numbered(*of) for of in (("x", 1), ("x", 1), ("y", 1), ("y", 2), ("x", 5), ("y", 9))]
    other_origin = bar("A", "1s", 5, 6, (1, 1, 1, 1, 1), source="x")
    begun_again = [numbered("y", 9), hello("y", "historical", lateness_ns=0, sender="y2")]
    for rows in (
        [*hellos, *in_turn, numbered("y", 3), other_origin],  # its bar closed at 5, where x is
        [*begun_again, *(numbered(*of) for of in (("x", 5), ("y", 9), ("y", 10)))],
    ):
        count_sources(counts, engine.state, batch_of(rows, engine.offset, engine.strings), 0, engine.step(rows))
        if rows[0] is hellos[0]:
            assert counts.of("y") == SourceCount("y1", rows=4, late=1)
    assert counts.by_source == {
        "x": SourceCount("x1", rows=5, duplicates=2, refused=1), "y": SourceCount("y2", rows=2, duplicates=1),
    }  # fmt: skip
    assert SourceCounts.parse(f"5:30 {counts.text()}").by_source == counts.by_source


@pytest.mark.parametrize(("records", "rows"), [(3, 30_000), (30_000, 29_000)], ids=["frames", "refused records"])
def test_a_frame_counts_as_its_rows_and_a_refused_record_as_one(records: int, rows: int) -> None:
    owned = OwnedPartition(0, new_state(config_of(("1m",))), 0, 0, None)
    owned.take_in(7, records, rows)
    owned.take_in(9, records, rows)
    assert owned.unsaved == 60_000
    assert (owned.next_offset, owned.moved, owned.muted) == (9, True, False)


def notices(rows: list[Row], **quality: str) -> list[tuple[bytes, bytes]]:
    engine = checking(**quality)
    return quality_notices(batch_of(rows, 0, engine.strings), engine.step(rows).found)


def test_a_marked_row_is_told_by_the_contract_with_place_and_fault_and_one_only_counted_or_dropped_not() -> None:
    ((key, value),) = notices(PRICED)
    assert key == b"A"
    assert orjson.loads(value) == {
        "type": "quality", "symbol": "A", "source": "feed", "event_time_ns": MIDNIGHT_NS + 10**9,
        "rule": "price_unit", "offset": 2, "row": 0, "value": 10_000.0, "expected": 100.0,
        "detail": "10000 where 100 is about the level",
    }  # fmt: skip
    assert notices(PRICED, price_unit="count") == notices(PRICED, price_unit="drop") == []
    paid = {"amount": 150.0, "ex_time_ns": MIDNIGHT_NS, "event_time_ns": MIDNIGHT_NS + 60 * 10**9}
    event = {"type": "dividend", "symbol": "A", "source": "feed", **paid}
    ((key, value),) = notices([HELLO, bar("A", "1m", 0, 60, (100, 101, 99, 100, 5)), event])
    told = orjson.loads(value)
    assert (key, told["rule"], told["offset"]) == (b"A", "dividend", 2)
    ((_, value),) = notices(PRICED)
    batch, refused = MarketDecoder().decode("market", records_of([value]))
    assert (list(refused), batch.kind.tolist()) == ([], [Kind.QUALITY])
    engine = Engine(config_of(["1m"]))
    result = engine.step([{**orjson.loads(value), "source": "nobody"}])
    assert (len(result.refused), len(result.found), len(engine.state.sources)) == (0, 0, 0)


FAST_S, FIXED_S = 5e-6, 0.005  # what a record and a commit cost on a core of one's own


def turns(pace: Pace, count: int, core: float) -> list[float]:
    """How long each of so many turns takes where records wait without end, at this share of a core."""
    lasted = []
    for _ in range(count):
        lasted.append((FIXED_S + pace.records * FAST_S) / core)
        pace.note(pace.share_of(pace.records, 0), lasted[-1])
    return lasted


def test_at_full_speed_a_turn_takes_all_after_four_and_on_a_slow_machine_no_turn_is_long() -> None:
    pace = Pace()
    turns(pace, 4, core=1)
    assert pace.records == RECORDS_MOST
    (surprised, *after) = turns(pace, 60, core=0.02)
    assert surprised > pace.transaction_s, "the machine has become slow meanwhile"
    assert max(after) <= 1.2 * pace.turn_s
    assert sum(after[-10:]) > 5 * pace.turn_s, "and none is much shorter than it may be"
    assert max(turns(Pace(), 60, core=0.02)) <= 1.2 * pace.turn_s
    turns(pace, 40, core=1)
    assert pace.records == RECORDS_MOST


def test_a_few_records_say_nothing_and_a_transaction_that_ran_out_halves_the_share_and_gets_more_time() -> None:
    pace = Pace()
    turns(pace, 4, core=1)
    pace.note(pace.share_of(3, 600), 0.1)  # 33 ms a record, had a full turn as many such
    assert pace.share == 1
    for share, factor in ((1 / 2, 4), (1 / 4, 16), (1 / 8, 16)):
        pace.slow_down()
        assert (pace.share, pace.transaction_s) == (share, 10 * factor)
    assert pace.turn_s == 2, "what a turn may last is a fifth of the first time"
    for _ in range(20):
        pace.slow_down()
    assert (pace.records, pace.bars) == (10, 1_000)
