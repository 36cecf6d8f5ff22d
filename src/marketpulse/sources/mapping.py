"""Which column is what: guessed from the header and the first values, overridable by name.

The names are compared in lower case with all but letters and digits removed, so `Adj Close`,
`adj_close` and `ADJCLOSE` are one; so are `open` and `1. open`. Record kinds are recognised by the columns that exist: open,
high, low and close make a bar; a price makes a trade (a `volume` beside it is the trade's size);
bid and ask make a quote.
"""

import re
from dataclasses import dataclass

import polars as pl

from marketpulse.errors import Fatal, SettingsError
from marketpulse.settings import Mapping

ALIASES: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "sym", "ticker", "tickersymbol", "pair", "productid", "instrument", "instrumentid", "instid",
               "stocksymbol", "stock", "security", "asset", "coin", "code", "s", "name", "index", "id"),
    "time": ("eventtimens", "opentimens", "eventtime", "tradetime", "opentime", "timestamp", "timestampns",
             "timestampus", "timestampms", "timestamputc", "datetime", "dateandtime", "datetimeutc", "siptimestamp",
             "participanttimestamp", "transacttime", "tradedate", "time", "date", "ts", "t", "unix", "unixtimestamp",
             "unixtime", "epoch", "createdat", "gmttime", "latesttradingday", "column1"),
    "price": ("price", "last", "lastprice", "tradeprice", "lasttradedprice", "currentprice", "px", "ltp", "p", "close",
              "closelast", "closeprice", "value", "rate", "adjclose", "c"),
    "size": ("size", "qty", "quantity", "lastsize", "lastqty", "tradesize", "tradeqty", "volume", "vol", "amount", "amt",
             "shares", "sz", "v", "s", "q"),
    "trade_id": ("tradeid", "id", "tid", "aggtradeid", "matchid", "execid", "i"),
    "conditions": ("conditions",),
    "bid": ("bid", "bidprice", "bidpx", "bestbid", "bestbidprice", "bp"),
    "ask": ("ask", "askprice", "askpx", "bestask", "bestaskprice", "offer", "offerprice", "ap"),
    "bid_size": ("bidsize", "bidqty", "bidquantity", "bidvolume", "bestbidsize", "bestbidqty", "bidsz", "bs"),
    "ask_size": ("asksize", "askqty", "askquantity", "askvolume", "bestasksize", "bestaskqty", "offersize", "asksz", "as"),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h", "max"),
    "low": ("low", "lowprice", "l", "min"),
    "close": ("close", "closeprice", "closelast", "c", "last", "price", "lastprice"),
    "volume": ("volume", "vol", "v", "tradedvolume", "volumebtc", "volumefrom", "tottrdqty", "qty", "quantity", "size"),
    "vwap": ("vwap", "vw", "volumeweighted", "weightedaverage", "weightedprice"),
    "trade_count": ("tradecount", "numberoftrades", "numtrades", "trades", "totaltrades", "transactions", "count", "n"),
    "timeframe": ("timeframe", "interval", "resolution"),
    "close_time": ("closetimens",),
    "venue": ("venue", "mic", "exchange", "exch", "market", "x"),
    "dividend": ("dividend", "dividends", "divcash"),
    "split": ("split", "splits", "stocksplits", "splitfactor"),
    "date": (),  # set by `time` when a file keeps date and time of day apart
}  # fmt: skip
"""Our field -> names that it goes by elsewhere, the likeliest first."""

NEEDED = {"bar": ("open", "high", "low", "close"), "trade": ("price",), "quote": ("bid", "ask")}
USED = {
    "bar": ("open", "high", "low", "close", "volume", "vwap", "trade_count", "timeframe", "close_time", "dividend", "split"),
    "trade": ("price", "size", "trade_id", "conditions"),
    "quote": ("bid", "bid_size", "ask", "ask_size"),
}  # fmt: skip
_CLOCK_ONLY = r"^\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?$|^\d{6}$|^\d{4}$"
_DATE_NAMES = ("date", "day", "tradedate", "yyyymmdd", "dtyyyymmdd")
_CLOCK_NAMES = ("time", "timeofday", "clock", "hhmmss", "timestamp", "minute", "hour")
_TICKER = r"^\^?[A-Z]+([.=-][A-Z]+)*$"


class NotUnderstood(Fatal):
    """No kind of row can be made of these columns; other rows that come may have others."""


class NoSuchColumn(SettingsError):
    """The mapping names a column that these rows do not have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file's or topic's columns mean.

    `kinds` are tried on each row in this order: the first whose needed fields are there is the
    row's. `columns`: our field -> their column; with `date`, `time` holds only the time of day.
    """

    kinds: tuple[str, ...]
    columns: dict[str, str]


def guess(head: pl.DataFrame, mapping: Mapping, where: str) -> Plan:
    """Read the header, look at some values, and decide. `head`: some rows of the file.

    Raises NotUnderstood naming the header and the flags that would settle it; NoSuchColumn or another SettingsError when
    the mapping names a column or a field that there is not.
    """
    given = _given(head, mapping, where)
    names = _normalised(head.columns)
    columns = dict(given)
    for field, aliases in ALIASES.items():
        if field not in columns and (found := _find(field, aliases, names, head)):
            columns[field] = found
    if "time" not in given:
        _place_time(columns, names, head)
    _tell_cases_apart(columns, given, head)
    if columns.get("trade_id") == columns.get("symbol"):
        columns.pop("trade_id", None)
    if "volume" not in columns:
        prefixed = [n for n in head.columns if n.lower().startswith("volume") and "usd" not in n.lower()]
        columns.update({"volume": prefixed[0]} if prefixed else {})
    kinds = _kinds(columns, given, mapping)
    if not kinds or "time" not in columns:
        raise NotUnderstood(_not_understood(head, columns, mapping, where))
    wanted = {"symbol", "venue", "time", "date"}.union(*(USED[kind] for kind in kinds))
    return Plan(kinds, {field: column for field, column in columns.items() if field in wanted})


def _given(head: pl.DataFrame, mapping: Mapping, where: str) -> dict[str, str]:
    given = {}
    for field, column in mapping.columns.items():
        if field not in ALIASES:
            raise SettingsError(f"mapping: {field!r} is none of our fields; they are {', '.join(ALIASES)}")
        same = [n for n in head.columns if n == column] or [
            n for n in head.columns if n.lower() == column.lower()
        ]  # or its number, from 1: a file without a header has no names of its own
        if not same and column.isdecimal() and 0 < int(column) <= len(head.columns):
            same = [head.columns[int(column) - 1]]
        if not same:
            raise NoSuchColumn(
                f"mapping: {where} has no column {column!r} for {field}; its columns are {', '.join(head.columns)}"
            )
        given[field] = same[0]
    return given


def _normalised(columns: list[str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for column in columns:
        names.setdefault(re.sub(r"^\d+\. |[^a-z0-9]", "", column.lower()), []).append(column)
    return names


def _find(field: str, aliases: tuple[str, ...], names: dict[str, list[str]], head: pl.DataFrame) -> str | None:
    """The first column that goes by one of these names and holds such values."""
    there = ((alias, column) for alias in aliases for column in names.get(alias, ()))
    return next((column for alias, column in there if _fits(field, alias, head[column])), None)


def _fits(field: str, alias: str, values: pl.Series) -> bool:
    """Whether a column with an ambiguous name holds this field: `s` is a symbol here, a size there."""
    if alias == "id" and field == "symbol":
        return _all_match(values, _TICKER)
    if alias in {"s", "x", "index", "name", "code"} and field in {"symbol", "venue"}:
        return not _numeric(values) and values.dtype == pl.String
    if alias in {"s", "c", "value"}:
        return _numeric(values)
    if alias == "t":  # a time, or what kind of message it is
        return not _all_match(values, "^[A-Za-z]+$")
    if alias == "column1":  # a first column without a name: an index that was written out
        return _all_match(values, r"^\d{4}-\d{2}-\d{2}")
    return not isinstance(values.dtype, pl.List | pl.Struct) or field == "conditions"


def _all_match(values: pl.Series, pattern: str) -> bool:
    return values.dtype == pl.String and bool(len(values)) and values.str.contains(pattern).fill_null(False).all()


def _numeric(values: pl.Series) -> bool:
    if values.dtype.is_numeric():
        return True
    if values.dtype != pl.String:
        return False
    some = values.drop_nulls().str.strip_chars().str.replace_all(r"[,$]", "")
    some = some.filter(some != "")
    return bool(len(some)) and some.cast(pl.Float64, strict=False).null_count() * 2 < len(some)


def _place_time(columns: dict[str, str], names: dict[str, list[str]], head: pl.DataFrame) -> None:
    """Where one column has the date and another the time of day, both are needed."""
    date = next((names[n][0] for n in _DATE_NAMES if n in names), None)
    clock = next((names[n][0] for n in _CLOCK_NAMES if n in names and _clock_only(head[names[n][0]])), None)
    if date is not None and clock is not None and date != clock:
        columns["date"], columns["time"] = date, clock
    elif clock is not None and columns.get("time") == clock and date is not None:
        columns["time"] = date


def _clock_only(values: pl.Series) -> bool:
    if values.dtype == pl.Time:
        return True
    texts = values.drop_nulls().cast(pl.String, strict=False).str.strip_chars()
    return bool(len(texts)) and bool(texts.str.contains(_CLOCK_ONLY).all())


def _tell_cases_apart(columns: dict[str, str], given: dict[str, str], head: pl.DataFrame) -> None:
    """Feeds that say `t` and `T`, `b` and `B` for different things: upper `T` is the time, `B` a size."""
    there = set(head.columns)
    apart: dict[str, str] = {}
    if {"t", "T"} <= there and _numeric(head["T"]):
        apart |= {"time": "T", "trade_id": "t"}
    if {"b", "B", "a", "A"} <= there:
        apart |= {"bid": "b", "bid_size": "B", "ask": "a", "ask_size": "A"}
    columns.update({field: column for field, column in apart.items() if field not in given})


def _kinds(columns: dict[str, str], given: dict[str, str], mapping: Mapping) -> tuple[str, ...]:
    has = {kind: all(field in columns for field in fields) for kind, fields in NEEDED.items()}
    if mapping.record != "auto":
        return (mapping.record,) if has[mapping.record] else ()
    if has["bar"] and "price" not in given:
        return ("bar",)
    return tuple(kind for kind in ("trade", "quote") if has[kind])


def _not_understood(head: pl.DataFrame, columns: dict[str, str], mapping: Mapping, where: str) -> str:
    found = ", ".join(f"{field} = {column}" for field, column in columns.items()) or "nothing"
    kind = mapping.record if mapping.record != "auto" else "trade"
    missing = [f for f in ("time", *NEEDED[kind]) if f not in columns]
    flags = " ".join(f"--map {field}=COLUMN" for field in missing)
    return (
        f"{where}: cannot tell what its columns mean. Header: {', '.join(head.columns)}. Recognised: {found}."
        f" Name the missing ones: {flags} (or mapping.columns in the configuration);"
        " a bar needs time, open, high, low and close; a trade time and price; a quote time, bid and ask"
    )
