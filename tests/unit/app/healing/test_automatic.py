"""What came too late is healed by itself or by `heal`: when a run begins, the time it takes in, what is said of it; and
what a worker counts, what it says of rows that look wrong, and how much it takes at once."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import orjson
import pyarrow as pa
import pytest

from market_rows import MIDNIGHT_NS, Engine, Row, bar, batch_of, config_of, hello, trade
from marketpulse.app.counts import count_alerts, count_findings, count_sources
from marketpulse.app.healing.automatic import AutomaticHeal
from marketpulse.app.healing.heal import _Heal
from marketpulse.app.pace import RECORDS_MOST, Pace
from marketpulse.app.partition import OwnedPartition
from marketpulse.app.quality_notices import quality_notices
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.supervisor import Event
from marketpulse.clock import ManualClock
from marketpulse.engine.state import new_state
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.records import records_of
from marketpulse.kafka.source_counts import SourceCount, SourceCounts
from marketpulse.model.market import Kind
from marketpulse.model.rows import ALERT
from marketpulse.query.stored_rows import Wanted
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY
from vendor_server import Reply, Request, VendorServer

HEALED = {"symbol": "A", "trades": 7, "changed": 1, "outcome": "healed"}
OF_HISTORY = {"behind": 'source_rows_total{source="s",fate="behind"}', "ended": "histories_ended_total"}
REFUSED = {"symbol": "B", "trades": 1, "changed": 0, "outcome": "refused", "detail": "no bar"}


class Worker:
    """The metrics of an engine's process: dead letters by reason, history that came `behind`, and histories that `ended`."""

    def __init__(self, run_dir: Path) -> None:
        self.counts: dict[str, int] = {}
        self.server = VendorServer(self.answer)
        (run_dir / "process-0.json").write_text(json.dumps({"metrics_port": urlsplit(self.server.url).port}))

    def answer(self, _: Request) -> Reply:
        names = {n: f'dead_letters_total{{reason="{n}"}}' for n in self.counts} | OF_HISTORY
        lines = [f"marketpulse_{names[n]} {count}" for n, count in self.counts.items()]
        types = [f"# TYPE marketpulse_{n} counter" for n in ("dead_letters", "source_rows", "histories_ended")]
        return Reply(200, "\n".join([*types, *lines, ""]).encode())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    worker = Worker(tmp_path / "run")
    yield worker
    worker.server.close()


def run_of(heal: AutomaticHeal) -> None:
    """Look until the run that has begun has ended."""
    heal.look()
    assert heal._process is not None
    heal._process.wait()
    heal.look()


def test_a_run_begins_when_nothing_more_comes_and_says_what_was_brought_in(worker: Worker, tmp_path: Path) -> None:
    said: list[Event] = []
    clock, command = ManualClock(), [sys.executable, "-c", f"print({json.dumps(json.dumps([HEALED, REFUSED]))})"]
    heal = AutomaticHeal(tmp_path, command, said.append, clock)
    worker.counts["bad_json"] = 3
    heal.look()
    clock.sleep(60)
    heal.look()
    assert (heal._process, (tmp_path / "heal.pending").exists()) == (None, False)  # nothing of this came too late
    worker.counts["too_late"] = 4
    heal.look()
    clock.sleep(4)
    heal.look()
    assert (heal._process, (tmp_path / "heal.pending").exists()) == (None, True)
    clock.sleep(1)
    run_of(heal)
    assert [(event.what, event.bad) for event in said] == [
        ("brought in 8 rows that came too late, of A", False),
        ("cannot bring in what came too late of B: no bar", True),
    ]
    assert not (tmp_path / "heal.pending").exists()


def test_after_a_run_that_failed_and_after_a_restart_another_one_begins(worker: Worker, tmp_path: Path) -> None:
    said: list[Event] = []
    clock = ManualClock()
    heal = AutomaticHeal(tmp_path, [sys.executable, "-c", "raise SystemExit(4)"], said.append, clock)
    worker.counts["too_late"] = 1
    heal.look()
    clock.sleep(5)
    run_of(heal)
    log = tmp_path / "logs" / "heal.log"
    assert said == [Event("heal", f"ended with exit code 4, again in 30 s (log: {log})", bad=True)]
    clock.sleep(29)
    heal.look()
    assert heal._process is None
    clock.sleep(1)
    run_of(heal)
    worker.counts["too_late"] = 0  # the engine began anew
    run_of(AutomaticHeal(tmp_path, [sys.executable, "-c", "print('[]')"], said.append, clock))
    assert (len(said), (tmp_path / "heal.pending").exists()) == (2, False)


def test_history_is_healed_at_its_goodbye_and_half_a_minute_after_the_last_run(worker: Worker, tmp_path: Path) -> None:
    clock = ManualClock()
    heal = AutomaticHeal(tmp_path, [sys.executable, "-c", "print('[]')"], lambda _: None, clock)
    worker.counts |= {"behind": 5, "ended": 0}
    heal.look()
    assert heal._process is None
    worker.counts["ended"] = 1
    heal.look()
    assert heal._process is not None, "at once"
    heal._process.wait()
    clock.sleep(20)  # so long did it run
    worker.counts |= {"behind": 6, "ended": 2}
    heal.look()
    clock.sleep(29)
    heal.look()
    assert heal._process is None
    clock.sleep(1)
    heal.look()
    assert heal._process is not None
    heal.close()


NO_LOG, NO_LAKE, NO_CLOCK, NO_CONFIG = (cast(Any, SimpleNamespace()) for _ in range(4))


def test_late_trades_count_from_the_first_moment_asked_for_to_before_the_last_and_until_the_rebuild_began() -> None:
    #        (event time, offset, late)
    trades = [(10, 0, False), (19, 5, True), (20, 6, True), (29, 7, True), (30, 8, True), (25, 9, True)]
    times, offsets, late = zip(*trades, strict=True)
    table = pa.table({"event_time_ns": times, "offset": offsets})
    inputs = LakeInputs("market", 0, table, np.array(late), pa.table({}), {})
    inside = _Heal(Settings(), NO_CONFIG, NO_LOG, NO_LAKE, Wanted(20, 30), NO_CLOCK)._within(inputs, 9)
    assert (inside.trades["offset"].to_pylist(), inside.late.tolist()) == ([0, 6, 7], [False, True, True])


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
