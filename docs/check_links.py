"""Checks that every relative link of the documentation leads to a file, and to a heading that is in it.

    python docs/check_links.py        # prints `file:line: link` for each broken one, and exits with 1

An anchor is GitHub's: lower case, without punctuation, a hyphen for each space, `-1` … behind one that is there already.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"\]\(<?([^\s()<>]+)>?(?:\s+\"[^\"]*\")?\)")
CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)+\1")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines outside of code blocks."""
    in_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a page's headings."""
    seen: Counter[str] = Counter()
    for _, line in text_lines(path):
        if heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            seen[re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")] += 1
    return frozenset(f"{name}-{i}" if i else name for name, count in seen.items() for i in range(count))


def broken_links(path: Path) -> Iterator[str]:
    """Yield a line for each link of the page that leads nowhere."""
    for number, line in text_lines(path):
        for link in LINK.findall(CODE_SPAN.sub("", line)):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                yield f"{path.relative_to(ROOT)}:{number}: {link}"


if __name__ == "__main__":
    pages = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [line for page in pages for line in broken_links(page)]
    sys.exit("\n".join(broken) or 0)
