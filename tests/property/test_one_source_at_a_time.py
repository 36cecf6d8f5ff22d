"""Volume is never doubled: of sources whose trades overlap, each time of a symbol has one source, however they fail and
however the log is cut, and all that this one brings comes through once."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from, tuples

from marketpulse.app.selecting.selection import Selection
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.state import new_state, stretches_of
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.records import Records, records_of
from marketpulse.model.market import TRADE
from selecting_rows import Selecting, at, goodbye, heartbeat, out_of, records, trade

SOURCES = ("x", "y", "z")
CONFIG = FailoverConfig(
    (Group(SOURCES),), after_ns=3 * 10**9, lost_after_ns=2 * 10**9, back_after_ns=4 * 10**9, keep_ns=10**18
)
Row = dict[str, Any]


@composite
def logs(draw: DrawFn) -> list[Row]:
    """Three sources that bring the same market, each with holes, delays, late refills and ends of its own."""
    rows: list[Row] = []
    awake = dict.fromkeys(SOURCES, True)
    number = 0
    for tick in range(draw(integers(10, 60))):
        seconds = tick * 0.7
        for source in SOURCES:
            if draw(integers(0, 11)) == 0:
                awake[source] = not awake[source]
                if not awake[source] and draw(booleans()):
                    rows.append(goodbye(source, seconds))
            if not awake[source]:
                continue
            for symbol, late in draw(lists(tuples(sampled_from("AB"), sampled_from([0, 0, 0, 0.4, 5.1])), max_size=3)):
                number += 1
                happened = max(0.0, seconds - late)
                rows.append({**trade(source, happened, f"{source}{number}", symbol), "log": seconds})
            if draw(integers(0, 3)):
                rows.append(heartbeat(source, seconds))
        if draw(integers(0, 40)) == 0:
            to = draw(sampled_from([*SOURCES, None]))
            rows.append({"type": "control", "change": {"action": "switch", "symbol": "A", "to": to}, "log": seconds})
    return rows


def owner_at(stretches: list[tuple[int, str]], time_ns: int) -> str:
    return next(source for begins, source in reversed(stretches) if begins <= time_ns)


@given(log=logs(), cuts=lists(integers(0, 400), max_size=12), kills=lists(booleans(), min_size=13, max_size=13))
def test_what_comes_through_is_what_each_times_owner_has_brought(
    log: list[Row], cuts: list[int], kills: list[bool]
) -> None:
    selecting = Selecting(CONFIG)
    found: list[Row] = []
    edges = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    for i, (begin, end) in enumerate(pairwise(edges)):
        found += selecting.feed(*log[begin:end])
        if kills[i]:
            selecting.kill()
        elif i % 2:
            selecting.save()
    state = selecting.selection.state
    forwarded = [row["trade_id"] for row in found if row["type"] == "trade"]
    assert len(forwarded) == len(set(forwarded))
    symbols = {row["symbol"] for row in log if row["type"] == "trade"}
    stretches = {name: stretches_of(state.owners, state.symbols.find(name), state.sources) for name in symbols}
    assert set(forwarded) == {
        row["trade_id"]
        for row in log
        if row["type"] == "trade" and owner_at(stretches[row["symbol"]], row["event_time_ns"]) == row["source"]
    }
    assert all(row["source"] != row["from"] for row in found if row["type"] == "switch")


@given(log=logs(), cuts=lists(integers(0, 400), max_size=12))
def test_any_cut_gives_the_same_records_in_the_same_order(log: list[Row], cuts: list[int]) -> None:
    whole, cut = Selecting(CONFIG), Selecting(CONFIG)
    found: list[Row] = []
    edges = [0, *sorted(min(place, len(log)) for place in cuts), len(log)]
    for begin, end in pairwise(edges):
        found += cut.feed(*log[begin:end])
    assert whole.feed(*log) == found


@given(log=logs(), size=integers(1, 7))
def test_trades_in_arrow_frames_fare_as_those_in_json(log: list[Row], size: int) -> None:
    plain = Selecting(CONFIG).feed(*log)
    assert _trades(_framed(log, size)) == _trades(plain)


def _trades(rows: list[Row]) -> list[Row]:
    found: list[Row] = []
    for row in rows:
        if row["type"] == "frame":
            table = pa.ipc.open_stream(row["bytes"]).read_all().to_pylist()
            found += [{k: v for k, v in one.items() if v is not None} for one in table]
        elif row["type"] in ("trade", "switch"):
            found.append(row)
    return found


def _framed(log: list[Row], size: int) -> list[Row]:
    """The same log, up to `size` trades that follow each other in one frame."""
    parts: list[list[Row]] = []
    for row in log:
        is_trade = row["type"] == "trade"
        if parts and is_trade and parts[-1][0]["type"] == "trade" and len(parts[-1]) < size:
            parts[-1].append(row)
        else:
            parts.append([row])
    selection = Selection(new_state(CONFIG), CONFIG, 1_000)
    reader = MarketReader("feeds")
    return [row for decoded in reader.decode(_records(parts), 0, 0) for row in out_of(selection.take(decoded))]


def _records(parts: list[list[Row]]) -> Records:
    framed = [part[0]["type"] == "trade" for part in parts]
    values = [
        write_frame(pa.RecordBatch.from_pylist(part, schema=TRADE)) if is_frame else records(part).value(0)
        for part, is_frame in zip(parts, framed, strict=True)
    ]
    keys = [part[0]["symbol"].encode() if is_frame else None for part, is_frame in zip(parts, framed, strict=True)]
    appended = np.array([at(part[-1]["log"]) // 1_000_000 for part in parts], np.int64)
    return records_of(values, 0, keys=keys, appended_ms=appended, frames=framed)
