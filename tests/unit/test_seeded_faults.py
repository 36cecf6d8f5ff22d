"""The seeded faults fit the code as it is today, and each has a test on record that catches it (`make mutants`)."""

import json
from pathlib import Path

import pytest

from seeded_faults.faults import HERE, ROOT, StalePatch, read_fault, read_faults

FAULTS = read_faults()
ROOMS = {"engine", "indicators", "alerts", "kafka client", "kafka codec", "sources", "sinks", "query", "web", "ui", "app",
         "settings", "failover", "catalog"}  # fmt: skip
PATCH = """Fault: a word is missing.
Room: engine

--- a/src/marketpulse/some.py
+++ b/src/marketpulse/some.py
@@ -10,3 +10,2 @@
 first
-second
 third
"""


@pytest.mark.parametrize("name", FAULTS)
def test_patch_changes_lines_that_are_there_once(name: str) -> None:
    fault = FAULTS[name]
    assert fault.changes
    for path in fault.changes:
        text = (ROOT / path).read_text()
        assert fault.applied(path, text) != text


def test_every_room_has_faults_and_each_stands_in_the_table_and_is_caught_by_a_test_on_record() -> None:
    assert {fault.room for fault in FAULTS.values()} == ROOMS
    results = json.loads((HERE / "results.json").read_text())
    for side in ("before", "after"):
        assert set(results[side]) == set(FAULTS), side
    assert [name for name, found in results["after"].items() if not found["test"]] == []
    page = Path(HERE / "README.md").read_text()
    assert [name for name in FAULTS if f"| `{name}`: " not in page] == []


def test_patch_goes_in_wherever_its_lines_stand_and_is_stale_where_they_do_not() -> None:
    fault = read_fault("word_is_missing", PATCH)
    path = "src/marketpulse/some.py"
    assert (fault.sentence, fault.room) == ("a word is missing.", "engine")
    assert fault.applied(path, "new\nfirst\nsecond\nthird\nlast\n") == "new\nfirst\nthird\nlast\n"
    for text in ("first\nthird\n", "first\nsecond\nthird\n" * 2):
        with pytest.raises(StalePatch, match=r"word_is_missing: src/marketpulse/some\.py holds"):
            fault.applied(path, text)
