"""Which rows the view `stock_data` shows: a symbol's trades, or its smallest bars where it has no trade.

    symbols that the query may ask for  ->  minus those with a trade  ->  the smallest timeframe of each that is left

A query that names its symbols and a time reads no more than one over trades alone: whether a symbol has a trade is looked
up first in the files that the query reads anyway, by their column `symbol` alone, and a symbol that trades is in them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from marketpulse.catalog.visible import StoredFile
from marketpulse.model.timeframe import SECONDS_SQL
from marketpulse.query.pruning import needed

_GROWTH = 8  # a symbol that stopped trading long ago takes few steps, one that trades reads few files


def in_search_order(tree: Any, files: Sequence[StoredFile]) -> Iterator[Sequence[StoredFile]]:
    """All files of `trades` in the order of a search: those that the query reads, then the newest, more at each step."""
    read = needed(tree, "stock_data", "trades", files)
    yield from _growing(read)
    if read is not files:
        paths = {file.path for file in read}
        yield from _growing([file for file in files if file.path not in paths])


def _growing(files: Sequence[StoredFile]) -> Iterator[Sequence[StoredFile]]:
    newest_first, size = files[::-1], 1
    while newest_first:
        yield newest_first[:size]
        newest_first, size = newest_first[size:], size * _GROWTH


def possible_symbols(files: Iterable[StoredFile], symbols: set[str]) -> set[str]:
    """Those of the symbols that the files may hold, by their manifests."""
    return {symbol for symbol in symbols if any(file.may_hold("symbol", symbol, symbol) for file in files)}


def distinct_symbols(rows: str, symbols: set[str] | None) -> str:
    """The symbols (None: all, else of these) that a SELECT of rows has."""
    where = "symbol IS NOT NULL" if symbols is None else f"symbol IN ({_texts(symbols)})"
    return f"SELECT DISTINCT symbol FROM ({rows}) WHERE {where}"  # noqa: S608  (texts are quoted)


def smallest_timeframes(bars: str, symbols: set[str]) -> str:
    """(timeframe, symbol) for each of the symbols of which the view `bars` has rows, in this order."""
    return (
        f"SELECT arg_min(timeframe, {SECONDS_SQL}) AS smallest, symbol FROM ({bars}) "  # noqa: S608  (as above)
        f"WHERE symbol IN ({_texts(symbols)}) GROUP BY symbol ORDER BY ALL"
    )


def of_timeframes(pairs: Iterable[tuple[str, str]]) -> str:
    """A condition: the rows of these timeframes and symbols."""
    return " OR ".join(
        f"(timeframe = {_texts([timeframe])} AND symbol IN ({_texts(symbol for _, symbol in group)}))"
        for timeframe, group in groupby(pairs, key=lambda pair: pair[0])
    )


def _texts(values: Iterable[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(values))
