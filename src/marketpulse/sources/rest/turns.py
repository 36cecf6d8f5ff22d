"""Whose turn it is: of the symbols that are due, the one that has waited longest. No symbol starves."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Turns:
    """Symbols in the order in which they are asked. `due_at` are seconds on a monotonic clock."""

    symbols: Sequence[str]
    _due_at: dict[str, float] = field(default_factory=dict)
    _asked: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def next(self, now_s: float) -> str | None:
        """The symbol to ask; None when none is due."""
        due = [symbol for symbol in self.symbols if self._due_at.get(symbol, 0.0) <= now_s]
        return min(due, key=lambda symbol: self._asked.get(symbol, 0), default=None)

    def asked(self, symbol: str) -> None:
        """It has had its turn, whatever came of it."""
        self._count += 1
        self._asked[symbol] = self._count

    def again_at(self, symbol: str, due_s: float) -> None:
        self._due_at[symbol] = due_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until a symbol is due."""
        return max(0.0, min(self._due_at.get(symbol, 0.0) for symbol in self.symbols) - now_s)
