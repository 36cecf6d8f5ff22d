"""Name what failed, and fail when an integration, browser or chaos test was skipped or none of a kind ran.

python .ci/verdict.py junit.xml
"""

import sys
import xml.etree.ElementTree as ET  # our own pytest wrote the file
from collections import Counter

MUST_RUN = ("tests.integration", "tests.browser", "tests.chaos")


def main(path: str) -> int:
    ran: Counter[str] = Counter()
    skipped: list[str] = []
    for case in ET.parse(path).iter("testcase"):
        for what in (*case.findall("failure"), *case.findall("error")):
            why = " ".join((what.get("message") or "").split())[:200]
            print(f"{what.tag}: {case.get('classname')}::{case.get('name')}: {why}")
        kind = next((kind for kind in MUST_RUN if case.get("classname", "").startswith(kind)), None)
        if kind is None:
            continue
        mark = case.find("skipped")
        if mark is not None and mark.get("type") != "pytest.xfail":
            skipped.append(f"{case.get('classname')}::{case.get('name')}: {mark.get('message')}")
        else:
            ran[kind] += 1
    for line in skipped:
        print(f"skipped, but must run: {line}")
    missing = [kind for kind in MUST_RUN if not ran[kind]]
    for kind in missing:
        print(f"no test of {kind} ran")
    return 1 if skipped or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
