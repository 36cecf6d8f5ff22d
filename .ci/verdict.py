"""Say what the tests' run came to and what it cost, and fail when a test that must run did not.

    python .ci/verdict.py junit.xml [--keep]

Prints each failure in one line, the 40 slowest cases, the seconds by folder and by kind. A case's seconds
include its set-up and tear-down, so the first user of a shared broker pays for its start. Fails when an
integration, browser or chaos test was skipped, or when none of a kind ran. `--keep` adds the totals to
bench/results/tests.json, the history of what the tests cost.
"""

import json
import os
import platform
import subprocess
import sys
import xml.etree.ElementTree as ET  # our own pytest wrote the file
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ROOT / "bench" / "results" / "tests.json"
MUST_RUN = ("integration", "browser", "chaos")
SLOWEST = 40


def main(path: str, keep: bool) -> int:
    """Print the report of one run; gives the exit code."""
    suite = next(ET.parse(path).iter("testsuite"))
    ran: Counter[str] = Counter()
    skipped: list[str] = []
    by_case: dict[str, float] = {}
    by_folder: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for case in suite.iter("testcase"):
        module = case.get("classname", "").removeprefix("tests.")
        name = f"{module.replace('.', '/')}::{case.get('name')}"
        for what in (*case.findall("failure"), *case.findall("error")):
            print(f"{what.tag}: {name}: {' '.join((what.get('message') or '').split())[:200]}")
        kind, _, _ = module.partition(".")
        seconds = float(case.get("time", 0))
        by_case[name] = by_case.get(name, 0.0) + seconds
        by_kind[kind] += seconds
        by_folder[str(Path(module.replace(".", "/")).parent)] += seconds
        mark = case.find("skipped")
        if mark is None or mark.get("type") == "pytest.xfail":
            ran[kind] += 1
        elif kind in MUST_RUN:
            skipped.append(f"{name}: {mark.get('message')}")
    print_seconds(f"The {SLOWEST} slowest cases", sorted(by_case.items(), key=lambda item: -item[1])[:SLOWEST])
    print_seconds("By folder", by_folder.most_common())
    print_seconds("By kind", by_kind.most_common())
    wall = float(suite.get("time", 0))
    print(f"{sum(ran.values())} cases took {sum(by_kind.values()):.0f} s in {wall:.0f} s by the clock.")
    if keep:
        add_to_history(wall, ran, by_kind)
    for line in skipped:
        print(f"skipped, but must run: {line}")
    missing = [kind for kind in MUST_RUN if not ran[kind]]
    for kind in missing:
        print(f"no test of {kind} ran")
    return 1 if skipped or missing else 0


def print_seconds(title: str, rows: list[tuple[str, float]]) -> None:
    """A title, and one line of seconds and name for each row."""
    print(f"\n{title}:")
    for name, seconds in rows:
        print(f"{seconds:8.1f} s  {name}")


def add_to_history(wall: float, ran: Counter[str], by_kind: Counter[str]) -> None:
    """Append this run's totals to bench/results/tests.json."""
    rows = json.loads(HISTORY.read_text()) if HISTORY.is_file() else []
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    rows.append(
        {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            "commit": described.stdout.strip(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "wall_s": round(wall),
            "cases": dict(sorted(ran.items())),
            "seconds": {kind: round(seconds) for kind, seconds in sorted(by_kind.items())},
        }
    )
    HISTORY.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--keep" in sys.argv[2:]))
