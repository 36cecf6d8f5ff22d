"""What a source missed, by its `gap` records: each gap once, as it stands now."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

State = Literal["found", "healed", "open"]
GAPS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class KnownGap:
    """`found`: its trades are still asked for; `healed`: all have come; `open`: some cannot be had, and `reason` says why.

    `trades`: how many were missing; of one that is open, how many cannot be had (None: nobody knows)."""

    symbol: str
    state: State
    from_ns: int
    to_ns: int
    trades: int | None
    reason: str
    told_ns: int  # when the log had its newest record


class GapLedger:
    """The newest gaps of one source in one partition, at most GAPS_MAX; `forgotten` counts the others."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], KnownGap] = {}
        self.forgotten = 0

    def take(self, record: Mapping[str, Any], told_ns: int) -> None:
        """One `gap` record, in the order of the log. Without a state (a vendor's answer that does not reach back) it is open."""
        symbol = str(record.get("symbol", ""))
        ids = record.get("from_id"), record.get("to_id")
        # A gap of time keeps its end when its beginning is given up.
        key = symbol, f"{ids[0]}-{ids[1]}" if ids[0] is not None else f"to {record.get('to_ns')}"
        told = record.get("state")
        state: State = "found" if told == "found" else "healed" if told == "healed" else "open"
        trades = record.get("trades")
        gap = KnownGap(
            symbol, state, int(record.get("from_ns") or 0), int(record.get("to_ns") or 0),
            int(trades) if isinstance(trades, int) else None, str(record.get("reason", "")), told_ns,
        )  # fmt: skip
        before = self._known.pop(key, None)  # its place is behind all others now
        if before is not None and before.state == "open" and state == "open":
            gap = replace(gap, trades=(before.trades or 0) + (gap.trades or 0))  # parts of it are given up one by one
        self._known[key] = gap
        if len(self._known) > GAPS_MAX:
            del self._known[next(iter(self._known))]
            self.forgotten += 1

    def since(self, told_ns: int) -> list[KnownGap]:
        """Those that the log told of at that time or later."""
        return [gap for gap in self._known.values() if gap.told_ns >= told_ns]
