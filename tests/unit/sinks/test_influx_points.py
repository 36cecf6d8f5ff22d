"""What tells a point apart, and what is one of its fields."""

from typing import Any

import pyarrow as pa

from log_of_rows import batch
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.sinks.influx_points import keys, points


def trades(*rows: tuple[int, int, int]) -> pa.Table:
    """Trades of one symbol from (time, offset, row)."""
    head = {"type": "trade", "symbol": "A", "source": "s", "price": 1.0, "size": 1.0, "topic": "market", "partition": 0}
    some = [{**head, "event_time_ns": time, "offset": offset, "row": row} for time, offset, row in rows]
    return pa.Table.from_pylist(some, schema=TABLES["trades"][1])


def slots(*rows: tuple[int, int, int], trade_slots: int = 4) -> list[str]:
    return points("trades", trades(*rows), trade_slots).rows["slot"].to_list()


def test_trades_of_one_nanosecond_have_slots_that_follow_from_their_offsets() -> None:
    assert slots((7, 100, 0), (7, 101, 0), (7, 103, 0)) == ["0", "1", "3"]


def test_trades_of_one_frame_and_nanosecond_count_on_from_its_slot() -> None:
    assert slots((7, 101, 0), (7, 101, 1), (8, 101, 2), (7, 101, 3), (7, 102, 0)) == ["1", "5", "1", "9", "2"]


def test_the_slot_is_the_same_however_the_stream_is_cut() -> None:
    stream = [(7, offset, row) for offset in range(100, 106) for row in range(3)]
    whole = slots(*stream)
    for cut in range(3, len(stream), 3):  # whole records always come together
        assert slots(*stream[:cut]) + slots(*stream[cut:]) == whole
    assert len(set(whole[:12])) == 12


def test_trades_that_cannot_be_told_apart_are_counted() -> None:
    assert points("trades", trades((7, 100, 0), (7, 104, 0)), 4).shared == 1
    assert points("trades", trades((7, 100, 0), (7, 104, 0)), 64).shared == 0


def test_of_quotes_of_one_nanosecond_the_last_stays() -> None:
    head = {
        "type": "quote",
        "symbol": "A",
        "source": "s",
        "event_time_ns": 7,
        "topic": "market",
        "partition": 0,
        "row": 0,
    }
    some = [{**head, "bid": float(n), "offset": n} for n in range(3)]
    found = points("quotes", pa.Table.from_pylist(some, schema=TABLES["quotes"][1]), 4).rows
    assert found["bid"].to_list() == [2.0]


def bars(*rows: dict[str, Any]) -> pa.Table:
    head = {"symbol": "A", "timeframe": "1m", "open_time_ns": 60, "close_time_ns": 120, "volume": 1.0, "vwap": 1.0,
            "open": 1.0, "high": 1.0, "low": 1.0}  # fmt: skip
    return pa.Table.from_pylist([{**head, **row} for row in rows], schema=BAR)


def test_of_a_bars_revisions_the_last_one_is_written() -> None:
    found = points("bars", bars({"revision": 0, "close": 1.0}, {"revision": 1, "close": 2.0}), 4)
    assert found.rows.select("close", "revision", "withdrawn").rows() == [(2.0, 1, False)]
    assert found.emptied.height == 0


def test_a_bar_without_prices_is_withdrawn_and_its_point_is_emptied() -> None:
    found = points("bars", bars({"revision": 1, "close": None, "open": None}), 4)
    assert found.rows["withdrawn"].to_list() == [True]
    assert keys(found.emptied) == [({"symbol": "A", "timeframe": "1m"}, 60)]


def test_a_revision_that_empties_a_value_empties_the_point() -> None:
    names = ["sma_20", "ema_12"]
    head = {"symbol": "A", "timeframe": "1m", "close_time_ns": 120, "close": 1.0}
    some = [
        {**head, "open_time_ns": 60, "revision": 0, "sma_20": None, "ema_12": 1.0},
        {**head, "open_time_ns": 120, "revision": 1, "sma_20": None, "ema_12": 1.0},
        {**head, "open_time_ns": 180, "revision": 1, "sma_20": 2.0, "ema_12": 1.0},
    ]
    found = points("indicators", pa.Table.from_pylist(some, schema=indicators_schema(names)), 4)
    assert [time for _, time in keys(found.emptied)] == [120]


def test_an_alert_is_known_by_symbol_rule_and_time() -> None:
    head = {"symbol": "A", "rule": "dip", "event_time_ns": 7, "severity": "info", "value": 1.0}
    some = [{**head, "state": "raised", "revision": 0}, {**head, "state": "withdrawn", "revision": 1}]
    found = points("alerts", pa.Table.from_pylist(some, schema=ALERT), 4)
    assert found.tags == ("symbol", "rule")
    assert found.rows.select("state", "withdrawn").rows() == [("withdrawn", True)]
    assert keys(found.emptied) == [({"symbol": "A", "rule": "dip"}, 7)]


def test_receipts_dates_and_conditions_become_plain_fields() -> None:
    some = batch("bars", 0, 0, 5).rows
    found = points("bars", pa.Table.from_batches([some]), 4).rows
    assert found["receipt_last_offset"].to_list() == [0, 1, 2, 3]
    assert "receipt" not in found.columns
    with_conditions = trades((7, 100, 0)).to_pylist()[0] | {"conditions": ["@", "T"]}
    table = pa.Table.from_pylist([with_conditions], schema=TABLES["trades"][1])
    assert points("trades", table, 4).rows["conditions"].to_list() == ["@,T"]
