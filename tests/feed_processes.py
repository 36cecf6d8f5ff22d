"""A live source in a process of its own, fed by an exchange on loopback and killed at will, and what it brings."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from bare_clients import BareTopic
from exchange_server import Exchange
from forked import Forked
from given_settings import outside
from keyed_exchange import KeyedExchange
from marketpulse.app.lifecycle import lifecycle
from marketpulse.settings import AnySource, CoinbaseSettings, Settings
from waiting import wait_until

Row = dict[str, Any]


def produce(settings: Settings, source: AnySource, name: str) -> None:
    """`marketpulse produce NAME` with these settings, in this process."""
    from marketpulse.app.pipeline.produce import run

    with lifecycle(settings, f"produce-{name}") as life:
        raise SystemExit(run(settings, life, source, name))


def select(settings: Settings) -> None:
    """`marketpulse select` with these settings, in this process."""
    from marketpulse.app.pipeline.select import run

    with lifecycle(settings, "select") as life:
        raise SystemExit(run(settings, life))


class FeedProcess:
    """`marketpulse produce NAME` with these settings, started again and again."""

    def __init__(self, settings: Settings, source: AnySource, name: str) -> None:
        self._settings, self._source, self._name = settings, source, name
        self._process: Forked | None = None
        self._records = BareTopic.of(settings).follow()

    def start(self) -> None:
        given = (self._settings, self._source, self._name)
        self._process = Forked(produce, *given, environment=outside(), cwd=self._settings.data_dir.parent)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises TimeoutExpired while it works on."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        """In order, which is a success."""
        assert self._process is not None
        self._process.terminate()
        assert self.wait(60) == 0

    def until(self, holds: Callable[[], Any], what: str) -> None:
        process = self._process
        assert process is not None

        def or_ended() -> bool:
            assert process.poll() is None, f"it has to go on by itself, whatever happens: {what}"
            return bool(holds())

        wait_until(or_ended, what, within_s=240)

    def so_far(self, kind: str) -> list[Row]:
        """What has come of one kind, at little cost: the exchange of a test works in the same process."""
        return [record.row for record in self._records() if record.row["type"] == kind]

    def run_killed(self, exchange: Exchange | KeyedExchange, so_many: Sequence[int], whole: Callable[[], int]) -> None:
        """Start, and kill somewhere in its work once so many more trades have come, again and again; then to the end."""
        pause = random.Random(3)
        for wanted in (*so_many, None):
            there, before = len(self.rows("trade")), exchange.connections
            self.start()
            enough = whole() if wanted is None else min(there + wanted, whole())
            self.until(lambda before=before: exchange.connections > before, "it is connected")  # type: ignore[misc]
            self.until(lambda enough=enough: len(self.so_far("trade")) >= enough, f"{enough} trades")  # type: ignore[misc]
            if wanted is not None:
                time.sleep(pause.uniform(0, 1))  # somewhere in its work
                self.kill()
        self.until(lambda: "healed" in {gap["state"] for gap in self.so_far("gap")}, "the last gap is healed")
        self.stop()

    def rows(self, kind: str | None = None) -> list[Row]:
        """What stands in the log, or one kind of it."""
        committed = [record.row for record in BareTopic.of(self._settings).committed()]
        return [row for row in committed if kind in (None, row["type"])]

    def __enter__(self) -> "FeedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def coinbase(exchange: Exchange, settings: Settings, products: tuple[str, ...], silence_s: float) -> FeedProcess:
    urls = {"url": exchange.url, "rest_url": exchange.rest_url}
    return FeedProcess(settings, CoinbaseSettings(symbols=products, silence_s=silence_s, **urls), "coinbase")


def assert_every_trade_is_there_once(trades: list[Row], happened: list[tuple[str, int, int, str, str]]) -> None:
    assert sorted((str(r["symbol"]), int(r["trade_id"]), r["price"], r["size"]) for r in trades) == sorted(
        (product, number, float(price), float(size)) for product, number, _, price, size in happened
    )
