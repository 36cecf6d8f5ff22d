"""Where the trades and quotes of a history lie in their symbol's sessions."""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.engine.layout import Plan, Sessions, Tables
from marketpulse.engine.sessions import find_session
from marketpulse.engine.trades import closed_frames


def place_trades(
    tables: Tables, sessions: Sessions, plan: Plan, symbol: int, trades: np.ndarray, healed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(n,) which trades (KEPT) a session takes. Those that are `healed` are late for every bar that has closed."""
    inside = np.zeros(len(trades), np.bool_)
    _place_trades(tables, sessions, plan, symbol, trades, healed, inside)
    return inside


def place_quotes(tables: Tables, sessions: Sessions, plan: Plan, symbol: int, quotes: np.ndarray) -> NDArray[np.bool_]:
    """(n,) which quotes (QUOTE) a session takes; each learns its date."""
    inside = np.zeros(len(quotes), np.bool_)
    _place_quotes(tables, sessions, plan, symbol, quotes, inside)
    return inside


@bare_kernel
def _place_trades(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    symbol: int,
    trades: NDArray[np.void],
    healed: NDArray[np.bool_],
    inside: NDArray[np.bool_],
) -> None:
    for i in range(trades.size):
        time = trades[i].event_ns
        opened, closed, _ = find_session(tables, sessions, plan, symbol, time)
        inside[i] = opened != closed
        if inside[i] and healed[i]:
            trades[i].late_frames |= closed_frames(tables, sessions, plan, symbol, opened, closed, time)


@bare_kernel
def _place_quotes(
    tables: Tables, sessions: Sessions, plan: Plan, symbol: int, quotes: NDArray[np.void], inside: NDArray[np.bool_]
) -> None:
    for i in range(quotes.size):
        time = quotes[i].event_ns
        _, closed, date = find_session(tables, sessions, plan, symbol, time)
        inside[i] = time < closed  # the grace is for trades: a bar's quote is that of its close
        quotes[i].session_date = date
