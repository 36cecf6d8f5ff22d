import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest

from marketpulse.errors import Fatal
from marketpulse.model.market import COMPLETE
from marketpulse.ports import Polled
from marketpulse.settings import Mapping, StdinSettings
from marketpulse.sources.stdin import Lines, StdinSource


@contextmanager
def piped() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """(the reading end, the writing end)."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reading, os.fdopen(write, "wb", buffering=0) as writing:
        yield reading, writing


def opened(stream: BinaryIO, **given: Any) -> StdinSource:
    source = StdinSource(StdinSettings(**given), stream, "stdin", lateness_ns=2 * 10**9)
    source.start(None)
    return source


def rows(polled: Polled) -> list[dict[str, Any]]:
    return [row for batch in polled.batches for row in batch.to_pylist()]


def everything(source: StdinSource) -> tuple[list[dict[str, Any]], list[Polled]]:
    found: list[Polled] = []
    while not found or not found[-1].ended:
        found.append(source.poll(0.2))
    return [row for polled in found for row in rows(polled)], found


def trade(second: int, price: float = 10.0) -> bytes:
    return b'{"symbol": "A", "price": %g, "timestamp": "2026-03-02T15:00:%02dZ"}\n' % (price, second)


def test_json_lines_come_as_they_are_written() -> None:
    with piped() as (reading, writing):
        source = opened(reading)
        assert not rows(source.poll(0.0))
        writing.write(trade(1) + trade(2)[:20])
        assert [row["event_time_ns"] % 10**11 for row in rows(source.poll(5.0))] == [1_000_000_000]
        writing.write(trade(2)[20:])
        assert len(rows(source.poll(5.0))) == 1
        writing.write(trade(3).rstrip())
        writing.close()
        left, polls = everything(source)
        assert len(left) == 1, "the last line may lack its end"
        assert polls[-1].ended


def test_a_table_comes_with_one_header() -> None:
    with piped() as (reading, writing):
        source = opened(reading, mode="historical", mapping=Mapping(symbol="A"))
        writing.write(b"time,price,size\n")
        assert not rows(source.poll(0.2)), "its columns cannot be told from the header alone"
        writing.write(b"2026-03-02 15:00:01,10,1\n2026-03-02 15:00:02,11,1\n")
        assert [row["price"] for row in rows(source.poll(5.0))] == [10.0, 11.0]
        writing.write(b"2026-03-02 15:00:03,12,1\n2026-03-02 15:00:04,x,1\n")
        found = source.poll(5.0)
        assert [row["price"] for row in rows(found)] == [12.0]
        assert [(item.reason, item.row) for item in found.rejected] == [("wrong_type", 5)]
        writing.close()
        _, polls = everything(source)
        assert polls[-1].goodbye_watermark_ns == COMPLETE


def test_bars_wait_for_what_tells_their_length() -> None:
    with piped() as (reading, writing):
        source = opened(reading, mode="historical", mapping=Mapping(symbol="A"))
        writing.write(b"time,open,high,low,close,volume\n2026-03-02 15:00,1,1,1,1,5\n")
        writing.write(b"2026-03-02 15:01,2,2,2,2,5\n")
        found: list[dict[str, Any]] = []
        while len(found) < 2:
            found += rows(source.poll(0.2))
        assert {row["timeframe"] for row in found} == {"1m"}


def test_one_bar_alone_is_told_to_name_its_length() -> None:
    with piped() as (reading, writing):
        source = opened(reading, mode="historical", mapping=Mapping(symbol="A"))
        writing.write(b"time,open,high,low,close,volume\n2026-03-02 15:00,1,1,1,1,5\n")
        writing.close()
        with pytest.raises(Fatal, match="--timeframe"):
            everything(source)


def test_what_is_no_market_data_is_told_so() -> None:
    with piped() as (reading, writing):
        source = opened(reading)
        writing.write(b'{"colour": "blue"}\n')
        with pytest.raises(Fatal, match="standard input: cannot tell"):
            source.poll(5.0)


def test_nothing_at_all_is_no_fault() -> None:
    with piped() as (reading, writing):
        source = opened(reading)
        writing.close()
        found, polls = everything(source)
        assert not found
        assert polls[-1].goodbye_watermark_ns is None


def test_the_promise_follows_what_has_come() -> None:
    with piped() as (reading, writing):
        source = opened(reading, mode="historical")
        assert source.watermark_ns() is None
        writing.write(trade(5))
        row = rows(source.poll(5.0))[0]
        assert source.watermark_ns() == row["event_time_ns"] - 2 * 10**9


def test_a_writer_that_is_quicker_than_the_log_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.stdin._HELD_BYTES_MAX", 1_000)
    monkeypatch.setattr("marketpulse.sources.stdin._BLOCK_BYTES", 500)
    with piped() as (reading, writing):
        lines = Lines(reading)
        count = 5_000  # 300 kB: more than a pipe holds

        def write() -> None:
            for i in range(count):
                writing.write(b"%059d\n" % i)
            writing.close()

        writer = threading.Thread(target=write)
        writer.start()
        got = b""
        while not lines.over:
            block = lines.take(1.0)
            assert len(block) <= 1_000
            got += block
        writer.join()
    assert got == b"".join(b"%059d\n" % i for i in range(count))
