"""Files without a header: the shapes that their publishers document, and nothing that only looks like them."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from marketpulse.errors import Fatal
from marketpulse.settings import Mapping
from marketpulse.sources.dataset import Dataset, load
from marketpulse.sources.known_files import known_columns, symbol_of

# As the publishers' own documents show them.
BINANCE_TRADES = "3352361230,42283.58000000,0.00300000,126.85074000,1704067200075,True,True\n3352361231,42283.58,0.001,42.28,1704067200099,False,True\n"
BINANCE_FUTURES_TRADES = (
    "4401238120,42313.9,0.026,1100.16,1704067200004,false\n4401238121,42313.9,0.5,2,1704067200010,true\n"
)
BINANCE_AGGREGATES = "2817362161,42283.58000000,0.02000000,3352361227,3352361229,1735689600020716,True,True\n2817362162,42284,1,3352361230,3352361230,1735689600020900,True,True\n"
BINANCE_KLINES = "1704067200000,42283.58,42298.62,42261.02,42298.61,35.92724,1704067259999,1519032.33,1327,23.18766,980394.36,0\n1704067260000,42298.62,42320,42298.61,42320,21.16779,1704067319999,895580.24,1348,13.67795,578700.65,0\n"
KRAKEN_TRADES = "1381095255,122.00000,0.10000000\n1381179030,123.61000,0.10000000\n"
HISTDATA = (
    "20120201 000000;1.306600;1.306600;1.306560;1.306560;0\n20120201 000100;1.306570;1.306570;1.306470;1.306560;0\n"
)
METATRADER = "2024.01.02,09:30,1.3,1.4,1.2,1.35,22\n2024.01.02,09:31,1.35,1.4,1.2,1.25,7\n"


def loaded(tmp_path: Path, text: str, name: str = "EURUSD.csv") -> Dataset:
    path = tmp_path / name
    path.write_text(text)
    return load([path], Mapping())


def rows(dataset: Dataset) -> list[dict[str, Any]]:
    batches = dataset.tape.batches(0, len(dataset.tape), "x", 0)
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (BINANCE_TRADES, (1704067200075 * 10**6, 42283.58, 0.003, "3352361230")),
        (BINANCE_FUTURES_TRADES, (1704067200004 * 10**6, 42313.9, 0.026, "4401238120")),
        (BINANCE_AGGREGATES, (1735689600020716 * 10**3, 42283.58, 0.02, "2817362161")),
        (KRAKEN_TRADES, (1381095255 * 10**9, 122.0, 0.1, None)),
    ],
)
def test_trades_of_files_without_a_header(tmp_path: Path, text: str, first: tuple[object, ...]) -> None:
    found = rows(loaded(tmp_path, text))
    assert len(found) == text.count("\n")
    row = found[0]
    assert (row["event_time_ns"], row["price"], row["size"], row["trade_id"]) == first


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (BINANCE_KLINES, (42283.58, 42298.62, 42261.02, 42298.61, 35.92724)),
        (HISTDATA, (1.3066, 1.3066, 1.30656, 1.30656, 0.0)),
        (METATRADER, (1.3, 1.4, 1.2, 1.35, 22.0)),
    ],
)
def test_bars_of_files_without_a_header(tmp_path: Path, text: str, first: tuple[float, ...]) -> None:
    row = rows(loaded(tmp_path, text))[0]
    assert tuple(row[name] for name in ("open", "high", "low", "close", "volume")) == first
    assert row["timeframe"] == "1m"


def test_a_broken_row_does_not_change_what_the_others_mean(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, BINANCE_TRADES * 10 + "3352361232,free,1,2,1704067200075,True,True\n")
    assert len(dataset.tape) == 20
    assert [item.row for item in dataset.rejected] == [21]


def test_four_numbers_that_cannot_be_a_bar_are_not_taken_for_one() -> None:
    assert known_columns([["2024-01-02", "3", "1", "2", "4"]]) is None
    assert known_columns([["1", "2"], ["3", "4"]]) is None
    assert known_columns([]) is None


def test_a_column_without_a_name_may_be_given_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("7,1704067200,x\n8,1704067201,y\n")
    found = rows(load([path], Mapping(columns={"time": "2", "price": "1"})))
    assert [row["price"] for row in found] == [7.0, 8.0]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT-trades-2024-01-01.zip", "BTC-USDT"),
        ("ETHBTC-aggTrades-2024-01.csv", "ETH-BTC"),
        ("BTCUSDT-1m-2024-01-01.csv", "BTC-USDT"),
        ("brk.b.csv.gz", "BRK.B"),
        ("my-trades-2024.csv", "MY-TRADES-2024"),
    ],
)
def test_the_symbol_that_a_name_says(name: str, symbol: str) -> None:
    assert symbol_of(Path(name)) == symbol


def test_a_zip_of_one_file_is_read_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-01-01.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-2024-01-01.csv", BINANCE_TRADES * 1000)
    found = rows(load([path], Mapping()))
    assert len(found) == 2000
    assert {row["symbol"] for row in found} == {"BTC-USDT"}


def test_a_zip_of_many_files_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", KRAKEN_TRADES)
        archive.writestr("b.csv", KRAKEN_TRADES)
    with pytest.raises(Fatal, match=r"found 2 \(a.csv, b.csv\): unpack it"):
        load([path], Mapping())


def test_a_damaged_zip_says_so(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", KRAKEN_TRADES * 100)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Fatal, match="damaged"):
        load([path], Mapping())
