"""The parts of a history: what a record must hold, and that nothing is lost on the way through JSON."""

import itertools
from typing import Any

import numpy as np
import orjson
import pytest

from marketpulse.kafka.rebuild_record import ROWS_MOST, rebuild_values
from marketpulse.model.history import COLUMNS, PAST_QUOTE, PAST_TRADE, History, joined_parts, read_part
from marketpulse.model.market import RECORD_BYTES_MAX, SYMBOL_BYTES_MAX

TIME_NS = 1_767_225_600 * 10**9
NAMES = {
    "timeframes": ("1s", "1m"), "sources": ("feed", "other"), "venues": ("XNYS",), "rules": ("high",),
}  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    """One trade, whole."""
    columns: dict[str, Any] = {
        "event_time_ns": [TIME_NS], "price": [5], "size": [0.25], "source": [1], "venue": [-1], "offset": [7],
        "row": [0], "late": [3], "side": [1], "cancelled": [0], "changed_offset": [-1], "changed_row": [0],
    }  # fmt: skip
    columns |= {name: value for name, value in changes.items() if name in columns}
    whole = {
        "type": "rebuild", "symbol": "AAA", "id": "x", "part": 0, "parts": 1, "covers_offset": 9,
        **{name: list(texts) for name, texts in NAMES.items()}, "trades": columns,
    }  # fmt: skip
    return {**whole, **{name: value for name, value in changes.items() if name not in columns}}


def test_a_whole_record_is_read() -> None:
    part = read_part(record())
    (trade,) = part.history.tables["trades"]
    assert (trade["price"], trade["size"], trade["venue"], trade["late"]) == (5.0, 0.25, -1, 3)
    assert (part.is_last, part.history.covers_offset, part.history.names) == (True, 9, NAMES)
    assert len(part.history.tables["quotes"]) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"part": 1}, "part 1 of 1"),
        ({"parts": 401}, "at most 400"),
        ({"part": True}, "part must be a whole number"),
        ({"covers_offset": -1}, "covers_offset must be a whole number, 0 or more"),
        ({"id": ""}, "id must be a text"),
        ({"sources": ["feed", 5]}, "sources must be a list of texts"),
        ({"trades": [1]}, "trades must be an object of columns"),
        ({"price": [5, 6]}, "the columns of trades must be of one length, found [1, 2]"),
        ({"price": ["5"]}, "trades.price must be a list of numbers"),
        ({"price": None}, "trades.price must be a list of numbers"),
        ({"price": [[5]]}, "trades.price must be a list of numbers"),
        ({"price": [0]}, "trades.price holds 0.0, which cannot be"),
        ({"size": [-1]}, "trades.size holds -1.0, which cannot be"),
        ({"event_time_ns": [1]}, "trades.event_time_ns holds 1, which cannot be"),
        ({"event_time_ns": [2**70]}, "trades.event_time_ns must be a list of whole numbers"),
        ({"offset": [7.5]}, "trades.offset must be a list of whole numbers"),
        ({"source": [2]}, "trades.source must name places in sources"),
        ({"venue": [-2]}, "trades.venue must name places in venues"),
        ({"side": [3]}, "trades.side holds 3, which cannot be"),
        ({"late": [-1]}, "trades.late must be a list of whole numbers"),
        ({"revisions": {"timeframe": [2], "open_time_ns": [TIME_NS], "bar": [1], "indicators": [0]}}, "revisions.timeframe"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_said_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        read_part(record(**changes))
    assert said in str(raised.value)


def test_a_long_history_comes_back_from_its_records_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    trades = np.zeros(2 * ROWS_MOST + 1, PAST_TRADE)
    trades["event_time_ns"] = TIME_NS + rng.integers(0, 10**15, len(trades))
    trades["price"], trades["size"] = rng.random(len(trades)) + 1e-9, rng.random(len(trades)) * 1e9
    trades["offset"], trades["changed_offset"] = rng.integers(0, 2**62, (2, len(trades)))
    trades["row"], trades["changed_row"] = rng.integers(0, 2**31 - 1, (2, len(trades)))
    trades["late"] = rng.integers(0, 2**32, len(trades))
    quotes = np.zeros(ROWS_MOST, PAST_QUOTE)
    quotes["event_time_ns"], quotes["offset"] = (trades["event_time_ns"][:ROWS_MOST], trades["offset"][:ROWS_MOST])
    for name in ("bid", "ask", "bid_size", "ask_size"):
        quotes[name] = rng.random(ROWS_MOST) + 1
    symbol = "S" * SYMBOL_BYTES_MAX
    history = History(symbol, 2**62, NAMES, {"trades": trades, "quotes": quotes})
    values = rebuild_values(history, "0" * 32)
    assert len(values) == 4
    assert max(map(len, values)) < RECORD_BYTES_MAX * 0.8, "with room for many names"
    parts = [read_part(orjson.loads(value)) for value in values]
    assert all(after.follows(before) for before, after in itertools.pairwise(parts))
    assert [part.is_last for part in parts] == [False, False, False, True]
    again = joined_parts(parts)
    assert (again.symbol, again.covers_offset, again.names) == (symbol, 2**62, NAMES)
    for name, dtype in COLUMNS.items():
        assert again.tables[name].tobytes() == history.tables.get(name, np.empty(0, dtype)).tobytes()


def test_an_empty_history_is_one_record() -> None:
    (value,) = rebuild_values(History("AAA", 5, NAMES, {}), "x")
    assert read_part(orjson.loads(value)).is_last
