"""SQL that reads the rows of chosen files, and tells DuckDB what their manifests know.

The least and the greatest value of a column, and that it has no nulls, let DuckDB drop a condition that all rows meet,
without opening a file. What is unknown of one file is not told of any.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from marketpulse.catalog.layout import TIME, TIMES, arrow_schema
from marketpulse.catalog.visible import Picture, StoredFile, path_on

_PATTERN = re.compile(r"[*?\[]")  # DuckDB takes such a path for many
_SHAPES = 8  # that files may have and still be read with what is known of them
_TYPES = {
    pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN", pa.date32(): "DATE", TIME: "TIMESTAMPTZ",
}  # fmt: skip
_WHOLE = (pa.int32(), pa.int64())


def opens(paths: Iterable[str]) -> bool:
    """Whether DuckDB can be told each of these paths alone."""
    return not any(_PATTERN.search(path) for path in paths)


def shown(picture: Picture) -> str:
    """The SELECT list of a table: times stand first, as UTC wall time, the receipt last."""
    times, names = TIMES[picture.table], picture.schema().names
    columns = [*times, *(n for n in names if n not in times and n != "receipt")]
    columns += ["receipt"] if "receipt" in names else []
    # A cast would ask the calendar of the zone for each row: 15 times as long.
    return ", ".join(f"make_timestamp(epoch_us({named(n)})) AS {named(n)}" if n in times else named(n) for n in columns)


def no_rows(picture: Picture) -> str:
    """A SELECT of the table's columns without a row."""
    columns = (f"NULL::{_type(f.type)} AS {named(f.name)}" for f in picture.schema())
    return f"SELECT {shown(picture)} FROM (SELECT {', '.join(columns)} WHERE false)"  # noqa: S608  (our own names, quoted)


def rows_of(picture: Picture, files: Sequence[StoredFile], *, by_id: bool = False) -> str:
    """A SELECT of the rows of files on a disk. A column that a file does not have is null in its rows.

    By names, each kind of file with what is known of it; or, slower, by the columns' ids, whatever files have.
    """
    if not files:
        return no_rows(picture)
    shapes: dict[tuple[object, ...], list[StoredFile]] = {}
    for file in files:
        shapes.setdefault((file.columns, file.lacks), []).append(file)
    if by_id or len(shapes) > _SHAPES:
        source = f"read_parquet({_paths(files)}, schema = {_mapped(picture)})"
        return f"SELECT {shown(picture)} FROM {source}"  # noqa: S608
    parts = " UNION ALL ".join(_alike(picture, own) for own in shapes.values())
    return f"SELECT {shown(picture)} FROM ({parts})"  # noqa: S608


def _alike(picture: Picture, files: Sequence[StoredFile]) -> str:
    """Of files that have the same columns."""
    schema = picture.schema()
    own = {*arrow_schema(picture.table).names, *files[0].columns} - {*files[0].lacks}
    there = [field for field in schema if field.name in own]
    columns = (named(f.name) if f.name in own else f"NULL::{_type(f.type)} AS {named(f.name)}" for f in schema)
    bound = ", ".join(f"{_text(f.name)}: {_text(_type(f.type))}" for f in there)
    statistics = _statistics(there, files)
    told = f", column_statistics = {statistics}" if statistics else ""
    return (
        f"SELECT {', '.join(columns)} FROM read_parquet({_paths(files)}, hive_partitioning = false, "  # noqa: S608
        f"explicit_cardinality = {sum(file.rows for file in files)}, bound_schema = {{{bound}}}{told})"
    )


def _statistics(columns: Iterable[pa.Field], files: Sequence[StoredFile]) -> str:
    """What the manifests know of these files together; "" is nothing."""
    found = []
    for column in columns:
        if not all(column.name in file.nulls for file in files):
            continue
        known = {"null_count": str(sum(file.nulls[column.name] for file in files))}
        if column.type in _WHOLE and all(column.name in file.bounds for file in files):
            known["min"] = str(min(file.bounds[column.name][0] for file in files))
            known["max"] = str(max(file.bounds[column.name][1] for file in files))
        values = ", ".join(f"{_text(key)}: {_text(value)}" for key, value in known.items())
        found.append(f"{_text(named(column.name))}: MAP {{{values}}}")
    return f"MAP {{{', '.join(found)}}}" if found else ""


def _mapped(picture: Picture) -> str:
    """The columns for DuckDB, by the ids that they have in the files."""
    ids: Mapping[str, int] = picture.ids
    columns = (
        f"{ids[f.name]}: {{name: {_text(f.name)}, type: {_text(_type(f.type))}, default_value: NULL}}"
        for f in picture.schema()
    )
    return f"MAP {{{', '.join(columns)}}}"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{named(child.name)} {_type(child.type)}' for child in kind)})"
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    return _TYPES[kind]


def _paths(files: Iterable[StoredFile]) -> str:
    return texts(path_on(file.path) for file in files)


def texts(values: Iterable[str]) -> str:
    """A list of texts, as SQL."""
    return f"[{', '.join(map(_text, values))}]"


def named(name: str) -> str:
    """A name, as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
