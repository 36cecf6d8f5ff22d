"""Foreign rows before they are understood: columns as they stand in the file, and where each row lies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from marketpulse.model.market import Ints
from marketpulse.ports import RejectedInput

GUESSED_FROM_ROWS = 10_000
"""Rows that the meaning of the columns is guessed from."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """n rows of a file or topic, their columns named as there, values as text or as they came.

    `locate(i)` gives row i's line or row number (from 1) and its bytes. `broken` are rows that
    could not even be split into fields. `all_numbers` gives (n,) the numbers of all rows at once, where there is
    a quick way.
    """

    frame: pl.DataFrame
    origin: str
    locate: Callable[[int], tuple[int, bytes]]
    broken: Sequence[RejectedInput] = field(default=())
    all_numbers: Callable[[], Ints] | None = None

    def numbers(self) -> Ints:
        """(n,) each row's line or row number, as `locate` gives it."""
        if self.all_numbers is not None:
            return self.all_numbers()
        return np.array([self.locate(i)[0] for i in range(len(self.frame))], np.int64)

    def rejected(self, index: int, reason: str, detail: str) -> RejectedInput:
        row, value = self.locate(index)
        return RejectedInput(reason, detail, self.origin, row, value)


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a file, understood when it is asked for.

    `rows` gives all of it; `head` no fewer of its first rows than their columns' meaning is guessed from. `plain` gives
    the named columns (as these types where the file knows none but text, else as they are) and all rows' numbers, at
    much less cost, when every row is whole; None when that cannot be told so quickly.
    """

    rows: Callable[[], RawRows]
    head: Callable[[], RawRows]
    plain: Callable[[Mapping[str, pa.DataType]], tuple[pa.Table, Ints] | None]
