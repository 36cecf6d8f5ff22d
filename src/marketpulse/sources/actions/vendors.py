"""How each vendor is asked for splits and dividends, and what its answers say.

Amounts and ratios are as they were on their day: a later split changes none of them.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marketpulse.model.timeframe import DAY_NS, SECOND_NS
from marketpulse.ports import RejectedInput
from marketpulse.sources import symbols as shares
from marketpulse.sources.actions.told import Action, Told, Unfit, day_of, iso, positive
from marketpulse.sources.rest.answer import Answer
from marketpulse.sources.rest.question import Question

_COMPACT_DAYS = 100
_COEFFICIENT, _PAID = "8. split coefficient", "7. dividend amount"
_VALUE_BYTES = 64_000  # of an answer that is set aside
Fields = Mapping[str, Any]


class AlpacaActions:
    """`/v1/corporate-actions`; see ledger.ActionsVendor."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:
        parameters = {
            "symbols": shares.theirs(symbol, "."), "types": "forward_split,reverse_split,cash_dividend",
            "start": iso(since), "end": iso(today), "limit": "1000", "sort": "asc",
        }  # fmt: skip
        return [Question("/v1/corporate-actions", parameters)]

    def read(self, symbol: str, answer: Answer) -> Told:
        found = answer.body.get("corporate_actions") if isinstance(answer.body, dict) else None
        if not isinstance(found, dict):
            return _unusable("alpaca", symbol, answer, "there are no corporate_actions in it")
        splits = [*_listed(found, "forward_splits"), *_listed(found, "reverse_splits")]
        return _all("alpaca", symbol, (
            (splits, lambda fields: Action("split", day_of(fields, "ex_date"), _ratio(fields, "new_rate", "old_rate"))),
            (_listed(found, "cash_dividends"), lambda fields: Action("dividend", day_of(fields, "ex_date"), positive(fields, "rate"))),
        ))  # fmt: skip


class PolygonActions:
    """`/v3/reference/splits` and `/v3/reference/dividends`."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:
        def asked(what: str, day: str) -> Question:
            parameters = {"ticker": shares.theirs(symbol, "."), f"{day}.gte": iso(since), f"{day}.lte": iso(today), "limit": "1000"}  # fmt: skip
            return Question(f"/v3/reference/{what}", parameters)

        return [asked("splits", "execution_date"), asked("dividends", "ex_dividend_date")]

    def read(self, symbol: str, answer: Answer) -> Told:
        if not isinstance(answer.body, dict) or not isinstance(answer.body.get("results", []), list):
            return _unusable("polygon", symbol, answer, "there are no results in it")

        def one(fields: Fields) -> Action:
            if "execution_date" in fields:
                return Action("split", day_of(fields, "execution_date"), _ratio(fields, "split_to", "split_from"))
            return Action("dividend", day_of(fields, "ex_dividend_date"), positive(fields, "cash_amount"))

        return _all("polygon", symbol, ((_listed(answer.body, "results"), one),))


class FinnhubActions:
    """`/stock/split` and `/stock/dividend`, which a free key does not have."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:
        parameters = {"symbol": shares.theirs(symbol, "."), "from": iso(since), "to": iso(today)}
        return [Question(f"/api/v1/stock/{what}", parameters) for what in ("split", "dividend")]

    def read(self, symbol: str, answer: Answer) -> Told:
        if not isinstance(answer.body, list):
            return _unusable("finnhub", symbol, answer, "a list was expected")

        def one(fields: Fields) -> Action:
            if "fromFactor" in fields:
                return Action("split", day_of(fields, "date"), _ratio(fields, "toFactor", "fromFactor"))
            return Action("dividend", day_of(fields, "date"), positive(fields, "amount"))

        return _all("finnhub", symbol, (([f for f in answer.body if isinstance(f, dict)], one),))


class AlphaVantageActions:
    """The functions SPLITS and DIVIDENDS: two of the day's requests for each symbol."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:  # noqa: ARG002
        return [
            Question("/query", {"function": function, "symbol": shares.theirs(symbol, "-")})
            for function in ("SPLITS", "DIVIDENDS")
        ]

    def read(self, symbol: str, answer: Answer) -> Told:
        if not isinstance(answer.body, dict) or not isinstance(answer.body.get("data"), list):
            return _unusable("alpha_vantage", symbol, answer, "there is no data in it")

        def one(fields: Fields) -> Action:
            if "split_factor" in fields:
                return Action("split", day_of(fields, "effective_date"), positive(fields, "split_factor"))
            return Action("dividend", day_of(fields, "ex_dividend_date"), positive(fields, "amount"))

        return _all("alpha_vantage", symbol, ((_listed(answer.body, "data"), one),))


class AlphaVantageDays:
    """The columns of TIME_SERIES_DAILY_ADJUSTED, one request for both."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:
        size = "compact" if today - since <= _COMPACT_DAYS else "full"
        parameters = {
            "function": "TIME_SERIES_DAILY_ADJUSTED",
            "symbol": shares.theirs(symbol, "-"),
            "outputsize": size,
        }
        return [Question("/query", parameters)]

    def read(self, symbol: str, answer: Answer) -> Told:
        days = answer.body.get("Time Series (Daily)") if isinstance(answer.body, dict) else None
        if not isinstance(days, dict):
            return _unusable("alpha_vantage", symbol, answer, "there are no days in it")
        told = [{"day": day, **fields} for day, fields in days.items() if isinstance(fields, dict)]
        split = [f for f in told if _number(f.get(_COEFFICIENT), 1.0) != 1.0]
        paid = [f for f in told if _number(f.get(_PAID), 0.0) != 0.0]
        return _all("alpha_vantage", symbol, (
            (split, lambda fields: Action("split", day_of(fields, "day"), positive(fields, _COEFFICIENT))),
            (paid, lambda fields: Action("dividend", day_of(fields, "day"), positive(fields, _PAID))),
        ))  # fmt: skip


class YahooActions:
    """The events of the chart. Its amounts are adjusted for the splits behind them, up to the answer: here they are not."""

    def questions(self, symbol: str, since: int, today: int) -> Sequence[Question]:
        parameters = {
            "interval": "1d", "period1": str(since * DAY_NS // SECOND_NS), "period2": str((today + 1) * DAY_NS // SECOND_NS),
            "events": "div,splits",
        }  # fmt: skip
        return [Question(f"/v8/finance/chart/{quote(shares.theirs(symbol, '-'), safe='')}", parameters)]

    def read(self, symbol: str, answer: Answer) -> Told:
        chart = yahoo_chart(answer.body)
        if chart is None:
            return _unusable("yahoo", symbol, answer, "there is no chart.result[0] in it")
        splits = yahoo_splits(chart)
        zone = yahoo_zone(chart)
        told = _all("yahoo", symbol, (
            (_of(chart, "dividends"), lambda fields: Action("dividend", _day(fields, zone), positive(fields, "amount"))),
        ))  # fmt: skip
        # Restated amounts are rounded: without a rounding here each later split would tell another one.
        paid = [a._replace(value=round(a.value * factor_behind(splits, a.day), 6)) for a in told.actions]
        return Told([*splits, *paid], told.rejected)


def yahoo_chart(body: Any) -> Fields | None:
    """`chart.result[0]` of an answer; None where it is not there."""
    try:
        found = body["chart"]["result"][0]
    except (TypeError, KeyError, IndexError):
        return None
    return found if isinstance(found, dict) else None


def yahoo_splits(chart: Fields) -> list[Action]:
    """The splits of a chart, oldest first; what is none is left out, for the chart's prices then are what it says."""
    zone = yahoo_zone(chart)
    told = _all("yahoo", "", (
        (_of(chart, "splits"), lambda fields: Action("split", _day(fields, zone), _ratio(fields, "numerator", "denominator"))),
    ))  # fmt: skip
    return sorted(set(told.actions))


def yahoo_zone(chart: Fields) -> ZoneInfo:
    """The zone of a chart's exchange; UTC where it is not said."""
    meta = chart.get("meta")
    name = meta.get("exchangeTimezoneName") if isinstance(meta, dict) else None
    try:
        return ZoneInfo(name if isinstance(name, str) and name else "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def factor_behind(splits: Iterable[Action], day: int) -> float:
    """The product of the ratios of splits whose ex date is after this day."""
    found = 1.0
    for split in splits:
        if split.day > day:
            found *= split.value
    return found


def _of(chart: Fields, kind: Literal["splits", "dividends"]) -> list[Fields]:
    events = chart.get("events")
    found = events.get(kind) if isinstance(events, dict) else None
    return [f for f in found.values() if isinstance(f, dict)] if isinstance(found, dict) else []


def _day(fields: Fields, zone: ZoneInfo) -> int:
    """The exchange's own date of an event's time."""
    at = fields.get("date")
    if not isinstance(at, int) or isinstance(at, bool) or not 86_400 <= at < 7_258_118_400:
        raise Unfit(f"date must be seconds since 1970, found {str(at)[:40]!r}")
    there = datetime.fromtimestamp(at, UTC).astimezone(zone).date()
    return there.toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()


def _ratio(fields: Fields, new: str, old: str) -> float:
    return positive(fields, new) / positive(fields, old)


def _number(value: Any, usual: float) -> float:
    """A number as text; the usual one where there is none, NaN for what is none."""
    try:
        return usual if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan


def _listed(fields: Fields, name: str) -> list[Fields]:
    found = fields.get(name)
    return [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []


def _all(vendor: str, symbol: str, parts: Iterable[tuple[Sequence[Fields], Callable[[Fields], Action]]]) -> Told:
    """Each as an action or a dead letter."""
    actions, rejected = [], []
    for items, read in parts:
        for number, fields in enumerate(items, 1):
            try:
                actions.append(read(fields))
            except Unfit as error:
                value = json.dumps(fields, default=str).encode()[:_VALUE_BYTES]
                rejected.append(RejectedInput("bad_answer", str(error), f"{vendor} {symbol}", number, value))
    return Told(actions, rejected)


def _unusable(vendor: str, symbol: str, answer: Answer, why: str) -> Told:
    letter = RejectedInput("bad_answer", why, f"{vendor} {symbol}", 1, answer.raw[:_VALUE_BYTES])
    return Told((), [letter])
