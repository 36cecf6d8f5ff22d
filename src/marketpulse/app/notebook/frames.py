"""Stored and live bars as frames."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from marketpulse.app.chart.stored import Span, older_bars, stored_bars, time_ns, with_indicators
from marketpulse.app.frames import Kind, as_kind, in_utc, with_timestamps
from marketpulse.cache import kept_bytecode
from marketpulse.errors import ParameterError, QueryRefused
from marketpulse.model.adjusting import Adjust

if TYPE_CHECKING:
    from marketpulse.app.notebook.following import Live

USUAL_BARS = 500
LIVE_BARS_MOST = 10_000


@kept_bytecode()
def stored(
    symbol: str,
    timeframe: str = "1d",
    *,
    start: str | None = None,
    end: str | None = None,
    bars: int | None = None,
    indicators: str = "",
    adjust: Adjust = "none",
    frame: Kind = "polars",
) -> Any:
    """The stored bars of a symbol, the last revision of each, oldest first; with a column for each value of
    `indicators`, such as "sma(20),rsi(14)", by the engine's own operators over all that is stored before.

    `start` and `end` are times such as 2024-05-01 or 2024-05-01T09:30 (UTC); of what lies between, the newest `bars`.
    `adjust`: prices and volumes as they are stored ("none"), adjusted for splits ("split"), or for dividends too ("all").
    `frame`: polars, pandas or arrow. It reads the lake of this directory's settings; no server and no broker is needed.

    Raises ParameterError for a symbol, timeframe or indicator that there is not, EnvironmentProblem when nothing is
    stored, Retryable while the lake is away.
    """
    from marketpulse.settings import load_settings

    settings = load_settings(None)
    first = None if start is None else time_ns(start, "start")
    last = None if end is None else time_ns(end, "end")
    rows = stored_bars(settings, symbol, timeframe, Span(first, last, bars, adjust))
    if indicators.strip():
        import pyarrow as pa

        older = older_bars(settings, symbol, timeframe, rows.column("open_time_ns")[0].as_py(), adjust)
        whole = with_indicators(pa.concat_tables([older, rows]), indicators, settings)
        rows = whole.slice(older.num_rows)
    return as_kind(with_timestamps(rows), frame)


@kept_bytecode()
def sql(
    query: str = "",
    *,
    named: str | None = None,
    params: Mapping[str, str | int | float] | None = None,
    dialect: Literal["auto", "duckdb", "athena"] = "auto",
    frame: Kind = "polars",
) -> Any:
    """What is stored, by one SELECT, or by a query of the library with its values: `sql(named="losers", params={"days":
    90})`. It asks what `marketpulse sql` asks.

    Raises QueryRefused for what is no SELECT or wrong, with its place; QueryLimit for what needs more than `[sql]` allows;
    ParameterError for a name or a value; Retryable while the lake is away.
    """
    from marketpulse.ports import SqlMistake, SqlQuestion
    from marketpulse.query.desk import LakeDesk
    from marketpulse.query.mistakes import with_caret
    from marketpulse.settings import load_settings

    if bool(query.strip()) == (named is not None):
        raise ParameterError('give one query: sql("SELECT …"), or sql(named="losers")')
    values = {name: str(value) for name, value in (params or {}).items()}
    desk = LakeDesk(load_settings(None))
    try:
        rows = desk.answer(SqlQuestion(query, named, values, dialect)).rows
    except QueryRefused as refusal:
        if query and isinstance(refusal.mistake, SqlMistake):
            raise QueryRefused(with_caret(query, refusal.mistake)) from None
        raise
    finally:
        desk.close()
    return as_kind(in_utc(rows), frame)


def live(symbol: str, timeframe: str = "1m", *, bars: int = USUAL_BARS) -> "Live":
    """A frame that follows the log: the newest `bars` of a symbol with their indicators, the forming one too.

    `frame()` is how it stands now, `wait()` waits for something new, `close()` ends it; `with` does so by itself. It reads
    Kafka as the page's server does, in a thread of its own, and holds no more than `bars`.

    Raises ParameterError for more bars than may be held, EnvironmentProblem when there is no broker to follow.
    """
    from marketpulse.app.notebook.following import Live
    from marketpulse.kafka.feed import KafkaLiveFeed
    from marketpulse.settings import load_settings

    if not 1 <= bars <= LIVE_BARS_MOST:
        raise ParameterError(f"bars is from 1 to {LIVE_BARS_MOST:,}, found {bars}")
    return Live(KafkaLiveFeed(load_settings(None), bars), symbol, timeframe, bars)
