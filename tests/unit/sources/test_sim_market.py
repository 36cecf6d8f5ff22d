"""The simulated market has the habits of a real one, from a seed and nothing else."""

import numpy as np
import pytest

from marketpulse.sources.sim_market import BLOCK, Block, DayClock, Market, symbol_names

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    market = Market(20, 500.0, 3)
    return [market.block() for _ in range(120)]


def column(blocks: list[Block], name: str) -> np.ndarray:
    return np.concatenate([getattr(block, name) for block in blocks])


def minute_returns(blocks: list[Block], symbol: int) -> np.ndarray:
    """Of the middle of the book, so that trades at its two sides do not count as moves."""
    own = column(blocks, "symbol") == symbol
    at, middle = column(blocks, "at_s")[own], (column(blocks, "bid") + column(blocks, "ask"))[own]
    minutes = np.arange(at[0] + 60, at[-1], 60)
    returns = np.diff(np.log(middle[np.searchsorted(at, minutes) - 1]))
    low, high = np.quantile(returns, [0.02, 0.98])
    return np.asarray(np.clip(returns, low, high))  # news aside


def test_the_same_seed_is_the_same_market_and_another_is_not() -> None:
    markets = [Market(10, 100.0, seed) for seed in (5, 5, 6)]
    prices = [np.concatenate([m.block().price for _ in range(3)]) for m in markets]
    assert prices[0].tobytes() == prices[1].tobytes()
    assert prices[0].tobytes() != prices[2].tobytes()


def test_trades_come_in_order_at_the_configured_rate(blocks: list[Block]) -> None:
    at = column(blocks, "at_s")
    assert (np.diff(at) >= 0).all()
    assert len(at) / at[-1] == pytest.approx(500, rel=0.25)


def test_prices_lie_on_the_tick_inside_a_positive_spread(blocks: list[Block]) -> None:
    price, bid, ask = (column(blocks, name) for name in ("price", "bid", "ask"))
    assert (bid > 0).all()
    assert (ask > bid).all()
    assert ((price == bid) | (price == ask)).all()
    assert np.abs(price * 1_000 - np.rint(price * 1_000)).max() < 1e-6
    assert (column(blocks, "size") > 0).all()


def test_symbols_move_together(blocks: list[Block]) -> None:
    returns = [minute_returns(blocks, s) for s in range(4)]
    n = min(len(r) for r in returns)
    matrix = np.corrcoef([r[:n] for r in returns])
    assert matrix[np.triu_indices(4, 1)].mean() > 0.1


def test_volatility_clusters_and_returns_do_not() -> None:
    market = Market(8, 100.0, 11)
    blocks = [market.block() for _ in range(400)]
    returns = [minute_returns(blocks, s) for s in range(8)]
    sizes = [np.abs(r) for r in returns]
    assert np.mean([np.corrcoef(a[1:], a[:-1])[0, 1] for a in sizes]) > 0.1
    assert abs(np.mean([np.corrcoef(r[1:], r[:-1])[0, 1] for r in returns])) < 0.1


def test_nothing_trades_in_a_halt() -> None:
    market = Market(50, 50.0, 2)
    blocks = [market.block() for _ in range(60)]
    halts = [halt for block in blocks for halt in block.halts]
    at, symbol = column(blocks, "at_s"), column(blocks, "symbol")
    assert halts
    for halt in halts:
        assert not ((symbol == halt.symbol) & (at > halt.start_s) & (at < halt.end_s)).any()
        assert ((symbol == halt.symbol) & (at == halt.start_s)).any(), "it begins with the trade that caused it"


def test_names_are_unique_and_plainly_invented() -> None:
    names = symbol_names(50_000)
    assert len(set(names)) == 50_000
    assert all(name.startswith("SIM-") and len(name) < 20 for name in names)


def test_a_day_of_the_market_fills_a_day_as_a_u() -> None:
    start = 1_767_312_000 * 10**9  # a midnight
    clock = DayClock(start)
    even = clock.to_ns(np.linspace(0, 86_400, 86_401))
    assert (even[0], even[-1]) == (start, start + DAY_NS)
    per_hour = np.histogram((even[:-1] - start) / 3.6e12, bins=24, range=(0, 24))[0]
    assert per_hour.argmin() in {11, 12}
    assert min(per_hour[0], per_hour[-1]) > 1.8 * per_hour.min()
    assert DayClock(start + 5 * 10**9).to_ns(np.zeros(1))[0] == start + 5 * 10**9


def test_a_block_has_as_many_trades_as_it_says() -> None:
    block = Market(3, 10.0, 1).block()
    assert len(block.price) == len(block.at_s) <= BLOCK
    assert len(set(block.number.tolist())) == len(block.number)
