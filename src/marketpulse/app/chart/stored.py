"""Bars as they are stored, with indicators beside them by the engine's own operators."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.model.adjusting import Adjust
from marketpulse.model.rows import LIVE_NAME
from marketpulse.settings import Settings

if TYPE_CHECKING:
    from marketpulse.query import LakeQuery

BEFORE_MAX = 200_000  # bars before the first one wanted that indicators are begun from
_VIEWS: dict[Adjust, str] = {"none": "bars", "split": "bars_adjusted", "all": "bars_total_return"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = "symbol, timeframe, open_time_ns, close_time_ns, open, high, low, close, volume, vwap, trade_count, revision"


@dataclass(frozen=True, slots=True)
class Span:
    """Bars that open in [start_ns, end_ns), the newest `bars` of them. None is no bound. `adjust`: for what prices and
    volumes are adjusted."""

    start_ns: int | None = None
    end_ns: int | None = None
    bars: int | None = None
    adjust: Adjust = "none"


def stored_bars(settings: Settings, symbol: str, timeframe: str, span: Span) -> pa.Table:
    """The last revision of each bar, oldest first.

    Raises ParameterError for a symbol or timeframe that has no bars, EnvironmentProblem when nothing is stored at all,
    Retryable while the lake is away.
    """
    from marketpulse.query import LakeQuery

    query = LakeQuery(settings)
    try:
        wanted = [f"symbol = {_text(symbol)}", f"timeframe = {_text(timeframe)}"]
        if span.start_ns is not None:
            wanted.append(f"open_time_ns >= {span.start_ns:d}")
        if span.end_ns is not None:
            wanted.append(f"open_time_ns < {span.end_ns:d}")
        where = " AND ".join(wanted)
        newest = "" if span.bars is None else f" LIMIT {span.bars:d}"
        rows = query.run(
            f"SELECT {_COLUMNS} FROM {_VIEWS[span.adjust]} WHERE {where} ORDER BY open_time_ns DESC{newest}"  # noqa: S608
        )
        if rows.num_rows == 0:
            raise _nothing(query, symbol, timeframe, settings)
        return _turned(rows)
    finally:
        query.close()


def older_bars(settings: Settings, symbol: str, timeframe: str, before_ns: int, adjust: Adjust = "none") -> pa.Table:
    """Those that open before, oldest first, the newest BEFORE_MAX of them: what indicators begin with."""
    from marketpulse.query import LakeQuery

    query = LakeQuery(settings)
    try:
        series = f"symbol = {_text(symbol)} AND timeframe = {_text(timeframe)} AND open_time_ns < {before_ns:d}"
        text = f"SELECT {_COLUMNS} FROM {_VIEWS[adjust]} WHERE {series} ORDER BY open_time_ns DESC LIMIT {BEFORE_MAX}"  # noqa: S608
        return _turned(query.run(text))
    finally:
        query.close()


def _turned(rows: pa.Table) -> pa.Table:
    return rows.take(pa.array(range(rows.num_rows - 1, -1, -1), pa.int64()))


def with_indicators(bars: pa.Table, indicators: str, settings: Settings) -> pa.Table:
    """The bars with a column for each value, null in its warm-up. Raises ParameterError for an unknown indicator."""
    if not indicators.strip() or bars.num_rows == 0:
        return bars
    from marketpulse.app.compute import compute_tape
    from marketpulse.app.engine_config import specs_of
    from marketpulse.settings import Mapping
    from marketpulse.sources.dataset import load_frame

    given = bars.select([n for n in ("symbol", "timeframe", "open_time_ns", "close_time_ns", "open", "high", "low", "close", "volume") if n in bars.column_names])  # fmt: skip
    symbol = str(bars.column("symbol")[0].as_py()) if "symbol" in bars.column_names else "DATA"
    tape = load_frame(pl.DataFrame(given), Mapping(symbol=symbol), symbol).tape
    values = pl.DataFrame(compute_tape(tape, settings.engine, None, indicators).table)
    own = [LIVE_NAME.get(name, name) for spec in specs_of(settings.engine, indicators) for name in spec.columns]
    kept, beside = pl.DataFrame(bars).drop(own, strict=False), values.select("open_time_ns", *own)
    joined = kept.join(beside, on="open_time_ns", how="left", maintain_order="left")
    return joined.to_arrow()


def time_ns(text: str, name: str) -> int:
    """`2024-05-01`, `2024-05-01T09:30` (UTC, unless it has a zone) as nanoseconds. Raises ParameterError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ParameterError(f"{name} is a time such as 2024-05-01 or 2024-05-01T09:30, found {text[:40]!r}") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return since // timedelta(microseconds=1) * 1_000


def _nothing(query: "LakeQuery", symbol: str, timeframe: str, settings: Settings) -> Exception:
    """Why there is nothing to see, and what to do."""
    rows = query.run("SELECT symbol, timeframe FROM bars GROUP BY ALL ORDER BY ALL").to_pylist()
    if not rows:
        return EnvironmentProblem(
            f"no bars are stored in {settings.data_dir} yet: `marketpulse up` stores what comes, `marketpulse load FILE` what is there"
        )
    symbols = sorted({row["symbol"] for row in rows})
    if symbol not in symbols:
        near = [name for name in symbols if name.upper() == symbol.upper()] or symbols
        shown = ", ".join(near[:12]) + (" …" if len(near) > 12 else "")
        return ParameterError(f"no bars of {symbol[:40]!r} are stored: there are {shown}")
    frames = [row["timeframe"] for row in rows if row["symbol"] == symbol]
    if timeframe not in frames:
        return ParameterError(f"{symbol} has no bars of {timeframe[:20]!r}: it has {', '.join(frames)}")
    return ParameterError(f"{symbol} has no {timeframe} bars in this time: choose another --from and --to")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
