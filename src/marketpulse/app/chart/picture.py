"""A picture, and what it can be written as."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from marketpulse.app.chart.colours import Theme
from marketpulse.app.chart.panes import Group, groups_of
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.indicators.declaration import Spec

ENDINGS = (".png", ".svg", ".html")
SCALE = 2  # pixels of a PNG for one of the size: sharp on fine screens
SIZE_LEAST, SIZE_MOST = 200, 4_000
BARS_MOST = 5_000  # beyond it candles are thinner than a pixel
_NEEDED = ("open_time_ns", "open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Look:
    """How it looks. `width` and `height` are pixels."""

    theme: Theme = "dark"
    style: Literal["candles", "line"] = "candles"
    width: int = 1_200
    height: int = 675

    def __post_init__(self) -> None:
        if self.theme not in ("dark", "light"):
            raise ParameterError(f"theme is dark or light, found {self.theme!r}")
        if self.style not in ("candles", "line"):
            raise ParameterError(f"style is candles or line, found {self.style!r}")
        for name, pixels in (("width", self.width), ("height", self.height)):
            if not SIZE_LEAST <= pixels <= SIZE_MOST:
                raise ParameterError(f"{name} is from {SIZE_LEAST} to {SIZE_MOST:,} pixels, found {pixels}")


class Picture:
    """Bars of one series with indicators beside them, drawn. Notebooks show it by itself.

    `table`: Arrow; open_time_ns, open, high, low, close, volume where there is one, and a column for each value of
    `specs`. Raises ParameterError for a table that lacks columns or rows, or has more rows than can be seen.
    """

    def __init__(
        self, table: pa.Table, symbol: str, timeframe: str, specs: Sequence[Spec] = (), look: Look | None = None
    ) -> None:
        if missing := [name for name in _NEEDED if name not in table.column_names]:
            raise ParameterError(
                f"a picture needs the column {missing[0]}: the table has {', '.join(table.column_names)}"
            )
        table = table.filter(pa.compute.is_valid(table.column("close")))
        if not 1 <= table.num_rows <= BARS_MOST:
            raise ParameterError(
                f"a picture shows 1 to {BARS_MOST:,} bars, found {table.num_rows:,}: choose another time"
            )
        self.table, self.symbol, self.timeframe, self.look = table, symbol, timeframe, look or Look()
        self.groups: list[Group] = groups_of(specs, table.column_names)

    @cached_property
    def figure(self) -> Any:
        """The matplotlib figure: what else is wanted can be drawn into it."""
        from marketpulse.app.chart.drawing import Frame, draw

        look = self.look
        frame = Frame(self.symbol, self.timeframe, look.theme, look.width, look.height, look.style)
        return draw(self.table, self.groups, frame)

    def png(self) -> bytes:
        from marketpulse.app.chart.drawing import DPI

        out = io.BytesIO()
        self.figure.savefig(out, format="png", dpi=SCALE * DPI, metadata={"Software": "MarketPulse"})
        return out.getvalue()

    def svg(self) -> str:
        """Its letters are shapes, so it looks the same everywhere; the same bars give the same text."""
        import matplotlib

        out = io.StringIO()
        with matplotlib.rc_context({"svg.hashsalt": "marketpulse", "svg.fonttype": "path"}):
            self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "MarketPulse"})
        text = out.getvalue()
        return text[text.index("<svg") :]

    def html(self) -> str:
        """A page of one file: it needs no server and fetches nothing."""
        from marketpulse.app.chart.page import page_of

        return page_of(self)

    def save(self, path: str | Path) -> Path:
        """By the name's ending. Raises ParameterError for another ending, EnvironmentProblem where it cannot be written."""
        path = Path(path)
        check_ending(path)
        writers: dict[str, Callable[[], bytes]] = {
            ".png": self.png,
            ".svg": lambda: self.svg().encode(),
            ".html": lambda: self.html().encode(),
        }
        data = writers[path.suffix.lower()]()
        try:
            path.write_bytes(data)
        except OSError as error:
            raise EnvironmentProblem(f"{path} cannot be written ({error.strerror}): name another place") from None
        return path

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A PNG, which notebooks, their exports and viewers all show."""
        size = {"width": self.look.width, "height": self.look.height}
        return {"image/png": self.png(), "text/plain": repr(self)}, {"image/png": size}

    def __repr__(self) -> str:
        return f"<Picture {self.symbol} {self.timeframe}, {self.table.num_rows:,} bars>"


def check_ending(path: Path) -> None:
    if path.suffix.lower() not in ENDINGS:
        raise ParameterError(f"{path}: end the name with one of {', '.join(ENDINGS)}")
