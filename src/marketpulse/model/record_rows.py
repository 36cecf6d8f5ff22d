"""Rows that lie in memory as records: which bytes of a record are which value, for a writer that needs no columns."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from marketpulse.model.market import StringTable

ALWAYS = -1


class ValueKind(IntEnum):
    """What a value's bytes are, and how it is written."""

    DOUBLE = 0  # float64; null where it is not finite
    LONG = 1  # int64
    INT = 2  # int32
    DATE = 3  # int32, days since 1970-01-01
    NAME = 4  # int32, the id of a string


class RowField(NamedTuple):
    """One value of a row, under `name`, in the object `inside` where that is not empty.

    It lies `offset` bytes behind the beginning of the row's record in the block number `block`. `table`: of a NAME,
    whose strings its ids mean. `sign`: a byte of the first block's record; where that is negative the value is null.
    """

    name: str
    kind: ValueKind
    block: int
    offset: int
    inside: str = ""
    table: int = 0
    sign: int = ALWAYS


@dataclass(frozen=True, slots=True)
class RecordRows:
    """n rows as their fields describe them: arrays of n records, or of one that serves all rows; and the strings."""

    blocks: tuple[np.ndarray, ...]
    tables: tuple[StringTable, ...]

    def __len__(self) -> int:
        """n: the first block has a record of each row."""
        return len(self.blocks[0])
