"""What a source has brought survives the way to the disk and back."""

import pyarrow as pa
import pytest

from marketpulse.errors import ParameterError
from marketpulse.kafka.polled_bytes import from_bytes, to_bytes
from marketpulse.model.market import EVENT, QUOTE, TRADE
from marketpulse.ports import Hello, Polled, RejectedInput

TRADES = pa.RecordBatch.from_pylist(
    [
        {"type": "trade", "symbol": "A\u00e9", "price": 0.1 + 0.2, "size": 5e-324, "trade_id": "1", "conditions": ["x", "y"]},
        {"type": "trade", "symbol": "B", "event_time_ns": 2**62, "price": 1.0},
    ], schema=TRADE,
)  # fmt: skip
QUOTES = pa.RecordBatch.from_pylist([{"type": "quote", "symbol": "A", "bid": 1.0}], schema=QUOTE)
EVENTS = pa.RecordBatch.from_pylist([{"type": "gap", "symbol": "A", "body": '{"a":1}'}], schema=EVENT)
WHOLE = Polled(
    [TRADES, EVENTS, QUOTES, TRADES.slice(1)], '{"A":[1]}', Hello("coinbase", "live", "r", 2, "24x7"), 2**62, True,
    [RejectedInput("bad_price", "price is \udcff", "wss://x", 7, b"\x00\xff"), RejectedInput("b", "", "", 1, b"")],
)  # fmt: skip


@pytest.mark.parametrize("polled", [WHOLE, Polled(), Polled([QUOTES])])
def test_all_of_it_comes_back_to_the_bit(polled: Polled) -> None:
    back = from_bytes(to_bytes(polled))
    assert [b.schema for b in back.batches] == [b.schema for b in polled.batches]
    assert all(a.equals(b) for a, b in zip(back.batches, polled.batches, strict=True))
    assert (back.position, back.hello, back.goodbye_watermark_ns, back.ended) == (
        polled.position, polled.hello, polled.goodbye_watermark_ns, polled.ended,
    )  # fmt: skip
    assert list(back.rejected) == list(polled.rejected)


@pytest.mark.parametrize("cut", [0, 3, 10, 200, -1])
def test_what_is_cut_is_refused(cut: int) -> None:
    with pytest.raises(ParameterError, match="not what a source has brought"):
        from_bytes(to_bytes(WHOLE)[:cut])
