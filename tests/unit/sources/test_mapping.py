"""Headers met in the wild, and what each must be taken for."""

import polars as pl
import pytest

from marketpulse.errors import Fatal, SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.mapping import Plan, guess


def plan(header: str, values: str, **mapping: object) -> Plan:
    names, row = header.split(","), values.split(",")
    frame = pl.DataFrame({n: [v] for n, v in zip(names, row, strict=True)})
    return guess(frame, Mapping(**mapping), "x.csv")


BAR = ("open", "high", "low", "close")


def test_symbol_price_volume_timestamp_is_a_trade_whose_size_is_the_volume() -> None:
    found = plan("symbol,price,volume,timestamp", "AAPL,1.5,10,2020-01-01T00:00:00Z")
    assert found.kinds == ("trade",)
    assert found.columns == {"symbol": "symbol", "price": "price", "size": "volume", "time": "timestamp"}


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("Index,Date,Open,High,Low,Close,Adj Close,Volume,CloseUSD", "HSI,1986-12-31,1,2,3,4,5,6,7",
         {"symbol": "Index", "time": "Date", "close": "Close", "volume": "Volume"}),
        ("Date,Open,High,Low,Close,Adj Close,Volume", "2020-01-01,1,2,3,4,5,6", {"close": "Close", "volume": "Volume"}),
        ("Date,Close/Last,Volume,Open,High,Low", "01/31/2020,$1,2,$3,$4,$5", {"close": "Close/Last", "volume": "Volume"}),
        ("Date,Price,Open,High,Low,Vol.,Change %", "Jan 31. 2020,1,2,3,4,1.2M,0.5%", {"close": "Price", "volume": "Vol."}),
        ("date,open,high,low,close,volume,Name", "2013-02-08,1,2,3,4,5,AAL", {"symbol": "Name", "volume": "volume"}),
        ("timestamp,1. open,2. high,3. low,4. close,5. volume", "2020-01-01,1,2,3,4,5", {"open": "1. open", "volume": "5. volume"}),
        ("t,o,h,l,c,v,vw,n", "1580504706000,1,2,3,4,5,6,7", {"time": "t", "close": "c", "volume": "v", "vwap": "vw", "trade_count": "n"}),
        ("unix,date,symbol,open,high,low,close,Volume BTC,Volume USD", "1580504706,2020-01-31,BTC/USD,1,2,3,4,5,6",
         {"symbol": "symbol", "volume": "Volume BTC"}),
        ("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", "2020-01-01,1,2,3,4,5,0,0",
         {"dividend": "Dividends", "split": "Stock Splits"}),
    ],
)  # fmt: skip
def test_a_bar_header_is_understood(header: str, values: str, expected: dict[str, str]) -> None:
    found = plan(header, values)
    assert found.kinds == ("bar",)
    assert {field: found.columns.get(field) for field in expected} == expected


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("ticker,timestamp,last,qty", "A,1580504706,1,2", {"symbol": "ticker", "price": "last", "size": "qty"}),
        ("sym,ts,px,sz,trade_id,exchange", "A,1580504706,1,2,7,XNAS", {"price": "px", "size": "sz", "trade_id": "trade_id", "venue": "exchange"}),
        ("product_id,time,price,size", "BTC-USD,2020-01-01T00:00:00Z,1,2", {"symbol": "product_id", "size": "size"}),
        ("s,p,q,t,T", "BTCUSDT,1,2,12345,1580504706000", {"symbol": "s", "price": "p", "size": "q", "time": "T", "trade_id": "t"}),
        ("t,p,s", "1580504706000,1.5,100", {"price": "p", "size": "s", "time": "t"}),
        ("Date,Close", "2020-01-01,1", {"price": "Close", "time": "Date"}),
        ("timestamp,value", "2014-04-10 00:04:00,91.958", {"price": "value"}),
    ],
)  # fmt: skip
def test_a_trade_header_is_understood(header: str, values: str, expected: dict[str, str]) -> None:
    found = plan(header, values)
    assert found.kinds[0] == "trade"
    assert {field: found.columns.get(field) for field in expected} == expected


def test_bid_and_ask_are_a_quote() -> None:
    found = plan("symbol,time,bid,bidSize,ask,askSize", "A,1580504706,1,2,3,4")
    assert found.kinds == ("quote",)
    assert found.columns["ask_size"] == "askSize"
    book = plan("s,T,b,B,a,A,t", "A,1580504706000,1,2,3,4,5")
    assert book.columns == {"symbol": "s", "time": "T", "bid": "b", "bid_size": "B", "ask": "a", "ask_size": "A"}


def test_a_date_and_a_time_of_day_belong_together() -> None:
    found = plan("Date,Time,Open,High,Low,Close,Volume", "2020-01-31,09:30,1,2,3,4,5")
    assert (found.columns["date"], found.columns["time"]) == ("Date", "Time")


def test_names_given_by_the_user_win() -> None:
    found = plan("when,symbol,a,b", "2020-01-01,X,1,2", columns={"time": "when", "price": "B", "size": "a"})
    assert (found.columns["time"], found.columns["price"], found.columns["size"]) == ("when", "b", "a")
    assert plan("time,bid,ask,price", "1580504706,1,2,3", record="quote").kinds == ("quote",)


def test_what_is_not_understood_names_file_header_and_the_flags_to_use() -> None:
    with pytest.raises(Fatal, match=r"x\.csv.*Header: foo, bar.*--map time=COLUMN --map price=COLUMN"):
        plan("foo,bar", "1,2")


def test_a_mapping_that_names_nothing_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="prize"):
        plan("time,price", "1,2", columns={"prize": "price"})
    with pytest.raises(SettingsError, match="no column 'cost'"):
        plan("time,price", "1,2", columns={"price": "cost"})
