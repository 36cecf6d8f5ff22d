"""Options that say what a foreign file's or topic's fields mean, and the mapping that they make."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from marketpulse.app.cli.common import without_none
from marketpulse.errors import ParameterError


class Record(StrEnum):
    """What a row of a file or a foreign topic is."""

    AUTO = "auto"
    TRADE = "trade"
    QUOTE = "quote"
    BAR = "bar"


RecordKind = Annotated[Record | None, typer.Option(help="What a row is. Default: told from its columns.")]
Symbol = Annotated[str | None, typer.Option(help="The symbol of all rows, where no column has one.")]
Timezone = Annotated[str | None, typer.Option(help="The zone of times without one, such as America/New_York.")]
Columns = Annotated[
    list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Such as price=last. May be given again.")
]
TimeFormat = Annotated[
    str | None, typer.Option(metavar="FORMAT", help='Such as "%d.%m.%Y %H:%M", where guessing is not enough.')
]
BarLength = Annotated[str | None, typer.Option(help="The length of the rows' bars. Default: their spacing.")]
Venue = Annotated[str | None, typer.Option(help="The venue (MIC) of the rows; its calendar gives the sessions.")]


def mapping_of(
    record: Record | None, symbol: str | None, timezone: str | None, columns: list[str] | None, **others: str | None
) -> dict[str, Any]:
    """The options that were given, as the fields of settings.Mapping."""
    return without_none(
        {
            "record": None if record is None else record.value,
            "symbol": symbol,
            "timezone": timezone,
            "columns": parse_columns(columns or []),
            **others,
        }
    )


def parse_columns(pairs: list[str]) -> dict[str, str]:
    """`["price=last", "size=qty"]` -> `{"price": "last", "size": "qty"}`. Raises ParameterError."""
    columns: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not (field and equals and column):
            raise ParameterError(f"--map {pair}: write OUR_FIELD=THEIR_COLUMN, such as --map price=last")
        columns[field] = column
    return columns
