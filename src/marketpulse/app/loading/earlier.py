"""What the lake has of earlier loads: their rows in order of time, and the order in which they ended.

A load of further files is the load of all: the rows that the lake has go through the engine again, before and between the new ones.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.loading.identity import WHOLE
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.query.stored_rows import StoredRows
from marketpulse.sources.history import LOAD, NUMBER, PART, STRETCH_ROWS, Run, write_run
from marketpulse.sources.tape import SCHEMA

_OWN_WORDS = ("quality", "hello")  # events that a load has written itself
_NAMES = ("symbol", "venue", "source")
_STAMPED = ("type", "event_time_ns", "ingest_time_ns")


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads that the lake knows. `numbers`: by topic, where it stands in their order; 0 where it has not ended."""

    numbers: Mapping[str, int]
    unfinished: frozenset[str]

    @classmethod
    def of(cls, positions: Mapping[tuple[str, int], int]) -> "Loads":
        """By the lake's positions."""
        topics = {topic for topic, _ in positions if topic.startswith(LOADED_TOPIC)}
        numbers = {topic: positions.get((topic, 0), 0) - WHOLE for topic in topics}
        return cls(
            {topic: max(0, number) for topic, number in numbers.items()},
            frozenset(topic for topic, number in numbers.items() if number < 0),
        )

    def number_of(self, topic: str) -> int:
        """The load's own; the next one, where it has not ended."""
        ended = topic in self.numbers and topic not in self.unfinished
        return self.numbers[topic] if ended else 1 + max(self.numbers.values(), default=0)


class EarlierRows:
    """Trades, quotes and events of loads, as the lake has them. `numbers` as in Loads, the running one among them."""

    def __init__(self, stored: StoredRows, numbers: Mapping[str, int], directory: Path) -> None:
        self._stored, self._numbers, self._directory = stored, numbers, directory
        self._names = itertools.count()
        self.calendars: dict[str, str] = {}  # by source, of what has been laid out

    def lay_out(self, symbols: Collection[str], from_ns: int, to_ns: int) -> list[Run]:
        """The rows of these symbols with a time in [from_ns, to_ns), laid aside on the disk."""
        if not (symbols and self._numbers):
            return []
        self._directory.mkdir(parents=True, exist_ok=True)
        runs: list[Run] = []
        for table, kind in (("trades", "trade"), ("quotes", "quote")):
            parts = _gathered(self._stored.scan_loaded(table, symbols, (from_ns, to_ns)))
            runs += [self._lay_aside(kind, rows, rows.select(_columns(kind))) for rows in parts]
        for rows in _gathered(self._stored.scan_loaded("events", symbols, (from_ns, to_ns))):
            is_bar = pc.equal(rows["type"], "bar")
            bars, events = rows.filter(is_bar), rows.filter(pc.invert(is_bar))
            events = events.filter(pc.invert(pc.is_in(events["type"], pa.array(_OWN_WORDS))))
            if bars.num_rows:
                runs.append(self._lay_aside("bar", bars, _bars(bars)))
            if events.num_rows:
                runs.append(self._lay_aside("event", events, events.select(["type", "symbol", "body"])))
        self._learn_calendars()
        return runs

    def beyond(self, loads: Collection[str], own: str, symbols: Collection[str]) -> set[str]:
        """Those of the symbols that have rows of a load, not this `own` one, which none of these `loads` has taken in: one takes in
        all before it."""
        others = self._topics_of(symbols, self._numbers.keys() - loads - {own})
        taken_in = self._topics_of(others, loads)
        return {
            symbol
            for symbol, topics in others.items()
            if not all(
                0
                < self._numbers[topic]
                <= max((self._numbers.get(load, 0) for load in taken_in.get(symbol, ())), default=0)
                for topic in topics
            )
        }

    def _topics_of(self, symbols: Collection[str], topics: Collection[str]) -> dict[str, set[str]]:
        """By symbol, those of these loads that have rows of it."""
        found: dict[str, set[str]] = {}
        for table in ("trades", "quotes", "events") if topics and symbols else ():
            mine = pc.field("topic").isin(sorted(topics)) & pc.field("symbol").isin(sorted(symbols))
            for rows in self._stored.scan(
                table, mine, lambda file: any(file.may_hold("topic", topic, topic) for topic in topics)
            ):
                for row in rows.group_by(["symbol", "topic"]).aggregate([]).to_pylist():
                    found.setdefault(row["symbol"], set()).add(row["topic"])
        return found

    def places_of(self, topic: str, table: str, *types: str) -> set[tuple[int, int]]:
        """Where the rows stand that one load has in a table; of `events` those of these types."""
        mine = pc.field("topic") == topic
        if types:
            mine &= pc.field("type").isin(types)
        found: set[tuple[int, int]] = set()
        for rows in self._stored.scan(table, mine, lambda file: file.may_hold("topic", topic, topic)):
            found |= set(zip(rows["offset"].to_pylist(), rows["row"].fill_null(0).to_pylist(), strict=True))
        return found

    def _learn_calendars(self) -> None:
        mine = pc.starts_with(pc.field("topic"), LOADED_TOPIC) & (pc.field("type") == "hello")
        for rows in self._stored.scan("events", mine, lambda file: file.may_hold("type", "hello", "hello")):
            for body in map(orjson.loads, rows["body"].to_pylist()):
                if body.get("calendar"):
                    self.calendars[body["source"]] = body["calendar"]

    def _lay_aside(self, kind: str, rows: pa.Table, own: pa.Table) -> Run:
        topics = pc.dictionary_encode(rows["topic"].combine_chunks())
        numbers = pa.array([self._numbers.get(topic, 0) for topic in topics.dictionary.to_pylist()], pa.int32())
        for name, values in (
            ("source", rows["source"]), ("time_ns", rows["event_time_ns"]), (NUMBER, rows["offset"]),
            (PART, rows["row"].fill_null(0).cast(pa.int32())), (LOAD, numbers.take(topics.indices)),
        ):  # fmt: skip
            own = own.append_column(name, values)
        for name in _NAMES:
            if name in own.column_names:
                own = own.set_column(own.column_names.index(name), name, pc.dictionary_encode(own[name]))
        order = [(name, "ascending") for name in ("time_ns", LOAD, NUMBER, PART)]
        return write_run(kind, own.sort_by(order), self._directory / f"{next(self._names):06d}-{kind}.arrow")


def _gathered(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about a stretch."""
    waiting: list[pa.Table] = []
    for rows in parts:
        waiting.append(rows)
        if sum(part.num_rows for part in waiting) >= STRETCH_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _columns(kind: str) -> list[str]:
    return [name for name in SCHEMA[kind].names if name not in (*_STAMPED, "source")]


def _bars(events: pa.Table) -> pa.Table:
    """Bars of a source, which the lake has as JSON text."""
    schema = pa.schema([SCHEMA["bar"].field(name) for name in _columns("bar")])
    return pa.Table.from_pylist([_bar(orjson.loads(body)) for body in events["body"].to_pylist()], schema)


def _bar(body: dict[str, Any]) -> dict[str, Any]:
    day = body.get("session_date")
    return {**body, "session_date": None if day is None else date.fromisoformat(day)}
