"""What `verify` found, as a person reads it and as a program does."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from marketpulse.app.receipts.compare import Difference
from marketpulse.app.receipts.report import Report, Tally
from marketpulse.app.receipts.time_text import show_time

SHOWN = 20


def lines(report: Report, shown: int = SHOWN) -> Iterator[str]:
    """The tally of each table, the notes, the first differences, and the verdict."""
    for table, tally in report.tallies.items():
        yield f"{table:<11} {_tally(tally)}"
    for note in report.notes:
        yield f"note: {note}"
    if report.not_computed:
        yield f"note: stored, but not computed by this configuration: {', '.join(sorted(report.not_computed))}"
    if not report.drift:
        yield "Every checked row has the bits that its inputs give."
        return
    for difference in report.differences[:shown]:
        yield f"differs: {difference_text(difference)}"
    if len(report.differences) > shown:
        yield "… and more: --limit shows them"
    yield f"{report.drift:,} rows differ."


def difference_text(found: Difference) -> str:
    """One difference: the row, the column, and both values."""
    which = f"{found.timeframe} {found.rule}" if found.rule else found.timeframe
    row = f"{found.table} {found.symbol} {which} {show_time(found.open_time_ns)} revision {found.revision}"
    if found.column:
        return f"{row}: {found.column} is stored as {_shown(found.stored)}, recomputed {_shown(found.recomputed)}"
    if found.stored is not None:
        return f"{row}: is stored, and nothing gives it"
    return f"{row}: is not stored, though later rows are"


def as_object(report: Report) -> dict[str, Any]:
    """The whole report for programs."""
    return {
        "equal": not report.drift,
        "drift_rows": report.drift,
        "tables": {table: asdict(tally) for table, tally in report.tallies.items()},
        "notes": report.notes,
        "not_computed": sorted(report.not_computed),
        "differences": [asdict(difference) for difference in report.differences],
    }


def _tally(tally: Tally) -> str:
    parts = [f"{tally.stored:,} stored rows: {tally.same:,} the same to the bit"]
    if tally.from_lake:
        parts.append(f"{tally.from_lake:,} of them by the lake's trades")
    named = (("differ", tally.differing), ("missing", tally.missing), ("given by nothing", tally.extra),
             ("not checked", tally.unchecked))  # fmt: skip
    parts += [f"{count:,} {name}" for name, count in named if count]
    return ", ".join(parts)


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)
