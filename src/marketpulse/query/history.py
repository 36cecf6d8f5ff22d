"""ports.History over the lake: a page of one series, with its values beside its bars; a page of alerts."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa

from marketpulse.model.adjusting import Action, Adjustments, adjustments
from marketpulse.model.rows import ALERT, INDICATORS_HEAD, LIVE_NAME
from marketpulse.model.timeframe import Cut, Timeframe
from marketpulse.ports import AlertSpan, BarSpan
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings

TIE_STEP_NS = 1_000
"""Tick bars that open at the same time are told apart by this, as the page's board shows them."""

_TIMEOUT_S = 15.0  # of each query, where `[sql]` allows more
_PRICES = (
    "open_time_ns", "close_time_ns", "open", "high", "low", "close", "volume", "vwap", "trade_count", "revision",
)  # fmt: skip
_HEAD = {"open_time", "close_time", "receipt", *INDICATORS_HEAD.names}

# The bound on open_time_ns skips files and row groups; the one on `shown` is exact.
_SERIES = """
    SELECT * FROM (
        SELECT * EXCLUDE (open_time_ns), {shown} AS open_time_ns FROM {table}
        WHERE symbol = {symbol} AND timeframe = {timeframe} AND open_time_ns >= {from_ns} AND open_time_ns < {before_ns}
    ) WHERE open_time_ns::DOUBLE / 1e6 >= {from_ms} AND open_time_ns::DOUBLE / 1e6 < {before_ms}
    ORDER BY open_time_ns DESC LIMIT {limit}"""
_ALERTS = """
    SELECT {columns} FROM {alerts} WHERE {wanted}
    ORDER BY event_time_ns DESC, symbol DESC, rule DESC LIMIT {limit}"""
_ALERT_COLUMNS = (
    *(name for name in ALERT.names if name != "receipt"), "receipt.partition AS partition",
    "receipt.last_offset AS last_offset",
)  # fmt: skip
_ACTIONS = """
    SELECT type, ex_time_ns, coalesce(ratio, amount) AS value, adjusted_by FROM corporate_actions WHERE symbol = {symbol}"""
_BEFORE = """
    SELECT ex_time_ns, arg_max(close, open_time_ns) AS close, arg_max(bars.source, open_time_ns) AS source
    FROM bars JOIN corporate_actions AS paid ON paid.symbol = bars.symbol AND open_time_ns < ex_time_ns
    WHERE bars.symbol = {symbol} AND timeframe = {timeframe} AND type = 'dividend' AND close IS NOT NULL GROUP BY ex_time_ns"""
_SOURCE = """
    SELECT source FROM bars WHERE symbol = {symbol} AND timeframe = {timeframe} ORDER BY open_time_ns DESC LIMIT 1"""
# Of all revisions, where those that were withdrawn count; the place's bounds skip files.
_WITH_WITHDRAWN = """(
    SELECT * FROM alerts_history WHERE {placed}
    QUALIFY row_number() OVER (PARTITION BY symbol, rule, event_time_ns ORDER BY revision DESC) = 1)"""
_TIED = (
    f"open_time_ns + {TIE_STEP_NS} * (row_number() OVER "
    "(PARTITION BY open_time_ns ORDER BY receipt.last_offset, receipt.last_row) - 1)"
)
_EVER_MS = 2.0**63 / 1e6 - 1
_SLACK_NS = 1_000_000  # more than rounding and ties are wide
_PAGES = 32  # that are kept until the lake changes: some 200 kB each
_PAGE_ROWS = 1_000
T = TypeVar("T")


class LakeHistory:
    """Each call sees the newest snapshot of the lake; one that asks the same of the same snapshot is not run again."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.sql.model_copy(update={"timeout_s": min(_TIMEOUT_S, settings.sql.timeout_s)})
        self._query = LakeQuery(settings.model_copy(update={"sql": limits}))
        self._pages: OrderedDict[Any, tuple[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def bars(self, span: BarSpan) -> pa.Table:
        """As ports.History says. A bar without values has nulls, and so has what was not computed then."""
        return self._kept(span, span.limit, ("bars", "indicators"), lambda: self._bars(span))

    def alerts(self, span: AlertSpan) -> pa.Table:
        """As ports.History says."""
        return self._kept(span, span.limit, ("alerts",), lambda: self._alerts(span))

    def adjustments(self, symbol: str, timeframe: str) -> Adjustments:
        """As ports.History says. The newest stored bar tells whose bars they are."""
        tables = ("bars", "events")
        return self._kept((symbol, timeframe), 0, tables, lambda: self._adjustments(symbol, timeframe))

    def close(self) -> None:
        self._query.close()

    def _kept(self, key: Any, rows: int, tables: tuple[str, ...], find: Callable[[], T]) -> T:
        version = self._query.version(tables)
        with self._lock:
            told, page = self._pages.get(key, ("", None))
        if page is not None and told == version:
            return page  # type: ignore[no-any-return]
        page = find()
        if rows <= _PAGE_ROWS:
            with self._lock:
                self._pages[key] = version, page
                self._pages.move_to_end(key)
                if len(self._pages) > _PAGES:
                    self._pages.popitem(last=False)
        return page

    def _bars(self, span: BarSpan) -> pa.Table:
        bars = self._newest("bars", span).select(_PRICES)
        if bars.num_rows == 0:
            return bars
        first_ms = bars["open_time_ns"][0].as_py() / 1e6
        values = self._newest("indicators", BarSpan(span.symbol, span.timeframe, first_ms, span.before_ms, span.limit))
        names = [name for name in values.column_names if name not in _HEAD]
        shown = [LIVE_NAME.get(name, name) for name in names]
        values = values.select(["open_time_ns", *names]).rename_columns(["open_time_ns", *shown])
        return bars.join(values, "open_time_ns", join_type="left outer").sort_by("open_time_ns")

    def _alerts(self, span: AlertSpan) -> pa.Table:
        placed, shown = _place(span), _among(span, "severity", "state")
        alerts = _WITH_WITHDRAWN.format(placed=" AND ".join(placed)) if span.withdrawn else "alerts"
        question = _ALERTS.format(
            columns=", ".join(_ALERT_COLUMNS), alerts=alerts, wanted=" AND ".join([*placed, *shown]), limit=span.limit
        )  # fmt: skip
        return self._query.run(question).sort_by([(name, "ascending") for name in ("event_time_ns", "symbol", "rule")])

    def _adjustments(self, symbol: str, timeframe: str) -> Adjustments:
        place = {"symbol": _text(symbol), "timeframe": _text(timeframe)}
        told = self._query.run(_ACTIONS.format(**place)).to_pylist()
        if not told:
            return Adjustments()
        actions = [Action(row["type"], row["ex_time_ns"], row["value"], tuple(row["adjusted_by"])) for row in told]
        before = self._query.run(_BEFORE.format(**place)).to_pylist()
        sources = self._query.run(_SOURCE.format(**place))["source"].to_pylist()
        closes = {row["ex_time_ns"]: (row["close"], row["source"]) for row in before}
        return adjustments(actions, sources[0] if sources else None, closes)

    def _newest(self, table: str, span: BarSpan) -> pa.Table:
        ties = Timeframe.parse(span.timeframe).cut is Cut.TICKS
        found = self._query.run(_SERIES.format(table=table, shown=_TIED if ties else "open_time_ns", **_bounds(span)))
        return found.sort_by("open_time_ns")


def _bounds(span: BarSpan) -> dict[str, Any]:
    from_ms = max(-_EVER_MS, -_EVER_MS if span.from_ms is None else span.from_ms)
    before_ms = min(_EVER_MS, _EVER_MS if span.before_ms is None else span.before_ms)
    return {
        "symbol": _text(span.symbol), "timeframe": _text(span.timeframe), "limit": span.limit,
        "from_ms": f"{from_ms!r}::DOUBLE", "before_ms": f"{before_ms!r}::DOUBLE",
        "from_ns": max(-(2**62), int(from_ms * 1e6) - _SLACK_NS), "before_ns": min(2**62, int(before_ms * 1e6) + _SLACK_NS),
    }  # fmt: skip


def _among(span: AlertSpan, *names: str) -> list[str]:
    given = {name: getattr(span, name) for name in names}
    return [f"{name} = {_text(value)}" for name, value in given.items() if value is not None]


def _place(span: AlertSpan) -> list[str]:
    """Which alerts, whatever their revisions say."""
    found = ["true", *_among(span, "symbol", "rule")]
    if span.from_ns is not None:
        found.append(f"event_time_ns >= {span.from_ns}")
    if span.to_ns is not None:
        found.append(f"event_time_ns < {span.to_ns}")
    if span.below is not None:
        time_ns, symbol, rule = span.below
        found.append(f"event_time_ns <= {time_ns}")
        found.append(
            f"(event_time_ns < {time_ns} OR symbol < {_text(symbol)} OR (symbol = {_text(symbol)} AND rule < {_text(rule)}))"
        )
    return found


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
