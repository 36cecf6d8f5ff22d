"""The engine's laws over random streams: any cut, any restart, any future, any order inside a bar."""

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from examples import examples
from market_rows import Engine, Row, bar, batch_of, clock, config_of, control, goodbye, heartbeat, hello, quote, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEWEST
from marketpulse.engine.provisional import Looker, changed_symbols
from marketpulse.engine.step import CLOSED_MOST
from marketpulse.model.market import COMPLETE, StringTable

INDICATORS = "sma(3),ema(3),rsi(3),macd(2,4,3),bbands(3,2),vwap,atr(3),realized_volatility(3),volume_sma(3),"
INDICATORS += "mid,spread,microprice,imbalance,ofi(2)"
OF_QUOTES = 5  # columns
RULES = (
    Rule("cross", "close crosses_above sma_3"),
    Rule("ticks", "change_pct(close, 1) > 0", timeframe="1t"),
    Rule("minute", "close > close@1m", for_s=2, clear="close < prev(close)"),
)
CONFIG = config_of(["1t", "3t", "1s", "5s", "1m", "1d"], INDICATORS, alerts=RULES)
FILLED = config_of(["1t", "10s", "1m", "1h"], "sma(3),ema(3),vwap,spread", fill=True, alerts=RULES)
LOOKER = Looker(CONFIG)

prices = st.floats(0.01, 1e6, allow_subnormal=False)
sizes = st.floats(0, 1e6, allow_subnormal=False).filter(lambda s: s == 0 or s > 1e-9)
symbols = st.sampled_from(["A", "B", "C"])
sources = st.sampled_from(["x", "y"])
steps = st.floats(-1.5, 4.0)
changes = st.sampled_from(
    [
        control("put_rule", rule={"name": "low", "expression": "close < 1000 or close > prev(close)"}),
        control("put_rule", rule={"name": "cross", "expression": "close > ema_3", "timeframe": "1m"}),
        control("put_rule", rule={"name": "wide", "expression": "high > low", "timeframe": "3t"}),
        control("remove_rule", name="low"),
        control("remove_rule", name="minute"),
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Trades and quotes out of order, heartbeats, silence, sources that come and go, bars of a source, rules that are
    put and removed."""
    rows: list[Row] = []
    now = 10.0
    for kind in draw(st.lists(st.sampled_from("ttttttqqqhcbglp"), max_size=60)):
        now += draw(steps)
        now = max(now, 1.0)
        source = draw(sources)
        if kind == "t":
            rows.append(trade(draw(symbols), now, draw(prices), draw(sizes), source=source))
        elif kind == "q":
            of = draw(st.sampled_from(["A", "B", "C", "S"]))
            rows.append(quote(of, now, draw(prices), draw(prices), (draw(sizes), draw(sizes)), source=source))
        elif kind == "h":
            rows.append(heartbeat(now, source=source))
        elif kind == "c":
            rows.append(clock(now + draw(st.floats(0, 60))))
        elif kind == "b":
            opens = float(int(now))
            rows.append(bar("S", "1s", opens, opens + 1, (2, 3, 1, 2, draw(sizes)), source=source))
        elif kind == "g":
            rows.append(goodbye(source, watermark_ns=draw(st.sampled_from([None, COMPLETE]))))
        elif kind == "p":
            rows.append(draw(changes))
        else:
            rows.append(hello(source, draw(st.sampled_from(["live", "historical"]))))
    return rows


def outcome(
    config: EngineConfig, rows: list[Row], cuts: list[int], restart: bool = False, closed_most: int = CLOSED_MOST
) -> tuple[bytes, bytes, list[Any], list[dict[str, Any]]]:
    """Every bit that leaves the engine when the stream is cut at `cuts`."""
    engine = Engine(config, closed_most=closed_most)
    closed, values, refused, alerts = [], [], [], []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        result = engine.step(rows[start:end])
        closed.append(result.closed)
        values.append(result.values)
        alerts += engine.alert_rows(result)
        refused += [(start + r.row, r.reason, r.timeframes) for r in result.refused]
        if restart:
            engine = _restarted(engine)
    return (np.concatenate(closed).tobytes(), np.concatenate(values).tobytes(), refused, [bits(row) for row in alerts])


def bits(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, float) else value for name, value in row.items()}


def _restarted(engine: Engine) -> Engine:
    fresh = Engine(engine.config, state_from_bytes(state_to_bytes(engine.state, engine.config), engine.config))
    fresh.offset = engine.offset
    return fresh


@examples(full=150)
@given(rows=streams(), data=st.data())
def test_any_cut_of_the_stream_gives_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    assert outcome(CONFIG, rows, cuts) == outcome(CONFIG, rows, [])


@examples(full=100)
@given(rows=streams(), most=st.integers(1, 20), data=st.data())
def test_steps_that_stop_in_the_middle_of_a_row_give_the_same_bits(
    rows: list[Row], most: int, data: st.DataObject
) -> None:
    for config in (CONFIG, FILLED):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
        assert outcome(config, rows, cuts, closed_most=most) == outcome(config, rows, [])


@examples(full=100)
@given(rows=streams(), data=st.data())
def test_a_restart_anywhere_gives_the_same_bits(rows: list[Row], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    assert outcome(CONFIG, rows, cuts, restart=True) == outcome(CONFIG, rows, [])


@examples(full=100)
@given(rows=streams(), data=st.data())
def test_the_future_changes_nothing_in_the_past(rows: list[Row], data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(rows)))
    part, whole = outcome(CONFIG, rows[:end], []), outcome(CONFIG, rows, [])
    assert whole[0].startswith(part[0])
    assert whole[1].startswith(part[1])
    assert whole[2][: len(part[2])] == part[2]
    assert whole[3][: len(part[3])] == part[3]


@examples(full=100)
@given(rows=streams(), data=st.data())
def test_looking_at_the_forming_bars_changes_nothing(rows: list[Row], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    engine = Engine(CONFIG)
    first = engine.step(rows[:cut])
    LOOKER.forming_bars(engine.state, changed_symbols(engine.state))
    second = engine.step(rows[cut:])
    looked = (
        np.concatenate([first.closed, second.closed]).tobytes(),
        np.concatenate([first.values, second.values]).tobytes(),
    )
    assert looked == outcome(CONFIG, rows, [])[:2]


@examples(full=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 59_900).map(lambda ms: ms / 1_000), prices, sizes),
        min_size=1,
        max_size=30,
        unique_by=lambda t: t[0],
    ),
    st.randoms(),
)
def test_the_order_of_arrival_inside_an_open_bar_does_not_matter(
    trades: list[tuple[float, float, float]], random: Any
) -> None:
    config = config_of(["1m"])
    shuffled = list(trades)
    random.shuffle(shuffled)
    fields = ["open", "high", "low", "close", "volume", "vwap", "trade_count"]

    def close(order: list[tuple[float, float, float]]) -> bytes:
        engine = Engine(config)
        rows = [hello(lateness_ns=60 * 10**9), *(trade("A", *t) for t in order), heartbeat(60)]
        (closed,) = engine.step(rows).closed[fields].copy().reshape(1)
        return bytes(closed.tobytes())

    assert close(shuffled) == close(sorted(trades))


@examples(full=60)
@example(  # late for its second, not for its minute
    rows=[trade("A", 10, 1.0, 1.0, "x"), heartbeat(10, "x"), trade("A", 9, 2.0, 1.0, "x")]
)
@given(rows=streams())
def test_what_forms_is_what_would_close_now(rows: list[Row]) -> None:
    """The forming bar and its values equal the rows that closing everything at once then gives; those of
    quotes unless the newest one came behind the bar's end."""
    engine = Engine(CONFIG)
    engine.step(rows)
    forming, values = LOOKER.forming_bars(engine.state, np.arange(len(engine.state.symbols)))
    newest = {(int(b["symbol"]), int(b["frame"])): (b, v) for b, v in zip(forming, values, strict=True)}
    done = [goodbye(s, watermark_ns=COMPLETE) for s in ("x", "y")]
    batch = batch_of(done, engine.offset, StringTable())
    _, result = engine.stepper.step(engine.state, batch)
    for row, row_values in zip(result.closed, result.values, strict=True):
        shown = newest.get((int(row["symbol"]), int(row["frame"])))
        if shown is not None and shown[0]["open_ns"] == row["open_ns"]:
            for field in ("open", "high", "low", "close", "volume", "trade_count"):
                assert shown[0][field] == row[field]
            one_open = sum(r["symbol"] == row["symbol"] and r["frame"] == row["frame"] for r in result.closed) == 1
            quote_ns = engine.state.tables.last_quotes["event_ns"][2 * row["symbol"] + NEWEST]
            known = slice(None) if quote_ns < row["close_ns"] else slice(-OF_QUOTES)
            if one_open:
                assert np.array_equal(shown[1][known], row_values[known], equal_nan=True)
