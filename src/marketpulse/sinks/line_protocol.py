r"""Rows as InfluxDB's line protocol, made by columns: `bars,symbol=A,timeframe=1m close=10.5,trade_count=3i 1714521600000000000`.

What a reader of these lines must undo:

- In names and tags, `\` stands before a comma, an equals sign and a space.
- In texts (fields), which stand in double quotes, it stands before a quote and before itself.

A backslash or a control character cannot stand in a tag for every server: they read `\\` and a backslash at the end
each in their own way, and some end the line at a newline. So a tag has `⧵` (U+29F5) for a backslash, and for a
control character its picture (`␊` for a newline).
"""

from collections.abc import Sequence

import polars as pl

_IN_TAGS = str.maketrans(
    {",": r"\,", "=": r"\=", " ": r"\ ", "\\": "\u29f5", "\x7f": "\u2421"}
    | {chr(c): chr(0x2400 + c) for c in range(32)}
)


def lines(measurement: str, rows: pl.DataFrame, tags: Sequence[str], time: str) -> pl.Series:
    """One line per row: `tags` and `time` (nanoseconds) name columns, every other column is a field of its own type.

    A null, an empty tag and a number that is not finite are left out. Every row must have a field.
    A float's text is the shortest that reads back as the same bits.
    """
    parts = [pl.lit(escaped(measurement))]
    parts += [_tag(rows[name]) for name in tags]
    fields = [_field(name, kind) for name, kind in rows.schema.items() if name not in (*tags, time)]
    named = pl.concat_str(fields, ignore_nulls=True).str.strip_prefix(",")
    whole = pl.concat_str([*parts, pl.lit(" "), named, pl.lit(" "), pl.col(time).cast(pl.String)], ignore_nulls=True)
    return rows.select(whole.alias("line"))["line"]


def escaped(text: str) -> str:
    """A measurement's or a field's name, or a tag's value, as it stands in a line."""
    return text.translate(_IN_TAGS)


def _tag(values: pl.Series) -> pl.Expr:
    """`,name=value` of each row: a tag has few different values, so they are written out once each."""
    written = {value: f",{escaped(values.name)}={escaped(value)}" for value in values.unique() if value}
    return pl.col(values.name).replace_strict(written, default=None, return_dtype=pl.String)


def _field(name: str, kind: pl.DataType) -> pl.Expr:
    """`,name=value` of each row."""
    value, begin, end = pl.col(name), f",{escaped(name)}=", ""
    if kind.is_float():
        value = pl.when(value.is_finite()).then(value)
    elif kind.is_integer():
        end = "i"
    elif kind == pl.String:
        value = value.str.replace_all("\\", r"\\", literal=True).str.replace_all('"', r"\"", literal=True)
        begin, end = f'{begin}"', '"'
    elif kind != pl.Boolean:
        raise TypeError(f"line_protocol: a field cannot be {kind}, as {name} is")
    return pl.concat_str([pl.lit(begin), value.cast(pl.String), pl.lit(end)])


def bodies(written: pl.Series, bytes_max: int) -> list[tuple[bytes, int]]:
    """The lines joined into texts of at most so many bytes, each with how many lines it holds. One line is never cut."""
    ends = (written.str.len_bytes().cast(pl.Int64) + 1).cum_sum()
    cut: list[tuple[bytes, int]] = []
    first, before = 0, 0
    while first < len(written):
        last = int(ends.search_sorted(before + bytes_max, side="right"))
        last = max(last, first + 1)
        cut.append(("\n".join(written[first:last].to_list()).encode() + b"\n", last - first))
        first, before = last, int(ends[last - 1])
    return cut
