"""Files that many people have and that say little: columns without a header, told by their values; symbols in a file's name.

Binance, data.binance.vision   trades, aggTrades and klines of spot and futures markets
Kraken                         trades (time, price, volume) and bars
HistData, MetaTrader           bars, the date and the time of day in one column or two
anyone                         a time and open, high, low, close, with a volume or without
"""

import re
from collections.abc import Sequence
from pathlib import Path

from marketpulse.sources.files import stem
from marketpulse.sources.streaming.symbols import dashed

Row = Sequence[str]

_TESTS = {
    "i": re.compile(r"\d{1,19}"),
    "n": re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"),
    "e": re.compile(r"[12]\d{9}(?:\.\d+)?|[12]\d{12}|[12]\d{15}|[12]\d{18}"),
    "t": re.compile(r"(?:19|20|21)\d{2}[-./]?\d{2}[-./]?\d{2}(?:[ T]?\d{2}:?\d{2}(?::?\d{2})?(?:\.\d+)?)?Z?|[12]\d{9}(?:\d{3}){0,3}"),
    "d": re.compile(r"(?:19|20|21)\d{2}[-./]?\d{2}[-./]?\d{2}"),
    "c": re.compile(r"\d{2}:\d{2}(?::\d{2})?"),
    "b": re.compile(r"(?i:true|false)"),
    "?": re.compile(r".*"),
}  # fmt: skip
"""A whole number, a number, an epoch time, any time, a date, a time of day, yes or no, anything."""

_BAR = ("open", "high", "low", "close")
_KNOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("innnebb", ("trade_id", "price", "qty", "value", "time", "buyer made", "best match")),
    ("innneb", ("trade_id", "price", "qty", "value", "time", "buyer made")),
    ("inniiebb", ("trade_id", "price", "qty", "first id", "last id", "time", "buyer made", "best match")),
    ("inniieb", ("trade_id", "price", "qty", "first id", "last id", "time", "buyer made")),
    ("ennnnneninn?", ("time", *_BAR, "volume", "end", "value", "trades", "bought", "value bought", "unused")),
    ("dcnnnnn", ("date", "clock", *_BAR, "volume")),
    ("dcnnnn", ("date", "clock", *_BAR)),
    ("ennnnni", ("time", *_BAR, "volume", "count")),
    ("tnnnnn", ("time", *_BAR, "volume")),
    ("tnnnn", ("time", *_BAR)),
    ("enn", ("time", "price", "size")),
)  # fmt: skip
_LOOKED_AT, _MOST = 1_000, 0.9
_DUMP = re.compile(r"([A-Z0-9]{5,20})-(?:trades|aggTrades|\d+(?:s|m|h|d|w|mo))-\d{4}-\d{2}(?:-\d{2})?")


def known_columns(rows: Sequence[Row]) -> tuple[str, ...] | None:
    """Names of the columns that rows without a header have, (width,); None where nothing is known that they fit.

    A few broken rows change nothing.
    """
    some = [[field.strip() for field in row] for row in rows[:_LOOKED_AT]]
    for shape, names in _KNOWN:
        fitting = sum(_fits(row, shape) and ("open" not in names or _is_bar(row, names)) for row in some)
        if fitting and fitting >= _MOST * len(some):
            return names
    return None


def symbol_of(path: Path) -> str:
    """The symbol that a file's name says: `AAPL.csv` AAPL, and Binance's `BTCUSDT-trades-2024-01-01.zip` BTC-USDT, as its feed writes it."""
    name = stem(path)
    match = _DUMP.fullmatch(name)
    return dashed(match[1]) if match else name.upper()


def _fits(row: Row, shape: str) -> bool:
    return len(row) == len(shape) and all(_TESTS[test].fullmatch(field) for test, field in zip(shape, row, strict=True))


def _is_bar(row: Row, names: tuple[str, ...]) -> bool:
    """Whether high and low enclose open and close: four numbers beside one another may be anything."""
    at = names.index("open")
    first, high, low, last = (float(field) for field in row[at : at + 4])
    return high >= max(first, last) and low <= min(first, last)
