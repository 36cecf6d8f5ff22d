"""The shapes of existing projects' files, taken without code. Expected values are read off the text by hand."""

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from marketpulse.errors import Fatal
from marketpulse.settings import Mapping
from marketpulse.sources.dataset import Dataset, load
from marketpulse.sources.defaults import bundled
from marketpulse.sources.files import expand

DAY_NS = 86_400 * 10**9


def ns(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * 10**9  # type: ignore[misc,arg-type]


def loaded(path: Path, text: str | bytes, name: str = "x.csv", **mapping: Any) -> Dataset:
    file = path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load([file], Mapping(**mapping))


def rows(data: Dataset) -> list[dict[str, Any]]:
    return [row for batch in data.tape.batches(0, len(data.tape), "replay", 7) for row in batch.to_pylist()]


def test_daily_index_bars_with_a_last_line_cut_off(tmp_path: Path) -> None:
    text = (
        "Index,Date,Open,High,Low,Close,Adj Close,Volume,CloseUSD\n"
        "HSI,1986-12-31,2568.300049,2568.300049,2568.300049,2568.300049,2568.300049,0,333.87900637\n"
        "HSI,1987-01-02,2540.100098,2540.100098,2540.100098,2540.100098,2540.100098,0,330.21301274\n"
        "HSI,1987-01-05,2552.399902,2552.39"
    )
    data = loaded(tmp_path, text)
    first, second = rows(data)
    assert (first["type"], first["symbol"], first["timeframe"], first["volume"]) == ("bar", "HSI", "1d", 0.0)
    assert first["close"] == 2568.300049
    assert first["open_time_ns"] == ns(1986, 12, 31)
    assert first["close_time_ns"] == first["event_time_ns"] == ns(1987, 1, 1)
    assert first["session_date"] == date(1986, 12, 31)
    assert second["session_date"] == date(1987, 1, 2)
    assert [(r.row, r.reason) for r in data.rejected] == [(4, "missing_field")]
    assert data.rejected[0].value == b"HSI,1987-01-05,2552.399902,2552.39"


def test_prices_as_strings_new_york_time_newest_first_and_no_volume(tmp_path: Path) -> None:
    def line(minute: int, close: str) -> str:
        return json.dumps(
            {"date": f"2026-01-16 19:{minute}:00", "symbol": "TSLA", "open": "437.60", "high": "438.00",
             "low": "437.10", "close": close}
        )  # fmt: skip

    text = "\n".join(line(m, f"437.{m}") for m in (55, 50, 45))
    found = rows(loaded(tmp_path, text, "x.json", timezone="America/New_York"))
    assert [row["close"] for row in found] == [437.45, 437.5, 437.55]
    assert found[0]["open_time_ns"] == ns(2026, 1, 16, 19, 45, zone="America/New_York")
    assert found[0]["close_time_ns"] - found[0]["open_time_ns"] == 300 * 10**9
    assert (found[0]["timeframe"], found[0]["volume"], found[0]["open"]) == ("5m", 0.0, 437.6)


def test_a_header_that_splits_adj_close_does_not_give_the_volume_for_the_close(tmp_path: Path) -> None:
    text = (
        "Date,Open,High,Low,Close,Adj,Close,Volume\n2020-01-02,10,12,9,11,10.5,5000\n2020-01-03,11,13,10,12,11.5,6000\n"
    )
    first, _ = rows(loaded(tmp_path, text))
    assert (first["close"], first["volume"]) == (11.0, 5000.0)


def test_blank_fields_unsorted_rows_and_huge_values(tmp_path: Path) -> None:
    text = (
        "Date,Open,High,Low,Close,Volume\r\n2020-01-03,11,13,10,12,10000000000000\r\n"
        "2020-01-02,10,12,9,,5000\r\n2020-01-01,10,12,9,11,\r\n"
    )
    data = loaded(tmp_path, text, "spx.csv")
    assert [(r["session_date"].day, r["volume"], r["symbol"]) for r in rows(data)] == [
        (1, 0.0, "SPX"),
        (3, 1e13, "SPX"),
    ]
    assert [(r.row, r.reason, r.value) for r in data.rejected] == [(3, "missing_field", b"2020-01-02,10,12,9,,5000")]


def test_symbol_price_volume_timestamp_is_a_trade(tmp_path: Path) -> None:
    text = '{"symbol":"AAPL","price":190.5,"volume":10,"timestamp":"2026-01-02T15:00:00Z"}\n'
    (row,) = rows(loaded(tmp_path, text, "x.jsonl"))
    expected = {"type": "trade", "symbol": "AAPL", "price": 190.5, "size": 10.0, "event_time_ns": ns(2026, 1, 2, 15)}
    assert {k: row[k] for k in expected} == expected
    assert (row["source"], row["ingest_time_ns"], row["venue"], row["trade_id"]) == ("replay", 7, None, None)


def test_one_object_per_file_makes_one_tape_in_order_of_time(tmp_path: Path) -> None:
    for i, second in enumerate((3, 1, 2)):
        (tmp_path / f"{i}.json").write_text(
            json.dumps({"ticker": "A", "timestamp": 1_767_366_000 + second, "price": second}, indent=1)
        )
    data = load(expand([str(tmp_path)]), Mapping())
    assert [row["price"] for row in rows(data)] == [1.0, 2.0, 3.0]


def test_a_bad_row_does_not_stop_the_others(tmp_path: Path) -> None:
    text = (
        "time,symbol,price,size\n2026-01-02T15:00:00Z,A,1,1\nsoon,A,1,1\n2026-01-02T15:00:01Z,A,zero,1\n"
        "2026-01-02T15:00:02Z,A,0,1\n2026-01-02T15:00:03Z,A,1,-1\n2026-01-02T15:00:04Z,,1,1\n,A,1,1\n"
        "2026-01-02T15:00:05Z,A,2,1\n"
    )
    data = loaded(tmp_path, text)
    assert [row["price"] for row in rows(data)] == [1.0, 2.0]
    assert [(r.row, r.reason) for r in data.rejected] == [
        (3, "bad_time"), (4, "wrong_type"), (5, "bad_price"), (6, "bad_size"), (7, "missing_field"), (8, "missing_field"),
    ]  # fmt: skip
    assert data.rejected[1].value == b"2026-01-02T15:00:01Z,A,zero,1"
    assert "'zero'" in data.rejected[1].detail


def test_trades_and_quotes_in_one_file_are_told_apart_row_by_row(tmp_path: Path) -> None:
    text = "time,symbol,price,size,bid,ask\n1767366001,A,1.5,3,,\n1767366000,A,,,1.4,1.6\n1767366002,A,,,,\n"
    data = loaded(tmp_path, text)
    assert [(r["type"], r.get("price"), r.get("bid")) for r in rows(data)] == [
        ("quote", None, 1.4),
        ("trade", 1.5, None),
    ]
    assert [(r.row, r.reason) for r in data.rejected] == [(4, "missing_field")]


def test_dividends_and_splits_become_events_before_their_day() -> None:
    data = load([bundled("daily/AAPL.csv")], Mapping())
    events = [row for row in rows(data) if "body" in row]
    assert [row["type"] for row in events].count("split") == 1
    assert [row["type"] for row in events].count("dividend") == 10
    split = next(row for row in events if row["type"] == "split")
    assert json.loads(split["body"]) == {
        "type": "split", "symbol": "AAPL", "source": "replay", "event_time_ns": ns(2014, 6, 9),
        "ratio": 7.0, "ex_time_ns": ns(2014, 6, 9), "adjusted": True,
    }  # fmt: skip


def test_a_split_says_that_its_files_prices_are_adjusted_for_it() -> None:
    data = load([bundled("daily/AAPL.csv")], Mapping(split_adjusted=True))
    told = [json.loads(row["body"]) for row in rows(data) if "body" in row]
    assert {(t["type"], t.get("adjusted")) for t in told} == {("split", True), ("dividend", None)}


def test_the_bundled_files_are_taken_whole() -> None:
    daily = load(expand([str(bundled("daily"))]), Mapping())
    assert not daily.rejected
    assert daily.tape.tables["bar"].num_rows == 4 * 754
    assert daily.tape.tables["event"].num_rows == 48
    minutes = load([bundled("minutes/SPY.csv")], Mapping(timezone="America/New_York"))
    first = rows(minutes)[0]
    assert len(minutes.tape) == 1564
    assert (first["symbol"], first["timeframe"], first["open"], first["volume"]) == ("SPY", "1m", 367.4, 407870.0)
    assert first["open_time_ns"] == ns(2020, 12, 15, 9, 30, zone="America/New_York")


def test_a_byte_order_mark_and_month_first_dates(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfdate,open,high,low,close,volume\n1/2/1990,353.4,359.69,351.98,359.69,0\n1/3/1990,359.69,360.59,357.89,358.76,0\n"
    first, second = rows(loaded(tmp_path, text, "spx.csv"))
    assert (first["session_date"], second["session_date"]) == (date(1990, 1, 2), date(1990, 1, 3))


def test_gzip_and_parquet_are_the_same_rows(tmp_path: Path) -> None:
    text = b"timestamp,symbol,price,size,trade_id\n2026-01-02 15:00:00.5,A,1.5,2,x1\n2026-01-02 15:00:01,B,2.5,3,x2\n"
    plain = rows(loaded(tmp_path, text, "t.csv"))
    assert rows(loaded(tmp_path, gzip.compress(text), "t.csv.gz")) == plain
    frame = pl.DataFrame(
        {"timestamp": [datetime(2026, 1, 2, 15, 0, 0, 500_000, UTC), datetime(2026, 1, 2, 15, 0, 1, 0, UTC)],
         "symbol": ["A", "B"], "price": [1.5, 2.5], "size": [2, 3], "trade_id": ["x1", "x2"]}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "t.parquet")
    assert rows(load([tmp_path / "t.parquet"], Mapping())) == plain


def test_date_and_time_of_day_in_two_columns(tmp_path: Path) -> None:
    text = "Date,Time,Open,High,Low,Close,Volume\n01/31/2020,09:30,1,2,1,2,5\n01/31/2020,09:31,1,2,1,2,5\n"
    first, _ = rows(loaded(tmp_path, text, timezone="America/New_York"))
    assert first["open_time_ns"] == ns(2020, 1, 31, 9, 30, zone="America/New_York")


def test_daily_bars_stamped_with_local_midnight_are_dates(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume\n2020-01-02 00:00:00-05:00,1,2,1,2,5\n2020-07-01 00:00:00-04:00,1,2,1,2,5\n"
    assert [r["session_date"] for r in rows(loaded(tmp_path, text, timeframe="1d"))] == [
        date(2020, 1, 2),
        date(2020, 7, 1),
    ]
    epochs = "t,o,h,l,c,v\n1577941200000,1,2,1,2,5\n1578027600000,1,2,1,2,5\n"  # midnight in New York
    found = rows(loaded(tmp_path, epochs, timezone="America/New_York"))
    assert [r["session_date"] for r in found] == [date(2020, 1, 2), date(2020, 1, 3)]


def test_european_files_have_decimal_commas(tmp_path: Path) -> None:
    (row,) = rows(loaded(tmp_path, "Datum;time;price;size\n1;31.01.2020 10:00;1.234,5;2\n"))
    assert row["price"] == 1234.5


def test_files_are_merged_by_time_and_ties_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("time,price\n1767366001,1\n1767366003,3\n")
    (tmp_path / "a.csv").write_text("time,price\n1767366001,2\n1767366002,4\n")
    data = load([tmp_path / "b.csv", tmp_path / "a.csv"], Mapping())
    assert [(r["symbol"], r["price"]) for r in rows(data)] == [("B", 1.0), ("A", 2.0), ("A", 4.0), ("B", 3.0)]


def test_a_file_without_a_usable_row_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"no usable row.*line 2.*--map"):
        loaded(tmp_path, "time,price\nnever,1\n")


def test_weekly_bars_are_refused_unless_they_are_called_sessions(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close\n" + "".join(f"2020-01-{d:02d},1,2,1,2\n" for d in (3, 10, 17))
    with pytest.raises(Fatal, match="7 days apart"):
        loaded(tmp_path, text)
    assert len(loaded(tmp_path, text, timeframe="1d").tape) == 3


def test_our_own_bars_keep_their_times(tmp_path: Path) -> None:
    text = (
        "symbol,timeframe,open_time_ns,close_time_ns,open,high,low,close,volume\n"
        "A,1h,1767366000000000000,1767367800000000000,1,2,1,2,3\nA,1m,1767366000000000000,1767366060000000000,1,2,1,2,3\n"
    )
    found = rows(loaded(tmp_path, text))
    assert [(r["timeframe"], r["close_time_ns"] - r["open_time_ns"]) for r in found] == [
        ("1m", 60 * 10**9),
        ("1h", 1800 * 10**9),
    ]
