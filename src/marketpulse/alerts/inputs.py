"""What rules may read: the columns of closed bars with their indicators, and the timeframes."""

import difflib
from dataclasses import dataclass

from marketpulse.errors import ParameterError
from marketpulse.model.rows import LIVE_NAME
from marketpulse.model.timeframe import Cut, Timeframe

BAR_COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
"""The numbers of a closed bar, by the names of model.rows.BAR."""
_DEGREES = (1, 1, 1, 1, -1, 1, 0)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The columns of a row's values, in order, and the timeframes, as model.timeframe.parse_timeframes orders them.

    `degrees`: of each column, by which power of a split's ratio its earlier values are divided to stand in the units of
    now: 1 a price, -1 a volume, 0 what has no such unit. Columns beyond them have 0.

    Raises ParameterError when a column stands twice or there is no timeframe.
    """

    columns: tuple[str, ...]
    frames: tuple[Timeframe, ...]
    degrees: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.columns)) < len(self.columns):
            raise ParameterError("alert rules: a column's name stands twice")
        if not self.frames:
            raise ParameterError("alert rules: name at least one timeframe, such as 1m")

    @property
    def smallest(self) -> int:
        """The timeframe of a rule that names none: the shortest length of time; of tick bars alone, the fewest."""
        timed = [f for f, frame in enumerate(self.frames) if frame.cut != Cut.TICKS]
        return timed[0] if timed else 0

    def cut_by_count(self, frame: int) -> bool:
        return self.frames[frame].cut == Cut.TICKS

    def frame(self, name: str) -> int | None:
        """The place of a timeframe, None when it is not configured."""
        return next((f for f, frame in enumerate(self.frames) if frame.name == name), None)

    def frame_names(self) -> str:
        return ", ".join(frame.name for frame in self.frames)

    def column(self, name: str) -> int | None:
        """The place of a column, None when no row has it."""
        return self.columns.index(name) if name in self.columns else None

    def degree(self, column: int) -> int:
        """Of the column at this place."""
        return self.degrees[column] if column < len(self.degrees) else 0

    def near(self, name: str) -> str:
        """What an unknown column's message ends with: the names that come closest."""
        near = difflib.get_close_matches(name, self.columns, n=3, cutoff=0.6)
        if near:
            return f"; did you mean {' or '.join(repr(column) for column in near)}?"
        return f"; a rule reads {', '.join(self.columns)}"


def inputs_of(
    indicator_columns: list[str] | tuple[str, ...], frames: tuple[Timeframe, ...], degrees: tuple[int, ...] = ()
) -> Inputs:
    """The inputs of an engine with these indicator columns. The session's vwap has the name that it has beside
    the bar's in live rows. `degrees` are those of the indicators' columns."""
    names = (*BAR_COLUMNS, *(LIVE_NAME.get(name, name) for name in indicator_columns))
    return Inputs(names, frames, (*_DEGREES, *degrees))
