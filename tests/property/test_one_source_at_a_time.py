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
                rows.append({**trade(source, max(0.0, seconds - late), f"{source}{number}", symbol), "log": seconds})
            if draw(integers(0, 3)):
                rows.append(heartbeat(source, seconds))
        if draw(integers(0, 40)) == 0:
            to = draw(sampled_from([*SOURCES, None]))
            rows.append({"type": "control", "change": {"action": "switch", "symbol": "A", "to": to}, "log": seconds})
    return rows


def parts_of(log: list[Row], cuts: list[int]) -> list[list[Row]]:
    return [log[begin:end] for begin, end in pairwise([0, *sorted(min(cut, len(log)) for cut in cuts), len(log)])]


some_cuts, some_kills = lists(integers(0, 400), max_size=12), lists(booleans(), min_size=13, max_size=13)


@given(log=logs(), cuts=some_cuts, kills=some_kills)
def test_what_comes_is_what_each_times_owner_brought(log: list[Row], cuts: list[int], kills: list[bool]) -> None:
    selecting = Selecting(CONFIG)
    found: list[Row] = []
    for i, part in enumerate(parts_of(log, cuts)):
        found += selecting.feed(*part)
        if kills[i]:
            selecting.kill()
        elif i % 2:
            selecting.save()
    state = selecting.selection.state
    forwarded = [row["trade_id"] for row in found if row["type"] == "trade"]
    assert len(forwarded) == len(set(forwarded))
    symbols = {row["symbol"] for row in log if row["type"] == "trade"}
    stretches = {name: stretches_of(state.owners, state.symbols.find(name), state.sources) for name in symbols}
    owned = set()
    for row in log:
        if row["type"] == "trade":
            begun = [source for begins, source in stretches[row["symbol"]] if begins <= row["event_time_ns"]]
            owned |= {row["trade_id"]} if begun[-1] == row["source"] else set()
    assert set(forwarded) == owned
    assert all(row["source"] != row["from"] for row in found if row["type"] == "switch")


@given(log=logs(), cuts=some_cuts)
def test_any_cut_gives_the_same_records_in_the_same_order(log: list[Row], cuts: list[int]) -> None:
    cut = Selecting(CONFIG)
    assert [row for part in parts_of(log, cuts) for row in cut.feed(*part)] == Selecting(CONFIG).feed(*log)


@given(log=logs(), size=integers(1, 7))
def test_trades_in_arrow_frames_fare_as_those_in_json(log: list[Row], size: int) -> None:
    assert _trades(_framed(log, size)) == _trades(Selecting(CONFIG).feed(*log))


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
        if parts and row["type"] == parts[-1][0]["type"] == "trade" and len(parts[-1]) < size:
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
