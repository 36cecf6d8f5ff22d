"""The shapes of existing projects' files, taken without code, and files in one order of time, from disk.

Expected values are read off the text by hand. Blocks of plain trades are the same rows as the general reader makes.
"""

import gzip
import json
import zipfile
from datetime import UTC, date, datetime
from itertools import combinations
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from marketpulse.errors import Fatal
from marketpulse.model.market import EVENT
from marketpulse.settings import Mapping
from marketpulse.sources import csv_rows, history
from marketpulse.sources.dataset import Dataset, blocks_of, load
from marketpulse.sources.defaults import bundled
from marketpulse.sources.event_rows import event_rows
from marketpulse.sources.files import expand
from marketpulse.sources.history import lay_out, read_rejected, stretches
from marketpulse.sources.inference import reader_for
from marketpulse.sources.known_files import known_columns, symbol_of
from marketpulse.sources.normalise import Rows
from marketpulse.sources.plain_trades import plain_reader
from marketpulse.sources.tape import Tape, build
from refused import assert_raises
from vendor_server import NEW_YORK, ns

SECOND = 10**9


def loaded(path: Path, text: str | bytes, name: str = "x.csv", **mapping: Any) -> Dataset:
    file = path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load([file], Mapping(**mapping))


def rows(data: Dataset) -> list[dict[str, Any]]:
    return [row for batch in data.tape.batches(0, len(data.tape), "replay", 7) for row in batch.to_pylist()]


def faults(data: Dataset) -> list[tuple[int, str, bytes]]:
    return [(one.row, one.reason, one.value) for one in data.rejected]


def test_daily_bars_with_a_cut_line_and_json_of_bars_newest_first_and_of_trades_are_read(tmp_path: Path) -> None:
    text = "Index,Date,Open,High,Low,Close,Adj Close,Volume,CloseUSD\n"
    text += "HSI,1986-12-31,2568.300049,2568.300049,2568.300049,2568.300049,2568.300049,0,333.87900637\n"
    text += "HSI,1987-01-02,2540.100098,2540.100098,2540.100098,2540.100098,2540.100098,0,330.21301274\n"
    data = loaded(tmp_path, text + "HSI,1987-01-05,2552.399902,2552.39")
    first, second = rows(data)
    assert (first["type"], first["symbol"], first["timeframe"], first["volume"]) == ("bar", "HSI", "1d", 0.0)
    assert (first["close"], first["open_time_ns"]) == (2568.300049, ns(1986, 12, 31))
    assert first["close_time_ns"] == first["event_time_ns"] == ns(1987, 1, 1)
    assert (first["session_date"], second["session_date"]) == (date(1986, 12, 31), date(1987, 1, 2))
    assert faults(data) == [(4, "missing_field", b"HSI,1987-01-05,2552.399902,2552.39")]
    line = '{"date": "2026-01-16 19:%d:00", "symbol": "TSLA", "open": "437.60", "high": "438.00", "low": "437.10", "close": "437.%d"}'
    found = rows(loaded(tmp_path, "\n".join(line % (m, m) for m in (55, 50, 45)), "x.json", timezone=NEW_YORK.key))
    assert [row["close"] for row in found] == [437.45, 437.5, 437.55]
    assert found[0]["open_time_ns"] == ns(2026, 1, 16, 19, 45, zone=NEW_YORK)
    assert found[0]["close_time_ns"] - found[0]["open_time_ns"] == 300 * SECOND
    assert (found[0]["timeframe"], found[0]["volume"], found[0]["open"]) == ("5m", None, 437.6)
    text = '{"symbol":"AAPL","price":190.5,"volume":10,"timestamp":"2026-01-02T15:00:00Z"}\n'
    (row,) = rows(loaded(tmp_path, text, "x.jsonl"))
    assert (row["type"], row["symbol"], row["price"], row["size"]) == ("trade", "AAPL", 190.5, 10.0)
    assert row["event_time_ns"] == ns(2026, 1, 2, 15)
    assert (row["source"], row["ingest_time_ns"], row["venue"], row["trade_id"]) == ("replay", 7, None, None)


def test_files_are_merged_by_time_ties_keep_their_order_and_gzip_and_parquet_are_the_same(tmp_path: Path) -> None:
    for second in (3, 1, 2):
        trade = {"ticker": "A", "timestamp": 1_767_366_000 + second, "price": second}
        (tmp_path / f"{second % 3}.json").write_text(json.dumps(trade, indent=1))
    assert [row["price"] for row in rows(load(expand([str(tmp_path)]), Mapping()))] == [1.0, 2.0, 3.0]
    (tmp_path / "b.csv").write_text("time,price\n1767366001,1\n1767366003,3\n")
    (tmp_path / "a.csv").write_text("time,price\n1767366001,2\n1767366002,4\n")
    data = load([tmp_path / "b.csv", tmp_path / "a.csv"], Mapping())
    assert [(r["symbol"], r["price"]) for r in rows(data)] == [("B", 1.0), ("A", 2.0), ("A", 4.0), ("B", 3.0)]
    text = b"timestamp,symbol,price,size,trade_id\n2026-01-02 15:00:00.5,A,1.5,2,x1\n2026-01-02 15:00:01,B,2.5,3,x2\n"
    plain = rows(loaded(tmp_path, text, "t.csv"))
    assert rows(loaded(tmp_path, gzip.compress(text), "t.csv.gz")) == plain
    frame = pl.DataFrame(
        {"timestamp": [datetime(2026, 1, 2, 15, 0, 0, 500_000, UTC), datetime(2026, 1, 2, 15, 0, 1, 0, UTC)],
         "symbol": ["A", "B"], "price": [1.5, 2.5], "size": [2, 3], "trade_id": ["x1", "x2"]}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "t.parquet")
    assert rows(load([tmp_path / "t.parquet"], Mapping())) == plain


OHLCV = "open,high,low,close,volume\n"


@pytest.mark.parametrize(("text", "mapping", "fields", "expected", "rejected"), [
    pytest.param("Date,Open,High,Low,Close,Volume\r\n2020-01-03,11,13,10,12,10000000000000\r\n2020-01-02,10,12,9,,5000\r\n"
                 "2020-01-01,10,12,9,11,\r\n", {}, ("session_date", "volume", "symbol"),
                 [(date(2020, 1, 1), None, "X"), (date(2020, 1, 3), 1e13, "X")], [(3, "missing_field", b"2020-01-02,10,12,9,,5000")],
                 id="blank fields, unsorted rows and huge values"),
    pytest.param("Date,Open,High,Low,Close,Adj,Close,Volume\n2020-01-02,10,12,9,11,10.5,5000\n2020-01-03,11,13,10,12,11.5,6000\n", {},
                 ("close", "volume"), [(11.0, 5000.0), (12.0, 6000.0)], [], id="a split Adj Close does not give the volume for the close"),
    pytest.param("time,symbol,price,size,bid,ask\n1767366001,A,1.5,3,,\n1767366000,A,,,1.4,1.6\n1767366002,A,,,,\n", {},
                 ("type", "price", "bid"), [("quote", None, 1.4), ("trade", 1.5, None)], [(4, "missing_field", b"1767366002,A,,,,")],
                 id="trades and quotes in one file are told apart row by row"),
    pytest.param("symbol,timeframe,open_time_ns,close_time_ns,open,high,low,close,volume\n"
                 "A,1h,1767366000000000000,1767367800000000000,1,2,1,2,3\nA,1m,1767366000000000000,1767366060000000000,1,2,1,2,3\n", {},
                 ("timeframe", "open_time_ns", "close_time_ns"),
                 [("1m", 1767366000 * SECOND, 1767366060 * SECOND), ("1h", 1767366000 * SECOND, 1767367800 * SECOND)], [],
                 id="our own bars keep their times"),
    pytest.param(b"\xef\xbb\xbfdate,open,high,low,close,volume\n1/2/1990,353.4,359.69,351.98,359.69,0\n1/3/1990,359.69,360.59,357.89,358.76,0\n",
                 {}, ("session_date",), [(date(1990, 1, 2),), (date(1990, 1, 3),)], [], id="a byte order mark and month first"),
    pytest.param(f"Date,Time,{OHLCV}01/31/2020,09:30,1,2,1,2,5\n01/31/2020,09:31,1,2,1,2,5\n", {"timezone": NEW_YORK.key}, ("open_time_ns",),
                 [(ns(2020, 1, 31, 9, m, zone=NEW_YORK),) for m in (30, 31)], [], id="date and time of day in two columns"),
    pytest.param(f"Date,{OHLCV}2020-01-02 00:00:00-05:00,1,2,1,2,5\n2020-07-01 00:00:00-04:00,1,2,1,2,5\n", {"timeframe": "1d"},
                 ("session_date",), [(date(2020, 1, 2),), (date(2020, 7, 1),)], [], id="local midnights are dates"),
    pytest.param("t,o,h,l,c,v\n1577941200000,1,2,1,2,5\n1578027600000,1,2,1,2,5\n", {"timezone": NEW_YORK.key}, ("session_date",),
                 [(date(2020, 1, 2),), (date(2020, 1, 3),)], [], id="midnights in New York are dates"),
    pytest.param("Datum;time;price;size\n1;31.01.2020 10:00;1.234,5;2\n", {}, ("price",), [(1234.5,)], [], id="decimal commas"),
])  # fmt: skip
def test_a_file_is_read_as(
    tmp_path: Path, text: str | bytes, mapping: dict[str, str], fields: tuple[str, ...], expected: list[Any], rejected: list[Any]
) -> None:  # fmt: skip
    data = loaded(tmp_path, text, **mapping)
    assert [tuple(row.get(field) for field in fields) for row in rows(data)] == expected
    assert faults(data) == rejected


def test_a_bad_row_does_not_stop_the_others_but_no_usable_row_and_weekly_bars_are_refused(tmp_path: Path) -> None:
    lines = ("@0Z,A,1,1", "soon,A,1,1", "@1Z,A,zero,1", "@2Z,A,0,1", "@3Z,A,1,-1", "@4Z,,1,1", ",A,1,1", "@5Z,A,2,1")
    data = loaded(tmp_path, "\n".join(("time,symbol,price,size", *lines)).replace("@", "2026-01-02T15:00:0"))
    assert [row["price"] for row in rows(data)] == [1.0, 2.0]
    reasons = ["bad_time", "wrong_type", "bad_price", "bad_size", "missing_field", "missing_field"]
    assert [(r.row, r.reason) for r in data.rejected] == list(enumerate(reasons, 3))
    assert data.rejected[1].value == b"2026-01-02T15:00:01Z,A,zero,1"
    assert "'zero'" in data.rejected[1].detail
    assert_raises(Fatal, r"no usable row.*line 2.*--map", loaded, tmp_path, "time,price\nnever,1\n")
    text = "Date,Open,High,Low,Close\n" + "".join(f"2020-01-{d:02d},1,2,1,2\n" for d in (3, 10, 17))
    assert_raises(Fatal, "7 days apart", loaded, tmp_path, text)
    assert len(loaded(tmp_path, text, timeframe="1d").tape) == 3


def test_the_bundled_files_are_taken_whole_and_dividends_and_splits_become_events_before_their_day() -> None:
    events = [row for row in rows(load([bundled("daily/AAPL.csv")], Mapping())) if "body" in row]
    types = [row["type"] for row in events]
    assert (types.count("split"), types.count("dividend")) == (1, 10)
    assert json.loads(events[types.index("split")]["body"]) == {
        "type": "split", "symbol": "AAPL", "source": "replay", "event_time_ns": ns(2014, 6, 9),
        "ratio": 7.0, "ex_time_ns": ns(2014, 6, 9), "adjusted": True,
    }  # fmt: skip
    adjusted = rows(load([bundled("daily/AAPL.csv")], Mapping(split_adjusted=True)))
    told = [json.loads(row["body"]) for row in adjusted if "body" in row]
    assert {(t["type"], t.get("adjusted")) for t in told} == {("split", True), ("dividend", None)}
    daily = load(expand([str(bundled("daily"))]), Mapping())
    assert not daily.rejected
    assert (daily.tape.tables["bar"].num_rows, daily.tape.tables["event"].num_rows) == (4 * 754, 48)
    minutes = load([bundled("minutes/SPY.csv")], Mapping(timezone=NEW_YORK.key))
    first = rows(minutes)[0]
    assert len(minutes.tape) == 1564
    assert (first["symbol"], first["timeframe"], first["open"], first["volume"]) == ("SPY", "1m", 367.4, 407870.0)
    assert first["open_time_ns"] == ns(2020, 12, 15, 9, 30, zone=NEW_YORK)


# Without a header, as the publishers' own documents show them.
BINANCE_TRADES = "3352361230,42283.58000000,0.00300000,126.85074000,1704067200075,True,True\n3352361231,42283.58,0.001,42.28,1704067200099,False,True\n"
KRAKEN_TRADES = "1381095255,122.00000,0.10000000\n1381179030,123.61000,0.10000000\n"


@pytest.mark.parametrize(("text", "first"), [
    (BINANCE_TRADES, (1704067200075 * 10**6, 42283.58, 0.003, "3352361230")),
    ("4401238120,42313.9,0.026,1100.16,1704067200004,false\n4401238121,42313.9,0.5,2,1704067200010,true\n",
     (1704067200004 * 10**6, 42313.9, 0.026, "4401238120")),
    ("2817362161,42283.58000000,0.02000000,3352361227,3352361229,1735689600020716,True,True\n2817362162,42284,1,3352361230,3352361230,1735689600020900,True,True\n", (1735689600020716 * 10**3, 42283.58, 0.02, "2817362161")),
    (KRAKEN_TRADES, (1381095255 * 10**9, 122.0, 0.1, None)),
    ("1704067200000,42283.58,42298.62,42261.02,42298.61,35.92724,1704067259999,1519032.33,1327,23.18766,980394.36,0\n1704067260000,42298.62,42320,42298.61,42320,21.16779,1704067319999,895580.24,1348,13.67795,578700.65,0\n",
     (42283.58, 42298.62, 42261.02, 42298.61, 35.92724)),
    ("20120201 000000;1.306600;1.306600;1.306560;1.306560;0\n20120201 000100;1.306570;1.306570;1.306470;1.306560;0\n",
     (1.3066, 1.3066, 1.30656, 1.30656, 0.0)),
    ("2024.01.02,09:30,1.3,1.4,1.2,1.35,22\n2024.01.02,09:31,1.35,1.4,1.2,1.25,7\n", (1.3, 1.4, 1.2, 1.35, 22.0)),
], ids=["Binance", "Binance's futures", "Binance's aggregates", "Kraken", "Binance's bars", "HistData", "MetaTrader"])  # fmt: skip
def test_rows_of_files_without_a_header(tmp_path: Path, text: str, first: tuple[object, ...]) -> None:
    """Trades by time, price, size and id, bars of a minute by open, high, low, close and volume."""
    found = rows(loaded(tmp_path, text))
    names = (
        ("open", "high", "low", "close", "volume")
        if len(first) == 5
        else ("event_time_ns", "price", "size", "trade_id")
    )
    assert (len(found), tuple(found[0][name] for name in names)) == (text.count("\n"), first)
    assert {row.get("timeframe") for row in found} == {"1m" if len(first) == 5 else None}


def test_columns_without_names_are_told_by_all_rows_or_by_their_numbers(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, BINANCE_TRADES * 10 + "3352361232,free,1,2,1704067200075,True,True\n")
    assert (len(dataset.tape), [item.row for item in dataset.rejected]) == (20, [21])
    assert known_columns([["2024-01-02", "3", "1", "2", "4"]]) is None
    assert known_columns([["1", "2"], ["3", "4"]]) is None
    assert known_columns([]) is None
    found = rows(loaded(tmp_path, "7,1704067200,x\n8,1704067201,y\n", columns={"time": "2", "price": "1"}))
    assert [row["price"] for row in found] == [7.0, 8.0]


def test_a_name_says_the_symbol_and_a_zip_is_its_file_unless_it_holds_many_or_is_damaged(tmp_path: Path) -> None:
    symbols = {
        "BTCUSDT-trades-2024-01-01.zip": "BTC-USDT", "ETHBTC-aggTrades-2024-01.csv": "ETH-BTC", "BTCUSDT-1m-2024-01-01.csv": "BTC-USDT",
        "brk.b.csv.gz": "BRK.B", "my-trades-2024.csv": "MY-TRADES-2024",
    }  # fmt: skip
    assert {name: symbol_of(Path(name)) for name in symbols} == symbols

    def zipped(name: str, texts: dict[str, str]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, text in texts.items():
                archive.writestr(member, text)
        return tmp_path / name

    name = "BTCUSDT-trades-2024-01-01"
    found = rows(load([zipped(f"{name}.zip", {f"{name}.csv": BINANCE_TRADES * 1000})], Mapping()))
    assert (len(found), {row["symbol"] for row in found}) == (2000, {"BTC-USDT"})
    with pytest.raises(Fatal, match=r"found 2 \(a.csv, b.csv\): unpack it"):
        load([zipped("all.zip", {"a.csv": KRAKEN_TRADES, "b.csv": KRAKEN_TRADES})], Mapping())
    damaged = zipped("all.zip", {"a.csv": "".join(f"{at},122.0,0.1\n" for at in range(1381095255, 1381096255))})
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert_raises(Fatal, "damaged", load, [damaged], Mapping())


def tape() -> Tape:
    """Trades, quotes and a halt, out of order."""

    def some(frame: dict[str, Any], seconds: list[float]) -> Rows:
        times = (np.array(seconds) * SECOND).astype(np.int64)
        named = {"symbol": ["A"] * len(times), "venue": pl.Series([None] * len(times), dtype=pl.String)}
        return Rows(pl.DataFrame({**named, **frame}), times, times, np.arange(len(times)))

    ones = [1.0] * 3
    trades = some({"price": [1.0, 2.0, 3.0, 4.0], "size": [1.0] * 4}, [3, 1, 1.2, 9])
    quotes = some({"bid": [0.5] * 3, "ask": [0.6] * 3, "bid_size": ones, "ask_size": ones}, [1, 1.3, 3])
    halt = some({"type": ["halt"], "body": ['{"from_ns": 1100000000}']}, [1.1])
    return build({"trade": [trades], "quote": [quotes], "event": [halt]})


def order(batches: list[Any]) -> list[tuple[str, float]]:
    return [(row["type"], row["event_time_ns"] / SECOND) for batch in batches for row in batch.to_pylist()]


STRICT = [("quote", 1), ("trade", 1), ("halt", 1.1), ("trade", 1.2), ("quote", 1.3), ("quote", 3), ("trade", 3), ("trade", 9)]  # fmt: skip


def test_rows_come_by_time_or_in_a_window_by_kind_but_events_keep_their_places_and_whole_records() -> None:
    laid = tape()
    for start, stop in combinations(range(9), 2):
        assert order(laid.batches(start, stop, "s", 0)) == STRICT[start:stop]
    assert len(build({})) == 0
    batches = tape().batches(0, 8, "s", 0, window_ns=SECOND)
    assert order(batches)[:5] == [("quote", 1), ("trade", 1), ("halt", 1.1), ("quote", 1.3), ("trade", 1.2)]
    assert (sorted(order(batches)), [b.num_rows for b in batches]) == (sorted(STRICT), [1, 1, 1, 1, 1, 1, 2])
    whole = tape()
    batch = whole.batches(2, 3, "s", 0, shifted_ns=whole.time_ns[2:3] + 5)[0]
    assert batch.to_pylist()[0]["event_time_ns"] == 1_100_000_005
    assert '"from_ns":1100000005' in batch.column("body")[0].as_py()
    bodies = [{"type": "split", "symbol": s, "source": "a", "event_time_ns": 7, "ratio": 2.0} for s in "AB"]
    rows = event_rows(bodies)
    assert (rows.schema, [json.loads(body) for body in rows["body"].to_pylist()]) == (EVENT, bodies)
    assert rows["symbol"].to_pylist() == ["A", "B"]


T0 = 1_767_366_000
CSV = "time,symbol,price,size,trade_id\n"
LINES = [f"{T0 + n},{'AB'[n % 2]},{n + 1}.25,{n},x{n}" for n in range(6)]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def trades(path: Path, times: list[int], symbol: str = "A") -> Path:
    lines = [f"{T0 + t},{symbol},{n + 1},1\n" for n, t in enumerate(times)]
    return written(path, "time,symbol,price,size\n" + "".join(lines))


def rows_of(*paths: Path, rows: int = 7) -> pa.Table:
    runs = lay_out(list(paths), Mapping(), Path(mkdtemp(dir=paths[0].parent))).runs
    return pa.concat_tables([kinds["trade"] for kinds in stretches(runs, rows)], promote_options="permissive")


def test_rows_come_in_order_with_lines_and_no_time_is_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_SAMPLE", 1)
    monkeypatch.setattr(csv_rows.csv_blocks, "__defaults__", (64,))
    times = [n // 3 for n in range(50)]
    Random(1).shuffle(times)
    path = trades(tmp_path / "t.csv", times)
    found, tape = rows_of(path), load([path], Mapping()).tape
    assert found["time_ns"].to_pylist() == tape.time_ns.tolist()
    assert found["price"].to_pylist() == tape.tables["trade"]["price"].to_pylist()
    prices = [float(line.split(",")[2]) for line in path.read_text().splitlines()[1:]]
    assert [prices[number - 2] for number in found["number"].to_pylist()] == found["price"].to_pylist()
    monkeypatch.setattr(history, "_SAMPLE", 1)
    path = trades(tmp_path / "t.csv", [n // 10 for n in range(60)])
    runs = lay_out([path], Mapping(), tmp_path / "rows").runs
    parts = [set(kinds["trade"]["time_ns"].to_pylist()) for kinds in stretches(runs, 4)]
    assert len(parts) > 1
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_numbers_count_on_over_files_and_lines_and_what_is_unreadable_is_set_aside_by_them(tmp_path: Path) -> None:
    found = rows_of(*(trades(tmp_path / f"{s}.csv", [0, 2], s) for s in "AB"))
    assert (found["number"].to_pylist(), found["symbol"].to_pylist()) == ([2, 5, 3, 6], ["A", "B", "A", "B"])
    batch = json.dumps({"data": [{"t": T0 + n, "s": "A", "p": n + 1} for n in range(3)]})
    found = rows_of(written(tmp_path / "t.jsonl", f"{batch}\n{batch}\n"))
    places = zip(found["number"].to_pylist(), found["part"].to_pylist(), strict=True)
    assert sorted(places) == [(n, p) for n in (1, 2) for p in range(3)]
    path = written(tmp_path / "t.csv", f"time,symbol,price\n{T0},A,1\n{T0},A\n{T0},A,cheap\n")
    laid = lay_out([path], Mapping(), tmp_path / "rows")
    found = [(r.reason, r.row, r.value, number) for file, _ in laid.rejected for r, number in read_rejected(file)]
    assert found == [("missing_field", 3, f"{T0},A".encode(), 3), ("wrong_type", 4, f"{T0},A,cheap".encode(), 4)]
    assert (laid.rows, laid.refused, laid.symbols) == (1, 2, {"A"})
    assert_raises(Fatal, r"row 3.*--strict", lay_out, [path], Mapping(), tmp_path / "again", strict=True)
    with pytest.raises(Fatal, match="no usable row"):
        lay_out([written(tmp_path / "n.csv", "time,symbol,price\nnever,A,1\n")], Mapping(), tmp_path / "none")


def test_bars_of_later_blocks_have_the_first_ones_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows.csv_blocks, "__defaults__", (120,))
    lines = "".join(f"{T0 + 300 * n},A,1,2,1,2,{n}\n" for n in range(12))
    path = written(tmp_path / "b.csv", "time,symbol,open,high,low,close,volume\n" + lines)
    runs = lay_out([path], Mapping(), tmp_path / "rows").runs
    assert len(runs) > 1
    assert {f for kinds in stretches(runs) for f in kinds["bar"]["timeframe"].to_pylist()} == {"5m"}


def frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"time": [T0 * 10**9, T0 * 10**9 + 7], "symbol": ["A", "B"], "price": [1.5, 2.0], **columns})


def as_csv(path: Path) -> Path:
    return written(path, CSV + "\n".join(LINES) + "\n")


def as_json(path: Path) -> Path:
    rows = ({"t": T0 + n, "s": "A", "p": n + 1.5, "i": n} for n in range(5))
    return written(path, "".join(json.dumps(row) + "\n" for row in rows))


def as_parquet(path: Path) -> Path:
    frame(size=[1, 2], id=[7, 8], venue=["X", "X"]).write_parquet(path)
    return path


def as_parquet_with_dates(path: Path) -> Path:
    times = pl.Series([T0 * 10**6, T0 * 10**6 + 5]).cast(pl.Datetime("us", "UTC"))
    frame().with_columns(time=times).write_parquet(path)
    return path


def plain_of(path: Path, mapping: Mapping | None = None) -> Any:
    """What the file's first block is as plain trades, or None."""
    block = next(blocks_of(path))
    head = block.head()
    plain = plain_reader(reader_for(head, mapping or Mapping(), "t", "T"), head.frame)
    return plain and plain.read(block)


def texts(table: pa.Table) -> pa.Table:
    return pa.table({
        name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    })  # fmt: skip


def test_plain_trades_are_what_the_general_reader_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / write.__name__) for write in (as_csv, as_json, as_parquet, as_parquet_with_dates)]
    assert None not in [plain_of(path) for path in paths]
    plain_rows = [rows_of(path, rows=1_000) for path in paths]
    monkeypatch.setattr(history, "plain_reader", lambda _reader, _head: None)
    for plain, path in zip(plain_rows, paths, strict=True):
        general = rows_of(path, rows=1_000)
        assert plain.schema.equals(general.schema)
        assert plain.num_rows > 1
        assert texts(plain).equals(texts(general))


@pytest.mark.parametrize("line", [
    f"{T0},A,0,1,x", f"{T0},A,nan,1,x", f"{T0},A,inf,1,x", f"{T0},A,cheap,1,x", f"{T0},A,1,-1,x", f"{T0},A,1,,x",
    f"{T0},,1,1,x", f"{T0},A ,1,1,x", f"{T0},A,1,1,", f"{T0},A,1,1, x", f"{T0},A,1,1,é", f"{T0}000,A,1,1,x",
    "20260102,A,1,1,x", "5,A,1,1,x", f"{T0},A,0x10,1,x", f"{T0},A,1,1", "", f'{T0},A,1,1,"x\ny"',
])  # fmt: skip
def test_a_block_with_any_other_row_is_the_general_readers(tmp_path: Path, line: str) -> None:
    assert plain_of(written(tmp_path / "t.csv", CSV + "\n".join([*LINES[:3], line, *LINES[3:]]) + "\n")) is None


def test_quoted_fields_iso_times_and_mapped_names_are_plain_and_what_settings_change_is_not(tmp_path: Path) -> None:
    text = 'time,symbol,price\n"2026-01-02T15:00:00Z","A",1.5\n"2026-01-02T15:00:00.25Z","B",2\n'
    path = written(tmp_path / "t.csv", text)
    assert plain_of(path) is not None
    assert rows_of(path)["time_ns"].to_pylist() == [T0 * 10**9, T0 * 10**9 + 250_000_000]
    path = written(tmp_path / "t.csv", f"time,price\n{T0},1\n{T0 + 1},2\n")
    found = plain_of(path, Mapping(symbol="Z", venue="V"))
    assert found is not None
    columns = {name: found.table[name].to_pylist() for name in ("symbol", "venue", "size", "trade_id")}
    assert columns == {"symbol": ["Z", "Z"], "venue": ["V", "V"], "size": [0.0, 0.0], "trade_id": [None, None]}
    assert found.numbers.tolist() == [2, 3]
    quotes = Mapping(record="quote", columns={"bid": "price", "ask": "price"})
    for mapping in (Mapping(timezone="America/New_York"), Mapping(time_format="%Y"), quotes):
        assert plain_of(as_csv(tmp_path / "t.csv"), mapping) is None


@pytest.mark.parametrize("columns", [
    {"size": [1.0, None]}, {"size": ["1", "2"]}, {"symbol": ["A", None]}, {"trade_id": ["x", ""]}, {"price": [1.0, -1.0]},
    {"conditions": [["@"], None]}, {"bid": [1.0, 2.0], "ask": [2.0, 3.0]}, {"time": [0, 1]},
], ids=str)  # fmt: skip
def test_columns_that_are_not_plain_are_the_general_readers(tmp_path: Path, columns: dict[str, object]) -> None:
    frame(**columns).write_parquet(tmp_path / "t.parquet")
    assert plain_of(tmp_path / "t.parquet") is None


def test_plain_and_other_blocks_of_a_file_stand_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with parquet.ParquetWriter(path, frame(id=["a", "b"]).to_arrow().schema) as writer:
        for ids in (["a", "b"], ["c", " d"], ["e", "f"]):
            writer.write_table(frame(id=ids).to_arrow())
    found = rows_of(path).select(["trade_id", "number"]).to_pydict()
    assert found == {"trade_id": ["a", "c", "e", "b", "d", "f"], "number": [1, 3, 5, 2, 4, 6]}
