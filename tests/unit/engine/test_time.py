"""Watermarks, liveness and log time (semantics 6–9): what each portion of rows closes or has refused."""

from typing import Any

import pytest

from market_rows import Engine, Row, at, clock, config_of, goodbye, heartbeat, hello, span, trade
from marketpulse.engine.config import EngineConfig

HOUR, LIVE = 3_600, 1_000_000
Steps = list[tuple[list[Row], list[Any]]]


def tick(symbol: str, seconds: float, source: str = "feed") -> Row:
    return trade(symbol, seconds, 1, 1, source)


def switch(symbol: str, source: str, seconds: float) -> Row:
    return {"type": "switch", "symbol": symbol, "source": source, "from": "x", "event_time_ns": at(seconds)}


def told(engine: Engine, rows: list[Row]) -> list[Any]:
    """(row, why it was refused), then (symbol, open, close) of each bar that closed."""
    result = engine.step(rows)
    return [*((r.row, r.reason) for r in result.refused), *((b["symbol"], *span(b)) for b in engine.bars(result))]


FUTURE, BOTH_OF_A = "future_time", [tick("A", 1, "x"), tick("A", 1, "y")]
STORIES: list[tuple[EngineConfig, dict[str, Steps]]] = [
    (config_of(["1s"]), {
        "a bar closes when event time less lateness reaches its end": [
            ([tick("A", 1), tick("A", 3.999)], []), ([tick("A", 4)], [("A", 1, 2)]),
        ],
        "a hello sets the lateness of its source": [
            ([hello(lateness_ns=0), tick("A", 1), tick("A", 2)], [("A", 1, 2)]),
        ],
        "the slowest live source of a symbol holds it up and nobody else": [
            ([*BOTH_OF_A, tick("B", 1, "x"), heartbeat(5, "x")], [("B", 1, 2)]), ([heartbeat(5, "y")], [("A", 1, 2)]),
        ],
        "a silent live source leaves the minimum by the log's own clock": [
            ([hello("x"), hello("y"), clock(1), *BOTH_OF_A], []),
            ([heartbeat(31, "x")], []), ([heartbeat(31.001, "x")], [("A", 1, 2)]),
        ],
        "a historical source may pause for as long as it likes": [
            ([clock(LIVE), hello(mode="historical"), tick("A", 1), clock(2 * LIVE)], []),
            ([tick("A", 1.5), tick("A", 4)], [("A", 1, 2)]),
        ],
        "a historical source that pauses holds up a symbol that a live one feeds too": [
            ([clock(10), hello("tape", "historical"), hello("feed"), tick("A", 10, "tape"), tick("A", 10, "feed")], []),
            ([heartbeat(50, "feed")], []), ([goodbye("tape", watermark_ns=None)], [("A", 10, 11)]),
        ],
        "a live source whose clock is wrong moves no watermark": [
            ([clock(100_000), hello(), tick("A", 100_000)], []),
            ([tick("A", 100_005.1), tick("A", 100_000 - 86_401), heartbeat(103_600, log=100_000)],
             [(0, FUTURE), (1, "past_time"), (2, FUTURE)]),
            ([tick("A", 100_005)], [("A", 100_000, 100_001)]),
        ],
        "a source that never said hello may bring the past but not the future": [
            ([clock(LIVE), tick("A", 1), tick("A", LIVE + 6)], [(2, FUTURE)]),
        ],
        "a source whose clock jumps ahead is refused, so it is silent, and after the timeout the other decides alone": [
            ([clock(0), hello("x", lateness_ns=0), hello("y", lateness_ns=0), tick("A", 0, "x"), tick("A", 0, "y")], []),
            *[([heartbeat(second + HOUR, "y", log=second), heartbeat(second, "x")], [(0, FUTURE)])
              for second in range(1, 31)],
            ([heartbeat(30.5, "x")], [("A", 0, 1)]),
        ],
        "a goodbye's final watermark closes what it promises and no more": [
            ([clock(1), hello(), tick("A", 1), tick("A", 2.5)], []),
            ([goodbye(watermark_ns=at(2))], [("A", 1, 2)]), ([clock(32.999)], []), ([clock(33)], [("A", 2, 3)]),
        ],
        "after a goodbye its symbols follow the sources that are left": [
            ([clock(5), hello("x"), hello("y"), tick("A", 5, "x"), tick("A", 5, "y"), heartbeat(7, "y")], []),
            ([goodbye("x", watermark_ns=at(5.5))], [("A", 5, 6)]), ([tick("A", 8, "y"), heartbeat(9, "y")], [("A", 8, 9)]),
        ],
        "history beside a live source runs on its own times and holds up nobody": [
            ([clock(LIVE), hello("feed"), hello("tape", "historical", lateness_ns=0), tick("L", LIVE),
              tick("H", 5, "tape")], []),
            ([heartbeat(LIVE + 1)], [("L", LIVE, LIVE + 1)]),
            ([clock(LIVE + 86_400)], []), ([tick("H", 6, "tape")], [("H", 5, 6)]),
        ],
        "log time never goes back when a broker's clock does": [
            ([clock(100), hello(), tick("A", 100), clock(50)], []), ([clock(130)], []), ([clock(131)], [("A", 100, 101)]),
        ],
        "a live source that dies after history of its symbol closes by log time": [
            ([clock(100), hello("tape", "historical"), tick("A", 1, "tape"), goodbye("tape"), hello("feed")], []),
            ([tick("A", 100)], [("A", 1, 2)]), ([clock(200)], [("A", 100, 101)]),
        ],
        "a live source's goodbye from the future moves no watermark": [
            ([clock(100), hello(), tick("A", 100)], []),
            ([{**goodbye(watermark_ns=at(3_700)), "event_time_ns": at(3_700)}], [(0, FUTURE)]),
        ],
        "the first heartbeat of a partition from the future moves no watermark": [
            ([hello(), heartbeat(HOUR, log=0), tick("A", 1)], [(1, FUTURE)]),
        ],
        "a switch makes the new source alone hold up the symbol": [
            ([clock(1), tick("A", 1, "x"), tick("B", 1, "x"), heartbeat(5, "y")], []),
            # x has died: without a switch it holds up both for `source_timeout`
            ([switch("A", "y", 1.1), heartbeat(6, "y")], [("A", 1, 2)]),
        ],
        "what a former source still brings of its own time holds up nothing": [
            ([clock(1), tick("A", 1, "x"), heartbeat(1.5, "y"), switch("A", "y", 1.1)], []),
            ([tick("A", 1.05, "x"), tick("A", 2.5, "y")], []), ([heartbeat(6, "y")], [("A", 1, 2), ("A", 2, 3)]),
        ],
        "a switch back follows the first source again and time does not go back": [
            ([clock(1), tick("A", 1, "x"), switch("A", "y", 1.1), heartbeat(6, "y")], [("A", 1, 2)]),
            ([tick("A", 7, "y"), heartbeat(3, "x"), switch("A", "x", 8)], []),
            ([heartbeat(20, "y")], []), ([heartbeat(20, "x")], [("A", 7, 8)]),
        ],
        "a switch of a symbol that has not come changes nothing": [
            ([switch("Z", "y", 1), tick("A", 1), heartbeat(5)], [("A", 1, 2)]),
        ],
    }),
    (config_of(["1s"], window_ns=0), {
        "a returning source holds its symbols at their watermark until it has caught up": [
            ([clock(10), hello("x"), hello("y"), tick("A", 10, "x"), tick("A", 10, "y")], []),
            ([clock(30), heartbeat(45, "x")], [("A", 10, 11)]),  # y leaves: A follows x, to 45
            ([tick("A", 20, "y")], [(0, "too_late")]), ([tick("A", 46, "x")], []),
            ([heartbeat(50, "x")], []),  # y is live again, and stands at 18
            ([heartbeat(47, "y", log=50)], [("A", 46, 47)]),
        ],
        "a row's own trade comes after the closings that it causes": [
            ([hello("x", lateness_ns=0), hello("y", lateness_ns=0), tick("A", 0.5, "y"), tick("A", 1.5, "x")], []),
            ([heartbeat(2, "x"), heartbeat(1.9, "y")], [("A", 0, 1)]), ([goodbye("y", watermark_ns=None)], [("A", 1, 2)]),
            ([tick("A", 1.7, "x")], [(0, "too_late")]),
        ],
    }),
    (config_of(["1s", "1m"]), {
        "when all sources are dead, of which one never said hello, the pipeline's clock alone closes every bar": [
            ([clock(10), hello("x"), tick("A", 10, "x"), tick("B", 10.5, "y")], []), ([clock(40)], []),
            ([clock(40.999)], []), ([clock(41)], [("A", 10, 11), ("B", 10, 11)]),
            ([clock(89.999)], []), ([clock(90)], [("A", 0, 60), ("B", 0, 60)]),
        ],
    }),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "steps"),
    [pytest.param(config, steps, id=claim) for config, stories in STORIES for claim, steps in stories.items()],
)
def test_time_goes_on_as_its_sources_and_the_log_say(config: EngineConfig, steps: Steps) -> None:
    engine = Engine(config)
    assert [told(engine, rows) for rows, _ in steps] == [expected for _, expected in steps]


def test_an_idle_partition_gives_nothing_and_rows_of_a_new_source_before_its_switch_are_not_late() -> None:
    engine = Engine(config_of(["1s", "1d"], fill=True))
    beats = [heartbeat(quarter / 4) for quarter in range(400)]
    result = engine.step([hello(), clock(0), *beats, clock(86_400), goodbye(watermark_ns=None)])
    assert (len(result.closed), result.refused, result.late, result.out_of_session) == (0, [], 0, 0)
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), tick("A", 1, "x"), heartbeat(9, "y"))
    bars = engine.feed(tick("A", 1.5, "y"), tick("A", 2.5, "y"), switch("A", "y", 1.1))
    found = [(span(bar), bar["trade_count"], bar["receipt"]["late_count"]) for bar in bars]
    assert found == [((1, 2), 2, 0), ((2, 3), 1, 0)]
