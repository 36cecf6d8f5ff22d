"""Rows are durable in the store before Kafka hears that they were read: a kill between the two loses nothing."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.sink import _Storing
from marketpulse.errors import Fatal
from marketpulse.telemetry import Health


@pytest.mark.parametrize("fault", [None, Fatal("the store refuses")])
def test_offsets_are_committed_behind_the_rows_and_not_without_them(tmp_path: Path, fault: Fatal | None) -> None:
    done: list[str] = []

    def flush() -> None:
        done.append("rows")
        if fault is not None:
            raise fault

    reader: Any = SimpleNamespace(poll=lambda _: [], commit=lambda: done.append("offsets"))
    sink: Any = SimpleNamespace(flush=flush, name="any", waiting_rows=1)
    life = Lifecycle("sink", threading.Event(), Health(), tmp_path / "sink.json", metrics_port=0)
    storing = _Storing(reader, sink, life, cast(Any, None))
    if fault is None:
        storing.finish()
        assert done == ["rows", "offsets"]
    else:
        with pytest.raises(Fatal, match="the store refuses"):
            storing.finish()
        assert done == ["rows"]
