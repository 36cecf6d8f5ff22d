"""The engine on Spark: the wiring, which Spark's Python workers call up by its name.

engine_rows(log, make_step(settings)) -> the engine's rows, as records for their topics
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np

from marketpulse.app.engine_config import engine_config
from marketpulse.kafka.codec import FRAME_CONTENT_TYPE, encode_rows
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.market_reader import Decoded, MarketReader
from marketpulse.kafka.records import records_of
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
    return PartitionStep(config, topic, Wire(partial(_decode, reader), encode_rows, encode_dead_letter))


def _decode(reader: MarketReader, partition: int, records: Sequence[LogRecord]) -> Decoded:
    laid_out = records_of(
        [record.value for record in records],
        partition,
        np.array([record.offset for record in records], np.int64),
        keys=[record.key for record in records],
        appended_ms=np.array([record.append_time_ms for record in records], np.int64),
        frames=[record.content_type == FRAME_CONTENT_TYPE for record in records],
    )
    (decoded,) = reader.decode(laid_out, 0, 0)
    return decoded
