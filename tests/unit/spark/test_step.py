"""A partition's step with nothing kept in between but bytes, as Spark hands it its part; and what a Spark of one machine is started with."""

import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from market_rows import MIDNIGHT_NS, at
from marketpulse.app.pipeline.spark import make_step
from marketpulse.errors import Fatal
from marketpulse.settings import Settings
from marketpulse.spark.session import _builder, _environment, _java_home
from marketpulse.spark.step import Kept, LogRecord, OutputRow
from marketpulse.spark.streaming import _take
from refused import assert_raises

SETTINGS = Settings(engine={"timeframes": ("1s",), "indicators": "sma(2)"})
STEP = make_step(SETTINGS)()


def record(offset: int, seconds: float, row: dict[str, Any]) -> LogRecord:
    value = json.dumps({"source": "feed", "event_time_ns": at(seconds), **row}).encode()
    return LogRecord(offset, (MIDNIGHT_NS + round(seconds * 1e9)) // 1_000_000, b"AAA", value, None)


def trade(offset: int, seconds: float, price: float, size: float) -> LogRecord:
    return record(offset, seconds, {"type": "trade", "symbol": "AAA", "price": price, "size": size})


def heartbeat(offset: int, seconds: float) -> LogRecord:
    return record(offset, seconds, {"type": "heartbeat"})


WORKED_EXAMPLE = [  # docs/semantics.md, its last table
    trade(0, 10.2, 5, 1), trade(1, 10.9, 7, 3), trade(2, 12.5, 6, 2), trade(3, 10.4, 4, 1), heartbeat(4, 13.0),
    trade(5, 11.5, 9, 1), trade(6, 10.95, 8, 5), heartbeat(7, 13.5),
]  # fmt: skip


def run(batches: Sequence[Sequence[LogRecord]]) -> list[OutputRow]:
    kept: Kept | None = None
    found: list[OutputRow] = []
    for batch in batches:
        kept, rows = STEP(3, kept, batch)
        found += rows
    return found


def test_the_worked_example_comes_out_record_by_record_with_alerts_of_rules_put_and_dead_letters() -> None:
    rows = run([[record] for record in WORKED_EXAMPLE])
    bars = [json.loads(row.value) for row in rows if row.topic == "bars"]
    names = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    assert [tuple(bar[name] for name in names) for bar in bars] == [
        (5, 7, 4, 7, 5, 6.0, 3, 0), (6, 6, 6, 6, 2, 6.0, 1, 0), (5, 8, 4, 8, 10, 7.0, 4, 1), (9, 9, 9, 9, 1, 9.0, 1, 0),
    ]  # fmt: skip
    assert (bars[0]["receipt"]["first_offset"], bars[0]["receipt"]["last_offset"]) == (0, 3)
    assert [bar["receipt"]["late_count"] for bar in bars] == [0, 0, 1, 1]
    assert {bar["receipt"]["partition"] for bar in bars} == {3}
    put = control(0, {"action": "put_rule", "rule": {"name": "high", "expression": "close > 6.5"}})
    rows = run([[put], [trade(1, 10.2, 7, 1), trade(2, 11.5, 6, 2)], [heartbeat(3, 13.0)]])
    assert {row.topic for row in rows} == {"alerts", "bars", "indicators"}
    alerts = [json.loads(row.value) for row in rows if row.topic == "alerts"]
    assert [(a["rule"], a["state"], a["message"], a["receipt"]["first_offset"]) for a in alerts] == [
        ("high", "raised", "AAA: high is raised at 7", 1),
        ("high", "cleared", "AAA: high is cleared at 6", 2),
    ]
    (row,) = run([[LogRecord(8, 0, b"k", b"no market data", None)]])
    letter = json.loads(row.value)
    assert (row.topic, row.key) == ("dead-letters", b"k")
    assert (letter["reason"], letter["partition"], letter["offset"]) == ("not_json", 3, 8)
    (row,) = run([[control(4, {"action": "put_rule", "rule": {"name": "high", "expression": "clse > 6"}})]])
    letter = json.loads(row.value)
    assert (row.topic, letter["reason"], letter["offset"]) == ("dead-letters", "bad_control", 4)
    assert letter["detail"].startswith("the change that the control record states cannot be made: rule 'high'")
    assert letter["detail"].endswith("did you mean 'close'?\n  clse > 6\n  ^")


def by_topic(rows: list[OutputRow]) -> dict[str, list[bytes]]:
    """Each topic's values in order; which topic's rows come first within a batch depends on the cut."""
    return {topic: [row.value for row in rows if row.topic == topic] for topic in {row.topic for row in rows}}


def test_any_cut_and_any_order_inside_a_batch_give_every_topic_the_same_rows() -> None:
    whole = by_topic(run([WORKED_EXAMPLE]))
    assert set(whole) == {"bars", "indicators"}
    random_ = random.Random(5)
    for _ in range(20):
        cuts = sorted(random_.choices(range(len(WORKED_EXAMPLE) + 1), k=3))
        batches = [list(WORKED_EXAMPLE[a:b]) for a, b in zip([0, *cuts], [*cuts, len(WORKED_EXAMPLE)], strict=True)]
        for batch in batches:
            random_.shuffle(batch)
        rows = run(batches)
        assert (by_topic(rows), [row.sequence for row in rows]) == (whole, list(range(len(rows))))


def test_the_same_batch_gives_the_same_again_one_before_is_refused_and_a_new_partition_keeps_nothing() -> None:
    kept, _ = STEP(0, None, WORKED_EXAMPLE[:4])
    assert STEP(0, kept, WORKED_EXAMPLE[4:]) == STEP(0, kept, WORKED_EXAMPLE[4:])
    assert STEP(0, kept, []) == (kept, [])
    assert_raises(Fatal, r"record 4 was expected, 3 came.*new checkpoint", STEP, 0, kept, WORKED_EXAMPLE[3:])
    other = make_step(Settings(engine={"timeframes": ("1s",), "indicators": "sma(3)"}))()
    assert_raises(Fatal, r"other timeframes, indicators or rules.*new checkpoint", other, 0, kept, [heartbeat(8, 14.0)])

    def step(_partition: int, kept: Kept | None, _records: list[LogRecord]) -> tuple[Kept, list[OutputRow]] | None:
        return (Kept(b"s", 8, 0), []) if kept is None else None

    state = State()
    (rows,) = _take(lambda: step, (0,), frames(), state)  # type: ignore[arg-type, return-value]
    assert (len(rows), list(rows.columns)) == (0, ["partition", "sequence", "topic", "key", "value"])
    assert state.get == (b"s", 8, 0)


def control(offset: int, change: dict[str, Any]) -> LogRecord:
    return record(offset, 10.0, {"type": "control", "source": None, "change": change})


class State:
    """As Spark's GroupState: what was updated last."""

    def __init__(self, value: tuple[Any, ...] | None = None) -> None:
        self.get, self.exists = value, value is not None

    def update(self, value: tuple[Any, ...]) -> None:
        self.get, self.exists = value, True


def frames() -> Iterator[pd.DataFrame]:
    """Two pieces; binary values as bytes, as bytearrays and missing, as Spark and pandas may give them."""
    names = ["offset", "append_time_ms", "key", "value", "content_type"]
    yield pd.DataFrame([(7, 70, b"k", bytearray(b"v"), None)], columns=names)
    yield pd.DataFrame([(6, 60, None, None, float("nan"))], columns=names)


def test_the_pieces_reach_the_step_with_what_was_kept_and_its_rows_leave() -> None:
    seen: list[Any] = []

    def step(partition: int, kept: Kept | None, records: list[LogRecord]) -> tuple[Kept, list[OutputRow]]:
        seen.append((partition, kept, records))
        return Kept(b"after", 8, 2), [OutputRow(0, "bars", b"A", b"x"), OutputRow(1, "bars", None, b"y")]

    state = State((b"before", 6, 0))
    (rows,) = _take(lambda: step, (np.int32(2),), frames(), state)  # type: ignore[arg-type, return-value]
    records = [LogRecord(7, 70, b"k", b"v", None), LogRecord(6, 60, None, None, None)]
    assert seen == [(2, Kept(b"before", 6, 0), records)]
    assert state.get == (b"after", 8, 2)
    assert list(rows.itertuples(index=False, name=None)) == [
        (2, 0, "bars", b"A", b"x"), (2, 1, "bars", None, b"y"),
    ]  # fmt: skip


def test_the_launcher_takes_the_incubating_module_away_and_passes_the_rest_on(tmp_path: Path) -> None:
    java = tmp_path / "a java" / "java"
    java.parent.mkdir()
    java.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    java.chmod(0o755)
    home = _java_home(java, tmp_path / "home")
    asked = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=b c", "--add-opens=x", "it's"]
    said = subprocess.run([home / "bin" / "java", *asked], capture_output=True, text=True, check=True).stdout
    assert said == "<-Xmx1g><-Da=b c><--add-opens=x><it's>"


def test_a_start_leaves_the_environment_listens_on_loopback_and_writes_into_its_folder(tmp_path: Path) -> None:
    before = dict(os.environ)
    with _environment({"MARKETPULSE_TEST_NEW": "1", "PATH": "/nowhere"}):
        assert (os.environ["MARKETPULSE_TEST_NEW"], os.environ["PATH"]) == ("1", "/nowhere")
    assert dict(os.environ) == before
    options = _builder(tmp_path, 2, 600)._options
    assert options["spark.ui.enabled"] == "false"
    assert options["spark.driver.bindAddress"] == options["spark.driver.host"] == "127.0.0.1"
    for name in ("spark.local.dir", "spark.sql.warehouse.dir"):
        assert Path(options[name]).is_relative_to(tmp_path)
