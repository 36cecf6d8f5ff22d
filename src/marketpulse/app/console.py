"""What `up` shows: a first screen, one line that moves, and what happens to the children.

On a terminal the line moves in place; elsewhere (a file, CI) a plain line is printed now and then.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from marketpulse import __version__
from marketpulse.app.disk import lossy
from marketpulse.app.exit_codes import GOOD, WRONG_USAGE
from marketpulse.app.supervisor import Event

PLAIN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Opening:
    """What runs where."""

    url: str
    bootstrap_servers: str
    topics: Sequence[str]
    sources: Sequence[str]
    data_dir: Path
    default_sources: bool
    retention: str  # of the lake; "" without one

    def lines(self) -> list[tuple[str, str]]:
        """Label and text, top to bottom."""
        feeding = ", ".join(self.sources) or "nothing: name sources under [sources], or use `marketpulse produce`"
        if self.sources and self.default_sources:
            feeding += " (bundled; name your own under [sources])"
        kept = [("Lake", f"keeps {self.retention}")] if self.retention else []
        return [
            ("Page", self.url),
            ("Kafka", self.bootstrap_servers),
            ("Topics", ", ".join(self.topics)),
            ("Feeding", feeding),
            ("Data", str(self.data_dir)),
            *kept,
            ("Logs", str(self.data_dir / "logs")),
            ("Ask", 'marketpulse sql "SELECT * FROM bars LIMIT 5"'),
            ("Stop", "Ctrl-C"),
        ]


@dataclass(frozen=True, slots=True)
class Status:
    """One moment. `health`: what the page's server says, None before it answers."""

    starting: Sequence[str]
    troubled: Sequence[str]
    restarts: int
    health: dict[str, Any] | None

    def text(self) -> str:
        """The line, such as `212 events/s · 31 bars/s · 6.1 ms p50, 18 ms p99 · lag 0 · dead letters 0`."""
        parts: list[str] = []
        if self.troubled:
            parts.append("in trouble: " + ", ".join(self.troubled))
        if self.starting:
            parts.append("starting: " + ", ".join(self.starting))
        if self.health is not None:
            parts += health_parts(self.health)
        if self.restarts:
            parts.append(f"restarts {self.restarts}")
        return " · ".join(parts)


def health_parts(health: dict[str, Any]) -> list[str]:
    """The page's figures in words; what is not known yet is left out."""
    parts = [f"{health['status']}: {health['reasons'][0]['what'].removesuffix('.')}"] if health["reasons"] else []
    if health["broker_reachable"] is False:
        return parts or ["the broker does not answer"]
    for key, words in (("events_per_s", "events/s"), ("bars_per_s", "bars/s")):
        if health.get(key) is not None:
            parts.append(f"{health[key]:,.0f} {words}")
    if health.get("latency_p50_ms") is not None and health.get("latency_p99_ms") is not None:
        parts.append(f"{latency(health['latency_p50_ms'])} p50, {latency(health['latency_p99_ms'])} p99")
    for key, words in (("lag_records", "lag"), ("dead_letters", "dead letters")):
        if health.get(key) is not None:
            parts.append(f"{words} {health[key]:,}")
    return parts


def latency(milliseconds: float) -> str:
    """`6.1 ms`, `18 ms`, `2.4 s`."""
    if milliseconds >= 1_000:
        return f"{milliseconds / 1_000:,.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


class Screen(Protocol):
    """Where `up` tells what happens."""

    def starting(self, names: Sequence[str]) -> None: ...
    def opened(self, opening: Opening) -> None: ...
    def event(self, event: Event) -> None: ...
    def status(self, status: Status) -> None: ...
    def stopping(self) -> None: ...
    def closed(self, code: int, data_dir: Path) -> None: ...


def open_screen(out: TextIO | None = None) -> Screen:
    """A screen that fits what standard output is."""
    out = out or sys.stdout
    return TerminalScreen() if out.isatty() else PlainScreen(out)


class PlainScreen:
    """Lines of text, few enough for a log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next_status_at = 0.0
        self._opened = False

    def starting(self, names: Sequence[str]) -> None:
        self._print(f"MarketPulse {__version__} starts: {', '.join(names)}")

    def opened(self, opening: Opening) -> None:
        for label, text in opening.lines():
            self._print(f"  {label:<8} {text}")
        self._opened = True

    def event(self, event: Event) -> None:
        if not (self._opened and event.what == "is ready"):
            self._print(f"{event.child} {event.what}")
        for line in event.details if event.bad else ():
            self._print(f"    | {line}")

    def status(self, status: Status) -> None:
        now = time.monotonic()
        if self._opened and now >= self._next_status_at and (text := status.text()):
            self._next_status_at = now + PLAIN_EVERY_S
            self._print(text)

    def stopping(self) -> None:
        self._print("stopping: sources, engine, readers, broker")

    def closed(self, code: int, data_dir: Path) -> None:
        self._print(farewell(code, data_dir))

    def _print(self, text: str) -> None:
        with lossy():
            self._out.write(text + "\n")
            self._out.flush()


class TerminalScreen:
    """A panel, a line that moves in place, and events above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        self._console = Console()
        self._live = Live(Text(""), console=self._console, refresh_per_second=4, transient=True)
        self._opened = False

    def starting(self, names: Sequence[str]) -> None:
        self._console.print(f"[bold]MarketPulse[/] {__version__}", highlight=False)
        self._live.start()
        self._console.show_cursor(True)  # a second Ctrl-C ends us at once: leave no terminal without one
        self._show("starting: " + ", ".join(names))

    def opened(self, opening: Opening) -> None:
        from rich.panel import Panel
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        for label, text in opening.lines():
            style = "bold cyan" if label == "Page" else ""
            grid.add_row(self._text(label, style="dim"), self._text(text, style=style, overflow="fold"))
        self._console.print(Panel(grid, border_style="dim", expand=False))
        self._opened = True

    def event(self, event: Event) -> None:
        if not event.bad and self._opened and event.what == "is ready":
            return
        mark, style = ("✗", "red") if event.bad else ("✓", "green")
        line = self._text.assemble((f"{mark} ", style), (event.child, "bold"), f" {event.what}")
        self._console.print(line)
        for detail in event.details if event.bad else ():
            self._console.print(self._text(f"    {detail}", style="dim"))

    def status(self, status: Status) -> None:
        self._show(status.text(), "red" if status.troubled else "")

    def stopping(self) -> None:
        self._show("stopping: sources, engine, readers, broker …")

    def closed(self, code: int, data_dir: Path) -> None:
        self._live.stop()
        self._console.print(self._text(farewell(code, data_dir), style="red" if code else ""))

    def _show(self, text: str, style: str = "") -> None:
        self._live.update(self._text(f"▸ {text}", style=style or "dim", overflow="ellipsis", no_wrap=True))


def farewell(code: int, data_dir: Path) -> str:
    """The last line, by the exit code."""
    if code == GOOD:
        return f"Stopped. Everything is kept in {data_dir}; the next start goes on from there."
    if code == WRONG_USAGE:
        return "Stopped: change what is said above, then start again."
    return f"Stopped, but something had failed: see the logs in {data_dir / 'logs'}."
