"""What the lake says of a symbol's rows that its trades cannot: how often each was told, and which trades were late."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.compare import Table
from marketpulse.model.history import PAST_ALERT, PAST_REVISION

Stored = dict[Table, pa.Table]


def revisions_of(stored: Stored, frames: tuple[str, ...]) -> np.ndarray:
    """PAST_REVISION rows of every bar of these timeframes that was told more than once, or whose indicators were."""
    found: dict[tuple[int, int], list[int]] = {}
    for column, table in enumerate(("bars", "indicators")):
        rows = stored[table]  # type: ignore[index]
        if not rows.num_rows:
            continue
        again = rows.filter(pc.greater(rows["revision"], 0))
        for row in again.select(["timeframe", "open_time_ns", "revision"]).to_pylist():
            if row["timeframe"] in frames:
                counts = found.setdefault((frames.index(row["timeframe"]), row["open_time_ns"]), [0, 0])
                counts[column] = max(counts[column], row["revision"])
    return np.array([(*place, *counts) for place, counts in sorted(found.items())], PAST_REVISION)


def alert_revisions_of(stored: Stored, frames: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """PAST_ALERT rows of every alert on a bar of these timeframes that was told more than once; and the rules' names."""
    rows = stored["alerts"]
    if not rows.num_rows:
        return np.empty(0, PAST_ALERT), ()
    again = rows.filter(pc.and_(pc.greater(rows["revision"], 0), pc.is_in(rows["timeframe"], pa.array(frames))))
    names = tuple(sorted(again["rule"].unique().to_pylist()))
    newest: dict[tuple[int, int, int], int] = {}
    for row in again.select(["rule", "event_time_ns", "open_time_ns", "revision"]).to_pylist():
        place = (names.index(row["rule"]), row["event_time_ns"], row["open_time_ns"])
        newest[place] = max(newest.get(place, 0), row["revision"])
    return np.array([(*place, times) for place, times in sorted(newest.items())], PAST_ALERT), names


def mark_late(trades: np.ndarray, bars: pa.Table, frames: tuple[str, ...], grace_ns: int) -> None:
    """Set the bits of `late` (PAST_TRADE), so that every bar's late trades are as many as it was told with.

    Which of a bar's trades they were is written nowhere, and no row hangs on it: the last to come or to change are
    taken. Trades of a session's last bar come within the grace after its close.
    """
    if not bars.num_rows:
        return
    order = np.argsort(trades["event_time_ns"], kind="stable")
    times = trades["event_time_ns"][order]
    came = np.maximum(trades["offset"], trades["changed_offset"])
    for bit, frame in enumerate(frames):
        rows = bars.filter(pc.equal(bars["timeframe"], frame))
        last: dict[int, tuple[int, int, int]] = {}
        columns = ("open_time_ns", "close_time_ns", "revision", "receipt.late_count")
        for opens, closes, revision, late in zip(*(rows[n].to_pylist() for n in columns), strict=True):
            last[opens] = max(last.get(opens, (-1, 0, 0)), (revision, closes, late or 0))
        opens_ns = np.array(sorted(last), np.int64)
        for place, opens in enumerate(opens_ns.tolist()):
            _, closes, late = last[opens]
            if not late:
                continue
            end = closes + grace_ns
            if place + 1 < len(opens_ns):
                end = max(closes, min(end, int(opens_ns[place + 1])))
            inside = order[np.searchsorted(times, opens) : np.searchsorted(times, end)]
            chosen = inside[np.argsort(came[inside], kind="stable")[-late:]]
            trades["late"][chosen] |= np.uint32(1 << bit)
