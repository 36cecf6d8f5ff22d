"""What the board holds of one symbol."""

import math
from collections.abc import Sequence
from typing import Any

from marketpulse.web import columns
from marketpulse.web.quote import Quote
from marketpulse.web.series import Series

NO_BOOK = (math.nan,) * len(columns.BOOK)


class SymbolState:
    """Its series, its quote, and when they changed. `id` stands for its name in frames: never another's on this board."""

    __slots__ = (
        "about",
        "about_seq",
        "book",
        "id",
        "newest_ingest_ns",
        "quote",
        "revised_to_ns",
        "seq",
        "series",
        "simulated",
        "spark_seq",
        "spark_time_ns",
        "spark_timeframe",
        "venue",
    )

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.about: tuple[Any, ...] = ()  # as pages were told last, and since when it is so
        self.about_seq = 0
        self.series: dict[str, Series] = {}
        self.quote = Quote()
        self.book: Sequence[float] = NO_BOOK  # bid, bid_size, ask, ask_size
        self.revised_to_ns: int | None = None  # close time of revised bars that the quote has not followed yet
        self.seq = 0
        self.spark_seq = 0
        self.spark_time_ns = 0
        self.spark_timeframe: str | None = None  # which of its series the spark-line is of
        self.simulated = False
        self.venue: str | None = None
        self.newest_ingest_ns = 0
