"""Ours: one engine worker, timeframe 1t; its rows go to Kafka, exactly once, with receipts."""

import time
from pathlib import Path

from counting_sink import Given, finish, given

from marketpulse.app.engine_config import engine_config
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.settings import Settings, load_settings

INDICATORS = "sma(20),ema(12),ema(26),rsi(14),macd(12,26,9),bbands(20,2),roc(10),vwap"


def settings_of(asked: Given, group: str) -> Settings:
    """Timeframe 1t and the eight indicators, on the bench's broker; no live rows."""
    base = load_settings(data_dir=Path(asked.work))
    kafka = {"bootstrap_servers": asked.bootstrap, "topic_prefix": asked.topic.removesuffix("market")}
    return base.model_copy(update={
        "kafka": base.kafka.model_copy(update=kafka),
        "engine": base.engine.model_copy(update={"timeframes": ("1t",), "indicators": INDICATORS}),
        "process": base.process.model_copy(update={"live_per_s": 0.0, "group": group}),
    })  # fmt: skip


def main() -> None:
    """Timed from the end of the first turn to the last commit."""
    asked = given()
    settings = settings_of(asked, "ours")
    worker = Worker(settings, engine_config(settings.engine), 0, SystemClock())
    worker.start()
    before = 0
    while not before:
        before = worker.turn()
    began, seen = time.perf_counter(), before
    records = asked.trades + 2 * asked.partitions  # each partition begins with a hello and ends with a goodbye
    while seen < records:
        seen += worker.turn()
    worker.stop()
    finish(time.perf_counter() - began, asked.trades - before, asked.trades, {})


if __name__ == "__main__":
    main()
