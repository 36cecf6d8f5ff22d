"""Prove what the working tree changes in under a minute: lint, types, and the unit tests that import it.

    python .ci/quick.py [--since COMMIT] [--seconds 55]

What changed is what git says against COMMIT (HEAD by default), new files included. Which tests that concerns follows
from the imports: those of the package by grimp, those of the tests by their syntax. Nearest first: a test of the
changed module itself, then those that reach it through one other module, and so on. When the time is up the rest is
named, and `make test` runs it. mypy looks at the changed modules and at those that import them, beside the tests.
"""

import argparse
import ast
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ("src", "tests", "bench", "docs", ".ci", "requirements/install.py")
TYPED = ("src", "tests", "docs", "requirements/install.py")
Graph = dict[str, set[str]]
"""Importers of each module; a module of the tests goes by its path."""


def main() -> int:
    """Run the three checks; gives 1 when one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--since", default="HEAD", help="the commit to compare the working tree with")
    parser.add_argument("--seconds", type=float, default=55, help="when to stop")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    changed = [path for path in changed_files(options.since) if (ROOT / path).is_file()]
    if not changed:
        print(f"nothing is changed since {options.since}")
        return 0
    failed = run(["ruff", "check", "--quiet", *PYTHON]) | run(["ruff", "format", "--check", "--quiet", *PYTHON])
    importers = graph()
    near = distances([name_of(path) for path in changed if path.endswith(".py")], importers)
    typed = [path for path in map(path_of, (n for n, steps in near.items() if steps <= 1)) if path.startswith(TYPED)]
    types = subprocess.Popen(["mypy", *typed], cwd=ROOT) if typed else None
    files = sorted((n for n in near if n.startswith("tests/unit/") and "/test_" in n), key=lambda n: (near[n], n))
    print(f"{len(changed)} files changed; {len(typed)} to type-check, {len(files)} of unit tests", flush=True)
    late = Deadline(deadline)
    if files:
        failed |= pytest.main(["-q", "-x", "--no-header", "-p", "no:xdist", *files], plugins=[late]) not in (0, 5)
    if types is not None:
        try:
            failed |= types.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            types.kill()
            print("not typed within the time: make lint")
    if late.left:
        print(f"not run within the time: {len(late.left)} files from {late.left[0]} on: make test")
    return int(bool(failed))


def changed_files(since: str) -> list[str]:
    """Paths that differ from the commit, and new ones that git does not ignore."""
    asked = (["diff", "--name-only", "--relative", since], ["ls-files", "--others", "--exclude-standard"])
    answers = (subprocess.run(["git", *a], capture_output=True, text=True, check=True, cwd=ROOT).stdout for a in asked)
    return sorted({line for answer in answers for line in answer.splitlines()})


def run(command: list[str]) -> int:
    return subprocess.run(command, check=False, cwd=ROOT).returncode


def name_of(path: str) -> str:
    """`marketpulse.engine.step` for a module of the package; else the path itself."""
    if not path.startswith("src/"):
        return path
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def path_of(name: str) -> str:
    if name.endswith(".py"):
        return name
    module = Path("src", *name.split("."))
    return str(module / "__init__.py" if (ROOT / module).is_dir() else module.with_suffix(".py"))


def graph() -> Graph:
    """Who imports each module, package and tests together."""
    package = grimp.build_graph("marketpulse", cache_dir=str(ROOT / ".venv" / "grimp"))
    importers: Graph = {name: set(package.find_modules_that_directly_import(name)) for name in package.modules}
    helpers = {path.stem: f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py")}
    for path in (ROOT / "tests").rglob("*.py"):
        if "node_modules" in path.parts or path.name == "conftest.py":  # everything would import what that imports
            continue
        here = str(path.relative_to(ROOT))
        for name in imported(ast.parse(path.read_bytes())):
            importers.setdefault(helpers.get(name, name), set()).add(here)
    return importers


def imported(tree: ast.AST) -> Iterable[str]:
    """Every module that a file may mean: `from a import b` may mean `a` or `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def distances(changed: list[str], importers: Graph) -> dict[str, int]:
    """Each module that the changed ones may break, and through how many imports."""
    near = dict.fromkeys(changed, 0)
    waiting = deque(changed)
    while waiting:
        name = waiting.popleft()
        for importer in importers.get(name, ()):
            if importer not in near:
                near[importer] = near[name] + 1
                waiting.append(importer)
    return near


class Deadline:
    """Ends the tests when the time is up, and notes the files that did not come to their turn."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._files, self.left = deadline, list[str](), list[str]()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._files = list(dict.fromkeys(item.nodeid.partition("::")[0] for item in session.items))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if time.monotonic() > self._deadline and not self.left:
            self.left = self._files[self._files.index(nodeid.partition("::")[0]) + 1 :]

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        if time.monotonic() > self._deadline:
            item.session.shouldstop = "the time is up"


if __name__ == "__main__":
    sys.exit(main())
