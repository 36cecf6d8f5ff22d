"""`check`: a file of trades, quotes or bars through the engine's own door, without Kafka: what is suspect in it.

The rows go the way of every other row (engine.step), so a file is judged as the same rows in the log would be.
"""

import dataclasses
import datetime
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.app.adjusted_close import wrong_steps
from marketpulse.app.calendars import sessions_of
from marketpulse.app.compute import NO_LATE_BARS, tape_batches
from marketpulse.app.engine_config import engine_config
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.engine.state import new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import Fatal
from marketpulse.model.market import REASONS, Ints, Kind, MarketBatch
from marketpulse.model.quality import SEVERITIES
from marketpulse.model.session import SessionTable
from marketpulse.model.timeframe import DAY_NS, Timeframe, parse_timeframes
from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping as FileMapping
from marketpulse.settings import Settings
from marketpulse.sources.dataset import Dataset, load, read_blocks
from marketpulse.sources.files import expand
from marketpulse.sources.inference import reader_for
from marketpulse.sources.known_files import symbol_of
from marketpulse.sources.tape import Tape

_DOUBLED = "duplicate_bar"
_EMPTY = "empty_row"  # a day that the vendor knows nothing of is no wrong price
_ROUNDING, _SMALL_EXCESS = 1e-6, 0.01
_OF_MOVES, _LARGE_DAY = 0.9, 1.5
_FEW, _WAY_OF_FEED = 5, 0.01
_UNIT_TOLERANCE = 0.45  # of a logarithm, as the engine's rule has it
_BLOCK_ROWS = 3  # from so many rows in a row on the engine believes them
_LEAST_DAYS, _MOST_MISSING = 60, 0.02
_USUAL_CALENDARS = ("XNYS",)


@dataclass(frozen=True, slots=True)
class Suspect:
    """One finding. `time_ns` and `symbol` name the row, `origin` and `line` (or row) where it stands in its file."""

    rule: str
    severity: str
    detail: str
    kind: str = ""
    symbol: str = ""
    time_ns: int | None = None
    origin: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what is suspect in it, in order of time; what could not be read comes first. `rows`: all that
    were read; `refused`: those of them that enter nothing.
    `calendar`: the one that the days were found to fit; empty where it was known, or none fits."""

    rows: int
    refused: int
    calendar: str
    suspects: list[Suspect]

    @property
    def is_suspect(self) -> bool:
        """Whether there is a finding that is more than counted."""
        return any(suspect.severity != "count" for suspect in self.suspects)


def check_file(settings: Settings, path: Path, mapping: FileMapping) -> Report:
    """Every finding of the rules that are not off. Raises Fatal for a file that cannot be understood."""
    paths = expand([str(path)])
    if mapping.split_adjusted is None:  # a leap at a split's day is what is looked for here
        mapping = mapping.model_copy(update={"split_adjusted": True})
    report = check_dataset(settings, _load(paths, mapping), mapping)
    report = dataclasses.replace(report, suspects=_with_lines(report.suspects, paths, mapping))
    severity = engine_config(settings.engine).severities()["dividend"]
    if severity == "off":
        return report
    steps = [
        Suspect("dividend", severity, step.detail, "bar", origin=str(one), line=step.line)
        for one in paths
        for step in wrong_steps(one)
    ]
    return dataclasses.replace(report, suspects=[*report.suspects, *steps])


def check_dataset(settings: Settings, dataset: Dataset, mapping: FileMapping) -> Report:
    """The same of rows that were read before."""
    config = engine_config(settings.engine)
    calendar = ""
    if config.calendar == "24x7" and not dataset.venues and mapping.venue is None:
        calendar = _calendar_of(dataset.tape)
    config = dataclasses.replace(
        config, frames=_frames(dataset.tape, config), indicators=(), alerts=(), calendar=calendar or config.calendar,
        kept_bars=NO_LATE_BARS,
    )  # fmt: skip
    unread = [
        Suspect(r.reason, "count" if r.reason == _EMPTY else "drop", r.detail, origin=r.origin, line=r.row)
        for r in dataset.rejected
    ]
    tape, outside = _contained(dataset.tape)
    tape, blocks, refused = _in_one_unit(tape, config.severities()["price_unit"])
    found, more = _judge(tape, config)
    refused += more
    read = len(tape) + len(dataset.rejected)
    return Report(read, refused + len(dataset.rejected), calendar, [*unread, *outside, *blocks, *found])


def _load(paths: list[Path], mapping: FileMapping) -> Dataset:
    """Rows that are further apart than days are taken for sessions: of those, none is missing between two."""
    try:
        return load(paths, mapping)
    except Fatal as error:
        if mapping.timeframe is not None:
            raise
        try:
            return load(paths, mapping.model_copy(update={"timeframe": "1d"}))
        except Fatal:
            raise error from None


def _frames(tape: Tape, config: EngineConfig) -> tuple[Timeframe, ...]:
    bars = tape.tables.get("bar")
    if bars is None or not bars.num_rows:
        return config.frames
    return parse_timeframes([str(name) for name in bars.column("timeframe").unique().to_pylist()])


def _contained(tape: Tape) -> tuple[Tape, list[Suspect]]:
    """The tape with highs and lows that contain open and close, and what was told of those that did not; all other rules
    judge their prices like any other's. The engine marks each such bar (`ohlc`); here the whole series is at hand.

    It is no fault of the prices where only the last digits of a number keep them out (`rounding`), nor where the feed
    always takes opens or closes from elsewhere than highs and lows, or they are out by less than a large day's move.
    """
    bars = tape.tables.get("bar")
    if bars is None or not bars.num_rows:
        return tape, []
    opened, high, low, close = (bars.column(name).to_numpy() for name in ("open", "high", "low", "close"))
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    out = np.maximum(top - high, low - bottom) / bottom
    rows = np.flatnonzero((out > 0) & (low <= high))
    if not rows.size:
        return tape, []
    highs, lows = high.copy(), low.copy()
    highs[rows], lows[rows] = np.maximum(high, top)[rows], np.minimum(low, bottom)[rows]
    for name, values in (("high", highs), ("low", lows)):
        bars = bars.set_column(bars.schema.get_field_index(name), name, pa.array(values))
    symbols = np.array(bars.column("symbol").to_pylist(), object)
    times = bars.column("open_time_ns").to_numpy()
    told = []
    for symbol in dict.fromkeys(symbols[rows].tolist()):
        own = symbols == symbol
        some = rows[own[rows]]
        usual = _usual_excess(close[own], int((out[some] > _ROUNDING).sum()))
        told += [_outside(symbol, int(times[i]), float(out[i]), usual) for i in some]
    return dataclasses.replace(tape, tables={**tape.tables, "bar": bars}), told


def _in_one_unit(tape: Tape, severity: str) -> tuple[Tape, list[Suspect], int]:
    """The tape with the bars of each symbol in the unit that most of them have, a finding for each block that had another,
    and how many rows are dropped for it.

    The engine goes on from row to row: of a block it finds the first rows behind its end, though they are the good ones.
    A few rows alone it finds itself.
    """
    bars = tape.tables.get("bar")
    if bars is None or not bars.num_rows or severity == "off":
        return tape, [], 0
    close, times = bars.column("close").to_numpy(), bars.column("open_time_ns").to_numpy()
    symbols = np.array(bars.column("symbol").to_pylist(), object)
    factors = np.ones(len(close))
    told = []
    for symbol in dict.fromkeys(symbols.tolist()):
        own = np.flatnonzero(symbols == symbol)
        for first, end, factor in _blocks(close[own]):
            factors[own[first:end]] = factor
            words = _in_words(times[own], first, end, factor)
            told.append(Suspect("price_unit", severity, words, "bar", symbol, int(times[own[first]])))
    if not told:
        return tape, [], 0
    for name in ("open", "high", "low", "close"):
        values = pa.array(bars.column(name).to_numpy() / factors)
        bars = bars.set_column(bars.schema.get_field_index(name), name, values)
    dropped = int((factors != 1.0).sum()) if severity == "drop" else 0
    return dataclasses.replace(tape, tables={**tape.tables, "bar": bars}), told, dropped


def _blocks(close: NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """(first, end, factor) of stretches of closes (n,) that are about 100 or 1,000 times the others, or that part of them."""
    leaps = np.log(close[1:] / close[:-1])
    unit = np.where(np.abs(np.abs(leaps) - np.log(100.0)) < _UNIT_TOLERANCE, 100.0, 1.0)
    unit[np.abs(np.abs(leaps) - np.log(1_000.0)) < _UNIT_TOLERANCE] = 1_000.0
    levels = np.cumsum(np.append(0.0, np.sign(leaps) * np.log10(unit)))
    rounded = np.rint(levels).astype(np.int64)  # powers of ten: of floats the same level would be several
    edges = np.append(0, np.flatnonzero(np.diff(rounded)) + 1)
    ends = np.append(edges[1:], len(close))
    usual = max(set(rounded.tolist()), key=lambda level: int((rounded == level).sum()))
    return [
        (int(first), int(end), 10.0 ** float(rounded[first] - usual))
        for first, end in zip(edges, ends, strict=True)
        if rounded[first] != usual and end - first >= _BLOCK_ROWS
    ]


def _in_words(times: Ints, first: int, end: int, factor: float) -> str:
    begin, last = (datetime.datetime.fromtimestamp(int(times[i]) // 10**9, datetime.UTC) for i in (first, end - 1))
    form = "%Y-%m-%d" if not (times % DAY_NS).any() else "%Y-%m-%d %H:%M:%S"
    about = f"about {factor:,.0f} times" if factor > 1 else f"about a {1 / factor:,.0f}th of"
    if first == 0:
        return f"the {end:,} rows up to {last:{form}} are {about} those after it"
    if end == len(times):
        return f"the {end - first:,} rows from {begin:{form}} on are {about} those before it"
    return f"the {end - first:,} rows from {begin:{form}} to {last:{form}} are {about} those around them"


def _with_lines(suspects: list[Suspect], paths: list[Path], mapping: FileMapping) -> list[Suspect]:
    """The findings with file and line. A file is read again for them: most have none."""
    times = np.array(sorted({s.time_ns for s in suspects if s.line is None and s.time_ns is not None}), np.int64)
    places: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for path in paths if times.size else ():
        reader = None
        for raw in read_blocks(path):
            if not len(raw.frame):
                continue
            reader = reader or reader_for(raw, mapping, str(path), symbol_of(path))
            numbers = raw.numbers()
            for rows in reader.read(raw).rows.values():
                dates = rows.local_ns // DAY_NS * DAY_NS  # a daily bar is named by its date
                for at in (rows.time_ns, dates):
                    for i in np.flatnonzero(np.isin(at, times)).tolist():
                        place = str(path), int(numbers[rows.raw[i]])
                        own = places.setdefault((str(rows.frame["symbol"][i]), int(at[i])), [])
                        own += [] if place in own else [place]
    return [
        dataclasses.replace(s, origin=found[-(s.rule == _DOUBLED)][0], line=found[-(s.rule == _DOUBLED)][1])
        if s.line is None and (found := places.get((s.symbol, s.time_ns or 0)))
        else s
        for s in suspects
    ]


def _usual_excess(close: NDArray[np.float64], outside: int) -> float:
    """By what part of the price opens and closes of this symbol (n,) may lie outside of high and low."""
    if outside >= max(_FEW, _WAY_OF_FEED * len(close)):
        return math.inf
    moves = np.abs(np.diff(close)) / close[:-1]
    return max(_SMALL_EXCESS, _LARGE_DAY * float(np.quantile(moves, _OF_MOVES))) if moves.size else _SMALL_EXCESS


def _outside(symbol: str, time_ns: int, excess: float, usual: float) -> Suspect:
    if excess <= _ROUNDING:
        detail = f"the high or the low misses open or close by a rounding (below {_ROUNDING:g} of the price)"
        return Suspect("rounding", "count", detail, "bar", symbol, time_ns)
    detail = f"open or close lies outside of high and low, by {excess:.2%} of the price"
    return Suspect("ohlc", "count" if excess <= usual else "mark", detail, "bar", symbol, time_ns)


def _calendar_of(tape: Tape) -> str:
    """The usual calendar that daily bars fit: all of them lie on its days, and nearly all its days have one."""
    bars = tape.tables.get("bar")
    if bars is None or not bars.num_rows or set(bars.column("timeframe").unique().to_pylist()) != {"1d"}:
        return ""
    days = np.unique(bars.column("session_date").cast("int32").to_numpy())
    for name in _USUAL_CALENDARS:
        table: SessionTable | None = sessions_of(name)
        if table is None or len(days) < _LEAST_DAYS:
            continue
        known = table.date[(table.date >= days[0]) & (table.date <= days[-1])]
        if np.isin(days, known).all() and len(days) >= (1 - _MOST_MISSING) * len(known):
            return name
    return ""


def _judge(tape: Tape, config: EngineConfig) -> tuple[list[Suspect], int]:
    """What the engine finds, and how many of the rows it refuses."""
    stepper, state = Stepper(config), new_state(config)
    suspects: list[Suspect] = []
    refused = 0
    for batch, letters in tape_batches(tape):
        suspects += [_unusable(letter) for letter in letters]
        refused += len(letters)
        for after, result in stepper.steps(state, batch):
            state = after
            refused += len({refusal.row for refusal in result.refused})
            for found in result.found:
                rule, severity = RULE_NAMES[found["rule"]], SEVERITIES[found["severity"]]
                suspects.append(_suspect(batch, int(found["row"]), rule, severity, describe(found)))
            for refusal in result.refused:
                if refusal.reason not in RULE_NAMES:
                    suspects.append(_suspect(batch, refusal.row, *_reason(batch, refusal.row, refusal.reason)))
    return suspects, refused


def _suspect(batch: MarketBatch, row: int, rule: str, severity: str, detail: str) -> Suspect:
    """A daily bar is named by its date, another bar by when it opens, all else by its event time."""
    kind = Kind(int(batch.kind[row]))
    time_ns = int(batch.event_time_ns[row])
    if kind == Kind.BAR:
        date = int(batch.session_date[row])
        time_ns = date * DAY_NS if date >= 0 else int(batch.open_time_ns[row])
    name = batch.strings[int(batch.symbol[row])] if batch.symbol[row] >= 0 else str(batch.rare[row].get("symbol", ""))
    return Suspect(rule, severity, detail, kind.name.lower(), name, time_ns)


def _reason(batch: MarketBatch, row: int, reason: str) -> tuple[str, str, str]:
    """A tape is in order of time: a bar that comes too late is one whose time has been told before."""
    if reason == "too_late" and batch.kind[row] == Kind.BAR:
        return _DOUBLED, "drop", "another bar of the same time came before"
    return reason, "drop", REASONS[reason]


def _unusable(letter: RejectedInput) -> Suspect:
    """A row that the contract of `market` refuses; its value is the row as JSON."""
    row = orjson.loads(letter.value)
    time_ns = row.get("open_time_ns") or row.get("event_time_ns")
    if row.get("session_date"):
        time_ns = _days(row["session_date"]) * DAY_NS
    return Suspect(letter.reason, "drop", letter.detail, row.get("type", ""), row.get("symbol", ""), time_ns)


def _days(date: str) -> int:
    return (datetime.date.fromisoformat(date) - datetime.date(1970, 1, 1)).days
