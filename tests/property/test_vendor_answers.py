"""No answer crashes a vendor's parser: everything is a row, a judgement or a dead letter."""

import copy
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from marketpulse.model.market import BAR_IN, REASONS
from marketpulse.settings import AlphaVantageSettings, FinnhubBarsSettings, RestSettings, YahooSettings
from marketpulse.sources import alpha_vantage, yahoo
from marketpulse.sources.alpha_vantage import AlphaVantage
from marketpulse.sources.finnhub_bars import FinnhubBars
from marketpulse.sources.rest.any_vendor import AnyVendor
from marketpulse.sources.rest.polled import Vendor
from marketpulse.sources.tape import build
from marketpulse.sources.yahoo import Yahoo
from vendor_server import NEW_YORK, answer, ns, recorded, yahoo_chart

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
