"""How the engine's state lies in memory: one row per source, symbol, group and open bar.

Plain structured arrays, so that kernels loop over them and a snapshot is their bytes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEVER = -(2**63)  # a time before all times, and an offset before all offsets: not known yet
NO_PLACE = -1  # instead of an offset: no record. Those of loaded history lie far below (model.market.LOADED)

# What a source said of itself
MODE_UNKNOWN, MODE_LIVE, MODE_HISTORICAL = 0, 1, 2

# What a symbol's bars are made from
ORIGIN_NONE, ORIGIN_TRADES, ORIGIN_BARS = 0, 1, 2

SOURCE = np.dtype([
    ("watermark_ns", "i8"),
    ("lateness_ns", "i8"),
    ("last_log_ns", "i8"),  # log time at its last record
    ("live", "i1"),
    ("mode", "i1"),
    ("calendar", "i4"),  # index into the calendars; -1: follows the venue
])  # fmt: skip

SYMBOL = np.dtype([
    ("feeds", "u8"),  # bit per source that feeds it
    ("switched", "i1"),  # 1: a `switch` record has said which source feeds it; no row adds another
    ("group", "i4"),
    ("rank", "i4"),  # its place among the partition's symbols in alphabetical order
    ("floor_ns", "i8"),  # its watermark when it joined its group
    ("calendar", "i4"),
    ("session", "i4"),  # the session found last, in the calendar's table
    ("origin", "i1"),
    ("base", "i4"),  # the smallest timeframe that its bars are built in
    ("until_ns", "i8"),  # the last close of its source's bars of all lengths; NEVER: they are of one length
    ("dirty", "i1"),  # changed since it was shown last, by a trade or a quote
    ("stale", "i1"),  # STALE_NOT, STALE_BARS or STALE_TOLD
    ("taken", "i8"),  # trades that entered its bars
    ("newest_ns", "i8"),  # the largest event time among them
    ("next_floor_ns", "i8"),  # newest_ns when half the window's number of trades had come last
    ("floor_by_count_ns", "i8"),  # and the time before: older ones left the window by number
    ("changed_offset", "i8"),  # of its newest correction or cancel; -1: none
    ("changed_row", "i4"),
    ("event_ns", "i8"),  # of its newest accepted trade or bar
    ("ingest_ns", "i8"),  # of its newest accepted row of any kind
    ("quote_head", "i4"),  # the newest of its kept quotes (engine.quotes); -1: none
    ("pinned_ns", "i8"),  # its anchor stays here while a rebuild is on its way; UNPINNED: none is
    ("bars_kept", "i8"),  # of its source's, and from which log time on those that came late are put in; NO_LATE_BARS
    ("late_due_ns", "i8"),
    ("sealed", "i1"),  # 1: its source's bars are not kept any more, and none may come late
])  # fmt: skip

UNPINNED = NO_LATE_BARS = 2**63 - 1

# How far a symbol's bars are from what its trades say (engine.revise)
STALE_NOT, STALE_BARS, STALE_TOLD = 0, 1, 2
"""The bars lack a change; or they hold it, and those who read were not told yet."""

GROUP = np.dtype([
    ("feeds", "u8"),  # the sources that feed the symbols of this group
    ("watermark_ns", "i8"),
    ("closed_ns", "i8"),  # the watermark up to which its bars have been closed
    ("size", "i8"),  # open bars in its heap
])  # fmt: skip
"""Symbols fed by the same set of sources share one watermark, and one heap of bars that wait for it."""

BAR = np.dtype([
    ("symbol", "i4"),
    ("frame", "i4"),
    ("open_ns", "i8"),
    ("close_ns", "i8"),
    ("base", "i4"),  # the smallest timeframe in it: of a source's bars there may be several
    ("due_ns", "i8"),  # the watermark that closes it: close_ns, at the session's end the grace later
    ("parts", "i8"),  # trades or smaller bars in it; 0: nothing yet
    ("open", "f8"),
    ("high", "f8"),
    ("low", "f8"),
    ("close", "f8"),
    ("first_event_ns", "i8"),  # of the trade that gave the open; when the smaller bar that did opens
    ("last_event_ns", "i8"),  # the same of the close
    ("trade_count", "i8"),  # -1: a part did not say
    ("has_vwap", "i1"),  # 0: a part came without one
    ("has_volume", "i1"),  # 0: a part came without one
    ("source", "i4"),
    ("venue", "i4"),
    ("session_date", "i4"),
    ("first_offset", "i8"),
    ("first_row", "i4"),
    ("last_offset", "i8"),
    ("last_row", "i4"),
    ("late_count", "i8"),  # trades that came, or were changed, after it had closed
    ("next", "i4"),  # the next older open bar of the same series, or the next free slot
])  # fmt: skip

CLOSED = np.dtype([
    ("symbol", "i4"),
    ("frame", "i4"),
    ("open_ns", "i8"),
    ("close_ns", "i8"),
    ("open", "f8"),
    ("high", "f8"),
    ("low", "f8"),
    ("close", "f8"),
    ("volume", "f8"),  # NaN: a part came without one
    ("notional", "f8"),  # Σ price·size; for bars without vwap: typical price × volume
    ("vwap", "f8"),
    ("trade_count", "i8"),
    ("source", "i4"),
    ("venue", "i4"),
    ("session_date", "i4"),
    ("first_offset", "i8"),
    ("first_row", "i4"),
    ("last_offset", "i8"),
    ("last_row", "i4"),
    ("late_count", "i8"),
    ("revision", "i8"),
    ("bid", "f8"),  # from here on: of the quote that prevails at the close; NaN: none
    ("bid_size", "f8"),
    ("ask", "f8"),
    ("ask_size", "f8"),
    ("quote_offset", "i8"),  # -1: none
    ("quote_row", "i4"),
    ("factor", "f8"),  # shares of now for one of the series' first bar (engine.splits); once it has indicator values
    ("built", "i1"),  # 1: from bars of a smaller timeframe
])  # fmt: skip
"""One bar as it leaves the bar builder, in order of emission, and the quote at its close."""

BAR_BYTES: int = CLOSED.fields["bid"][1]  # type: ignore[index]
"""How many bytes of a row of CLOSED are the bar; the quote lies behind them."""
ROW_BYTES: int = CLOSED.fields["factor"][1]  # type: ignore[index]
"""How many are the bar and its quote: what a reader is told."""

KEPT = np.dtype([
    ("symbol", "i4"),
    ("source", "i4"),
    ("venue", "i4"),
    ("cancelled", "i1"),
    ("has_id", "i1"),
    ("id_high", "i8"),
    ("id_low", "i8"),
    ("event_ns", "i8"),
    ("price", "f8"),
    ("size", "f8"),
    ("offset", "i8"),
    ("row", "i4"),
    ("changed_offset", "i8"),  # of the correction or cancel that changed it last; -1: none
    ("changed_row", "i4"),
    ("late_frames", "u4"),  # a bit for each timeframe whose bar had closed when it came or was changed
])  # fmt: skip
"""One trade inside the correction window, in order of the log."""

KEPT_BAR = np.dtype([
    ("symbol", "i4"),
    ("source", "i4"),
    ("venue", "i4"),
    ("frame", "i4"),
    ("late", "i1"),  # IN_TIME, LATE_BAR or LATE_EMITTED
    ("covered", "i1"),  # UNCOVERED, COVERED or ALONE
    ("missed", "u4"),  # a bit for each larger timeframe whose bar over it had closed; 0 once it has been revised
    ("open_ns", "i8"),
    ("close_ns", "i8"),
    ("open", "f8"),
    ("high", "f8"),
    ("low", "f8"),
    ("close", "f8"),
    ("volume", "f8"),
    ("vwap", "f8"),  # NaN: the source gives none
    ("trade_count", "i8"),  # -1: unknown
    ("offset", "i8"),
    ("row", "i4"),
])  # fmt: skip
"""One final bar of a source that only has bars, in order of the log."""

IN_TIME, LATE_BAR, LATE_EMITTED = 0, 1, 2
"""A kept bar came in order of time; or behind a later one, and no row holds it yet; or the rows that hold it are emitted."""

UNCOVERED, COVERED, ALONE = 0, 1, 2
"""Nothing smaller lies in a kept bar's time; or its row is built from what does, and it only says when that ends; or its
timeframe is no multiple of what does, and nothing is built from it."""

QUOTE = np.dtype([
    ("event_ns", "i8"),
    ("slot_end_ns", "i8"),  # when the smallest time bar over it closes
    ("session_date", "i4"),
    ("bid", "f8"),
    ("bid_size", "f8"),
    ("ask", "f8"),
    ("ask_size", "f8"),
    ("offset", "i8"),  # -1: there is none
    ("row", "i4"),
    ("next", "i4"),  # the next older kept quote of the same symbol, or the next free place
])  # fmt: skip
"""One quote: the last of its slot, a bar of the smallest timeframe."""

QUALITY = np.dtype([
    ("level", "f8"),  # the price last believed (engine.price_level)
    ("scale", "f8"),
    ("waiting", "f8"),  # the newest price that was not
    ("time_ns", "i8"),  # of the newest believed row, a bar's close; NEVER: none
    ("size", "f8"),  # a running median
    ("last_price", "f8"),  # of the newest row, believed or not; a bar's close
    ("last_size", "f8"),
    ("seen", "i2"),
    ("sizes", "i2"),
    ("refused", "i2"),  # in a row
    ("agreeing", "i2"),  # of them, the newest that agree
    ("repeats", "i4"),  # how often the newest row has come again
    ("last_open", "f8"),  # from here on: of a source's bars
    ("last_high", "f8"),
    ("last_low", "f8"),
    ("before", "f8"),  # the level before the newest one
    ("leap", "f8"),  # how far the newest one is from it
    ("day", "i8"),  # the newest bar's session, -1: none
    ("behind", "i8"),  # how many bars of it were left, with that one
    ("dense", "i2"),  # how far the series has nearly all its bars
    ("always", "i1"),  # 1: trades on Saturdays
    ("split_ns", "i8"),  # the newest announced split and dividend; NEVER: none
    ("split", "f8"),
    ("due_ns", "i8"),  # from here on prices stand where a split of the ratio `due` puts them; 0: none is due
    ("due", "f8"),
    ("yield_ns", "i8"),  # NEVER: none that is not seen in the price yet
    ("yielded", "f8"),  # its part of the price
    ("dividend_ns", "i8"),
    ("dividend", "f8"),
])  # fmt: skip
"""What the rules of data quality remember of a symbol's trades or bars, and the same of its quotes."""

FOUND = np.dtype([
    ("row", "i8"), ("rule", "i4"), ("severity", "i4"), ("value", "f8"), ("expected", "f8"),
])  # fmt: skip
"""One finding: the row's index in the batch, the rule and its severity (model.quality), what the row says and what the
symbol's rows before it would have."""

# Of a symbol's two places in `Tables.last_quotes`
NEWEST, LOGGED = 0, 1
"""The newest quote by (event time, place in the log), and the last one of the log."""

REJECT = np.dtype([("row", "i8"), ("reason", "i4"), ("frames", "u8")])
"""One row that the engine refuses: its index in the batch, why, and which timeframes (a bit each).

BEHIND_WINDOW is no refusal: the row is of a historical source, and a rebuild brings it in."""

REASON_NAMES = (
    "future_time",
    "past_time",
    "too_late",
    "other_origin",
    "unknown_timeframe",
    "too_many_symbols",
    "unknown_trade",
    "too_many_sources",
    "too_many_venues",
    "quality",
    "too_many_splits",
    "behind_window",
)
(
    FUTURE_TIME, PAST_TIME, TOO_LATE, OTHER_ORIGIN, UNKNOWN_TIMEFRAME, TOO_MANY_SYMBOLS, UNKNOWN_TRADE,
    TOO_MANY_SOURCES, TOO_MANY_VENUES, QUALITY_RULE, TOO_MANY_SPLITS, BEHIND_WINDOW,
) = range(12)  # fmt: skip

# The single numbers of a partition's state, by place in `Tables.registers`
(
    LOG_TIME, FREE_BAR, FREE_BARS, FREE_QUOTE, FREE_QUOTES, N_SOURCES, N_SYMBOLS, N_GROUPS, N_KEPT, N_STALE,
    N_UNTOLD, N_KEPT_BARS, N_LATE_SYMBOLS, N_CLOSED, N_REJECTED, N_FOUND, OUT_OF_SESSION, LATE, DUPLICATES, QUOTES_CROSSED, QUOTES_LOCKED, QUOTES_LATE,
    QUOTES_TOO_LATE, QUOTES_OUT_OF_SESSION, N_REGISTERS,
) = range(25)  # fmt: skip
COUNTS_OF_A_STEP = slice(N_CLOSED, N_REGISTERS)
"""These begin at 0 in every step; the others are state."""
COUNTS_OF_QUOTES = slice(QUOTES_CROSSED, N_REGISTERS)

SOURCES_MAX = 64
VENUES_MAX = 4_096
"""Most in one partition. The cap on symbols is a setting."""


class Tables(NamedTuple):
    """Everything that the kernels read and write, for one partition.

    F timeframes, of which the first few are cut by count; S symbol rows; B bar slots; G groups; W kept trades;
    K kept bars; Q kept quotes.
    """

    registers: NDArray[np.int64]  # (N_REGISTERS,)
    sources: NDArray[np.void]  # (SOURCES_MAX,) SOURCE
    symbols: NDArray[np.void]  # (S,) SYMBOL
    groups: NDArray[np.void]  # (G,) GROUP
    heaps: NDArray[np.int32]  # (G, B) bar slots, each row a heap by due time
    bars: NDArray[np.void]  # (B,) BAR
    volume: NDArray[np.int64]  # (B, DIGITS) exact sums
    notional: NDArray[np.int64]  # (B, DIGITS)
    heads: NDArray[np.int32]  # (S, F) newest open bar of each series, -1: none
    closed_until: NDArray[np.int64]  # (S, F) close time of the last closed bar of each series
    last_close: NDArray[np.float64]  # (S, F) its close
    window: NDArray[np.void]  # (W,) KEPT: the trades of the correction window, in order of the log
    ids: NDArray[np.int64]  # (power of two,) places in `window` by trade id (engine.trade_ids)
    kept_bars: NDArray[np.void]  # (K,) KEPT_BAR: of sources that only have bars, in order of the log; one more is free
    quotes: NDArray[np.void]  # (Q,) QUOTE: of each symbol a chain, newest first (engine.quotes)
    last_quotes: NDArray[np.void]  # (2 S,) QUOTE: NEWEST and LOGGED of symbol s at 2 s and 2 s + 1
    quality: NDArray[np.void]  # (2 S,) QUALITY: PRINTS and QUOTED of symbol s (engine.quality)


class MarketColumns(NamedTuple):
    """The columns of a model.MarketBatch, and what its interned ids mean in this partition.

    `symbol_of`, `source_of`, `venue_of`, `frame_of`: the decoder's id -> ours; see engine.translate.
    """

    kind: NDArray[np.int8]
    symbol: NDArray[np.int32]
    source: NDArray[np.int32]
    venue: NDArray[np.int32]
    event_time_ns: NDArray[np.int64]
    ingest_time_ns: NDArray[np.int64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]
    d: NDArray[np.float64]
    e: NDArray[np.float64]
    f: NDArray[np.float64]
    timeframe: NDArray[np.int32]
    open_time_ns: NDArray[np.int64]
    close_time_ns: NDArray[np.int64]
    trade_count: NDArray[np.int64]
    final: NDArray[np.int8]
    session_date: NDArray[np.int32]
    trade_id_start: NDArray[np.int64]
    trade_id_length: NDArray[np.int32]
    data: NDArray[np.uint8]
    offset: NDArray[np.int64]
    row: NDArray[np.int32]
    log_time_ns: NDArray[np.int64]
    symbol_of: NDArray[np.int32]
    source_of: NDArray[np.int32]
    venue_of: NDArray[np.int32]
    frame_of: NDArray[np.int32]


class Output(NamedTuple):
    """Where a step's kernels write: closed bars, refusals and findings, up to the counts in the registers."""

    closed: NDArray[np.void]
    rejected: NDArray[np.void]
    found: NDArray[np.void]
    scratch: NDArray[np.int32]  # bars that close at one row


class Sessions(NamedTuple):
    """All calendars' sessions, one after the other; calendar c owns rows [start[c], start[c + 1])."""

    start: NDArray[np.int64]
    open_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    date: NDArray[np.int32]


class Plan(NamedTuple):
    """What the configuration means to the kernels. `parent[o, f]`: the timeframe whose closed bars
    build f, for a symbol whose smallest one is o; -1: f is not built for it (or takes the input itself)."""

    length: NDArray[np.int64]  # (F,) nanoseconds, or trades for the first `ticks`
    is_session: NDArray[np.int8]  # (F,)
    parent: NDArray[np.int64]  # (F, F)
    ticks: int
    source_timeout_ns: int
    max_age_ns: int
    max_skew_ns: int
    grace_ns: int
    fill: int
    origin: int  # ORIGIN_NONE: the first to arrive wins
    given: int  # a source's bar stands where smaller ones lie in it too
    lateness_ns: int
    window_ns: int  # the correction window: behind the symbol's watermark
    window_trades: int  # and its trades
    kept_bars: int  # most of them
    revise_each: int  # 1: revisions leave after each row, not with the next heartbeat or clock
    quotes: int  # 1: an indicator reads the quote at the bar's close
    severity: NDArray[np.int8]  # by rule of data quality (model.quality)
    limits: NDArray[np.float64]  # what those rules compare with
