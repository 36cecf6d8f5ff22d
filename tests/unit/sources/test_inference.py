"""What rows of vendors, exports and tutorials are understood to be, by their own headers; the values are made up."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketpulse.errors import Fatal, SettingsError
from marketpulse.settings import Mapping
from marketpulse.sources.dataset import read_blocks
from marketpulse.sources.inference import Inference, describe, describe_columns, infer
from marketpulse.sources.mapping import Plan, guess

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
        with pytest.raises(Fatal, match=rf"{timeframe}.*set mapping\.timeframe"):
            inferred(tmp_path, text)
    else:
        assert inferred(tmp_path, text).timeframes == [timeframe]


def plan(header: str, values: str, **mapping: Any) -> Plan:
    names, row = header.split(","), values.split(",")
    return guess(pl.DataFrame({n: [v] for n, v in zip(names, row, strict=True)}), Mapping(**mapping), "x.csv")


def test_names_given_by_the_user_win_and_what_is_not_used_is_said() -> None:
    found = plan("when,symbol,a,b", "2020-01-01,X,1,2", columns={"time": "when", "price": "B", "size": "a"})
    assert [found.columns[name] for name in ("time", "price", "size")] == ["when", "b", "a"]
    assert plan("time,bid,ask,price", "1580504706,1,2,3", record="quote").kinds == ("quote",)
    assert describe_columns(found, ["when", "symbol", "side", "b", "a"]) == "when, symbol, b, a; not used: side"
    assert describe(["trade", "quote"], [], {f"S{n}" for n in range(1_200)}) == "trades and quotes of 1,200 symbols"


@pytest.mark.parametrize(("header", "columns", "error", "says"), [
    ("foo,bar", {}, Fatal, r"x\.csv.*Header: foo, bar.*--map time=COLUMN --map price=COLUMN"),
    ("time,price", {"prize": "price"}, SettingsError, "prize"), ("time,price", {"price": "cost"}, SettingsError, "no column 'cost'"),
])  # fmt: skip
def test_what_is_not_understood_is_named(header: str, columns: dict[str, str], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        plan(header, "1,2", columns=columns)
