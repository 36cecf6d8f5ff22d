"""A load gives the same lake however its rows are cut, wherever it dies, and over however many files and loads they are spread."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from marketpulse.app.loading import load as loading
from marketpulse.app.loading import storing
from marketpulse.model.tables import TABLES
from marketpulse.ports import Sink
from marketpulse.query.duck import LakeQuery
from marketpulse.query.stored_rows import StoredRows
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sources import history

T0 = 1_767_366_000 * 10**9
Put = tuple[int, str, int, str]

ROWS = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from("ABCDE"), st.integers(1, 20), st.sampled_from(["trade", "quote", "bad"])),
    min_size=8, max_size=60,
)  # fmt: skip


class Died(BaseException):
    """The process is gone: nothing is caught and nothing is tidied up."""


class Dying:
    """A sink whose process dies at its n-th write or flush."""

    def __init__(self, sink: Sink, calls: int) -> None:
        self._sink, self._left = sink, calls

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush"):
            self._left -= 1
            if self._left < 0:
                raise Died
        return getattr(self._sink, name)


def as_line(n: int, row: Put) -> str:
    """Trades with an id and without, quotes, a bar of a second with its end, and what cannot be used."""
    second, symbol, price, kind = row
    head = {"timestamp": T0 + second * 10**9 + n, "symbol": symbol}
    if kind == "quote":
        return json.dumps({**head, "bid": price, "bid_size": 1, "ask": price + 1, "ask_size": 1})
    named = {"trade_id": f"{n}"} if n % 3 else {}
    return json.dumps({**head, "price": -1 if kind == "bad" else price, "size": n % 4, **named})


def run(home: Path, files: list[Path], stretch: int, dies_at: int | None = None) -> None:
    engine = {
        "timeframes": ["3t", "1s", "1m"], "indicators": "sma(2),ema(3),spread",
        "alerts": [{"name": "high", "expression": "close > 10", "timeframe": "1s"}],
    }  # fmt: skip
    settings = Settings(data_dir=home, kafka={"partitions": 2}, engine=engine)

    def opened(at: Settings, which: str) -> Any:
        sink = open_sink(at, which)
        return sink if dies_at is None else Dying(sink, dies_at)

    with (
        patch.object(loading, "stretches", lambda runs: history.stretches(runs, stretch)),
        patch.object(history, "_SAMPLE", 1),
        patch.object(storing, "_WAITING_ROWS", 10),
        patch.object(loading, "open_sink", opened),
    ):
        loading.load(settings, loading.Request([*map(str, files)], lake_only=True, complete=True))


def lake(home: Path) -> dict[str, list[str]]:
    stored = StoredRows(Settings(data_dir=home))
    rows = {table: stored.whole(table).to_pylist() for table in TABLES}
    return {table: sorted(json.dumps(row, default=str, sort_keys=True) for row in of) for table, of in rows.items()}


@pytest.mark.usefixtures("kernels")
@examples(full=20)
@given(rows=ROWS, stretch=st.integers(1, 40), deaths=st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_the_lake_is_the_same_wherever_a_load_is_cut_or_dies(rows: list[Put], stretch: int, deaths: list[int]) -> None:
    rows = [(1, "A", 5, "trade"), *rows]
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder), Path(folder) / "rows.jsonl"
        file.write_text("\n".join(as_line(n, row) for n, row in enumerate(rows)) + "\n")
        run(home / "whole", [file], 1_000)
        for at in deaths:
            with suppress(Died):
                run(home / "cut", [file], stretch, at)
        run(home / "cut", [file], stretch)
        assert lake(home / "cut") == (expected := lake(home / "whole"))
        assert len(expected["trades"]) == sum(row[3] == "trade" for row in rows)
        assert len(expected["dead_letters"]) == sum(row[3] == "bad" for row in rows)


def current(home: Path) -> dict[str, list[str]]:
    """What readers see, but for where it came from and how often it was revised."""
    of_origin = "topic,partition,offset,row,receipt,revision,late,was,message"
    query, found = LakeQuery(Settings(data_dir=home)), {}
    for view in ("trades", "quotes", "bars", "indicators", "alerts"):
        rows = query.run(f"SELECT * FROM {view}").to_pylist()  # noqa: S608  (our own name)
        kept = [{name: value for name, value in row.items() if name not in of_origin.split(",")} for row in rows]
        found[view] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    query.close()
    return found


@pytest.mark.usefixtures("kernels")
@examples(full=20)
@given(rows=ROWS, stretch=st.integers(15, 60), dies_at=st.integers(0, 30), data=st.data())
def test_any_number_of_loads_in_any_order_is_one_load_of_all_files(
    rows: list[Put], stretch: int, dies_at: int, data: Any
) -> None:
    rows = [*rows, (91, "A", 5, "trade")]
    part = st.sets(st.integers(0, len(rows) - 2), min_size=1)
    parts = data.draw(st.tuples(part, part), label="the rows of each file")
    with tempfile.TemporaryDirectory() as folder:
        home, files = Path(folder), [Path(folder) / f"{number}.jsonl" for number in range(len(parts))]
        for file, own in zip(files, parts, strict=True):
            file.write_text("\n".join(as_line(n, rows[n]) for n in sorted(own | {len(rows) - 1})) + "\n")
        run(home / "at once", files, 1_000)
        with suppress(Died):
            run(home / "one by one", files[-1:], stretch, dies_at)
        for file in files:
            run(home / "one by one", [file], stretch)
        assert current(home / "one by one") == current(home / "at once")
