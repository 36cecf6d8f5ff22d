"""Points and their lines, by hand: what tells one apart, and what is one of its fields."""

from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from log_of_rows import batch
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.sinks.influx_points import keys, points
from marketpulse.sinks.line_protocol import bodies, escaped, lines


def test_a_line_has_tags_typed_fields_nanoseconds_only_finite_numbers_and_the_shortest_text_of_a_float() -> None:
    minute = {"symbol": ["A"], "timeframe": ["1m"], "open_time_ns": [1_714_521_600_000_000_000]}
    rows = pl.DataFrame({**minute, "close": [10.5], "trade_count": [3], "source": ["x"], "late": [True]})
    assert lines("bars", rows, ("symbol", "timeframe"), "open_time_ns").to_list() == [
        'bars,symbol=A,timeframe=1m close=10.5,trade_count=3i,source="x",late=true 1714521600000000000'
    ]
    odd = {"venue": [None, "", "X"], "a": [None, float("nan"), float("inf")]}
    rows = pl.DataFrame({"t": [1, 2, 3], **odd, "n": [1, 2, 3]})
    assert lines("m", rows, ("venue",), "t").to_list() == ["m n=1i 1", "m n=2i 2", "m,venue=X n=3i 3"]
    rows = pl.DataFrame({"t": [1, 2, 3, 4], "x": [0.1, 1 / 3, 5e-324, -0.0]})
    texts = ["m x=0.1 1", "m x=0.3333333333333333 2", "m x=5e-324 3", "m x=-0.0 4"]
    assert lines("m", rows, (), "t").to_list() == texts


def test_what_has_a_meaning_is_escaped_and_a_column_that_no_field_can_hold_is_refused() -> None:
    assert (escaped("a,b c=d"), escaped("a\\b\n")) == (r"a\,b\ c\=d", "a\u29f5b\u240a")
    rows = pl.DataFrame({"t": [1], "body": ['a "b" \\ c,d=e\n']})  # of a text only quotes and backslashes
    assert lines("m", rows, (), "t").to_list() == ['m body="a \\"b\\" \\\\ c,d=e\n" 1']
    with pytest.raises(TypeError, match="a field cannot be List"):
        lines("m", pl.DataFrame({"t": [1], "x": [[1]]}), (), "t")


def trades(*rows: tuple[int, int, int]) -> pa.Table:
    """Trades of one symbol from (time, offset, row)."""
    head = {"type": "trade", "symbol": "A", "source": "s", "price": 1.0, "size": 1.0, "topic": "market", "partition": 0}
    some = [{**head, "event_time_ns": time, "offset": offset, "row": row} for time, offset, row in rows]
    return pa.Table.from_pylist(some, schema=TABLES["trades"][1])


def slots(*rows: tuple[int, int, int], trade_slots: int = 4) -> list[str]:
    return points("trades", trades(*rows), trade_slots).rows["slot"].to_list()


def test_trades_of_one_nanosecond_have_slots_by_offset_and_frame_row_however_the_stream_is_cut() -> None:
    assert slots((7, 100, 0), (7, 101, 0), (7, 103, 0)) == ["0", "1", "3"]
    assert slots((7, 101, 0), (7, 101, 1), (8, 101, 2), (7, 101, 3), (7, 102, 0)) == ["1", "5", "1", "9", "2"]
    for trade_slots, shared in ((4, 1), (64, 0)):
        assert points("trades", trades((7, 100, 0), (7, 104, 0)), trade_slots).shared == shared
    stream = [(7, offset, row) for offset in range(100, 106) for row in range(3)]
    whole = slots(*stream)
    for cut in range(3, len(stream), 3):  # whole records always come together
        assert slots(*stream[:cut]) + slots(*stream[cut:]) == whole
    assert len(set(whole[:12])) == 12


def test_of_quotes_of_one_nanosecond_the_last_stays_and_bodies_hold_whole_lines_up_to_their_size() -> None:
    head = {"type": "quote", "symbol": "A", "source": "s", "event_time_ns": 7, "topic": "market"}
    some = [{**head, "partition": 0, "row": 0, "bid": float(n), "offset": n} for n in range(3)]
    assert points("quotes", pa.Table.from_pylist(some, TABLES["quotes"][1]), 4).rows["bid"].to_list() == [2.0]
    written = pl.Series(["aaa", "bb", "c", "dddddddddd"])
    assert bodies(written, 7) == [(b"aaa\nbb\n", 2), (b"c\n", 1), (b"dddddddddd\n", 1)]
    assert bodies(pl.Series([], dtype=pl.String), 7) == []


def bars(*rows: dict[str, Any]) -> pa.Table:
    head = {"symbol": "A", "timeframe": "1m", "open_time_ns": 60, "close_time_ns": 120, "volume": 1.0, "vwap": 1.0,
            "open": 1.0, "high": 1.0, "low": 1.0}  # fmt: skip
    return pa.Table.from_pylist([{**head, **row} for row in rows], schema=BAR)


def test_of_a_bars_revisions_the_last_is_written_and_one_without_prices_or_a_value_empties_the_point() -> None:
    found = points("bars", bars({"revision": 0, "close": 1.0}, {"revision": 1, "close": 2.0}), 4)
    assert (found.rows.select("close", "revision", "withdrawn").rows(), found.emptied.height) == ([(2.0, 1, False)], 0)
    found = points("bars", bars({"revision": 1, "close": None, "open": None}), 4)
    assert found.rows["withdrawn"].to_list() == [True]
    assert keys(found.emptied) == [({"symbol": "A", "timeframe": "1m"}, 60)]
    head = {"symbol": "A", "timeframe": "1m", "close_time_ns": 120, "close": 1.0, "ema_12": 1.0}
    told = ((60, 0, None), (120, 1, None), (180, 1, 2.0))
    some = [{**head, "open_time_ns": time, "revision": revision, "sma_20": value} for time, revision, value in told]
    found = points("indicators", pa.Table.from_pylist(some, schema=indicators_schema(["sma_20", "ema_12"])), 4)
    assert [time for _, time in keys(found.emptied)] == [120]


def test_an_alert_is_known_by_symbol_rule_and_time_and_receipts_and_conditions_become_plain_fields() -> None:
    head = {"symbol": "A", "rule": "dip", "event_time_ns": 7, "severity": "info", "value": 1.0}
    some = [{**head, "state": "raised", "revision": 0}, {**head, "state": "withdrawn", "revision": 1}]
    found = points("alerts", pa.Table.from_pylist(some, schema=ALERT), 4)
    assert (found.tags, found.rows.select("state", "withdrawn").rows()) == (("symbol", "rule"), [("withdrawn", True)])
    assert keys(found.emptied) == [({"symbol": "A", "rule": "dip"}, 7)]
    rows = points("bars", pa.Table.from_batches([batch("bars", 0, 0, 5).rows]), 4).rows
    assert (rows["receipt_last_offset"].to_list(), "receipt" not in rows.columns) == ([0, 1, 2, 3], True)
    with_conditions = trades((7, 100, 0)).to_pylist()[0] | {"conditions": ["@", "T"]}
    table = pa.Table.from_pylist([with_conditions], schema=TABLES["trades"][1])
    assert points("trades", table, 4).rows["conditions"].to_list() == ["@,T"]
