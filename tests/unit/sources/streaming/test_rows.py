"""Rows in the log's schemas, in an order in which each record stands behind what it speaks of."""

from marketpulse.model.market import BAR_IN, EVENT, QUOTE, TRADE
from marketpulse.sources.streaming.rows import Rows

AT = 1_772_600_767 * 10**9


def test_each_kind_has_its_schema_and_an_event_stands_behind_the_rows_before_it() -> None:
    rows = Rows("feed")
    rows.quote("A", AT, (1.0, 2.0, 3.0, 4.0), AT, None)
    rows.trade("A", AT, 10.0, 1.0, "7", AT, "XNYS", ("@",))
    rows.event({"type": "halt", "symbol": "A", "event_time_ns": AT, "reason": "news"})
    rows.bar("A", "1m", AT, AT + 60 * 10**9, (1.0, 2.0, 0.5, 1.5, 9.0, None, 3), AT)
    assert len(rows) == 4
    batches = rows.drain()
    assert [batch.schema for batch in batches] == [TRADE, QUOTE, EVENT, BAR_IN]
    trade, quote, halt, bar = (batch.to_pylist()[0] for batch in batches)
    assert (trade["venue"], trade["conditions"], trade["source"]) == ("XNYS", ["@"], "feed")
    assert (quote["bid"], quote["ask_size"], quote["venue"]) == (1.0, 4.0, None)
    assert (halt["type"], halt["symbol"]) == ("halt", "A")
    assert (bar["event_time_ns"], bar["vwap"], bar["trade_count"], bar["final"]) == (AT + 60 * 10**9, None, 3, True)
    assert (len(rows), rows.drain()) == (0, [])


def test_rows_of_another_quarter_of_a_second_are_a_batch_of_their_own() -> None:
    rows = Rows("feed")
    for at in (AT, AT + 10**8, AT + 10**9):
        rows.trade("A", at, 10.0, 1.0, None, at, None)
    assert [batch.num_rows for batch in rows.drain()] == [2, 1]
