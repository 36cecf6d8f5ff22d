"""The connection by itself: it comes back, it notices silence, and a full queue is counted."""

import random
import time

from exchange_server import Exchange, running
from marketpulse.clock import SystemClock
from marketpulse.settings import CoinbaseSettings
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.streaming.coinbase import Coinbase
from marketpulse.sources.streaming.connection import Connection, Item
from marketpulse.telemetry import STREAM_OVERRUN, STREAM_RECONNECTS


def made(exchange: Exchange, name: str, kept: list[Item], queue_max: int = 1_000) -> Connection:
    settings = CoinbaseSettings(symbols=exchange.products, url=exchange.url)
    return Connection(
        name, exchange.url, Coinbase().subscribe(settings, exchange.products), None, 0.5, SystemClock(),
        Backoff(0.01, 0.05, random.Random(1)), keep=kept.append, queue_max=queue_max,
    )  # fmt: skip


def until(true: object, what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Silent(Exchange):
    """Says nothing after the subscription."""

    def play(self, socket: object, at: int, rng: random.Random) -> None:  # noqa: ARG002
        self.stop.wait()


def test_a_silent_exchange_is_left_and_asked_again() -> None:
    with running(Silent("coinbase", ("BTC-USD",), 3)) as exchange:
        connection = made(exchange, "silent", [])
        connection.start()
        until(lambda: exchange.connections >= 2, "it connects again")
        connection.close()
        assert STREAM_RECONNECTS.labels("silent", "silence")._value.get() >= 1
        assert "nothing was heard" in connection.trouble


def test_what_finds_the_queue_full_is_counted_and_recorded_all_the_same() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 50)) as exchange:
        kept: list[Item] = []
        connection = made(exchange, "full", kept, queue_max=5)
        connection.start()
        until(lambda: sum(b'"match"' in item.data for item in kept) >= 49, "all trades come")
        connection.close()
        assert connection.queue.qsize() == 5
        assert STREAM_OVERRUN.labels("full")._value.get() == len(kept) - 5


def test_an_exchange_that_is_not_there_is_said() -> None:
    with running(Exchange("coinbase", ("BTC-USD",), 3)) as exchange:
        url = exchange.url
    kept: list[Item] = []
    exchange.url = url
    connection = made(exchange, "away", kept)
    connection.start()
    until(lambda: sum(item.kind == "lost" for item in kept) >= 3, "it tries again")
    connection.close()
    assert f"cannot connect to {url}" in kept[0].text
    assert not connection.connected.is_set()
