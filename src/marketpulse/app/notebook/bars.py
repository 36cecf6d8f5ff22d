"""Bars for a chart, from any frame."""

from typing import Any

import polars as pl
import pyarrow as pa

from marketpulse.app.frames import open_frame, with_nanoseconds
from marketpulse.errors import ParameterError


def bars_of(what: Any) -> tuple[pa.Table, str, str]:
    """Bars in order of time with open_time_ns, their symbol and timeframe.

    `what`: a live frame, or a pandas, Polars or Arrow frame. Raises ParameterError for what holds no bars, or those of
    several series.
    """
    opened = open_frame(what.frame("polars") if hasattr(what, "frame") else what, "a chart")
    frame = with_nanoseconds(opened.rows)
    if missing := [name for name in ("open", "high", "low", "close") if name not in frame.columns]:
        raise ParameterError(f"a chart needs a column {missing[0]}: the frame has {', '.join(frame.columns)}")
    if frame.height == 0:
        heard = what.heard() if hasattr(what, "heard") else []
        there = f": there are {', '.join(heard[:12])}{' …' if len(heard) > 12 else ''}" if heard else ""
        raise ParameterError(f"there is no bar to draw yet{there}")
    names = []
    for column, unknown in (("symbol", "DATA"), ("timeframe", "")):
        found = frame[column].unique().sort().to_list() if column in frame.columns else [unknown]
        if len(found) != 1:
            shown = ", ".join(map(str, found[:6])) or "no row"
            raise ParameterError(f"a chart shows one {column}, and the frame has {shown}: choose one of them first")
        names.append(str(found[0]))
    if "open_time_ns" not in frame.columns:
        times = [name for name, kind in frame.schema.items() if kind in (pl.Date,) or isinstance(kind, pl.Datetime)]
        if not times:
            raise ParameterError("a chart needs a column of times: open_time, or one of dates or times")
        frame = frame.with_columns(
            pl.col(opened.time or times[0]).cast(pl.Datetime("ns")).cast(pl.Int64).alias("open_time_ns")
        )
    return frame.sort("open_time_ns").to_arrow(), names[0], names[1]
