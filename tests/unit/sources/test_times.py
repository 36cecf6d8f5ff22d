"""What columns mean: headers met in the wild, numbers and times as people write them, and prices adjusted for a split.

Expected times come from Python's own datetime and zoneinfo.
"""

import math
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.errors import Fatal, SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.dataset import read_blocks
from marketpulse.sources.inference import Inference, describe, describe_columns, infer
from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.mapping import Plan, guess
from marketpulse.sources.numbers import to_floats
from marketpulse.sources.split_columns import LastCloses
from marketpulse.sources.times import NAIVE, looks_day_first, parse_times
from refused import assert_raises

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = datetime(2020, 1, 31, 21, 5, 6, tzinfo=UTC)
DAY = datetime(2020, 1, 31, tzinfo=UTC)


def ns(moment: datetime) -> int:
    return round((moment - EPOCH) / timedelta(microseconds=1)) * 1_000


def utc_of(text: str, zone: str = "UTC") -> int | None:
    utc, valid = LocalClock(zone).to_utc(parse_times(pl.Series([text])), np.zeros(1, np.int64), bars=False)
    return int(utc[0]) if valid[0] else None


@pytest.mark.parametrize(("moment", "texts"), [
    (DAY, ["2020-01-31", "2020/1/31", "20200131", "1/31/2020", "31/1/2020", "31.1.2020", "1/31/20", "31-Jan-2020", "Jan 31, 2020",
           "January 31, 2020", "1/31/2020 12:00 AM"]),
    (MOMENT, ["2020-01-31T21:05:06Z", "2020-01-31 21:05:06", "2020-01-31T21:05:06+00:00", "2020-01-31T16:05:06-05:00",
              "2020-02-01 02:35:06+0530", "20200131210506", "20200131 210506", "1/31/2020 9:05:06 PM", "31.01.2020 21:05:06",
              "1580504706", "1580504706000", "1580504706000000", "1580504706000000000", "1.580504706e9"]),
    (MOMENT.replace(second=0), ["2020-01-31 21:05"]), (DAY.replace(hour=12), ["1/31/2020 12:00 PM"]),
    (MOMENT.replace(tzinfo=timezone(timedelta(hours=9))), ["2020-01-31 21:05:06+09:00"]),
], ids=["a day", "a moment", "a minute", "noon", "in Tokyo"])  # fmt: skip
def test_a_time_is_read_however_it_is_written(moment: datetime, texts: list[str]) -> None:
    assert [(text, utc_of(text)) for text in texts] == [(text, ns(moment)) for text in texts]


def test_what_is_no_time_is_not_valid_nanoseconds_survive_and_a_column_may_mix_its_spellings() -> None:
    texts = ["", "soon", "2020-02-30", "2020-13-01", "31/4/2020", "2020-01-31 25:00", "-5", "99"]
    assert [text for text in texts if utc_of(text) is not None] == []
    for numbers in ([99_000_000_000, 2**63 - 1], [float("nan"), 1e300, -1.0]):
        assert not parse_times(pl.Series(numbers)).valid.any()
    times = ("2020-01-31T21:05:06.123456789Z", "1580504706.123456789")
    assert [utc_of(text) for text in times] == [ns(MOMENT) + 123_456_789] * 2
    spellings = ["2020-01-31T21:05:06Z", "1580504706", None, "1/31/2020 9:05:06 PM", "no", "2020-01-31T21:05:06.500Z"]
    mixed = parse_times(pl.Series(spellings))
    assert mixed.valid.tolist() == [True, True, False, True, False, True]
    assert [int(t) - ns(MOMENT) for t in mixed.local_ns[mixed.valid]] == [0, 0, 0, 500_000_000]
    by_day, by_month, either = map(pl.Series, (["1/2/2020", "13/2/2020"], ["2/1/2020", "2/13/2020"], ["1/2/2020"]))
    assert [looks_day_first(column) for column in (by_day, by_month, either)] == [True, False, None]
    firsts = [parse_times(column).local_ns[0] for column in (by_day, either)]
    assert firsts == [ns(datetime(2020, month, day, tzinfo=UTC)) for month, day in ((2, 1), (1, 2))]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
def test_numbers_are_epoch_times_or_calendar_dates(dtype: type[pl.DataType]) -> None:
    times = parse_times(pl.Series([1580504706, 20200131], dtype=dtype))
    assert (times.valid.tolist(), times.clock.tolist()) == ([True, True], [True, False])
    assert times.local_ns.tolist() == [ns(MOMENT), ns(DAY)]


def test_typed_columns_keep_their_zone_a_format_wins_and_numbers_are_read_however_they_are_written() -> None:
    moment = datetime(2020, 7, 1, 9, 30)
    naive = parse_times(pl.Series([moment]))
    zoned = parse_times(pl.Series([moment]).dt.replace_time_zone("America/New_York"))
    assert (naive.offset_ns[0], zoned.offset_ns[0]) == (NAIVE, -4 * 3_600 * 10**9)
    assert zoned.local_ns[0] == naive.local_ns[0] == ns(moment.replace(tzinfo=UTC))
    assert not parse_times(pl.Series([date(2020, 7, 1)])).clock[0]
    assert parse_times(pl.Series(["2020.31.01_2105"]), "%Y.%d.%m_%H%M").local_ns[0] == ns(MOMENT.replace(second=0))
    assert parse_times(pl.Series(["31|01|2020"]), "%d|%m|%Y").local_ns[0] == ns(DAY)
    assert_raises(SettingsError, "Atlantis", LocalClock, "Sea/Atlantis")
    assert {text: number_of(text) for text in NUMBERS} == {text: (n, True, True) for text, n in NUMBERS.items()}
    for blank in ("", "  ", "null", "N/A", "NaN", "-", None):
        number, *state = number_of(blank)
        assert (math.isnan(number), state) == (True, [False, True])
    for text in ("abc", "1.2.3", "12 apples", "1,23"):
        assert number_of(text)[1:] == (True, False)
    commas = {"12,5": 12.5, "1.234,5": 1234.5, "7": 7.0, "1.25": 1.25}
    found = {text: number_of(text, decimal_comma=True) for text in commas}
    assert found == {text: (number, True, True) for text, number in commas.items()}
    values, present, _ = to_floats(pl.Series([1, None, 3]))
    assert (values[[0, 2]].tolist(), present.tolist()) == ([1.0, 3.0], [True, False, True])
    assert to_floats(pl.Series(["1.25"]).cast(pl.Decimal(10, 2)))[0][0] == 1.25


@given(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["", "Z", "+05:30", "-08:00"]))
def test_every_iso_time_is_what_datetime_says(moment: datetime, zone: str) -> None:
    text = moment.isoformat(sep="T") + zone
    expected = datetime.fromisoformat(text)
    expected = expected if expected.tzinfo else expected.replace(tzinfo=UTC)
    assert utc_of(text) == ns(expected)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)))
def test_new_york_times_are_what_zoneinfo_says(moment: datetime) -> None:
    there = moment.replace(tzinfo=NEW_YORK)
    exists = there.astimezone(UTC).astimezone(NEW_YORK).replace(tzinfo=None) == moment
    expected = ns(there.astimezone(UTC)) if exists else None
    assert utc_of(moment.isoformat(sep=" "), "America/New_York") == expected


@pytest.mark.parametrize(("clock", "bars", "minutes"), [
    (["01:10", "01:50", "01:05", "01:40", "02:00"], False, [10, 50, 65, 100, 120]), (["01:00", "01:00", "02:00"], True, [0, 60, 120]),
    (["02:00", "01:40", "01:05", "01:50", "01:10"], False, [120, 100, 65, 50, 10]), (["01:10"] * 3, False, [10, 10, 10]),
], ids=["the clock steps back", "bars repeat a label", "a file that runs backwards", "trades of the same second are no second hour"])  # fmt: skip
def test_the_hour_that_comes_twice_is_told_by(clock: list[str], bars: bool, minutes: list[int]) -> None:
    """Minutes after 01:00 of daylight time, on the day on which New York leaves it."""
    times = parse_times(pl.Series([f"2020-11-01 {label}" for label in clock]))
    utc, valid = LocalClock("America/New_York").to_utc(times, np.zeros(len(clock), np.int64), bars)
    assert valid.all()
    assert [int(t - ns(datetime(2020, 11, 1, 5, tzinfo=UTC))) // 60_000_000_000 for t in utc] == minutes


NUMBERS = {
    "437.60": 437.6, " 12 ": 12.0, "1,234": 1234.0, "1,234,567.5": 1234567.5, "$12.30": 12.3, "1.2M": 1_200_000.0, "340K": 340_000.0,
    "2.5B": 2.5e9, "1e13": 1e13, "10000000000000": 1e13, "12,34,567": 1234567.0, "-5": -5.0, "1_000": 1000.0,
}  # fmt: skip


def number_of(text: str | None, decimal_comma: bool = False) -> tuple[float, bool, bool]:
    """(the number, whether there is one, whether it can be read)."""
    values, present, readable = to_floats(pl.Series([text], dtype=pl.String), decimal_comma=decimal_comma)
    return values[0], present[0], readable[0]


Row = tuple[str, int, float, float, float | None]


def bars(*rows: Row) -> tuple[pl.DataFrame, np.ndarray]:
    """Symbol, day, open, close, split."""
    frame = pl.DataFrame(rows, ["symbol", "day", "open", "close", "split"], orient="row")
    return frame.with_columns(pl.col("split").cast(pl.Float64)), frame["day"].to_numpy() * 86_400 * 10**9


RAW = [("A", 1, 400.0, 404.0, None), ("A", 2, 101.5, 99.0, 4.0), ("A", 3, 98.0, 97.0, None)]
ADJUSTED = [("A", 1, 100.0, 101.0, None), *RAW[1:]]
REVERSE = [("A", 1, 1.0, 1.1, None), ("A", 2, 10.5, 11.0, 0.1)]


@pytest.mark.parametrize(("rows", "expected"), [
    (RAW, [False, False, False]), (ADJUSTED, [False, True, False]), (REVERSE, [False, False]), ([RAW[1]], [False]),
    (ADJUSTED[::-1], [False, True, False]), (RAW[::-1], [False, False, False]),
], ids=["raw", "adjusted", "a reverse split", "nothing is said of the first row", "adjusted, newest first", "raw, newest first"])  # fmt: skip
def test_the_prices_say_whether_they_are_adjusted(rows: list[Row], expected: list[bool]) -> None:
    assert LastCloses().adjusted(*bars(*rows)).tolist() == expected


def test_the_bar_before_may_lie_in_another_block_and_names_given_by_the_user_win() -> None:
    closes = LastCloses()
    closes.adjusted(*bars(ADJUSTED[0], ("B", 1, 400.0, 404.0, None)))
    assert closes.adjusted(*bars(("B", 2, 101.5, 99.0, 4.0), ADJUSTED[1])).tolist() == [False, True]
    found = plan("when,symbol,a,b", "2020-01-01,X,1,2", columns={"time": "when", "price": "B", "size": "a"})
    assert [found.columns[name] for name in ("time", "price", "size")] == ["when", "b", "a"]
    assert plan("time,bid,ask,price", "1580504706,1,2,3", record="quote").kinds == ("quote",)
    assert describe_columns(found, ["when", "symbol", "side", "b", "a"]) == "when, symbol, b, a; not used: side"
    assert describe(["trade", "quote"], [], {f"S{n}" for n in range(1_200)}) == "trades and quotes of 1,200 symbols"


BAR = "time=Date open=Open high=High low=Low close=Close volume=Volume"
SHORT = "time=t open=o high=h low=l close=c volume=v"
SHAPES = {
    "Kaggle's world indices": ("Index,Date,Open,High,Low,Close,Adj Close,Volume,CloseUSD\nHSI,1986-12-31,1,3,1,2,2,0,0.2\nNYA,2019-07-01,1,3,1,2,2,0,0.2\nHSI,1999-03-03,1,3,1,2,2,5,0.2", "daily bars of 2 symbols (HSI, NYA)", f"symbol=Index {BAR}"),
    "a download of Yahoo": ("Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-02,1,3,1,2,2,5\n2020-01-06,1,3,1,2,2,5", "daily bars of X", BAR),
    "yfinance, history": ("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n2020-01-02 00:00:00-05:00,1,3,1,2,5,0.0,0.0\n2020-07-01 00:00:00-04:00,1,3,1,2,5,0.2,0.0", "daily bars of X", f"{BAR} dividend=Dividends split=Stock Splits"),
    "yfinance, download": ("Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n2020-01-02,2,3,1,1,5\n2020-01-03,2,3,1,1,5", "daily bars of AAPL", f"symbol=Ticker {BAR}"),
    "yfinance, intraday": ("Datetime,Open,High,Low,Close,Volume\n2020-01-02 09:30:00-05:00,1,3,1,2,5\n2020-01-02 09:32:00-05:00,1,3,1,2,5", "2m bars of X", BAR.replace("Date", "Datetime")),
    "a frame's index without a name": (",Open,High,Low,Close,Volume\n2020-01-02,1,3,1,2,5\n2020-01-03,1,3,1,2,5", "daily bars of X", BAR.replace("Date", "column 1")),
    "Nasdaq": ("Date,Close/Last,Volume,Open,High,Low\n01/31/2020,$2,1000,$1,$3,$1\n01/30/2020,$2,1200,$1,$3,$1", "daily bars of X", BAR.replace("Close", "Close/Last")),
    "Investing.com": ('"Date","Price","Open","High","Low","Vol.","Change %"\n"Jan 31, 2020","2","1","3","1","1.2M","0.5%"\n"Jan 30, 2020","2","1","3","1","1.1M","-0.5%"', "daily bars of X", BAR.replace("Close", "Price").replace("=Volume", "=Vol.")),
    "Kaggle's S&P 500": ("date,open,high,low,close,volume,Name\n2013-02-08,1,3,1,2,5,AAL\n2013-02-11,1,3,1,2,5,AAL", "daily bars of AAL", f"symbol=Name {BAR.lower()}"),
    "Kaggle's NIFTY 50": ("Date,Symbol,Series,Prev Close,Open,High,Low,Last,Close,VWAP,Volume,Turnover,Trades\n2007-11-27,ADANI,EQ,440.0,770.0,1050.0,770.0,959.0,962.9,984.72,27294366,26877190,", "daily bars of ADANI", f"symbol=Symbol {BAR} vwap=VWAP trade_count=Trades"),
    "Kaggle's Bitcoin": ("Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n1325317920,1,3,1,2,0.5,1,2\n1325317980,NaN,NaN,NaN,NaN,NaN,NaN,NaN\n1325318040,1,3,1,2,0.5,1,2\n1325318100,1,3,1,2,0.5,1,2\n1325318160,1,3,1,2,0.5,1,2", "1m bars of X", f"{BAR.replace('Date', 'Timestamp')}_(BTC) vwap=Weighted_Price"),
    "Alpha Vantage": ('{"timestamp":"2020-01-02 16:00:00","1. open":"1","2. high":"3","3. low":"1","4. close":"2","5. volume":"5"}\n{"timestamp":"2020-01-02 15:55:00","1. open":"1","2. high":"3","3. low":"1","4. close":"2","5. volume":"5"}', "5m bars of X", "time=timestamp open=1. open high=2. high low=3. low close=4. close volume=5. volume"),
    "Alpha Vantage, quote": ('{"01. symbol":"IBM","02. open":"1","03. high":"3","04. low":"1","05. price":"2","06. volume":"5","07. latest trading day":"2020-01-02"}', "daily bars of IBM", "symbol=01. symbol time=07. latest trading day open=02. open high=03. high low=04. low close=05. price volume=06. volume"),
    "Twelve Data": ('{"meta":{"symbol":"AAPL","interval":"1min"},"values":[{"datetime":"2021-09-16 15:59:00","open":"1","high":"3","low":"1","close":"2","volume":"5"}],"status":"ok"}', "1m bars of AAPL", f"symbol=symbol {BAR.lower().replace('date', 'datetime')} timeframe=interval"),
    "a tutorial's texts, newest first, no volume": ('{"date":"2026-01-16 19:55:00","symbol":"TSLA","open":"1","high":"3","low":"1","close":"2"}\n{"date":"2026-01-16 19:50:00","symbol":"TSLA","open":"1","high":"3","low":"1","close":"2"}', "5m bars of TSLA", f"symbol=symbol {BAR.lower().removesuffix(' volume=volume')}"),
    "Financial Modeling Prep": ('[{"date":"2023-03-02 16:00:00","open":1,"low":1,"high":3,"close":2,"volume":5},{"date":"2023-03-02 15:59:00","open":1,"low":1,"high":3,"close":2,"volume":5}]', "1m bars of X", BAR.lower()),
    "IEX": ('[{"date":"2020-01-02","minute":"09:30","high":3,"low":1,"open":1,"close":2,"average":2,"volume":5,"numberOfTrades":4},{"date":"2020-01-02","minute":"09:31","high":3,"low":1,"open":1,"close":2,"average":2,"volume":5,"numberOfTrades":4}]', "1m bars of X", f"date=date {BAR.lower().replace('time=date', 'time=minute')} trade_count=numberOfTrades"),
    "marketstack": ('{"data":[{"open":1,"high":3,"low":1,"close":2,"volume":5.0,"adj_close":2,"symbol":"AAPL","exchange":"XNAS","date":"2021-04-09T00:00:00+0000"},{"open":1,"high":3,"low":1,"close":2,"volume":5.0,"adj_close":2,"symbol":"AAPL","exchange":"XNAS","date":"2021-04-08T00:00:00+0000"}]}', "daily bars of AAPL", f"symbol=symbol venue=exchange {BAR.lower()}"),
    "Tiingo": ("date,close,high,low,open,volume,adjClose,adjVolume,divCash,splitFactor\n2020-01-02T00:00:00+00:00,2,3,1,1,5,2,5,0.0,1.0\n2020-01-03T00:00:00+00:00,2,3,1,1,5,2,5,0.0,1.0", "daily bars of X", f"{BAR.lower()} dividend=divCash split=splitFactor"),
    "Quandl": ("ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_close\nA,1999-11-18,1,3,1,2,5,0.0,1.0,1,2", "daily bars of A", f"symbol=ticker {BAR.lower()}"),
    "NSE's day file": ("SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,\nABB,EQ,1,3,1,2,2,2,500,1000,02-JAN-2020,70,INE117A01022,", "daily bars of ABB", "symbol=SYMBOL time=TIMESTAMP open=OPEN high=HIGH low=LOW close=CLOSE volume=TOTTRDQTY trade_count=TOTALTRADES"),
    "Stooq": ("<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\nAAPL.US,5,20200102,153500,1,3,1,2,5,0\nAAPL.US,5,20200102,154000,1,3,1,2,5,0", "5m bars of AAPL.US", "symbol=<TICKER> date=<DATE> time=<TIME> open=<OPEN> high=<HIGH> low=<LOW> close=<CLOSE> volume=<VOL>"),
    "MetaTrader 5": ("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n2020.01.02\t00:00:00\t1\t3\t1\t2\t5\t0\t1\n2020.01.02\t00:01:00\t1\t3\t1\t2\t5\t0\t1", "1m bars of X", "date=<DATE> time=<TIME> open=<OPEN> high=<HIGH> low=<LOW> close=<CLOSE> volume=<VOL>"),
    "FirstRate": ("Date,Time,Open,High,Low,Close,Volume\n01/31/2020,09:30,1,3,1,2,5\n01/31/2020,09:31,1,3,1,2,5", "1m bars of X", f"date=Date {BAR.replace('Date', 'Time')}"),
    "HistData": ("20120201 000000;1.3066;1.3066;1.30656;1.30656;0\n20120201 000100;1.30657;1.30657;1.30647;1.30656;0", "1m bars of X", BAR.lower().replace("date", "time")),
    "Dukascopy": ("Gmt time,Open,High,Low,Close,Volume\n01.01.2020 22:00:00.000,1,3,1,2,5\n01.01.2020 23:00:00.000,1,3,1,2,5", "1h bars of X", BAR.replace("Date", "Gmt time")),
    "Dukascopy, ticks": ("Gmt time,Ask,Bid,AskVolume,BidVolume\n01.01.2020 22:00:00.123,1.2,1.1,3,5", "quotes of X", "time=Gmt time bid=Bid ask=Ask bid_size=BidVolume ask_size=AskVolume"),
    "CryptoDataDownload": ("https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n1580504400000,2020-01-31 21:00:00,BTC/USD,1,3,1,2,5,10\n1580500800000,2020-01-31 20:00:00,BTC/USD,1,3,1,2,5,10", "1h bars of BTC/USD", f"symbol=symbol {BAR.lower().removesuffix('volume')}Volume BTC"),
    "Polygon, aggregates": ('{"ticker":"AAPL","results":[{"v":5,"vw":2,"o":1,"c":2,"h":3,"l":1,"t":1577978460000,"n":7},{"v":5,"vw":2,"o":1,"c":2,"h":3,"l":1,"t":1577978520000,"n":7}]}', "1m bars of AAPL", f"symbol=ticker {SHORT} vwap=vw trade_count=n"),
    "Polygon, trades": ('[{"ev":"T","sym":"MSFT","x":4,"i":"12345","z":3,"p":114.125,"s":100,"c":[0,12],"t":1536036818784,"q":3681328}]', "trades of MSFT", "symbol=sym time=t price=p size=s trade_id=i"),
    "Alpaca, trades": ('{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}', "trades of AAPL", "symbol=S time=t price=p size=s trade_id=i venue=x"),
    "Alpaca, quotes": ('{"T":"q","S":"AAPL","bx":"U","bp":1.5,"bs":1,"ax":"R","ap":1.6,"as":2,"c":["R"],"z":"C","t":"2021-02-22T15:51:45.335Z"}', "quotes of AAPL", "symbol=S time=t bid=bp bid_size=bs ask=ap ask_size=as"),
    "Alpaca, bars": ('{"T":"b","S":"SPY","o":1,"h":3,"l":1,"c":2,"v":4,"t":"2021-02-22T19:15:00Z"}\n{"T":"b","S":"SPY","o":1,"h":3,"l":1,"c":2,"v":4,"t":"2021-02-22T19:16:00Z"}', "1m bars of SPY", f"symbol=S {SHORT}"),
    "Finnhub": ('{"data":[{"p":1.5,"s":"AAPL","t":1580504706000,"v":3},{"p":1.5,"s":"MSFT","t":1580504706100,"v":3}],"type":"trade"}', "trades of 2 symbols (AAPL, MSFT)", "symbol=s time=t price=p size=v"),
    "Binance": ('{"e":"trade","E":1580504706010,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100","T":1580504706000,"m":true}', "trades of BTCUSDT", "symbol=s time=T price=p size=q trade_id=t"),
    "Binance, best prices": ("s,T,b,B,a,A,t\nBTCUSDT,1580504706000,1,2,3,4,5", "quotes of BTCUSDT", "symbol=s time=T bid=b bid_size=B ask=a ask_size=A"),
    "Coinbase": ('{"type":"match","trade_id":10,"product_id":"BTC-USD","time":"2014-11-07T08:19:27.028459Z","size":"5.2","price":"400.2","side":"sell"}', "trades of BTC-USD", "symbol=product_id time=time price=price size=size trade_id=trade_id"),
    "Kraken": ("1381095255,122.0,0.1\n1381179030,123.61,0.1", "trades of X", "time=time price=price size=size"),
    "Yahoo's stream": ('{"id":"AAPL","price":187.1,"time":"1700000000000","currency":"USD","exchange":"NMS","dayVolume":1000}', "trades of AAPL", "symbol=id time=time price=price venue=exchange"),
    "a tutorial's trades": ('{"symbol":"AAPL","price":190.5,"volume":10,"timestamp":"2026-01-02T15:00:00Z"}', "trades of AAPL", "symbol=symbol time=timestamp price=price size=volume"),
    "a generator's walk": ('{"name":"AAPL","price":101.5,"timestamp":1700000000.123}', "trades of AAPL", "symbol=name time=timestamp price=price"),
    "ticker and last": ("ticker,timestamp,last,qty\nA,1580504706,1,2", "trades of A", "symbol=ticker time=timestamp price=last size=qty"),
    "short names": ("sym,ts,px,sz,trade_id,exchange\nA,1580504706,1,2,7,XNAS", "trades of A", "symbol=sym time=ts price=px size=sz trade_id=trade_id venue=exchange"),
    "letters": ("t,p,s\n1580504706000,1.5,100", "trades of X", "time=t price=p size=s"),
    "a close and no more": ("Date,Close\n2020-01-01,1", "trades of X", "time=Date price=Close"),
    "NAB": ("timestamp,value\n2014-04-10 00:04:00,91.958", "trades of X", "time=timestamp price=value"),
    "bid and ask": ("symbol,time,bid,bidSize,ask,askSize\nES,1580504706,1,2,3,4", "quotes of ES", "symbol=symbol time=time bid=bid bid_size=bidSize ask=ask ask_size=askSize"),
}  # fmt: skip
"""What it is -> (the file, what its rows are, our field = its column)."""


def inferred(folder: Path, text: str) -> Inference:
    path = folder / ("x.json" if text[0] in "[{" else "x.csv")
    path.write_text(text + "\n")
    return infer(next(iter(read_blocks(path))), Mapping(), "x", "X")


@pytest.mark.parametrize(("text", "rows", "columns"), SHAPES.values(), ids=SHAPES)
def test_rows_are_understood_without_a_setting(tmp_path: Path, text: str, rows: str, columns: str) -> None:
    found = inferred(tmp_path, text)
    assert describe(found.rows, found.timeframes, found.symbols) == rows
    assert found.reader.plan.columns == dict(pair.split("=") for pair in re.split(" (?=[a-z_]+=)", columns))
    assert {item.reason for item in found.rejected} <= {"empty_row"}


LABELS = {
    "2020-01-03 2020-03-04 2021-05-06": "1d", "2020-01-03T21:00:00Z 2020-01-06T21:00:00Z 2020-03-30T20:00:00Z": "1d",
    "2020-01-03T10:00 2020-01-03T10:05 2020-01-06T10:00": "5m", "2020-01-03T10:00 2020-01-03T10:07 2020-01-03T10:14 2020-01-03T10:21": "7m",
    "2020-01-03T10:00 2020-01-03T10:16": "2m", "2020-01-03T10:03 2020-01-03T10:19 2020-01-03T11:04 2020-01-03T12:30": "1m",
    "2020-01-03 2020-01-10 2020-01-17": "7 days apart", "2020-01-31 2020-02-29 2020-03-31": "30 days apart",
    "2020-01-03T10:00": "one label per symbol", "2020-01-03T10:00:00.25 2020-01-03T10:00:01.5 2020-01-03T10:00:02.75": "1.25 s apart",
}  # fmt: skip


@pytest.mark.parametrize(("labels", "timeframe"), LABELS.items(), ids=LABELS.values())
def test_the_length_of_bars_is_told_by_their_labels(tmp_path: Path, labels: str, timeframe: str) -> None:
    """Sparse days are days; within a day holes of several lengths leave the longest usual one that divides them."""
    text = "time,open,high,low,close\n" + "\n".join(f"{label},1,3,1,2" for label in labels.split())
    if " " in timeframe:
        assert_raises(Fatal, rf"{timeframe}.*set mapping\.timeframe", inferred, tmp_path, text)
    else:
        assert inferred(tmp_path, text).timeframes == [timeframe]


def plan(header: str, values: str, **mapping: Any) -> Plan:
    names, row = header.split(","), values.split(",")
    return guess(pl.DataFrame({n: [v] for n, v in zip(names, row, strict=True)}), Mapping(**mapping), "x.csv")


@pytest.mark.parametrize(("header", "columns", "error", "says"), [
    ("foo,bar", {}, Fatal, r"x\.csv.*Header: foo, bar.*--map time=COLUMN --map price=COLUMN"),
    ("time,price", {"prize": "price"}, SettingsError, "prize"), ("time,price", {"price": "cost"}, SettingsError, "no column 'cost'"),
])  # fmt: skip
def test_what_is_not_understood_is_named(header: str, columns: dict[str, str], error: type, says: str) -> None:
    assert_raises(error, says, plan, header, "1,2", columns=columns)
