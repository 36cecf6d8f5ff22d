"""Whatever order the trades and quotes of the window come in, and however they are corrected: in the end every row is
what the sorted, corrected log would have given, bit for bit (docs/semantics.md, 10 and 12)."""

import math
from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from market_rows import MIDNIGHT_NS, Engine, Row, cancel, clock, config_of, correction, heartbeat, quote, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.engine.state import kept_trades

INDICATORS = "sma(3),ema(3),rsi(3),macd(2,4,3),vwap,atr(3),volume_sma(3),mid,spread,microprice,imbalance,ofi(2)"
ANY_CLOCK = 10**13  # the log's own time plays no part here
RULES = (
    Rule("cross", "close crosses_above ema_3"),
    Rule("high", "close > 6", for_s=2, cooldown_s=20),
    Rule("minute", "close > close@1m or volume > prev(volume)", clear="close < 4"),
    Rule("swing", "abs(change_pct(close, 1)) > 20", timeframe="1m", symbols=("A",)),
    Rule("few", "trade_count < 3", severity="info"),
)
PLAIN = config_of(["1s", "5s", "1m", "1h"], INDICATORS, max_skew_ns=ANY_CLOCK, alerts=RULES)
FILLED = config_of(["5s", "1m"], "sma(3),ema(3),vwap,spread", fill=True, max_skew_ns=ANY_CLOCK, alerts=RULES)
EACH = config_of(["1s", "1m"], "ema(3),spread", revise_each=True, max_skew_ns=ANY_CLOCK, alerts=RULES)
COARSE = config_of(["3t", "1m"], "ema(3)", max_skew_ns=ANY_CLOCK, alerts=RULES)

SHORT = config_of(
    ["1s", "5s", "1m"], INDICATORS, max_skew_ns=ANY_CLOCK, window_ns=25 * 10**9, window_trades=12, alerts=RULES
)

Key = tuple[str, str, int]
Last = dict[Key, dict[str, Any]]
END_S = 400.0


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """(as it came, as it should have come): trades with delays, some twice, some corrected or cancelled; quotes
    with delays."""
    arrivals: list[tuple[float, int, Row]] = []
    meant: dict[int, Row] = {}
    for i in range(draw(st.integers(1, 40))):
        time = draw(st.floats(10, 200).map(lambda s: round(s, 2)))
        row = trade(
            draw(st.sampled_from(["A", "B"])), time, draw(st.integers(1, 50)) / 4,
            draw(st.sampled_from([0.0, 0.1, 1.0, 3.7])), trade_id=f"{i}", venue=draw(st.sampled_from(["X", "Y"])),
        )  # fmt: skip
        arrived = time + draw(st.sampled_from([0.0, 0.0, 0.0, 0.5, 3.0, 20.0, 90.0]))
        arrivals.append((arrived, len(arrivals), row))
        meant[i] = row
        if draw(st.booleans()) and draw(st.booleans()):
            arrivals.append((arrived + draw(st.floats(0, 50)), len(arrivals), row))
        if draw(st.integers(0, 5)) == 0:
            later = arrived + draw(st.sampled_from([0.1, 2.0, 30.0, 100.0]))
            price, size = draw(st.integers(1, 50)) / 4, draw(st.sampled_from([0.0, 0.1, 9.0]))
            arrivals.append((later, len(arrivals), correction(row["symbol"], f"{i}", price, size, time)))
            meant[i] = {**row, "price": price, "size": size}
            if draw(st.booleans()):
                arrivals.append((later + 1, len(arrivals), cancel(row["symbol"], f"{i}", time)))
                del meant[i]
    for i in range(draw(st.integers(0, 40))):
        time = draw(st.floats(10, 200).map(lambda s: round(s, 2)))
        sizes = (draw(st.sampled_from([0.0, 1.0, 7.5])), draw(st.sampled_from([0.0, 2.0])))
        symbol, bid, ask = (draw(st.sampled_from(["A", "B"])), draw(st.integers(1, 50)), draw(st.integers(1, 50)))
        row = quote(symbol, time, bid / 4, ask / 4, sizes, quote_id=f"q{i}")
        arrivals.append((time + draw(st.sampled_from([0.0, 0.0, 0.5, 3.0, 20.0, 90.0])), len(arrivals), row))
        meant[-1 - i] = row
    came = [row for _, _, row in sorted(arrivals, key=lambda a: a[:2])]
    rows: list[Row] = []
    for time, _, row in sorted(arrivals, key=lambda a: a[:2]):
        rows.append(row)
        if draw(st.booleans()):
            rows.append(draw(st.sampled_from([heartbeat(time - 2.0, log=time), heartbeat(time), clock(time)])))
    order = {name_of(row): i for i, row in reversed(list(enumerate(came))) if row["type"] in ("trade", "quote")}
    sorted_rows = sorted(meant.values(), key=lambda r: (r["event_time_ns"], order[name_of(r)]))
    return [*rows, heartbeat(END_S), clock(END_S)], [*sorted_rows, heartbeat(END_S), clock(END_S)]


def name_of(row: Row) -> str:
    return str(row.get("trade_id", row.get("quote_id")))


def last_rows(
    config: EngineConfig, rows: list[Row], cuts: list[int], *, restart: bool = False
) -> tuple[Last, Last, Last]:
    """The last revision of every bar, indicator row and change of an alert; revisions must come one after the other."""
    engine = Engine(config)
    bars: Last = {}
    values: Last = {}
    alerts: Last = {}
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        result = engine.step(rows[start:end])
        assert config is SHORT or result.refused == []
        for known, table in (
            (bars, bar_rows(engine.state, config, result.closed, "market", 0)),
            (values, indicator_rows(engine.state, config, result.indicated, result.values, "market", 0)),
        ):
            for row in table.to_pylist():
                key = (row["symbol"], row["timeframe"], row["open_time_ns"])
                if row["timeframe"].endswith("t"):
                    continue  # cut by count: never revised, and two may begin at one time
                assert row["revision"] == (known[key]["revision"] + 1 if key in known else 0)
                known[key] = row
        for row in engine.alert_rows(result):
            key = (row["symbol"], row["rule"], row["event_time_ns"])
            before = alerts.get(key, {"revision": -1, "state": "withdrawn"})
            assert row["revision"] == before["revision"] + 1
            assert row["was"] == (None if before["state"] == "withdrawn" else before["state"])
            assert row["was"] in (None, row["state"]) or row["state"] == "withdrawn"
            alerts[key] = row
        if restart:
            engine.state = engine.stepper.trim(engine.state)
            state = state_from_bytes(state_to_bytes(engine.state, config), config)
            engine = Engine(config, state)
            engine.offset = end
    return bars, values, alerts


def shown(rows: Last) -> Last:
    """What a reader of last revisions sees: the rows that are not withdrawn, without their history."""
    return {
        key: {k: v for k, v in row.items() if k not in ("revision", "receipt", "was", "late")}
        for key, row in rows.items()
        if row.get("close") is not None or row.get("state") in ("raised", "cleared")
    }


@examples(full=200)
@given(history=histories(), data=st.data())
def test_any_order_and_any_correction_end_as_the_sorted_log(
    history: tuple[list[Row], list[Row]], data: st.DataObject
) -> None:
    came, meant = history
    for config in (PLAIN, FILLED, EACH, COARSE):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(came)), max_size=3)))
        healed = last_rows(config, came, cuts, restart=data.draw(st.booleans()))
        for found, whole in zip(healed, last_rows(config, meant, []), strict=True):
            assert shown(found) == shown(whole)


@examples(full=100)
@given(history=histories(), data=st.data())
def test_any_cut_and_restart_gives_the_same_revisions(
    history: tuple[list[Row], list[Row]], data: st.DataObject
) -> None:
    came, _ = history
    cuts = sorted(data.draw(st.lists(st.integers(0, len(came)), max_size=5)))
    for config in (PLAIN, SHORT):
        assert last_rows(config, came, cuts, restart=True) == last_rows(config, came, [])


@examples(full=100)
@given(history=histories())
def test_the_bars_are_what_a_hand_would_sum(history: tuple[list[Row], list[Row]]) -> None:
    came, meant = history
    bars, values, _ = last_rows(PLAIN, came, [])
    for name, length in (("1s", 10**9), ("5s", 5 * 10**9), ("1m", 60 * 10**9)):
        groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in meant:
            if row["type"] == "trade":
                groups[row["symbol"], row["event_time_ns"] // length * length].append(row)
        assert {(s, o) for s, f, o in shown(bars) if f == name} == set(groups)
        for (symbol, opens), parts in groups.items():
            row = bars[symbol, name, opens]
            prices, sizes = [p["price"] for p in parts], [p["size"] for p in parts]
            assert (row["open"], row["high"], row["low"], row["close"]) == (
                prices[0], max(prices), min(prices), prices[-1],
            )  # fmt: skip
            assert row["volume"] == math.fsum(sizes)
            assert row["trade_count"] == len(parts)
            quotes = [q for q in meant if q["type"] == "quote" and q["symbol"] == symbol]
            before = [q for q in quotes if q["event_time_ns"] < opens + length]
            found = [values[symbol, name, opens][column] for column in ("mid", "spread", "imbalance")]
            assert found == (by_hand(before[-1]) if before else [None] * 3)
            if row["volume"]:
                assert row["vwap"] == math.fsum(map(math.prod, zip(prices, sizes, strict=True))) / row["volume"]


def by_hand(row: Row) -> list[float | None]:
    bid, ask, bid_size, ask_size = (row[name] for name in ("bid", "ask", "bid_size", "ask_size"))
    both = bid_size + ask_size
    return [(bid + ask) / 2, ask - bid, (bid_size - ask_size) / both if both else None]


def test_the_window_lets_go_of_what_it_has_left() -> None:
    config = config_of(["1s", "1m"], "ema(3)", window_ns=30 * 10**9, max_skew_ns=ANY_CLOCK)
    engine = Engine(config)
    rng = np.random.default_rng(1)
    for start in range(0, 200_000, 1_000):
        now = 10 + start / 100
        late = rng.random(1_000) < 0.1
        engine.step([trade("A", now + i / 100 - 2.5 * late[i], 1 + i % 7, 1) for i in range(1_000)])
        engine.step([heartbeat(now + 9)])
    assert engine.state.tables.window.size <= 16_384, "30 s hold 3,000 trades"
    assert len(engine.state.told.rows(1)[0]) <= 16_384
    state = engine.stepper.trim(engine.state)
    kept = kept_trades(state)
    assert kept["event_ns"].min() >= MIDNIGHT_NS + (2_009 - 30) * 10**9
    assert len(kept) <= 4_100
    assert state.size_bytes() < 8_000_000
