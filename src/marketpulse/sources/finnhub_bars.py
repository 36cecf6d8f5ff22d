"""Finnhub's candles: bars of stocks by REST, for those whose plan has them.

Times are seconds since 1970, of a day its midnight UTC; values stand in columns. `no_data` is no fault.
"""

from typing import Any

from marketpulse.model.timeframe import DAY_NS, SECOND_NS, Timeframe
from marketpulse.settings import FinnhubBarsSettings, Mapping
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.bar_answer import Reading, bar_rows, unusable
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.rest.question import Question
from marketpulse.sources.symbols import theirs

_RESOLUTIONS = {"1m": "1", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "1d": "D"}
_COLUMNS = ("t", "o", "h", "l", "c", "v")
_OVERLAP_BARS = 5  # asked for again, to notice what the vendor changes


def rate(settings: FinnhubBarsSettings) -> Rate:
    return Rate(settings.requests_per_minute, 60.0, burst=min(5, settings.requests_per_minute))


class FinnhubBars:
    """The vendor's protocol; see rest.polled.Vendor."""

    name = "finnhub_bars"

    def __init__(self, settings: FinnhubBarsSettings) -> None:
        self._settings = settings
        self.timeframe = Timeframe.parse(settings.interval)

    def question(self, symbol: str, since_ns: int | None, now_ns: int) -> Question:
        begin_ns = (
            now_ns - self._settings.history_days * DAY_NS
            if since_ns is None
            else since_ns - _OVERLAP_BARS * self.timeframe.length
        )
        parameters = {
            "symbol": theirs(symbol, "."),
            "resolution": _RESOLUTIONS[self._settings.interval],
            "from": str(begin_ns // SECOND_NS),
            "to": str(max(now_ns, begin_ns) // SECOND_NS + 1),
        }
        return Question("/api/v1/stock/candle", parameters)

    def read(self, symbol: str, answer: Answer) -> Reading:
        origin = f"{self.name} {symbol}"
        body = answer.body
        if not isinstance(body, dict):
            return unusable("an object was expected", origin, answer.raw)
        if body.get("s") == "no_data":
            return Reading()
        columns = _columns(body)
        if columns is None:
            return unusable("its columns are not lists of one length", origin, answer.raw)
        mapping = Mapping(
            timezone="UTC", symbol=symbol, venue=self._settings.venue, timeframe=self.timeframe.name, record="bar"
        )
        return bar_rows([list(cell) for cell in zip(*columns, strict=True)], mapping, origin, symbol)


def _columns(body: dict[str, Any]) -> list[list[Any]] | None:
    """Time, open, high, low, close, volume; None when they do not fit together."""
    found = [body.get(name) for name in _COLUMNS]
    lists = [column for column in found if isinstance(column, list)]
    if len(lists) < len(_COLUMNS) or len({len(column) for column in lists}) > 1:
        return None
    return lists
