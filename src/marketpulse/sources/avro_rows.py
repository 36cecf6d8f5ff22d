"""Avro of other people -> raw rows: a record is a row, as a JSON object would be.

    [0, schema id (4 bytes)] Avro  -> the schema of that id, or of a file -> fields -> columns

Times become nanoseconds since 1970 where they have a zone, else text; decimals become text to the digit.
"""

import datetime as dt
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro

from marketpulse.errors import Fatal, RejectedRecord
from marketpulse.foreign_json import NestedTooDeep, refuse_deep
from marketpulse.ports import RejectedInput
from marketpulse.settings import KafkaSourceSettings
from marketpulse.sources.json_rows import rows_of_values
from marketpulse.sources.raw import RawRows
from marketpulse.sources.schema_registry import SchemaRegistry

_HEAD_BYTES = 5
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def avro_reader(settings: KafkaSourceSettings) -> "AvroReader | None":
    """None: the topic's records are JSON. Raises Fatal for a file that holds no schema."""
    if settings.schema_file is not None:
        return AvroReader(_schema_in(settings.schema_file), None, settings.schema_header)
    if settings.schema_registry is not None:
        registry = SchemaRegistry(settings.schema_registry, settings.registry_user, settings.registry_password)
        return AvroReader(None, registry, True)
    return None


class AvroReader:
    """One topic's records. `header`: each value begins with a zero byte and the number of its schema."""

    def __init__(self, schema: Any, registry: SchemaRegistry | None, header: bool) -> None:
        self._schema, self._registry, self._header = schema, registry, header
        self._parsed: dict[int, Any] = {}

    def rows(self, values: Sequence[bytes], origin: str, numbers: Sequence[int]) -> tuple[RawRows, list[int]]:
        """As json_rows.from_records. Raises Retryable while the registry is away, Fatal when it refuses."""
        found: list[tuple[int, Any]] = []
        broken: list[RejectedInput] = []
        for i, value in enumerate(values):
            try:
                row = _plain(self._read(value))
                refuse_deep(row)
                found.append((i, row))
            except (RejectedRecord, RecursionError, NestedTooDeep) as error:
                broken.append(RejectedInput("not_avro", str(error), origin, numbers[i], value))
        return rows_of_values(found, lambda i: (numbers[i], values[i]), origin, broken)

    def _read(self, value: bytes) -> Any:
        schema, begin = self._schema, 0
        if self._header:
            if len(value) < _HEAD_BYTES or value[0] != 0:
                raise RejectedRecord("the value does not begin with a zero byte and a schema id: see schema_header")
            begin = _HEAD_BYTES
            if self._registry is not None:
                schema = self._of(self._registry, int.from_bytes(value[1:_HEAD_BYTES], "big"))
        stream = io.BytesIO(value)
        stream.seek(begin)
        try:
            record = fastavro.schemaless_reader(stream, schema, None)
        except (EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, ArithmeticError) as error:
            raise RejectedRecord(f"not Avro of its schema: {error or type(error).__name__}") from None
        if stream.tell() != len(value):
            raise RejectedRecord(f"not Avro of its schema: {len(value) - stream.tell()} bytes are left over")
        return record

    def _of(self, registry: SchemaRegistry, number: int) -> Any:
        if number not in self._parsed:
            schema = registry.schema(number)
            try:
                self._parsed[number] = fastavro.parse_schema(schema)
            except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
                raise RejectedRecord(f"the schema {number} cannot be used: {error}") from None
        return self._parsed[number]


def _schema_in(path: Path) -> Any:
    try:
        return fastavro.parse_schema(json.loads(path.read_text()))
    except OSError as error:
        raise Fatal(f"schema_file {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
        raise Fatal(f"schema_file {path} holds no Avro schema: {error}") from None


def _plain(value: Any) -> Any:
    """What JSON could hold of it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return (value - _EPOCH) // dt.timedelta(microseconds=1) * 1_000
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value
