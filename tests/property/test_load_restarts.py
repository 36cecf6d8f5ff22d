"""A load gives the same lake however its rows are cut, wherever it dies, and in whatever order they stand in the file."""

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
    second, symbol, price, kind = row
    head = {"timestamp": T0 + second * 10**9, "symbol": symbol}
    if kind == "quote":
        return json.dumps({**head, "bid": price, "bid_size": 1, "ask": price + 1, "ask_size": 1})
    return json.dumps({**head, "price": -1 if kind == "bad" else price, "size": n % 4, "trade_id": f"{n}"})


def run(home: Path, file: Path, stretch: int, dies_at: int | None = None) -> None:
    engine = {"timeframes": ["1s", "1m"], "indicators": "sma(2),spread"}
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
        loading.load(settings, loading.Request([str(file)], lake_only=True, complete=True))


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
        run(home / "whole", file, 1_000)
        for at in deaths:
            with suppress(Died):
                run(home / "cut", file, stretch, at)
        run(home / "cut", file, stretch)
        assert lake(home / "cut") == (expected := lake(home / "whole"))
        assert len(expected["trades"]) == sum(row[3] == "trade" for row in rows)
        assert len(expected["dead_letters"]) == sum(row[3] == "bad" for row in rows)
