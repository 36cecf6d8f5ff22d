"""Live rows: what is measured. No broker is asked."""

from pathlib import Path

from board_rows import live, row
from marketpulse.kafka.live_writer import LiveWriter
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY


def measured() -> float:
    return REGISTRY.get_sample_value("marketpulse_event_latency_seconds_count") or 0.0


def test_trades_that_waited_for_this_process_are_not_measured(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:9"})
    writer = LiveWriter(settings, began_ns=1_000)
    before = measured()
    writer.write(live([], row("A", "1m", 0, 1.0, ingest_time_ns=999)).rows, now_ns=2_000)
    writer.write(live([], row("A", "1m", 0, 1.0, ingest_time_ns=0)).rows, now_ns=2_000)
    assert measured() == before
    writer.write(live([], row("A", "1m", 0, 1.0, ingest_time_ns=1_000)).rows, now_ns=2_000)
    assert measured() == before + 1
    writer.close()
