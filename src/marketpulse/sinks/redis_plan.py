"""What the rows of one partition change in Redis: questions to it first, then the operations of redis_store.lua.

Rows that a later one of the same stretch replaces are left out here, so the server gets what remains.
"""

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from marketpulse.model.redis_keys import RANKINGS, RedisKeys, score_ms
from marketpulse.model.tables import TABLES
from marketpulse.model.timeframe import Cut, Timeframe
from marketpulse.ports import SinkBatch
from marketpulse.settings import RedisSettings
from marketpulse.sinks.sessions import Part, Session, SessionsOf, date_of

Question = tuple[str | int, ...]
"""One read command."""

SPARE = 50
"""Rows of a series that are kept beyond those asked for: they take the place of withdrawn ones."""

ALERT_CHANGES = 100
"""Changes kept of each symbol's rule: when the last is withdrawn, the one before it holds again."""

_PART_COLUMNS = ("symbol", "timeframe", "open_time_ns", "open", "high", "low", "close", "volume", "vwap",
                 "trade_count", "revision", "session_date")  # fmt: skip
_FIGURES = tuple(Session("").figures())


class PartitionPlan:
    """The rows that wait of one partition. `questions`, then `more_questions`, then `operations`."""

    def __init__(self, settings: RedisSettings, keys: RedisKeys, rows: Mapping[str, Sequence[SinkBatch]]) -> None:
        self._settings, self._keys = settings, keys
        self._operations: list[list[Any]] = []
        self._open_series: list[_Series] = []  # those whose newest row may be withdrawn
        self._days: dict[str, dict[str, dict[int, tuple[Part, int]]]] = {}  # symbol -> date -> open time
        self._own_bars: dict[str, dict[str, Part]] = {}  # symbol -> date
        self._sessions: dict[str, SessionsOf] = {}
        frames = {table: frame for table, b in rows.items() if (frame := _frame(b)).height}
        for table, key, channel in (("trades", keys.price, "prices"), ("quotes", keys.quote, "quotes")):
            if table in frames:
                self._take_newest(table, frames[table], key, channel)
        for table in ("bars", "indicators"):
            if table in frames:
                self._take_series(table, frames[table])
        if "bars" in frames:
            self._take_days(frames["bars"])
        if "alerts" in frames:
            self._take_alerts(frames["alerts"])

    def questions(self) -> list[Question]:
        """What must be known of the store."""
        newest: list[Question] = [("ZREVRANGE", s.key, 0, len(s.scores), "WITHSCORES") for s in self._open_series]
        return [*newest, *(("HGETALL", self._keys.sessions(symbol)) for symbol in self._symbols_with_days())]

    def more_questions(self, answers: Sequence[Any]) -> list[Question]:
        """What must be known after the answers to `questions`: the bars of days that are computed anew."""
        count = len(self._open_series)
        for series, held in zip(self._open_series, answers[:count], strict=True):
            self._operations.append(series.operation(self._settings.recent_bars, held))
        for symbol, stored in zip(self._symbols_with_days(), answers[count:], strict=True):
            self._sessions[symbol] = SessionsOf(
                {date: Session.of_stored(orjson.loads(text)) for date, text in stored.items()}
            )
        return [("HGETALL", self._keys.parts(symbol, date)) for symbol, date in self._computed_anew()]

    def operations(self, answers: Sequence[Any]) -> bytes:
        """As JSON, after the answers to `more_questions`."""
        stored = dict(zip(self._computed_anew(), answers, strict=True))
        for symbol, dates in self._days.items():
            for date, parts in dates.items():
                known = stored.get((symbol, date))
                if known is not None:
                    before = {int(ns): Part(*orjson.loads(text)) for ns, text in known.items()}
                    parts = {**{ns: (part, 0) for ns, part in before.items()}, **parts}
                self._sessions[symbol].take(date, [p for p, _ in parts.values()], anew=known is not None)
        for symbol in self._symbols_with_days():
            self._store_sessions(symbol)
        return orjson.dumps(self._operations)

    # Prices and quotes

    def _take_newest(self, table: str, frame: pl.DataFrame, key: Any, channel: str) -> None:
        newest = frame.sort("event_time_ns", "offset", "row").unique("symbol", keep="last", maintain_order=True)
        names = TABLES[table][1].names
        for text in _lines(newest):
            row = orjson.loads(text)
            self._operations.append([
                "newest", key(row["symbol"]), self._keys.channel(channel), str(row["event_time_ns"]),
                str(row["offset"]), str(row["row"]), text, [n for n in names if row.get(n) is None], _pairs(row),
            ])  # fmt: skip

    # Bars and indicators

    def _take_series(self, table: str, frame: pl.DataFrame) -> None:
        """The last revision of each bar, the newest bars of each series."""
        ticks = [t for t in frame["timeframe"].unique().to_list() if Timeframe.parse(t).cut is Cut.TICKS]
        place = pl.when(pl.col("timeframe").is_in(ticks)).then(
            pl.struct(pl.col("receipt").struct.field("last_offset"), pl.col("receipt").struct.field("last_row"))
        )
        last = frame.with_columns(place.alias("place")).unique(
            ["symbol", "timeframe", "open_time_ns", "place"], keep="last", maintain_order=True
        )
        keep = self._settings.recent_bars + SPARE
        rows = (
            last.drop("place").sort("symbol", "timeframe", "open_time_ns", maintain_order=True)
            .group_by("symbol", "timeframe", maintain_order=True).tail(keep)
            .select(frame.columns)
        )  # fmt: skip
        heads = zip(
            rows["symbol"].to_list(), rows["timeframe"].to_list(), rows["open_time_ns"].to_list(),
            rows["close"].is_null().to_list(), _lines(rows), strict=True,
        )  # fmt: skip
        newest: dict[str, dict[str, float]] = defaultdict(dict)  # timeframe -> symbol
        for (symbol, timeframe), run in groupby(heads, key=lambda head: head[:2]):
            held = list(run)
            series = _Series(
                self._keys.recent(table, symbol, timeframe), self._keys.latest(table, symbol, timeframe),
                self._keys.channel(table), timeframe in ticks, [score_ms(head[2]) for head in held],
                [head[4] for head in held], [head[3] for head in held],
            )  # fmt: skip
            newest[timeframe][symbol] = series.scores[-1]
            if any(series.withdrawn):
                self._open_series.append(series)
            else:
                self._operations.append(series.operation(self._settings.recent_bars, None))
        if table == "bars":
            self._name_series(newest)

    def _name_series(self, newest: Mapping[str, Mapping[str, float]]) -> None:
        """So that readers find every series."""
        for timeframe, symbols in newest.items():
            self._call("SADD", self._keys.timeframes, timeframe)
            scored = [text for symbol, score in symbols.items() for text in (repr(score), symbol)]
            for i in range(0, len(scored), 1_000):
                self._call("ZADD", self._keys.symbols(timeframe), "GT", *scored[i : i + 1_000])

    # Days and rankings

    def _take_days(self, frame: pl.DataFrame) -> None:
        frames = [self._settings.day_timeframe, "1d"]
        rows = frame.filter(pl.col("timeframe").is_in(frames)).select(_PART_COLUMNS)
        for row in rows.iter_rows(named=True):  # in the order of the log: the last one of a bar counts
            symbol, date, part = row["symbol"], date_of(row), Part.of(row)
            if row["timeframe"] == "1d":
                self._own_bars.setdefault(symbol, {})[date] = part
            else:
                self._days.setdefault(symbol, {}).setdefault(date, {})[part.open_ns] = part, row["revision"]

    def _symbols_with_days(self) -> list[str]:
        return sorted(self._days.keys() | self._own_bars.keys())

    def _computed_anew(self) -> list[tuple[str, str]]:
        return [
            (symbol, date)
            for symbol, dates in sorted(self._days.items())
            for date, parts in sorted(dates.items())
            if self._sessions[symbol].needs_parts(date, parts)
        ]

    def _store_sessions(self, symbol: str) -> None:
        sessions, keys = self._sessions[symbol], self._keys
        for date, part in self._own_bars.get(symbol, {}).items():
            sessions.take_own_bar(date, part)
        gone = sessions.settle()
        for date in gone:
            self._rank(symbol, date, {})
            self._call("DEL", keys.parts(symbol, date))
        pairs: list[str] = []
        for date in sorted(sessions.changed):
            session = sessions.held[date]
            figures = session.figures()
            pairs += (date, _json({**figures, **session.state()}))
            self._rank(symbol, date, figures if session.traded else {})
            self._operations.append(["publish", keys.channel("sessions"), _json({"symbol": symbol, **figures})])
            self._store_parts(symbol, date, session)
        self._operations.append(["put", keys.sessions(symbol), gone, pairs])
        if (newest := sessions.newest) is not None:
            figures = newest.figures()
            missing = [name for name in _FIGURES if figures[name] is None]
            self._operations.append(["put", keys.price(symbol), missing, ["symbol", symbol, *_pairs(figures)]])
        else:
            self._operations.append(["put", keys.price(symbol), list(_FIGURES), ["symbol", symbol]])

    def _store_parts(self, symbol: str, date: str, session: Session) -> None:
        """The bars of a day, until its own bar has come."""
        key = self._keys.parts(symbol, date)
        if session.own_bar:
            self._call("DEL", key)
        elif parts := self._days.get(symbol, {}).get(date):
            pairs = [t for ns, (part, _) in parts.items() for t in (str(ns), orjson.dumps(part.as_list()).decode())]
            for i in range(0, len(pairs), 1_000):
                self._operations.append(["put", key, [], pairs[i : i + 1_000]])

    def _rank(self, symbol: str, date: str, figures: Mapping[str, Any]) -> None:
        scores = {
            "change": figures.get("change_percent"), "value": figures.get("value"), "volume": figures.get("volume"),
        }  # fmt: skip
        named = [t for what in RANKINGS for t in (self._keys.ranking(what, date), _text(scores[what]))]
        self._operations.append(["rank", self._keys.days, date, date.replace("-", ""), symbol, *named])

    # Alerts

    def _take_alerts(self, frame: pl.DataFrame) -> None:
        rows = frame.unique(["symbol", "rule", "event_time_ns"], keep="last", maintain_order=True).sort(
            "symbol", "rule", "event_time_ns", maintain_order=True
        )
        heads = zip(
            rows["symbol"].to_list(), rows["rule"].to_list(), rows["event_time_ns"].to_list(),
            rows["state"].to_list(), _lines(rows), strict=True,
        )  # fmt: skip
        for (symbol, rule), run in groupby(heads, key=lambda head: head[:2]):
            held = list(run)[-ALERT_CHANGES:]
            self._operations.append([
                "alert", self._keys.changes(symbol, rule), self._keys.alerts, self._keys.channel("alerts"),
                f"{symbol} {rule}", str(ALERT_CHANGES), [repr(score_ms(head[2])) for head in held],
                [head[4] for head in held], ["1" if head[3] == "withdrawn" else "" for head in held],
            ])  # fmt: skip

    def _call(self, *command: str) -> None:
        self._operations.append(["call", *command])


class _Series:
    """Rows of one series, oldest first, one for each bar."""

    def __init__(
        self, key: str, latest: str, channel: str, ticks: bool, scores: list[float], rows: list[str],
        withdrawn: list[bool],
    ) -> None:  # fmt: skip
        self.key, self.scores, self.withdrawn = key, scores, withdrawn
        self._latest, self._channel, self._ticks, self._rows = latest, channel, ticks, rows

    def operation(self, keep: int, held: Sequence[Any] | None) -> list[Any]:
        """`held`: the newest rows that the store has, a score behind each; None: no row here was withdrawn."""
        score, row = self.scores[-1], self._rows[-1] if held is None else self._newest(held)
        return [
            "series", self.key, self._latest, self._channel, str(keep + SPARE), "1" if self._ticks else "",
            [repr(s) for s in self.scores], self._rows, ["1" if w else "" for w in self.withdrawn],
            "" if held is None else "1", repr(score), [] if row is None else _pairs(orjson.loads(row)),
        ]  # fmt: skip

    def _newest(self, held: Sequence[Any]) -> str | None:
        """The newest row that is left, of those held and these."""
        own = set(self.scores)
        left = [(float(s), text) for text, s in zip(held[::2], held[1::2], strict=True) if float(s) not in own]
        left += [(s, r) for s, r, w in zip(self.scores, self._rows, self.withdrawn, strict=True) if not w]
        return max(left, key=lambda pair: pair[0], default=(0.0, None))[1]


def _frame(batches: Sequence[SinkBatch]) -> pl.DataFrame:
    rows = pa.concat_tables([pa.Table.from_batches([b.rows]) for b in batches], promote_options="default")
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)  # a pa.Table never gives a Series  # noqa: S101
    return frame


def _lines(frame: pl.DataFrame) -> list[str]:
    """Each row as JSON: floats are the shortest texts that read back the same."""
    written = io.BytesIO()
    frame.write_ndjson(written)
    return written.getvalue().decode().split("\n")[:-1]


def _json(row: Mapping[str, Any]) -> str:
    return orjson.dumps(row).decode()


def _pairs(row: Mapping[str, Any]) -> list[str]:
    """Field, value, field, value … of what is known."""
    return [text for name, value in row.items() if value is not None for text in (name, _text(value))]


def _text(value: Any) -> str:
    """A value as a text that gives it back; nothing is the empty text."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def asked(plans: Iterable[Sequence[Question]]) -> list[Question]:
    """The questions of several plans, in a row."""
    return [question for questions in plans for question in questions]
