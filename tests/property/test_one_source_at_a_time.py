"""No answer crashes a vendor's parser: everything is a row, a judgement or a dead letter. And volume is never doubled:
of sources whose trades overlap, each time of a symbol has one source, however the log is cut and whoever dies."""

import copy
import json
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from, tuples

from examples import examples
from marketpulse.app.selecting.selection import Selection
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.state import new_state, stretches_of
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.kafka.market_reader import MarketReader
from marketpulse.kafka.records import Records, records_of
from marketpulse.model.market import BAR_IN, REASONS, TRADE
from marketpulse.settings import AlphaVantageSettings, FinnhubBarsSettings, RestSettings, YahooSettings
from marketpulse.sources import alpha_vantage, yahoo
from marketpulse.sources.alpha_vantage import AlphaVantage
from marketpulse.sources.finnhub_bars import FinnhubBars
from marketpulse.sources.rest.any_vendor import AnyVendor
from marketpulse.sources.rest.polled import Vendor
from marketpulse.sources.tape import build
from marketpulse.sources.yahoo import Yahoo
from selecting_rows import Selecting, at, goodbye, heartbeat, out_of, records, trade
from vendor_server import NEW_YORK, answer, ns, recorded, yahoo_chart

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


NOW = ns(2026, 3, 2, 18, 0)
OPEN = ns(2026, 3, 2, 9, 30, zone=NEW_YORK) // 10**9
TIMES = list(range(OPEN, OPEN + 600, 60))

ALPHA: list[Vendor] = [
    AlphaVantage(AlphaVantageSettings(symbols=("MSFT",), **of))
    for of in (
        {"function": "intraday", "interval": "1min"}, {"function": "intraday", "interval": "1min", "label": "close"},
        {"function": "daily"}, {"function": "quote"},
    )
]  # fmt: skip
YAHOO: list[Vendor] = [Yahoo(YahooSettings(symbols=("AAPL",), interval=step)) for step in ("1m", "1h", "1d")]
FINNHUB: list[Vendor] = [FinnhubBars(FinnhubBarsSettings(symbols=("AAPL",), interval=step)) for step in ("1m", "1d")]
ANY: list[tuple[str, AnyVendor]] = [
    (name, AnyVendor(RestSettings(url="https://a.b/{symbol}?p={since}", symbols=("SYM",), rows=path, **more), {}, lambda _: None))
    for name, path, more in (
        ("candles", "", {}), ("intraday", "Time Series (1min).*", {"next": "Meta Data.x"}), ("chart", "chart.result.0", {"page_rows": 2}),
    )
]  # fmt: skip
some_vendor = st.sampled_from([*ALPHA, *YAHOO, *FINNHUB, *(vendor for _, vendor in ANY)])

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12),
    st.sampled_from(["", "NaN", "-1", "1e400", "0", "2026-02-30", "2026-03-02 09:31:00", "2026-03-08 02:30:00", "9" * 30, "\x00", "US/Eastern"]),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=2).map(lambda v: {f"{i}": x for i, x in enumerate(v)}),
    max_leaves=6,
)  # fmt: skip


def ten_bars(name: str) -> dict[str, Any]:
    """A recorded answer, its series cut short: quicker to break in many ways."""
    return {k: dict(list(v.items())[:10]) if k.startswith("Time Series") else v for k, v in recorded(name).items()}


BODIES = {
    "candles": {"s": "ok", "t": TIMES, **{name: [100.0 + i for i in range(10)] for name in "ohlcv"}},
    "intraday": ten_bars("mock_time_series"),
    "quote": recorded("global_quote"),
    "chart": yahoo_chart(TIMES, [100.0 + i for i in range(10)], regular=(OPEN, OPEN + 23_400), market_time=OPEN + 700),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def broken(draw: st.DataObject, body: Any) -> Any:
    """Some values replaced, dropped or doubled, somewhere."""
    body = copy.deepcopy(body)
    for _ in range(draw.draw(st.integers(1, 4))):
        path = draw.draw(st.sampled_from(places(body)[1:] or [()]))
        if not path:
            return draw.draw(JSON)
        holder = body
        for key in path[:-1]:
            holder = holder[key]
        how = draw.draw(st.sampled_from(["replace", "drop", "double"]))
        if how == "drop":
            del holder[path[-1]]
        elif how == "double" and isinstance(holder, list):
            holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
        else:
            holder[path[-1]] = draw.draw(JSON)
    return body


def check(vendor: Vendor, body: Any) -> None:
    """What comes out can be written: rows of the contract with sound values, and dead letters with known reasons."""
    body = orjson.loads(json.dumps(body))  # as it comes over the wire: whole numbers of any size are
    alpha_vantage.judge(200, body)
    yahoo.judge(200, body)
    if isinstance(vendor, AnyVendor):
        vendor.judge(200, body)
    reading = vendor.read("SYM", answer(body, NOW))
    assert all(item.reason in REASONS for item in reading.rejected)
    if reading.rows is None:
        return
    tape = build({"bar": [reading.rows]})
    (batch,) = tape.batches(0, len(tape), "vendor", NOW)
    assert batch.schema == BAR_IN
    for row in batch.to_pylist():
        assert row["open_time_ns"] < row["close_time_ns"]
        assert all(0 < row[name] < float("inf") for name in ("open", "high", "low", "close"))
        assert 0 <= row["volume"] < float("inf")


@examples(full=300)
@given(draw=st.data(), vendor=some_vendor, name=st.sampled_from(sorted(BODIES)))
def test_a_mutated_answer_is_rows_and_dead_letters(draw: st.DataObject, vendor: Vendor, name: str) -> None:
    check(vendor, broken(draw, BODIES[name]))


@examples(full=100)
@given(body=JSON, vendor=some_vendor)
def test_any_json_is_rows_and_dead_letters(body: Any, vendor: Vendor) -> None:
    check(vendor, body)


for name, one in ANY:  # what its fields mean is told from the first answer
    one.question("SYM", None, NOW)
    one.read("SYM", answer(BODIES[name], NOW))


@pytest.mark.parametrize(("vendor", "body"), [
    (ALPHA[0], "intraday"), (YAHOO[0], "chart"), *((vendor, name) for name, vendor in ANY),
], ids=["alpha", "yahoo", "any columns", "any keyed", "any chart"])  # fmt: skip
def test_the_unbroken_answers_are_all_rows(vendor: Vendor, body: str) -> None:
    """So the mutations above begin at something that is good."""
    reading = vendor.read("SYM", answer(BODIES[body], NOW))
    assert (len(reading.rows or ()), list(reading.rejected)) == (10, [])
