"""A market that never was: trades of N symbols with the habits of real ones, from a seed.

Everything happens in seconds since the market's beginning (op-time), so the same seed gives the same trades whatever the
hour. Each 64 trades take as long as `rate` says, at random moments among them.

- volatility: a slow process (log-normal, half-life about 7 minutes), so that it clusters;
- moves: a market factor, eight sectors, and each symbol's own part;
- jumps: news of one symbol now and then, a gap of all after each day of op-time; a jump beyond 2.5 %
  halts its symbol for five minutes;
- prices on the tick, at the bid or the ask; sizes mostly in round lots.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketpulse.model.market import Floats, Ints

BLOCK = 16_384  # trades of a block, before halts take some out; part of what a seed means
_STEP = 64  # trades between two draws of the slow processes
_DAY_S = 86_400.0
_SECTORS = 8
_HALT_S = 300.0
_HALT_MOVE = 0.025
_NEWS_PER_DAY = 4.0
_ROOT_DAY = np.sqrt(_DAY_S)
_KNOWN = (
    "ACME", "ZORP", "NUVA", "QUILL", "BRAX", "DELPHI", "FERRO", "GLINT", "HALCYN", "IRIDA", "JUNIPR", "KESTRL",
    "LUMEN", "MARROW", "NIMBUS", "OBSIDN", "PALADN", "QUARRY", "RIVULT", "SABLE", "TUNDRA", "UMBRA", "VERDIN", "WICKER",
)  # fmt: skip


def symbol_names(count: int) -> list[str]:
    """Invented names that nobody takes for real ones: SIM-ACME, SIM-ZORP … then syllables."""
    names = list(_KNOWN[:count])
    sounds = [c + v for c in "BDFGKLMNPRSTVZ" for v in "AEIOU"]
    for i in range(count - len(names)):
        first, second, third = i % 70, i // 70 % 70, i // 4900
        names.append(sounds[(first * 3 + second) % 70] + sounds[second] + sounds[third] + sounds[first][0])
    return [f"SIM-{name}" for name in names]


@dataclass(frozen=True, slots=True)
class Halt:
    """Trading of a symbol stops from op-time `start_s` (just after a trade) to `end_s`."""

    symbol: int
    start_s: float
    end_s: float
    move: float


@dataclass(frozen=True, slots=True)
class Block:
    """n trades in order of `at_s` (n,) op-time; every column (n,). `number` counts them from the beginning.

    Each trade prints at the `bid` or the `ask` that stood then. `halts` begin in this block.
    """

    at_s: Floats
    number: Ints
    symbol: Ints
    price: Floats
    size: Floats
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats
    halts: list[Halt]

    def take(self, where: Ints | NDArray[np.bool_], halts: list[Halt]) -> "Block":
        """Some of the trades, with these halts."""
        return Block(
            self.at_s[where], self.number[where], self.symbol[where], self.price[where], self.size[where],
            self.bid[where], self.ask[where], self.bid_size[where], self.ask_size[where], halts,
        )  # fmt: skip


class Market:
    """The market's state. `block()` gives the next stretch of it; blocks are drawn one after the other."""

    def __init__(self, symbols: int, rate: float, seed: int) -> None:
        self._seed = seed
        self._rate = rate
        self._blocks = 0
        random = np.random.default_rng([seed, 0])
        weights = 1.0 / (np.arange(symbols) + 3.0) ** 0.8
        self._cumulative = np.cumsum(weights) / weights.sum()
        start = np.clip(np.exp(random.normal(np.log(80.0), 0.8, symbols)), 4.0, 900.0)
        self._base = np.log(start)
        self._per_tick = np.where(start < 5.0, 1_000.0, 100.0)  # ticks of a tenth of a cent, or a cent
        self._lot = np.where(start > 400.0, 10.0, 100.0)
        self._beta = random.normal(1.0, 0.3, symbols)
        self._sector = random.integers(0, _SECTORS, symbols)
        self._own_volatility = random.uniform(0.016, 0.048, symbols) / _ROOT_DAY
        self._spread = random.uniform(0.5, 2.5, symbols) * 1e-4
        self._own = np.zeros(symbols)  # each symbol's own part of the log price
        self._newest_s = np.zeros(symbols)
        self._halted_until_s = np.zeros(symbols)
        self._now_s = 0.0
        self._factors = np.zeros(1 + _SECTORS)  # market, sectors
        self._heat = 0.0

    def block(self) -> Block:
        self._blocks += 1
        random = np.random.default_rng([self._seed, self._blocks])
        heat = self._slow_heat(random)
        volatility = np.exp(heat - 0.125)[np.arange(BLOCK) // _STEP]
        gaps = random.standard_exponential((BLOCK // _STEP, _STEP))
        gaps *= _STEP / self._rate / gaps.sum(axis=1, keepdims=True)
        at = self._now_s + np.cumsum(gaps)
        symbol = self._which_symbol(random)
        level, halts = self._levels(random, at, symbol, volatility, heat)
        block = self._print(random, at, symbol, np.exp(level), halts)
        self._now_s = float(at[-1])
        return block

    def _slow_heat(self, random: np.random.Generator) -> Floats:
        """The log of volatility, one value per step; its long-run deviation is 0.5."""
        keep = np.exp(-_STEP / self._rate / 600.0)
        shocks = random.standard_normal(BLOCK // _STEP) * 0.5 * np.sqrt(1 - keep * keep)
        heat = np.empty(len(shocks))
        value = self._heat
        for i, shock in enumerate(shocks.tolist()):
            value = keep * value + shock
            heat[i] = value
        self._heat = value
        return heat

    def _which_symbol(self, random: np.random.Generator) -> Ints:
        """Few symbols trade much, many little; now and then one trades again at once."""
        drawn = np.searchsorted(self._cumulative, random.random(BLOCK)).astype(np.int64)
        fresh = np.where(random.random(BLOCK) < 0.25, 0, np.arange(BLOCK))
        return drawn[np.maximum.accumulate(fresh)]

    def _levels(
        self, random: np.random.Generator, at: Floats, symbol: Ints, volatility: Floats, heat: Floats
    ) -> tuple[Floats, list[Halt]]:
        """(log prices before the spread, halts that begin)."""
        elapsed = at[-1] - self._now_s
        steps = np.diff(np.append(self._now_s, at[_STEP - 1 :: _STEP]))
        scale = np.array([0.032] + [0.016] * _SECTORS)[:, None] / _ROOT_DAY
        moves = scale * np.sqrt(steps) * np.exp(heat - 0.125) * random.standard_normal((1 + _SECTORS, len(steps)))
        path = np.cumsum(np.column_stack([self._factors, moves]), axis=1)
        place, share = np.arange(BLOCK) // _STEP, (np.arange(BLOCK) % _STEP + 1) / _STEP
        market = path[0, place] + share * (path[0, place + 1] - path[0, place])
        sector = 1 + self._sector[symbol]
        common = path[sector, place] + share * (path[sector, place + 1] - path[sector, place])
        level = self._base[symbol] + self._beta[symbol] * market + common
        level += self._overnight(random, at, symbol)
        own, halts = self._own_parts(random, at, symbol, volatility, elapsed)
        self._factors = path[:, -1].copy()
        return level + own, halts

    def _overnight(self, random: np.random.Generator, at: Floats, symbol: Ints) -> Floats:
        """After each day of op-time every price opens elsewhere."""
        morning = (np.floor(self._now_s / _DAY_S) + 1) * _DAY_S
        moved = np.zeros(len(at))
        while morning <= at[-1]:
            gap = 0.006 * random.standard_normal() * self._beta + 0.008 * random.standard_normal(len(self._beta))
            moved += np.where(at >= morning, gap[symbol], 0.0)
            self._base = self._base + gap
            morning += _DAY_S
        return moved

    def _own_parts(
        self, random: np.random.Generator, at: Floats, symbol: Ints, volatility: Floats, elapsed: float
    ) -> tuple[Floats, list[Halt]]:
        """Each symbol's own walk, at its own trades; news as jumps in it."""
        order = np.argsort(symbol.astype(np.uint16), kind="stable")
        sorted_symbol, sorted_at = symbol[order], at[order]
        first = np.flatnonzero(np.diff(sorted_symbol, prepend=-1))
        since = np.diff(sorted_at, prepend=0.0)
        since[first] = sorted_at[first] - self._newest_s[sorted_symbol[first]]
        step = self._own_volatility[sorted_symbol] * np.sqrt(since) * volatility[order]
        step *= random.standard_normal(BLOCK)
        news = random.poisson(min(_NEWS_PER_DAY * len(self._own) * elapsed / _DAY_S, BLOCK / 16))
        where = np.unique(random.integers(0, BLOCK, news))
        jump = random.choice([-1.0, 1.0], len(where)) * 0.006 * np.exp(0.8 * random.standard_normal(len(where)))
        step[where] += np.clip(jump, -0.25, 0.25)
        walk = np.cumsum(step)
        begin = np.repeat(walk[first] - step[first], np.diff(np.append(first, BLOCK)))
        walked = self._own[sorted_symbol] + walk - begin
        last = np.append(first[1:], BLOCK) - 1
        self._own[sorted_symbol[last]] = walked[last]
        self._own *= np.exp(-elapsed / (20 * _DAY_S))  # no price wanders off for ever
        self._newest_s[sorted_symbol[last]] = sorted_at[last]
        own = np.empty(BLOCK)
        own[order] = walked
        big = np.flatnonzero(np.abs(jump) > _HALT_MOVE)
        return own, [
            Halt(int(sorted_symbol[where[i]]), float(sorted_at[where[i]]), float(sorted_at[where[i]]) + _HALT_S, float(jump[i]))
            for i in big
        ]  # fmt: skip

    def _print(self, random: np.random.Generator, at: Floats, symbol: Ints, middle: Floats, halts: list[Halt]) -> Block:
        """Lay prices on the tick, draw sizes, take out what falls into a halt."""
        per_tick, lot = self._per_tick[symbol], self._lot[symbol]
        spread = np.maximum(1.0, np.rint(middle * self._spread[symbol] * per_tick))
        bid = np.maximum(1.0, np.rint(middle * per_tick - spread / 2))
        buys = random.random(BLOCK) < 0.5
        lots = np.ceil(np.exp(random.standard_normal(BLOCK) * 1.0 - 0.3)) * lot
        odd = random.random(BLOCK) < 0.2
        size = np.where(odd, np.ceil(random.random(BLOCK) * (lot - 1)), lots)
        depth = random.geometric(0.25, (2, BLOCK)) * lot
        keep, begun = self._kept(at, symbol, halts)
        number = np.arange(BLOCK) + (self._blocks - 1) * BLOCK
        block = Block(
            at, number, symbol, (bid + np.where(buys, spread, 0.0)) / per_tick, size, bid / per_tick,
            (bid + spread) / per_tick, depth[0], depth[1], begun,
        )  # fmt: skip
        return block if keep.all() else block.take(keep, begun)

    def _kept(self, at: Floats, symbol: Ints, halts: list[Halt]) -> tuple[NDArray[np.bool_], list[Halt]]:
        """Which trades no halt prevents, and the halts that begin: none within another of its symbol."""
        keep = at >= self._halted_until_s[symbol]
        begun = []
        for halt in sorted(halts, key=lambda h: h.start_s):
            if halt.start_s < self._halted_until_s[halt.symbol]:
                continue
            keep &= ~((symbol == halt.symbol) & (at > halt.start_s) & (at < halt.end_s))
            self._halted_until_s[halt.symbol] = halt.end_s
            begun.append(halt)
        return keep, begun
