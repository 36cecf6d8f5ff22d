"""Puts one real mistake at a time into a copy of the checkout, and shows which test catches it (`make mutants`).

1. copy      the checkout into .venv/mutants/tree, times included, so that only the changed room compiles anew
2. apply     one patch of this folder; one that does not apply any more is stale, which is a fault of its own
3. test      first what caught it last time, then its room's unit tests, then everything else that `make test` runs
4. prove     every test that caught something passes without any fault, else it shows nothing
5. write     results.json, and from it the table in README.md

A test catches a fault by failing; an import, a fixture or a compiler that breaks does not count.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seeded_faults.faults import HERE, ROOT, Fault, read_faults

STORE = HERE / "results.json"
WORK = ROOT / ".venv" / "mutants"
TREE, BIN = WORK / "tree", WORK / "python" / "bin"
PACKAGE = "src/marketpulse/"
KINDS = ("unit", "property", "conformance", "integration", "browser", "chaos")
UI_TESTS, UI = "ui/test", "ui: "  # the folder; how the id of a test in it begins
NOT_OURS = {".git", ".venv", "node_modules", "__pycache__", "dist", ".hypothesis", ".pytest_cache", ".mypy_cache"}
LINKED = (".venv", "ui/node_modules", "tests/browser/chromium/node_modules")
BROKEN = re.compile(r"(ImportError|ModuleNotFoundError|SyntaxError|IndentationError|NameError|numba\.)")
TABLE = re.compile(r"(?<=<!-- table -->\n).*(?=<!-- /table -->)", re.DOTALL)
Found = dict[str, Any]  # room, test (None: nothing caught it), seconds


def sources() -> set[str]:
    """The paths of the checkout: what git keeps or would keep, or where there is no git, all that is ours."""
    names = _files_below(ROOT)
    if (ROOT / ".git").exists():
        asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        kept = set(subprocess.run(asked, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0"))
        names = {name for name in names if name in kept or name.startswith(f"{PACKAGE}web/static/")}
    return names


def copy_tree(tests_from: str | None) -> None:
    """Bring the copy up to date; with a commit, its tests instead of today's."""
    TREE.mkdir(parents=True, exist_ok=True)
    names, old_tests = sources(), set()
    if tests_from is not None:
        asked = ["git", "archive", tests_from, "tests", "pyproject.toml", UI_TESTS]
        archive = subprocess.run(asked, cwd=ROOT, capture_output=True, check=True).stdout
        shutil.rmtree(TREE / "tests", ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            old_tests = {member.name for member in tar if member.isfile()}
            tar.extractall(TREE, filter="data")
        names = {name for name in names - old_tests if not name.startswith(("tests/", UI_TESTS))}
    for name in _files_below(TREE) - names - old_tests:
        (TREE / name).unlink()
    for name in names:
        source, target = (ROOT / name).stat(), TREE / name
        facts = target.stat() if target.exists() else None
        if facts is None or (source.st_size, source.st_mtime_ns) != (facts.st_size, facts.st_mtime_ns):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    for name in LINKED:
        if (ROOT / name).exists() and not (TREE / name).is_symlink():
            (TREE / name).symlink_to(ROOT / name)


def put_in(fault: Fault) -> None:
    """The mistake, with a time of its own, which is the same at each run: so are its kernels."""
    for path in fault.changes:
        target, before = TREE / path, (TREE / path).stat().st_mtime_ns
        text = fault.applied(path, target.read_text())
        target.write_text(text)
        later = before + (1 + zlib.crc32(text.encode()) % 1_000_000) * 10**9
        os.utime(target, ns=(later, later))


def make_python() -> None:
    """An interpreter that finds the copy before the checkout, whatever a test puts into PYTHONPATH."""
    if not (BIN / "python").exists():
        venv.EnvBuilder(symlinks=True).create(BIN.parent)
        for tool in (ROOT / ".venv" / "bin").iterdir():
            if not (BIN / tool.name).exists():
                (BIN / tool.name).symlink_to(tool)
        (BIN.parent / "share").symlink_to(ROOT / ".venv" / "share")
        packages = next(BIN.parent.glob("lib/python*/site-packages"))
        (packages / "copy.pth").write_text(f"{TREE / 'src'}\n{sysconfig.get_path('purelib')}\n")


def make_cache(fault: Fault | None) -> Path:
    """A cache of its own, so that the user's kernels stay: links to what is there, and to the kernels that hold."""
    from numba.core.caching import _CacheLocator  # names the folder that a source file's machine code lies in

    from marketpulse.cache import cache_dir

    cache = WORK / "caches" / (fault.name if fault else "no_fault")
    (cache / "kernels").mkdir(parents=True, exist_ok=True)
    for entry in cache_dir().iterdir():
        if entry.name != "kernels" and not (cache / entry.name).exists():
            (cache / entry.name).symlink_to(entry)
    for room in (path for path in (cache_dir() / "kernels").iterdir() if path.is_dir()):
        place = PACKAGE + room.name
        stamps = {checkout: _kernel_stamp(checkout, place) for checkout in (ROOT, TREE)}
        source, target = room / stamps[ROOT], cache / "kernels" / room.name / stamps[TREE]
        if target.exists() or not source.exists():
            continue
        stale = stale_modules(room.name, fault.changes if fault else ())
        inner = _CacheLocator.get_suitable_cache_subpath(str(TREE / place / "x.py"))  # type: ignore[no-untyped-call]
        kernels = [path for path in source.rglob("*.nb[ic]") if path.name.partition(".")[0] not in stale]
        whole = len(kernels) == sum(1 for _ in source.rglob("*.nb[ic]"))
        for path in [*kernels, *(source.glob("*.complete") if whole else ())]:
            name = path.name.replace(stamps[ROOT], stamps[TREE])
            copy = target / name if path.parent == source else target / inner / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, copy)
    return cache


def stale_modules(room: str, changed: Iterable[str]) -> set[str]:
    """The modules of a room whose machine code is made of these files too: they, and what imports them in turn."""
    files = {path.stem: path.read_text() for path in (TREE / PACKAGE / room).glob("*.py")}
    if any(path.startswith((f"{PACKAGE}model/", f"{PACKAGE}compiled")) for path in changed):
        return set(files)
    uses = {
        stem: set(re.findall(rf"^from marketpulse\.{room}(?:\.| import )(\w+)", text, re.M))
        for stem, text in files.items()
    }
    stale, before = {Path(path).stem for path in changed if path.startswith(f"{PACKAGE}{room}/")}, 0
    while len(stale) > before:
        before = len(stale)
        stale |= {stem for stem, used in uses.items() if used & stale}
    return stale


def _kernel_stamp(checkout: Path, room: str) -> str:
    """The name that a checkout's compiled kernels of a room go by."""
    from marketpulse import compiled

    compiled.__file__, compiled._PACKAGE = str(checkout / PACKAGE / "compiled.py"), checkout / PACKAGE
    return compiled._stamp.__wrapped__(checkout / room)


def run_tests(cache: Path, tests: Sequence[str], *, stop: bool = True) -> list[str]:
    """The ids of the tests that failed: of one test or none with `stop`."""
    environment = {
        **os.environ, "PYTHONPATH": str(TREE / "src"), "MARKETPULSE_CACHE_DIR": str(cache),
        "PYTHONPYCACHEPREFIX": str(WORK / "bytecode"), "PYTHONDONTWRITEBYTECODE": "",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    log, report = (WORK / "last.log").open("w+"), WORK / "report.xml"
    npm = [str(ROOT / ".venv" / "bin" / "python"), "-I", "requirements/install.py", "npm", "run"]
    if tests[0].startswith((UI, UI_TESTS)):
        subprocess.run([*npm, "check"], cwd=TREE, env=environment, stdout=log, stderr=log, check=False)
        said = Path(log.name).read_text()
        failed = re.findall(r"^\s*(?:not ok \d+ -|✖) (?!failing)(.+?)(?: \(\d[\d.]*ms\))?$", said, re.MULTILINE)
        return [f"{UI}{name}" for name in dict.fromkeys(failed)]
    if any(test.startswith("tests/browser") for test in tests):  # they look at built pages
        subprocess.run([*npm, "build"], cwd=TREE, env=environment, stdout=log, stderr=log, check=True)
    report.unlink(missing_ok=True)
    command = [str(BIN / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command += ["-o", "junit_family=xunit1", "--ignore=tests/unit/test_seeded_faults.py", *(["-x"] if stop else [])]
    subprocess.run([*command, *tests], cwd=TREE, env=environment, stdout=log, stderr=log, check=False)
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    if not stop and len(cases) < len(tests):
        raise RuntimeError(f"of {len(tests)} tests {len(cases)} were run: {log.name} says why")
    failures = ((case, case.find("failure")) for case in cases)
    return [_id_of(case) for case, why in failures if why is not None and not BROKEN.match(why.get("message", ""))]


def _id_of(case: ElementTree.Element) -> str:
    inside = [name for name in case.get("classname", "").split(".") if name[:1].isupper()]
    return "::".join([case.get("file", ""), *inside, case.get("name", "")])


def stages(fault: Fault, before: Sequence[str]) -> Iterator[list[str]]:
    """What to run, in order of the hope to catch it soon."""
    for test in dict.fromkeys(part for known in before for part in (known, known.split("::")[0])):
        if test.startswith(UI) or (TREE / test.split("::")[0]).exists():  # a renamed test is in the same file, perhaps
            yield [test]
    if any(path.startswith("ui/") for path in fault.changes):
        yield from ([UI_TESTS], ["tests/browser"])
        return
    rooms = {f"tests/unit/{Path(path).parent.relative_to(PACKAGE)}" for path in fault.changes}
    yield [room for room in sorted(rooms) if (TREE / room).is_dir()] or ["tests/unit"]
    yield from ([f"tests/{kind}"] for kind in KINDS)


def catch(fault: Fault, before: Sequence[str]) -> Found:
    """Which test catches it, and what that took: all the tests that ran without catching it included."""
    put_in(fault)
    began, cache = time.monotonic(), make_cache(fault)
    failed = next((found for tests in stages(fault, before) if (found := run_tests(cache, tests))), [None])
    return {"room": fault.room, "test": failed[0], "seconds": round(time.monotonic() - began, 1)}


def prove(caught: Mapping[str, Found]) -> None:
    """A test that fails without any fault too has caught nothing."""
    every = sorted({found["test"] for found in caught.values() if found["test"]})
    parts = ([test for test in every if test.startswith(UI) == ui] for ui in (False, True))
    wrong = {test for part in parts if part for test in run_tests(make_cache(None), part, stop=False)}
    for name, found in caught.items():
        if found["test"] in wrong:
            _say(f"{name}: {found['test']} fails without the fault too")
            found["test"] = None


def save(results: dict[str, dict[str, Found]], side: str, caught: Mapping[str, Found]) -> None:
    """Write results.json, and the table that people read."""
    faults = read_faults()
    results[side] = {n: f for n, f in sorted({**results.get(side, {}), **caught}.items()) if n in faults}
    STORE.write_text(json.dumps(results, indent=1) + "\n")
    rows = ["| Fault | Room | Caught by | Seconds |", "| --- | --- | --- | --- |"]
    for name, fault in faults.items():
        found = results.get("after", {}).get(name, {"test": None, "seconds": "–"})
        test = f"`{found['test']}`" if found["test"] else "nothing"
        rows.append(f"| `{name}`: {fault.sentence} | {fault.room} | {test} | {found['seconds']} |")
    page = HERE / "README.md"
    page.write_text(TABLE.sub(lambda _: "\n".join(rows) + "\n", page.read_text()))


def main() -> int:
    """Run the named faults, or all; 1 when one of them is caught by nothing."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="faults; none: all")
    options.add_argument("--all-tests", action="store_true", help="do not begin with the test on record")
    options.add_argument("--tests-from", metavar="COMMIT", help="take the tests of this commit; the result is `before`")
    given = options.parse_args()
    faults, caught = read_faults(), dict[str, Found]()
    results: dict[str, dict[str, Found]] = json.loads(STORE.read_text()) if STORE.exists() else {}
    side, other = ("before", "after") if given.tests_from else ("after", "before")
    make_python()
    for name in given.names or faults:
        copy_tree(given.tests_from)
        known = [results.get(s, {}).get(name, {}).get("test") for s in (side, other) if not given.all_tests]
        found = caught[name] = catch(faults[name], [test for test in known if test])
        _say(f"{name:48} {found['seconds']:7.1f} s  {found['test'] or 'CAUGHT BY NOTHING'}")
        save(results, side, caught)
    copy_tree(given.tests_from)
    prove(caught)
    save(results, side, caught)
    return 1 if any(found["test"] is None for found in caught.values()) else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _files_below(top: Path) -> set[str]:
    found: set[str] = set()
    for directory, below, names in os.walk(top):
        below[:] = [name for name in below if name not in NOT_OURS and not (Path(directory) / name).is_symlink()]
        found |= {(Path(directory) / name).relative_to(top).as_posix() for name in names if name not in NOT_OURS}
    return found


if __name__ == "__main__":
    sys.exit(main())
