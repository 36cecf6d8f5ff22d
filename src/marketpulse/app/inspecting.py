"""`inspect`: what the rows of a file or a topic are understood to be, before anything is sent.

The same inference as of every source (sources.inference). Of a topic the first records are read; nothing is committed.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marketpulse.errors import Fatal, ParameterError
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.ports import RejectedInput
from marketpulse.settings import KafkaSourceSettings, Mapping, Settings
from marketpulse.sources.avro_rows import avro_reader
from marketpulse.sources.dataset import read_blocks
from marketpulse.sources.files import expand, is_data
from marketpulse.sources.inference import Inference, infer
from marketpulse.sources.json_rows import from_records
from marketpulse.sources.kafka_window import Window
from marketpulse.sources.known_files import symbol_of
from marketpulse.sources.raw import RawRows

_RECORDS_MAX = 1_000
_WITHIN_S = 5.0
_REFUSED_KEPT = 20


@dataclass(slots=True)
class Inspection:
    """What was understood of one file or topic. `first` is of its first rows; `refused` keeps the first rows of those that
    would be dead letters, `refused_count` counts all of them; `unit` says what their numbers count."""

    name: str
    unit: str
    mapping: Mapping
    first: Inference
    read: int = 0
    kinds: set[str] = field(default_factory=set)
    symbols: set[str] = field(default_factory=set)
    refused_count: int = 0
    refused: list[RejectedInput] = field(default_factory=list)

    def unknown_timeframes(self, settings: Settings) -> list[str]:
        """Those of the bars that the engine would not take."""
        return [name for name in self.first.timeframes if name not in settings.engine.timeframes]


def inspect(settings: Settings, name: str, mapping: dict[str, Any]) -> Iterator[Inspection]:
    """Look at the files that `name` stands for, else at the topic (or the configured source) of this name.

    `mapping`: fields of settings.Mapping that go before the configured ones. Raises Fatal, with what to set, for what
    cannot be understood; Retryable while the broker is away or the topic is missing.
    """
    if "://" in name:
        raise ParameterError(f"inspect {name}: an address is not read: fetch the file and name it here")
    if Path(name).expanduser().exists() or is_data(name) or set(name) & set("/*?"):
        for path in expand([name]):
            yield _inspect_blocks(str(path), "line", read_blocks(path), Mapping(**mapping), symbol_of(path))
        return
    sources = {key: s for key, s in settings.sources.items() if isinstance(s, KafkaSourceSettings)}
    source = sources.get(name) or next(
        (s for s in sources.values() if s.topic == name), KafkaSourceSettings(topic=name)
    )
    raw = _read_topic(settings, source)
    own = Mapping(**{**source.mapping.model_dump(), **mapping})
    yield _inspect_blocks(f"topic {source.topic}", "offset", [raw], own, source.topic.upper(), sparse=True)


def _inspect_blocks(
    name: str, unit: str, blocks: Iterable[RawRows], mapping: Mapping, symbol: str, *, sparse: bool = False
) -> Inspection:
    found: Inspection | None = None
    broken: list[RejectedInput] = []
    for raw in blocks:
        if found is None:
            if not len(raw.frame):
                broken += raw.broken
                continue
            first = infer(raw, mapping, name, symbol, sparse=sparse)
            found, rows, rejected = Inspection(name, unit, mapping, first), first.rows, [*broken, *first.rejected]
        else:
            block = found.first.reader.read(raw)
            rows, rejected = block.rows, block.rejected
        for kind, some in rows.items():
            found.kinds.add(kind)
            found.symbols.update(some.frame["symbol"].unique().to_list())
        found.read += len(raw.frame) + len(raw.broken)
        found.refused_count += len(rejected)
        found.refused += rejected[: _REFUSED_KEPT - len(found.refused)]
    if found is not None:
        found.refused.sort(key=lambda item: item.row)
    if found is None or not found.kinds:
        faults = found.refused if found else broken
        why = f": {faults[0].detail} ({unit} {faults[0].row})" if faults else ": it is empty"
        raise Fatal(f"{name}: no usable row{why}. If a column is misread, name it: --map price=COLUMN")
    return found


def _read_topic(settings: Settings, source: KafkaSourceSettings) -> RawRows:
    """The topic's first records, as rows in the order in which they arrived."""
    topic = KafkaForeignTopic(settings, source.topic, source.bootstrap_servers)
    window, deadline = Window({}), time.monotonic() + _WITHIN_S
    try:
        topic.seek({})
        while len(window) < _RECORDS_MAX and not topic.at_end() and (left := deadline - time.monotonic()) > 0:
            window.add(topic.poll(left))
    finally:
        topic.close()
    if not len(window):
        raise Fatal(f"the topic {source.topic} is empty: start what fills it, and look again")
    avro = avro_reader(source)
    order = window.in_order()[:_RECORDS_MAX]
    offsets = [window.offsets[i] for i in order]
    return (avro.rows if avro else from_records)([window.values[i] for i in order], source.topic, offsets)[0]
