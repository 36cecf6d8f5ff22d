"""Foreign rows before they are understood: columns as they stand in the file, and where each row lies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from marketpulse.ports import RejectedInput


@dataclass(frozen=True, slots=True)
class RawRows:
    """n rows of a file or topic, their columns named as there, values as text or as they came.

    `locate(i)` gives row i's line or row number (from 1) and its bytes. `broken` are rows that
    could not even be split into fields.
    """

    frame: pl.DataFrame
    origin: str
    locate: Callable[[int], tuple[int, bytes]]
    broken: Sequence[RejectedInput] = field(default=())

    def rejected(self, index: int, reason: str, detail: str) -> RejectedInput:
        row, value = self.locate(index)
        return RejectedInput(reason, detail, self.origin, row, value)
