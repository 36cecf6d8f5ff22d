"""What the rooms of `app` share: a place of one's own, and a lake of real days that is only read."""

from pathlib import Path

import pytest

from lake_store import store_real_rows


@pytest.fixture(scope="session")
def real_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a lake with the bundled days: to look at, never to write to."""
    return store_real_rows(tmp_path_factory.mktemp("lake")).data_dir


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a data directory to be made in it, and no broker or Java in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(tmp_path / "data"))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def beside_the_lake(own_place: Path, real_lake: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, whose settings name the lake of real days."""
    monkeypatch.setenv("MARKETPULSE_DATA_DIR", str(real_lake))
    return own_place
