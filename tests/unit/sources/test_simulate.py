"""The simulated market: habits of a real one from a seed and nothing else; live on the wall clock, history at once."""

import json
from typing import Any

import numpy as np
import pytest

from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.model.market import COMPLETE
from marketpulse.ports import Hello, Polled
from marketpulse.settings import SimulateSettings
from marketpulse.sources.sim_market import BLOCK, Block, DayClock, Market, symbol_names
from marketpulse.sources.simulate import SimulateSource

DAY_NS = 86_400 * 10**9
NOW = 1_767_312_345 * 10**9
START = "2026-01-02T00:00:00Z"


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


def test_symbols_have_invented_names_and_the_same_seed_is_the_same_market() -> None:
    markets = [Market(10, 100.0, seed) for seed in (5, 5, 6)]
    prices = [np.concatenate([m.block().price for _ in range(3)]).tobytes() for m in markets]
    assert prices[0] == prices[1] != prices[2]
    names = symbol_names(50_000)
    assert len(set(names)) == 50_000
    assert all(name.startswith("SIM-") and len(name) < 20 for name in names)
    block = Market(3, 10.0, 1).block()
    assert len(block.price) == len(block.at_s) <= BLOCK
    assert len(set(block.number.tolist())) == len(block.number)


def test_trades_come_in_order_at_the_configured_rate_on_the_tick_and_symbols_move_together(blocks: list[Block]) -> None:
    at, price, bid, ask, size = (column(blocks, name) for name in ("at_s", "price", "bid", "ask", "size"))
    assert (np.diff(at) >= 0).all()
    assert len(at) / at[-1] == pytest.approx(500, rel=0.25)
    assert (bid > 0).all()
    assert (ask > bid).all()
    assert ((price == bid) | (price == ask)).all()
    assert np.abs(price * 1_000 - np.rint(price * 1_000)).max() < 1e-6
    assert (size > 0).all()
    returns = [minute_returns(blocks, s) for s in range(4)]
    n = min(map(len, returns))
    assert np.corrcoef([r[:n] for r in returns])[np.triu_indices(4, 1)].mean() > 0.1


def test_volatility_clusters_and_returns_do_not() -> None:
    def follows(series: list[np.ndarray]) -> float:
        return float(np.mean([np.corrcoef(one[1:], one[:-1])[0, 1] for one in series]))

    market = Market(8, 100.0, 11)
    blocks = [market.block() for _ in range(400)]
    returns = [minute_returns(blocks, s) for s in range(8)]
    assert follows([np.abs(r) for r in returns]) > 0.1
    assert abs(follows(returns)) < 0.1


def test_nothing_trades_in_a_halt() -> None:
    market = Market(50, 50.0, 2)
    blocks = [market.block() for _ in range(60)]
    halts = [halt for block in blocks for halt in block.halts]
    at, symbol = column(blocks, "at_s"), column(blocks, "symbol")
    assert halts
    for halt in halts:
        own = at[symbol == halt.symbol]
        assert not ((own > halt.start_s) & (own < halt.end_s)).any()
        assert (own == halt.start_s).any(), "it begins with the trade that caused it"


def test_a_day_of_the_market_fills_a_day_as_a_u() -> None:
    start = 1_767_312_000 * 10**9  # a midnight
    clock = DayClock(start)
    even = clock.to_ns(np.linspace(0, 86_400, 86_401))
    assert (even[0], even[-1]) == (start, start + DAY_NS)
    per_hour = np.histogram((even[:-1] - start) / 3.6e12, bins=24, range=(0, 24))[0]
    assert per_hour.argmin() in {11, 12}
    assert min(per_hour[0], per_hour[-1]) > 1.8 * per_hour.min()
    assert DayClock(start + 5 * 10**9).to_ns(np.zeros(1))[0] == start + 5 * 10**9


def started(
    clock: ManualClock | None = None, position: str | None = None, **settings: Any
) -> tuple[SimulateSource, Hello]:
    """A source that has started, and how it said hello."""
    clock = clock or ManualClock(NOW)
    source = SimulateSource(SimulateSettings(**settings), "simulate-m", lateness_ns=2 * 10**9, clock=clock)
    return source, source.start(position)


def everything(simulated: SimulateSource) -> tuple[list[dict[str, Any]], Polled]:
    """All rows until it ends, and the last poll."""
    rows: list[dict[str, Any]] = []
    polled = Polled()
    while not polled.ended:
        polled = simulated.poll(0.05)
        rows += [row for batch in polled.batches for row in batch.to_pylist()]
    return rows, polled


def test_live_rows_are_due_now_and_the_watermark_follows_the_clock() -> None:
    clock = ManualClock(NOW)
    live, hello = started(clock, rate=100)
    assert (hello.mode, hello.simulated, hello.calendar, hello.source) == ("live", True, "24x7", "simulate-m")
    seen = 0
    for _ in range(100):
        polled = live.poll(0.05)
        now = clock.now_ns()
        for batch in polled.batches:
            times = batch.column("event_time_ns").to_pylist()
            seen += len(times)
            assert all(NOW <= t <= now for t in times)
            assert now - min(times) < 10**9
        assert polled.position is None
        promised = live.watermark_ns()
        assert promised is None or promised <= now
    assert seen > 100


def test_no_row_is_older_than_what_was_promised_and_a_start_that_is_no_time_is_refused() -> None:
    live, _ = started(rate=300)
    promised = 0
    for _ in range(300):
        for batch in live.poll(0.02).batches:
            assert min(batch.column("event_time_ns").to_pylist()) > promised
        promised = live.watermark_ns() or promised
    assert promised
    with pytest.raises(SettingsError, match="yesterday"):
        started(start="yesterday")


def test_the_same_seed_gives_the_same_prices_whenever_it_is_started() -> None:
    def prices(at_ns: int) -> list[float]:
        live, _ = started(ManualClock(at_ns), rate=50, quotes=False, duration_s=60, symbols=5)
        return [row["price"] for row in everything(live)[0] if row["type"] == "trade"]

    morning, noon = prices(NOW), prices(NOW + 40_000 * 10**9)
    n = min(len(morning), len(noon))
    assert n > 500
    assert morning[:n] == noon[:n]


def test_history_has_an_end_and_its_trades_stand_at_a_quote() -> None:
    history, hello = started(start=START, duration_s=30, rate=200)
    rows, last = everything(history)
    assert (hello.mode, last.goodbye_watermark_ns) == ("historical", COMPLETE)
    book: dict[str, dict[str, Any]] = {}
    trades = [row for row in rows if row["type"] == "trade"]
    for row in sorted(rows, key=lambda r: (r["event_time_ns"], r["type"] == "trade")):
        if row["type"] == "quote":
            book[row["symbol"]] = row
        elif row["type"] == "trade":
            assert row["price"] in (book[row["symbol"]]["bid"], book[row["symbol"]]["ask"])
    assert {row["venue"] for row in trades} == {"XSIM"}
    assert len(trades) == pytest.approx(200 * 30 * 1.8, rel=0.5)  # midnight is the busy end of the U
    assert len({row["trade_id"] for row in trades}) == len(trades)


def test_history_resumes_where_it_was() -> None:
    settings: dict[str, Any] = {"start": START, "duration_s": 60, "rate": 500, "symbols": 3}
    source, hello = started(**settings)
    rows, _ = everything(source)
    first = started(**settings)[0].poll(0)
    resumed, again = started(position=first.position, **settings)
    assert again == hello
    assert [row for batch in first.batches for row in batch.to_pylist()] + everything(resumed)[0] == rows
    end = json.dumps({"market": json.loads(first.position or "")["market"], "row": len(rows)})
    assert started(position=end, **settings)[0].finished_before


def test_halts_and_their_ends_are_events() -> None:
    history, _ = started(start=START, duration_s=40_000, rate=20, symbols=40, quotes=False, seed=2)
    rows, _ = everything(history)
    events = [json.loads(row["body"]) for row in rows if "body" in row]
    assert {e["type"] for e in events} == {"halt", "resume"}
    halt = next(e for e in events if e["type"] == "halt")
    assert halt["event_time_ns"] == halt["from_ns"] < halt["to_ns"]
    assert halt["source"] == "simulate-m"
    stopped = [r["event_time_ns"] for r in rows if r["type"] == "trade" and r["symbol"] == halt["symbol"]]
    assert not [t for t in stopped if halt["from_ns"] <= t < halt["to_ns"]]
    times = [row["event_time_ns"] for row in rows]
    assert times == sorted(times)
