"""The card as a person reads it in a terminal."""

import pytest

from market_rows import trade
from marketpulse.app.scoring.processes import with_processes
from marketpulse.app.scoring.text import duration, percent, table
from score_rows import card_of


@pytest.mark.parametrize(
    ("ms", "said"),
    [(None, "-"), (0.4, "0 ms"), (912.3, "912 ms"), (4_200, "4.2 s"), (90_000, "1.5 min"), (7.2e6, "2 h")],
)
def test_a_length_of_time_has_a_unit(ms: float | None, said: str) -> None:
    assert duration(ms) == said


@pytest.mark.parametrize(("share", "said"), [(None, "-"), (1.0, "100 %"), (0.9999, "99.9 %"), (0.0, "0 %")])
def test_only_all_is_a_hundred_percent(share: float | None, said: str) -> None:
    assert percent(share) == said


def test_each_source_has_a_line_and_all_columns_are_aligned() -> None:
    told = {
        "type": "gap",
        "symbol": "AAA",
        "source": "a",
        "event_time_ns": 0,
        "from_id": "1",
        "to_id": "3",
        "trades": 3,
        "state": "healed",
    }
    rows = [(trade("AAA", 3_600.0, 1.0, 1.0, name), 3_600.0) for name in ("a", "another")]
    lines = table(with_processes(card_of([*rows, (told, 3_600.0)]).sources(), None, {}))
    assert len(lines) == 3
    assert lines[1].startswith("a        ")
    assert "3: 3 healed" in lines[1]
    assert {line[lines[0].index("state") :][:4] for line in lines[1:]} == {"live"}
