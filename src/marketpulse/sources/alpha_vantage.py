"""Alpha Vantage: bars by REST, with a key.

Answers come with status 200 whatever they say: a limit is a `Note` or an `Information`, a wrong symbol an
`Error Message`. Times are New York's wall clock without a zone, the newest first; the bar of the present interval
or day stands among them.
"""

import re
from collections.abc import Mapping as Fields
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from marketpulse.errors import SettingsError
from marketpulse.model.timeframe import Timeframe
from marketpulse.settings import AlphaVantageSettings, Mapping
from marketpulse.sources.rest.answer import Answer, Judgement, Taken
from marketpulse.sources.rest.bar_answer import Reading, bar_rows, unusable
from marketpulse.sources.rest.budget import Allowance
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.rest.question import Question
from marketpulse.sources.symbols import theirs

ZONE = "America/New_York"
COMPACT_BARS = 100
_FUNCTIONS = {"quote": "GLOBAL_QUOTE", "intraday": "TIME_SERIES_INTRADAY", "daily": "TIME_SERIES_DAILY",
              "daily_adjusted": "TIME_SERIES_DAILY_ADJUSTED"}  # fmt: skip
_FRAMES = {"1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h"}
_NO_KEY = re.compile(
    r"api ?key is (invalid|missing)|invalid or missing|invalid api ?key|demo\W* api ?key", re.IGNORECASE
)
_PER_DAY = re.compile(r"per day|daily", re.IGNORECASE)
_AT_ONCE = re.compile(r"per (minute|second)|spreading out|sparingly", re.IGNORECASE)
_LIMIT = re.compile(r"rate limit|call frequency|requests? per|calls? per|spreading out", re.IGNORECASE)
_PAID = re.compile(r"premium (endpoint|feature|function)|subscribe to any of the premium", re.IGNORECASE)
_MINUTE_S, _HOUR_S = 60.0, 3_600.0
_FIELDS = ("open", "high", "low", "close", "volume")


def judge(status: int, body: Any) -> Judgement | None:  # noqa: ARG001
    """Its own words for limits, wrong keys and wrong questions, which all come with status 200."""
    if not isinstance(body, dict):
        return None
    for name in ("Error Message", "Note", "Information"):
        text = body.get(name)
        if not isinstance(text, str):
            continue
        if _NO_KEY.search(text):
            return Judgement(Taken.KEY, "the key is not accepted")
        if name == "Error Message":
            return Judgement(Taken.REFUSED, "the question is not accepted")
        if _PAID.search(text) and not _LIMIT.search(text):
            return Judgement(Taken.REFUSED, "the key's plan does not have this")
        # "25 requests per day" stands in what is said of too many at once, too.
        wait = _HOUR_S if _PER_DAY.search(text) and not _AT_ONCE.search(text) else _MINUTE_S
        return Judgement(Taken.LIMIT, "a limit", wait)
    return None


def rate(settings: AlphaVantageSettings) -> Rate:
    return Rate(settings.requests_per_minute, 60.0)


def allowance(settings: AlphaVantageSettings, symbols: int) -> Allowance | None:
    """The day's requests: a first look at each symbol is free at any time, the rest is spread over the session."""
    if settings.requests_per_day is None:
        return None
    opens, closes = (time.fromisoformat(text) for text in settings.spread)
    return Allowance(settings.requests_per_day, ZONE, opens, closes, at_once=symbols)


class AlphaVantage:
    """The vendor's protocol; see rest.polled.Vendor."""

    name = "alpha_vantage"

    def __init__(self, settings: AlphaVantageSettings) -> None:
        self._settings = settings
        self._series = settings.function == "intraday"
        self.timeframe = Timeframe.parse(_FRAMES[settings.interval] if self._series else "1d")

    def question(self, symbol: str, since_ns: int | None, now_ns: int) -> Question:
        settings = self._settings
        parameters = {"function": _FUNCTIONS[settings.function], "symbol": theirs(symbol, "-")}
        if settings.function == "quote":
            return Question("/query", parameters)
        long_ago = since_ns is None or now_ns - since_ns > COMPACT_BARS * self.timeframe.length * 9 // 10
        full = settings.history == "full" and long_ago
        parameters["outputsize"] = "full" if full else "compact"
        if self._series:
            parameters["interval"] = settings.interval
            parameters["adjusted"] = "false"
            parameters["extended_hours"] = str(settings.extended_hours).lower()
        return Question("/query", parameters, truncated=not full)

    def read(self, symbol: str, answer: Answer) -> Reading:
        origin = f"{self.name} {symbol}"
        if not isinstance(answer.body, dict):
            return unusable("an object was expected", origin, answer.raw)
        found = self._quote(answer.body) if self._settings.function == "quote" else _series(answer.body)
        if found is None:
            return unusable("no bars in it: the symbol may be unknown to the vendor", origin, answer.raw)
        zone, cells = found
        mapping = Mapping(
            timezone=zone, symbol=symbol, venue=self._settings.venue, timeframe=self.timeframe.name, record="bar"
        )
        try:
            if self._series and self._settings.label == "close":
                cells = [[_label_of(cell[0], self.timeframe), *cell[1:]] for cell in cells]
            return bar_rows(cells, mapping, origin, symbol)
        except SettingsError as error:
            return unusable(str(error), origin, answer.raw)

    def _quote(self, body: Fields[str, Any]) -> tuple[str, list[list[Any]]] | None:
        quote = body.get("Global Quote")
        if not isinstance(quote, dict) or not quote:
            return None
        fields = _plain(quote)
        names = ("latest trading day", "open", "high", "low", "price", "volume")
        return ZONE, [[fields.get(name) for name in names]]


def _series(body: Fields[str, Any]) -> tuple[str, list[list[Any]]] | None:
    """(zone, cells) of a TIME_SERIES answer; None when it is none."""
    series = next((v for k, v in body.items() if k.startswith("Time Series") and isinstance(v, dict)), None)
    if series is None:
        return None
    meta = body.get("Meta Data")
    zone = next((v for k, v in meta.items() if k.endswith("Time Zone")), ZONE) if isinstance(meta, dict) else ZONE
    cells = []
    for label, bar in series.items():
        fields = _plain(bar) if isinstance(bar, dict) else {}
        cells.append([label, *(fields.get(name) for name in _FIELDS)])
    return str(zone), cells


def _plain(numbered: Fields[str, Any]) -> dict[str, Any]:
    """`{"1. open": …}` -> `{"open": …}`."""
    return {name.partition(". ")[2] or name: value for name, value in numbered.items()}


def _label_of(close: str, timeframe: Timeframe) -> str:
    """The open of a bar whose label is its close. Wall clock: bars of a stock never lie over a change of it."""
    try:
        at = datetime.fromisoformat(close)
    except ValueError:
        return close
    return datetime.fromtimestamp(
        at.replace(tzinfo=ZoneInfo("UTC")).timestamp() - timeframe.length / 1e9, ZoneInfo("UTC")
    ).strftime("%Y-%m-%d %H:%M:%S")
