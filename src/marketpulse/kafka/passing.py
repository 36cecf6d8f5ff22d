"""Records that go from one topic into another as they are: copied end to end, without an object for each.

Of an Arrow frame only some rows may go; they become JSON, which every reader of the topic understands as well.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from marketpulse.compiled import bare_kernel
from marketpulse.kafka.market_tables import BARE_FIELDS
from marketpulse.kafka.records import Records
from marketpulse.kafka.row_codec import RowRecords, lay_out_rows
from marketpulse.kafka.words import copy_bytes
from marketpulse.model.market import Bytes, Ints, MarketBatch

_LINE_FEED = 10


def no_rows() -> RowRecords:
    return RowRecords(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.uint8), np.zeros(1, np.int64))


def records_as_rows(records: Records, chosen: Ints) -> RowRecords:
    """These JSON records (m,), by index and in this order, with their keys."""
    return _gathered(records.data, records.ends, records.keys, records.key_ends, chosen, 0)


def chosen_rows(rows: RowRecords, chosen: Ints) -> RowRecords:
    """These rows (m,), in this order."""
    return _gathered(rows.values, rows.value_ends, rows.keys, rows.key_ends, chosen, 1)


def joined_rows(parts: Sequence[RowRecords]) -> RowRecords:
    """All rows of all parts, one part behind the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_rows()
    values, keys = (_joined([getattr(p, name) for p in parts], [getattr(p, ends) for p in parts])
                    for name, ends in (("values", "value_ends"), ("keys", "key_ends")))  # fmt: skip
    return RowRecords(*values, *keys)


def _joined(parts: Sequence[Bytes], ends: Sequence[Ints]) -> tuple[Bytes, Ints]:
    data = np.concatenate([part[end[0] : end[-1]] for part, end in zip(parts, ends, strict=True)])
    sizes = np.concatenate([np.diff(end) for end in ends])
    return data, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def rows_as_text(batch: MarketBatch, rows: Ints) -> RowRecords:
    """Trades, quotes and bars of a batch, by row and in order, as JSON. Fields that the contract does not name are gone."""
    parts, order = [], []
    for kind, fields in BARE_FIELDS.items():
        of_kind = rows[batch.kind[rows] == kind]
        if len(of_kind):
            parts.append(lay_out_rows(pa.RecordBatch.from_pydict(fields(batch, of_kind)), nulls=False))
            order.append(of_kind)
    whole = joined_rows(parts)
    places = np.concatenate([np.empty(0, np.int64), *order])
    return whole if len(parts) < 2 else chosen_rows(whole, np.argsort(places, kind="stable"))


def _gathered(data: Bytes, ends: Ints, keys: Bytes, key_ends: Ints, chosen: Ints, behind: int) -> RowRecords:
    """`behind`: how many bytes at a value's end are its line feed, which is written anew."""
    sizes, key_sizes = np.diff(ends)[chosen] - behind + 1, np.diff(key_ends)[chosen]
    value_ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    new_key_ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(key_sizes)])
    values, new_keys = np.empty(value_ends[-1], np.uint8), np.empty(new_key_ends[-1], np.uint8)
    gather(data, ends, keys, key_ends, chosen, values, value_ends, new_keys, new_key_ends)
    return RowRecords(values, value_ends, new_keys, new_key_ends)


@bare_kernel
def gather(
    data: Bytes, ends: Ints, keys: Bytes, key_ends: Ints, chosen: Ints, values: Bytes, value_ends: Ints,
    new_keys: Bytes, new_key_ends: Ints,
) -> None:  # fmt: skip
    """Copy the chosen values, each with a line feed behind it, and their keys."""
    for i in range(chosen.size):
        row = chosen[i]
        size = value_ends[i + 1] - value_ends[i] - 1
        copy_bytes(values.ctypes.data + value_ends[i], data.ctypes.data + ends[row], size)
        values[value_ends[i + 1] - 1] = _LINE_FEED
        size = new_key_ends[i + 1] - new_key_ends[i]
        copy_bytes(new_keys.ctypes.data + new_key_ends[i], keys.ctypes.data + key_ends[row], size)
