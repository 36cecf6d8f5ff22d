"""Every lock file pins by hash and names no host (docs/decisions/001-locks-without-hosts.md)."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON_LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
NPM_LOCKS = [ROOT / place / "package-lock.json" for place in ("ui", "tests/browser/chromium")]


def test_all_locks_are_looked_at_and_what_runs_is_what_is_tested() -> None:
    assert {path.stem for path in PYTHON_LOCKS} == {"build", "dev", "java", "node", "run", "spark", "uv"}
    assert all(path.is_file() for path in NPM_LOCKS)

    def versions(name: str) -> dict[str, str]:
        pairs = re.findall(r"^([a-z0-9_.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
        return dict(pairs)

    run, dev = versions("run.txt"), versions("dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("path", PYTHON_LOCKS, ids=lambda path: path.name)
def test_a_python_lock_has_a_hash_for_every_package_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE | re.IGNORECASE)[1:]
    assert packages
    for package in packages:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==[^\s;]+", package), package
        assert "--hash=sha256:" in package, package


@pytest.mark.parametrize("path", NPM_LOCKS, ids=lambda path: path.parent.name)
def test_an_npm_lock_has_a_hash_for_every_package_and_no_address(path: Path) -> None:
    packages = json.loads(path.read_text())["packages"]
    for name, package in packages.items():
        if name == "":
            continue
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
