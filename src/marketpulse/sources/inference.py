"""What foreign rows are: their kind, timeframe, symbols and columns, inferred from some of them, and said in a sentence.

header and values -> plan (sources.mapping) -> rows of our kinds (sources.normalise) -> timeframe (sources.bars)
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import polars as pl

from marketpulse.ports import RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.mapping import Plan, guess
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.raw import GUESSED_FROM_ROWS, RawRows
from marketpulse.sources.times import looks_day_first

_NAMED_SYMBOLS = 3


@dataclass(frozen=True, slots=True)
class Inference:
    """What rows were understood to be: `rows` by kind, bars with their times.

    `reader` understands those behind them alike.
    """

    reader: Reader
    header: tuple[str, ...]
    rows: dict[str, Rows]
    rejected: list[RejectedInput]

    @property
    def timeframes(self) -> list[str]:
        """Those of the bars, the smallest first as far as their rows tell."""
        return list(dict.fromkeys(self.rows["bar"].frame["timeframe"].to_list())) if "bar" in self.rows else []

    @property
    def symbols(self) -> list[str]:
        return sorted({symbol for rows in self.rows.values() for symbol in rows.frame["symbol"].unique().to_list()})


def infer(raw: RawRows, mapping: Mapping, where: str, fallback_symbol: str, *, sparse: bool = False) -> Inference:
    """Infer what rows are. It reads nothing but its arguments, so the same rows give the same answer.

    `where` names the rows in errors, `fallback_symbol` those without one; `sparse`: they are some of a series.
    Raises Fatal when they cannot be understood, SettingsError when the mapping does not fit them.
    """
    reader = reader_for(raw, mapping, where, fallback_symbol)
    block = reader.read(raw)
    rows = dict(block.rows)
    if "bar" in rows:
        known = None if mapping.timeframe or not sparse else bars.infer_timeframe(rows["bar"], sparse=True)
        rows["bar"] = bars.finish(rows["bar"], mapping, where, known)
    return Inference(reader, tuple(raw.frame.columns), rows, block.rejected)


def describe(kinds: Iterable[str], timeframes: Collection[str], symbols: Collection[str]) -> str:
    """`daily bars of 3 symbols (HSI, IXIC, NYA)`, `1m bars of SPY`, `trades and quotes of 20 symbols`."""
    lengths = " and ".join("daily" if name == "1d" else name for name in timeframes)
    words = {"bar": f"{lengths} bars".strip(), "trade": "trades", "quote": "quotes"}
    names = " and ".join(word for kind, word in words.items() if kind in set(kinds))
    if len(symbols) == 1:
        return f"{names} of {next(iter(symbols))}"
    named = f" ({', '.join(sorted(symbols))})" if 1 < len(symbols) <= _NAMED_SYMBOLS else ""
    return f"{names} of {len(symbols):,} symbols{named}"


def describe_columns(plan: Plan, header: Iterable[str]) -> str:
    """`Date, Open, Close; not used: Adj Close`, in the order of the header."""
    used = set(plan.columns.values())
    unused = [name for name in header if name not in used]
    text = ", ".join(name for name in header if name in used)
    return f"{text}; not used: {', '.join(unused)}" if unused else text


def reader_for(raw: RawRows, mapping: Mapping, where: str, fallback_symbol: str) -> Reader:
    """Guess what the columns of a file or topic mean from its first rows."""
    head = raw.frame.head(GUESSED_FROM_ROWS)
    plan = guess(head, mapping, where)
    return Reader(plan, mapping, fallback_symbol, _decimal_comma(head, plan), _day_first(raw.frame, plan))


def _day_first(frame: pl.DataFrame, plan: Plan) -> bool | None:
    return looks_day_first(frame[plan.columns.get("date", plan.columns["time"])])


def _decimal_comma(head: pl.DataFrame, plan: Plan) -> bool:
    """Whether `12,5` is twelve and a half: some price has a comma that cannot group thousands."""
    for name in ("price", "close", "open", "bid"):
        column = plan.columns.get(name)
        if column is not None and head[column].dtype == pl.String:
            texts = head[column].str.strip_chars()
            if texts.str.contains(r"^-?\d{1,3}(\.\d{3})*,\d+$|^-?\d+,\d+$").any():
                return bool(texts.str.contains(r",(\d{1,2}|\d{4,})$").any()) and not texts.str.contains(r",.*\.").any()
    return False
