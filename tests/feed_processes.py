"""A live source in a process of its own, fed by an exchange on loopback and killed at will, and what it brings."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from bare_clients import BareTopic
from exchange_server import Exchange
from given_settings import outside
from marketpulse.settings import CoinbaseSettings, Settings
from waiting import wait_until

CHILD = """
import os
import sys
from marketpulse import settings as tree
from marketpulse.app.lifecycle import lifecycle
from marketpulse.app.pipeline.produce import run
keys = tree.KeySettings(alpaca=os.environ.get("APCA_API_KEY_ID"), alpaca_secret=os.environ.get("APCA_API_SECRET_KEY"))
settings = tree.Settings.model_validate_json(sys.argv[1]).model_copy(update={"keys": keys})
source = getattr(tree, sys.argv[2]).model_validate_json(sys.argv[3])
with lifecycle(settings, f"produce-{sys.argv[4]}") as life:
    raise SystemExit(run(settings, life, source, sys.argv[4]))
"""
Row = dict[str, Any]


class FeedProcess:
    """`marketpulse produce NAME` with these settings, started again and again."""

    def __init__(self, settings: Settings, source: BaseModel, name: str, **environment: str) -> None:
        self._settings, self._environment = settings, {**outside(), **environment}
        words = (settings.model_dump_json(), type(source).__name__, source.model_dump_json(), name)
        self._command = [sys.executable, "-c", CHILD, *words]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = self._settings.data_dir.parent
        self._process = subprocess.Popen(self._command, env=self._environment, cwd=folder)

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
