"""Numbers as people write them -> float64 columns: `437.60`, `1,234.5`, `1.234,5`, `$12`, `1.2M`."""

import numpy as np
import polars as pl

from marketpulse.model.market import Floats
from marketpulse.sources.times import Mask

BLANKS = ("", "null", "none", "nan", "na", "n/a", "-", "--", ".")
_SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def to_floats(column: pl.Series, decimal_comma: bool = False) -> tuple[Floats, Mask, Mask]:
    """(values, present, readable), each (n,). A blank is not present; a text that is no number not readable.

    Where a value is absent or unreadable it is NaN. A comma groups thousands unless `decimal_comma`.
    """
    if column.dtype.is_numeric() or isinstance(column.dtype, pl.Decimal):
        values = column.cast(pl.Float64)
        present = (values.is_not_null() & values.is_not_nan().fill_null(False)).to_numpy()
        return values.fill_null(np.nan).to_numpy(), present, np.ones(len(column), np.bool_)
    texts = column.cast(pl.String, strict=False)
    values = texts.cast(pl.Float64, strict=False)
    left = (values.is_null() | values.is_nan().fill_null(False)).arg_true()
    n = len(column)
    present, readable = np.ones(n, np.bool_), np.ones(n, np.bool_)
    floats = values.fill_null(np.nan).to_numpy(writable=True)
    if len(left):
        odd = texts.gather(left).fill_null("").str.strip_chars()
        cleaned = _clean(odd, decimal_comma)
        blank = odd.str.to_lowercase().is_in(list(BLANKS)).to_numpy()
        where = left.to_numpy()
        present[where] = ~blank
        readable[where] = blank | cleaned.is_not_null().to_numpy()
        floats[where] = np.where(blank, np.nan, cleaned.fill_null(np.nan).to_numpy())
    return floats, present, readable


def _clean(texts: pl.Series, decimal_comma: bool) -> pl.Series:
    plain = texts.str.replace_all(r"[$€£¥\s_'\u00a0]", "")
    if decimal_comma:
        with_comma = plain.str.contains(r"^[-+]?[\d.]*,\d*$")
        swapped = plain.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    else:
        with_comma = plain.str.contains(r"^[-+]?\d{1,3}((,\d{2,3})*,\d{3})?(\.\d*)?[KMBTkmbt]?$")
        swapped = plain.str.replace_all(",", "", literal=True)
    plain = swapped.zip_with(with_comma, plain)
    suffix = plain.str.extract(r"^[-+]?[\d.]+([KMBTkmbt])$").str.to_uppercase()
    factor = suffix.replace_strict(_SUFFIXES, default=1.0, return_dtype=pl.Float64)
    return plain.str.strip_chars_end("KMBTkmbt").cast(pl.Float64, strict=False) * factor
