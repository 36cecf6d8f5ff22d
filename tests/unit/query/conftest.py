"""What several tests of queries share."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lake_store import LakeRows, store_real_rows
from marketpulse.query.desk import LakeDesk
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, sql={"memory_limit_mb": 256, "timeout_s": 60})


@pytest.fixture
def lake(settings: Settings) -> LakeRows:
    return LakeRows(settings)


@pytest.fixture
def query(settings: Settings) -> Iterator[LakeQuery]:
    with closing(LakeQuery(settings)) as query:
        yield query


@pytest.fixture(scope="module")
def real_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    """Over a lake with the bundled real prices."""
    with closing(LakeDesk(store_real_rows(tmp_path_factory.mktemp("real")))) as desk:
        yield desk
