"""A partition that a worker owns: how much its next worker would have to replay."""

import pytest

from market_rows import config_of
from marketpulse.app.partition import OwnedPartition
from marketpulse.engine.state import new_state


@pytest.mark.parametrize(("records", "rows"), [(3, 30_000), (30_000, 29_000)], ids=["frames", "refused records"])
def test_a_frame_counts_as_its_rows_and_a_refused_record_as_one(records: int, rows: int) -> None:
    owned = OwnedPartition(0, new_state(config_of(("1m",))), 0, 0, None)
    owned.take_in(7, records, rows)
    owned.take_in(9, records, rows)
    assert owned.unsaved == 60_000
    assert (owned.next_offset, owned.moved, owned.muted) == (9, True, False)
