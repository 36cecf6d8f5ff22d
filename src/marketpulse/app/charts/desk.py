"""ports.ChartDesk over the lake, the log and the engine's own operators."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from marketpulse.app.charts.catalogue import catalogue, indicators_of
from marketpulse.app.charts.sessions import sessions
from marketpulse.app.charts.values import ChartValues
from marketpulse.errors import QueryCancelled, QueryLimit
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings

RECEIPT_TIMEOUT_S = 60.0


class LiveDesk:
    """The one of `serve`. Each call sees what is stored then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._indicators = indicators_of(settings.engine)
        self._query = LakeQuery(settings) if settings.sinks.lake.enabled else None
        self._values = ChartValues(self._query)

    def catalogue(self) -> Sequence[Mapping[str, Any]]:
        return catalogue(self._settings.engine)

    def values(self, stems: Sequence[str], span: BarSpan, live: LiveBars) -> tuple[list[str], list[list[float]]]:
        return self._values.values(stems, self._indicators, span, live)

    def sessions(self, venue: str | None, from_ms: float, to_ms: float) -> Mapping[str, Any]:
        return sessions(self._settings.engine, venue, from_ms, to_ms)

    def receipt(self, ask: ReceiptAsk, cancelled: threading.Event) -> Mapping[str, Any]:
        from marketpulse.app.receipts import explain_text
        from marketpulse.app.receipts.explain import explain
        from marketpulse.app.receipts.trace import Ask

        until = time.monotonic() + RECEIPT_TIMEOUT_S

        def say(done: int, end: int) -> None:
            if cancelled.is_set():
                raise QueryCancelled("nobody waits for this receipt any more")
            if time.monotonic() > until:
                raise QueryLimit(
                    f"the replay took more than {RECEIPT_TIMEOUT_S:.0f} s, and stood at record {done:,} of {end:,}: "
                    f"run `marketpulse explain {ask.symbol} {ask.timeframe} {ask.open_ns} {ask.name}`"
                )

        found = explain(self._settings, Ask(ask.symbol, ask.timeframe, ask.open_ns, ask.name, ask.as_shown), say)
        told = explain_text.as_object(found) | {"lines": list(explain_text.lines(found))}
        plain: dict[str, Any] = orjson.loads(orjson.dumps(told, default=str))
        return plain

    def close(self) -> None:
        if self._query is not None:
            self._query.close()
