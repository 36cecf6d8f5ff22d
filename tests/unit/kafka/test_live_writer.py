"""Live rows: what is measured. No broker is asked."""

from pathlib import Path

import numpy as np

from marketpulse.kafka.live_writer import LiveWriter
from marketpulse.model.market import StringTable
from marketpulse.model.record_rows import RecordRows, RowField, ValueKind
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY


def measured() -> float:
    return REGISTRY.get_sample_value("marketpulse_event_latency_seconds_count") or 0.0


def test_trades_that_waited_for_this_process_are_not_measured(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:9"})
    writer = LiveWriter(settings, [RowField("symbol", ValueKind.NAME, 0, 0)], began_ns=1_000)
    rows = RecordRows((np.zeros(2, np.int32),), (StringTable(["A"]),))
    before = measured()
    writer.write(rows, np.array([999, 0]), now_ns=2_000)
    writer.write(rows, np.array([0, 0]), now_ns=2_000)
    assert measured() == before
    writer.write(rows, np.array([1_000, 0]), now_ns=2_000)
    assert measured() == before + 1
    writer.close()
