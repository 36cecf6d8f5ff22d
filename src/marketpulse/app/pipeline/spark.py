"""The engine on Spark: the wiring, which Spark's Python workers call up by its name.

engine_rows(log, make_step(settings)) -> the engine's rows, as records for their topics
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from marketpulse.app.engine_config import engine_config
from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.market_reader import Decoded, MarketReader
from marketpulse.kafka.relayed import relayed_message
from marketpulse.kafka.transaction import PartitionRecords
from marketpulse.settings import EngineSettings, Settings
from marketpulse.spark.step import LogRecord, PartitionStep, Wire


def make_step(settings: Settings) -> Callable[[], PartitionStep]:
    """A step of this configuration, to be made where it runs. It travels as text: calendars stay at home."""
    return partial(_step_of, settings.topic("market"), settings.engine.model_dump_json())


@lru_cache(maxsize=1)
def _step_of(topic: str, engine: str) -> PartitionStep:
    """Once in each of Spark's Python workers."""
    config = engine_config(EngineSettings.model_validate_json(engine))
    reader = MarketReader(topic)
    return PartitionStep(
        config, topic, Wire(partial(_decode, reader, topic), encode_rows, encode_dead_letter)
    )


def _decode(reader: MarketReader, topic: str, partition: int, records: Sequence[LogRecord]) -> Decoded:
    messages = [
        relayed_message(topic, partition, r.offset, r.append_time_ms, r.key, r.value, r.content_type)
        for r in records
    ]
    (decoded,) = reader.decode(PartitionRecords(partition, messages), 0, 0)
    return decoded
