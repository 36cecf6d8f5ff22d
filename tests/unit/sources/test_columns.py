"""What columns mean: headers met in the wild, numbers as people write them, and prices adjusted for a split."""

import math

import numpy as np
import polars as pl
import pytest

from marketpulse.errors import Fatal, SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.mapping import Plan, guess
from marketpulse.sources.numbers import to_floats
from marketpulse.sources.split_columns import LastCloses


def plan(header: str, values: str, **mapping: object) -> Plan:
    names, row = header.split(","), values.split(",")
    frame = pl.DataFrame({n: [v] for n, v in zip(names, row, strict=True)})
    return guess(frame, Mapping(**mapping), "x.csv")


@pytest.mark.parametrize(("header", "values", "kind", "expected"), [
    ("ticker,timestamp,last,qty", "A,1580504706,1,2", "trade", {"symbol": "ticker", "price": "last", "size": "qty"}),
    ("sym,ts,px,sz,trade_id,exchange", "A,1580504706,1,2,7,XNAS", "trade",
     {"price": "px", "size": "sz", "trade_id": "trade_id", "venue": "exchange"}),
    ("product_id,time,price,size", "BTC-USD,2020-01-01T00:00:00Z,1,2", "trade", {"symbol": "product_id", "size": "size"}),
    ("s,p,q,t,T", "BTCUSDT,1,2,12345,1580504706000", "trade",
     {"symbol": "s", "price": "p", "size": "q", "time": "T", "trade_id": "t"}),
    ("t,p,s", "1580504706000,1.5,100", "trade", {"price": "p", "size": "s", "time": "t"}),
    ("Date,Close", "2020-01-01,1", "trade", {"price": "Close", "time": "Date"}),
    ("timestamp,value", "2014-04-10 00:04:00,91.958", "trade", {"price": "value"}),
    ("symbol,time,bid,bidSize,ask,askSize", "A,1580504706,1,2,3,4", "quote", {"ask_size": "askSize"}),
    ("Index,Date,Open,High,Low,Close,Adj Close,Volume,CloseUSD", "HSI,1986-12-31,1,2,3,4,5,6,7", "bar",
     {"symbol": "Index", "time": "Date", "close": "Close", "volume": "Volume"}),
    ("Date,Open,High,Low,Close,Adj Close,Volume", "2020-01-01,1,2,3,4,5,6", "bar", {"close": "Close", "volume": "Volume"}),
    ("Date,Close/Last,Volume,Open,High,Low", "01/31/2020,$1,2,$3,$4,$5", "bar", {"close": "Close/Last", "volume": "Volume"}),
    ("Date,Price,Open,High,Low,Vol.,Change %", "Jan 31. 2020,1,2,3,4,1.2M,0.5%", "bar", {"close": "Price", "volume": "Vol."}),
    ("date,open,high,low,close,volume,Name", "2013-02-08,1,2,3,4,5,AAL", "bar", {"symbol": "Name", "volume": "volume"}),
    ("timestamp,1. open,2. high,3. low,4. close,5. volume", "2020-01-01,1,2,3,4,5", "bar", {"open": "1. open", "volume": "5. volume"}),
    ("t,o,h,l,c,v,vw,n", "1580504706000,1,2,3,4,5,6,7", "bar",
     {"time": "t", "close": "c", "volume": "v", "vwap": "vw", "trade_count": "n"}),
    ("unix,date,symbol,open,high,low,close,Volume BTC,Volume USD", "1580504706,2020-01-31,BTC/USD,1,2,3,4,5,6", "bar",
     {"symbol": "symbol", "volume": "Volume BTC"}),
    ("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", "2020-01-01,1,2,3,4,5,0,0", "bar",
     {"dividend": "Dividends", "split": "Stock Splits"}),
    ("Date,Time,Open,High,Low,Close,Volume", "2020-01-31,09:30,1,2,3,4,5", "bar", {"date": "Date", "time": "Time"}),
])  # fmt: skip
def test_a_header_is_understood(header: str, values: str, kind: str, expected: dict[str, str | None]) -> None:
    found = plan(header, values)
    assert found.kinds[0] == kind
    assert found.kinds == (kind,) or kind == "trade"
    assert {field: found.columns.get(field) for field in expected} == expected


def test_nothing_else_is_taken_for_a_field_and_names_given_by_the_user_win() -> None:
    trade = plan("symbol,price,volume,timestamp", "AAPL,1.5,10,2020-01-01T00:00:00Z")
    assert trade.kinds == ("trade",)
    assert trade.columns == {"symbol": "symbol", "price": "price", "size": "volume", "time": "timestamp"}
    book = plan("s,T,b,B,a,A,t", "A,1580504706000,1,2,3,4,5")
    assert book.columns == {"symbol": "s", "time": "T", "bid": "b", "bid_size": "B", "ask": "a", "ask_size": "A"}
    found = plan("when,symbol,a,b", "2020-01-01,X,1,2", columns={"time": "when", "price": "B", "size": "a"})
    assert (found.columns["time"], found.columns["price"], found.columns["size"]) == ("when", "b", "a")
    assert plan("time,bid,ask,price", "1580504706,1,2,3", record="quote").kinds == ("quote",)


@pytest.mark.parametrize(("header", "columns", "error", "says"), [
    ("foo,bar", {}, Fatal, r"x\.csv.*Header: foo, bar.*--map time=COLUMN --map price=COLUMN"),
    ("time,price", {"prize": "price"}, SettingsError, "prize"), ("time,price", {"price": "cost"}, SettingsError, "no column 'cost'"),
])  # fmt: skip
def test_what_is_not_understood_is_named(
    header: str, columns: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        plan(header, "1,2", columns=columns)


NUMBERS = {
    "437.60": 437.6, " 12 ": 12.0, "1,234": 1234.0, "1,234,567.5": 1234567.5, "$12.30": 12.3, "1.2M": 1_200_000.0, "340K": 340_000.0,
    "2.5B": 2.5e9, "1e13": 1e13, "10000000000000": 1e13, "12,34,567": 1234567.0, "-5": -5.0, "1_000": 1000.0,
}  # fmt: skip


def number_of(text: str | None, decimal_comma: bool = False) -> tuple[float, bool, bool]:
    """(the number, whether there is one, whether it can be read)."""
    values, present, readable = to_floats(pl.Series([text], dtype=pl.String), decimal_comma=decimal_comma)
    return values[0], present[0], readable[0]


def test_numbers_are_read_however_they_are_written_and_typed_columns_pass_as_they_are() -> None:
    assert {text: number_of(text) for text in NUMBERS} == {text: (n, True, True) for text, n in NUMBERS.items()}
    for blank in ("", "  ", "null", "N/A", "NaN", "-", None):
        number, *state = number_of(blank)
        assert (math.isnan(number), state) == (True, [False, True])
    for text in ("abc", "1.2.3", "12 apples", "1,23"):
        assert number_of(text)[1:] == (True, False)
    commas = {"12,5": 12.5, "1.234,5": 1234.5, "7": 7.0, "1.25": 1.25}
    assert {text: number_of(text, decimal_comma=True) for text in commas} == {
        t: (n, True, True) for t, n in commas.items()
    }
    values, present, _ = to_floats(pl.Series([1, None, 3]))
    assert values[[0, 2]].tolist() == [1.0, 3.0]
    assert present.tolist() == [True, False, True]
    assert to_floats(pl.Series(["1.25"]).cast(pl.Decimal(10, 2)))[0][0] == 1.25


Row = tuple[str, int, float, float, float | None]
DAY = 86_400 * 10**9


def bars(*rows: Row) -> tuple[pl.DataFrame, np.ndarray]:
    """Symbol, day, open, close, split."""
    frame = pl.DataFrame(rows, ["symbol", "day", "open", "close", "split"], orient="row")
    return frame.with_columns(pl.col("split").cast(pl.Float64)), frame["day"].to_numpy() * DAY


RAW = [("A", 1, 400.0, 404.0, None), ("A", 2, 101.5, 99.0, 4.0), ("A", 3, 98.0, 97.0, None)]
ADJUSTED = [("A", 1, 100.0, 101.0, None), ("A", 2, 101.5, 99.0, 4.0), ("A", 3, 98.0, 97.0, None)]
REVERSE = [("A", 1, 1.0, 1.1, None), ("A", 2, 10.5, 11.0, 0.1)]


@pytest.mark.parametrize(("rows", "expected"), [
    (RAW, [False, False, False]), (ADJUSTED, [False, True, False]), (REVERSE, [False, False]), ([RAW[1]], [False]),
    (ADJUSTED[::-1], [False, True, False]), (RAW[::-1], [False, False, False]),
], ids=["raw", "adjusted", "a reverse split", "nothing is said of the first row", "adjusted, newest first", "raw, newest first"])  # fmt: skip
def test_the_prices_say_whether_they_are_adjusted(rows: list[Row], expected: list[bool]) -> None:
    assert LastCloses().adjusted(*bars(*rows)).tolist() == expected


def test_the_bar_before_may_lie_in_another_block_and_be_of_another_symbol() -> None:
    closes = LastCloses()
    closes.adjusted(*bars(ADJUSTED[0], ("B", 1, 400.0, 404.0, None)))
    found = closes.adjusted(*bars(("B", 2, 101.5, 99.0, 4.0), ADJUSTED[1]))
    assert found.tolist() == [False, True]
