"""Yahoo's chart API: bars by REST, without a key and without a promise.

Its prices are adjusted for every split up to the answer. What is asked reaches to now, so the splits behind a bar stand in the
same answer, and the bar goes into the log as it was.

It wants a User-Agent. Times are seconds since 1970, values stand in columns with nulls where nothing traded. The
last row is often no bar but the state of now: off the grid of the interval, or at the very close.
"""

from collections.abc import Mapping as Fields
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from marketpulse.errors import SettingsError
from marketpulse.model.market import LATEST_TIME_NS
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, Timeframe
from marketpulse.settings import Mapping, YahooSettings
from marketpulse.sources.actions.vendors import factor_behind, yahoo_splits, yahoo_zone
from marketpulse.sources.rest.answer import Answer, Judgement, Taken
from marketpulse.sources.rest.bar_answer import Reading, bar_rows, unusable
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.rest.question import Question
from marketpulse.sources.symbols import theirs
from marketpulse.telemetry import get_logger

HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; marketpulse)", "Accept": "application/json"}
MICS = {
    "NMS": "XNAS", "NGM": "XNAS", "NCM": "XNAS", "NAS": "XNAS", "NYQ": "XNYS", "PCX": "ARCX", "ASE": "XASE", "BTS": "BATS",
    "LSE": "XLON", "GER": "XETR", "FRA": "XFRA", "PAR": "XPAR", "AMS": "XAMS", "BRU": "XBRU", "LIS": "XLIS", "MIL": "XMIL",
    "MCE": "XMAD", "EBS": "XSWX", "VIE": "XWBO", "STO": "XSTO", "CPH": "XCSE", "HEL": "XHEL", "OSL": "XOSL", "TOR": "XTSE",
    "VAN": "XTSX", "JPX": "XTKS", "HKG": "XHKG", "SHH": "XSHG", "SHZ": "XSHE", "KSC": "XKRX", "KOE": "XKOS", "TAI": "XTAI",
    "ASX": "XASX", "NZE": "XNZE", "NSI": "XNSE", "BSE": "XBOM", "SES": "XSES", "SAO": "BVMF", "MEX": "XMEX", "JNB": "XJSE",
}  # fmt: skip
"""Its names of exchanges -> MIC. Those of composite prices (CCC, CCY) are no venue."""
_OVERLAP_BARS = 5  # asked for again, to notice what the vendor changes
_AWAY_S = 600.0
_FIELDS = ("open", "high", "low", "close", "volume")


def judge(status: int, body: Any) -> Judgement | None:  # noqa: ARG001
    """There is no key that could be wrong: who is turned away has asked too often."""
    return Judgement(Taken.LIMIT, "the vendor turns us away", _AWAY_S) if status in (401, 403, 999) else None


def rate(settings: YahooSettings) -> Rate:
    return Rate(settings.requests_per_minute, 60.0, burst=min(5, settings.requests_per_minute))


class Yahoo:
    """The vendor's protocol; see rest.polled.Vendor."""

    name = "yahoo"

    def __init__(self, settings: YahooSettings) -> None:
        self._settings = settings
        self.timeframe = Timeframe.parse(settings.interval)
        self._daily = self.timeframe.length == DAY_NS
        self._currencies: dict[str, str] = {}

    def question(self, symbol: str, since_ns: int | None, now_ns: int) -> Question:
        path = f"/v8/finance/chart/{quote(theirs(symbol, '-'), safe='')}"
        parameters = {
            "interval": self._settings.interval,
            "includePrePost": str(self._settings.extended_hours).lower(),
            "events": "splits",
        }
        if since_ns is None:
            return Question(path, {**parameters, "range": self._settings.history})
        since_s = (since_ns - _OVERLAP_BARS * self.timeframe.length) // SECOND_NS
        until_s = max(now_ns // SECOND_NS, since_s) + 1
        return Question(path, {**parameters, "period1": str(since_s), "period2": str(until_s)})

    def read(self, symbol: str, answer: Answer) -> Reading:
        origin = f"{self.name} {symbol}"
        chart = _at(answer.body, "chart", "result", 0)
        meta = _at(chart, "meta")
        if not isinstance(meta, dict):
            return unusable("there is no chart.result[0].meta in it", origin, answer.raw)
        columns = _columns(chart)
        if columns is None:
            return unusable("its columns are not lists of one length", origin, answer.raw)
        self._note_currency(symbol, meta)
        zone = meta.get("exchangeTimezoneName")
        venue = meta.get("exchangeName")
        mapping = Mapping(
            timezone=zone if isinstance(zone, str) and self._daily else "UTC",
            symbol=symbol,
            venue=MICS.get(venue) if isinstance(venue, str) else None,
            timeframe=self.timeframe.name,
            record="bar",
        )
        whole = (cell for cell in zip(*columns, strict=True) if any(value is not None for value in cell[1:]))
        cells = _as_they_were(list(whole), chart)
        try:
            reading = bar_rows(cells if self._daily else self._on_the_grid(cells, meta), mapping, origin, symbol)
        except SettingsError as error:
            return unusable(str(error), origin, answer.raw)
        return replace(reading, reached_ns=_reached_ns(cells, meta), busy=_busy(meta, answer.received_ns))

    def _on_the_grid(self, cells: list[tuple[Any, ...]], meta: Fields[str, Any]) -> list[tuple[Any, ...]]:
        """Without a last row that is the state of now: a bar begins on the grid, before its session ends."""
        if not cells or not isinstance(cells[-1][0], int):
            return cells
        at, step = cells[-1][0], self.timeframe.length // SECOND_NS
        before = [cell[0] for cell in cells[:-1] if isinstance(cell[0], int)]
        off = (at - before[-1]) % step if before else at % min(step, 1_800)
        ends = _at(meta, "currentTradingPeriod", "post" if self._settings.extended_hours else "regular", "end")
        return cells[:-1] if off or (isinstance(ends, int) and at >= ends) else cells

    def _note_currency(self, symbol: str, meta: Fields[str, Any]) -> None:
        """Prices are in the currency that the vendor names (`GBp`: pence). Said once, and whenever it changes."""
        currency = meta.get("currency")
        if isinstance(currency, str) and self._currencies.get(symbol) != currency:
            before, self._currencies[symbol] = self._currencies.get(symbol), currency
            say = get_logger().info if before is None else get_logger().warning
            say("currency", source=self.name, symbol=symbol, currency=currency[:10], before=before)


def _as_they_were(cells: list[tuple[Any, ...]], chart: Any) -> list[tuple[Any, ...]]:
    """The rows of a chart with the prices and volumes of their days."""
    splits = yahoo_splits(chart)
    if not splits:
        return cells
    zone, found = yahoo_zone(chart), []
    for at, *values in cells:
        factor = factor_behind(splits, _day(at, zone))
        *prices, volume = values
        raw = [price * factor if _is_number(price) else price for price in prices]
        found.append((at, *raw, round(volume / factor, 6) if _is_number(volume) else volume))
    return found


def _day(at: Any, zone: ZoneInfo) -> int:
    """Days since 1970 on the exchange's calendar; what is no time lies behind every split."""
    if not isinstance(at, int) or not 0 < at < LATEST_TIME_NS // SECOND_NS:
        return LATEST_TIME_NS // DAY_NS
    there = datetime.fromtimestamp(at, zone).date()
    return there.toordinal() - date(1970, 1, 1).toordinal()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reached_ns(cells: list[tuple[Any, ...]], meta: Fields[str, Any]) -> int:
    """The newest time in the answer: of its last row, or of the last trade."""
    times = [at for at in (cells[-1][0] if cells else 0, meta.get("regularMarketTime")) if isinstance(at, int)]
    return min(max(times, default=0), LATEST_TIME_NS // SECOND_NS) * SECOND_NS


def _busy(meta: Fields[str, Any], now_ns: int) -> bool | None:
    """Whether the venue trades, pre- and post-market included; None: the answer does not say."""
    begin, end = (_at(meta, "currentTradingPeriod", "pre", "start"), _at(meta, "currentTradingPeriod", "post", "end"))
    if not isinstance(begin, int) or not isinstance(end, int) or begin >= end:
        return None
    return begin * SECOND_NS <= now_ns <= (end + 1_800) * SECOND_NS


def _columns(chart: Any) -> list[list[Any]] | None:
    """Time, open, high, low, close, volume; empty ones when there is no bar; None when they do not fit together."""
    times = _at(chart, "timestamp")
    if times is None:
        return [[] for _ in range(6)]
    if not isinstance(times, list):
        return None
    found = [times]
    for name in _FIELDS:
        column = _at(chart, "indicators", "quote", 0, name)
        if column is None and not times:
            column = []
        if not isinstance(column, list) or len(column) != len(times):
            return None
        found.append(column)
    return found


def _at(value: Any, *path: str | int) -> Any:
    """What lies at a path in JSON; None where something is missing or of another kind."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value
