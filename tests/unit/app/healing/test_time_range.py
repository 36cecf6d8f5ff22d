"""`heal` takes in the late trades of the time that is asked for, from its first moment on, and not its last."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from marketpulse.app.healing.heal import _Heal
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.query.stored_rows import Wanted
from marketpulse.settings import Settings

NO_LOG, NO_LAKE, NO_CLOCK, NO_CONFIG = (cast(Any, SimpleNamespace()) for _ in range(4))


def test_late_trades_count_from_the_first_moment_asked_for_to_before_the_last_and_until_the_rebuild_began() -> None:
    #        (event time, offset, late)
    trades = [(10, 0, False), (19, 5, True), (20, 6, True), (29, 7, True), (30, 8, True), (25, 9, True)]
    times, offsets, late = zip(*trades, strict=True)
    table = pa.table({"event_time_ns": times, "offset": offsets})
    inputs = LakeInputs("market", 0, table, np.array(late), pa.table({}), {})
    inside = _Heal(Settings(), NO_CONFIG, NO_LOG, NO_LAKE, Wanted(20, 30), NO_CLOCK)._within(inputs, 9)
    assert (inside.trades["offset"].to_pylist(), inside.late.tolist()) == ([0, 6, 7], [False, True, True])
