"""The rules of data quality for trades once more, slowly, from docs/quality.md: one symbol, one loop, no arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, log

from marketpulse.model.quality import DEFAULT_LIMITS

Found = tuple[int, str]


@dataclass
class SlowDoor:
    """Trades as (seconds, price, size), in order of the log; `found` are (index, rule)."""

    limits: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    found: list[Found] = field(default_factory=list)

    def run(self, trades: Sequence[tuple[float, float, float]]) -> list[Found]:
        level = scale = 0.0
        believed_at, seen = -inf, 0
        doubted: list[tuple[float, float]] = []
        median, sizes, run, last = 0.0, 0, 0, None
        for i, (seconds, price, size) in enumerate(trades):
            floor = self.limits["band"]
            if seen and seconds - believed_at > self.limits["reopen_s"]:
                floor = self.limits["reopen_band"]
            if not seen:
                level, scale, seen, believed_at = price, 0.0005, 1, seconds
            else:
                move = abs(price - level) / min(price, level)
                band = max(floor, self.limits["band_factor"] * scale)
                if move <= band or seen < self.limits["warm_trades"]:
                    scale, seen = self._learn(scale, seen, move)
                    level, doubted, believed_at = price, [], max(believed_at, seconds)
                elif self._is_level(doubted, price, band):
                    if not self._agree([*doubted, (price, band)], int(self.limits["confirm_trades"])):
                        scale = max(scale, min(move, 1e6) / self.limits["band_factor"])
                    level, doubted, believed_at = price, [], max(believed_at, seconds)
                else:
                    doubted.append((price, band))
                    apart = abs(log(price / level))
                    unit = min(abs(apart - log(100)), abs(apart - log(1000))) < 0.45
                    self.found.append((i, "price_unit" if unit else "price_band"))
            run = run + 1 if last == (price, size) else 0
            last = (price, size)
            if run >= self.limits["stale_trades"]:
                self.found.append((i, "stale"))
            if size > 0:
                if sizes >= 20 and size > self.limits["size_factor"] * median:
                    self.found.append((i, "size_outlier"))
                else:
                    median = size if median == 0 else median * (1.1 if size > median else 1 / 1.1)
                    sizes += sizes < 20
        return self.found

    @staticmethod
    def _learn(scale: float, seen: int, move: float) -> tuple[float, int]:
        if seen < 50:
            seen += 1
            step = 1.02 + 0.5 / seen
            down = scale / step
        else:
            step, down = 1.02, scale * (1.0 / 1.02)
        if move > 0:
            scale = max(1e-6, scale * step if move > scale else down)
        return scale, seen

    def _is_level(self, doubted: list[tuple[float, float]], price: float, band: float) -> bool:
        """So many in a row, the newest of them agreeing each with the one before; or four times as many of any kind."""
        confirm, run = int(self.limits["confirm_trades"]), [*doubted, (price, band)]
        return self._agree(run, confirm) or len(run) >= 4 * confirm

    @staticmethod
    def _agree(run: list[tuple[float, float]], confirm: int) -> bool:
        newest = run[-confirm:]
        pairs = pairwise(newest)
        return len(newest) == confirm and all(abs(b - a) / min(a, b) <= band for (a, _), (b, band) in pairs)
