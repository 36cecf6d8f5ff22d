"""What the lake knows a load by, and what it refuses because of it."""

from pathlib import Path

import pytest

from marketpulse.app.loading.identity import WHOLE, Identity, check_unchanged, identify
from marketpulse.errors import Fatal


def file(folder: Path, name: str, text: str = "a") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_same_file_read_in_the_same_way_is_the_same_load(tmp_path: Path) -> None:
    path = file(tmp_path, "trades 2023-01.csv")
    one = identify([path], ["x"])
    assert one == identify([path], ["x"])
    assert one.topic.startswith("file:trades_2023-01.csv@")
    assert identify([path], ["y"]).settings != one.settings
    assert identify([path], ["x"], "mine").name == "file:mine"
    assert identify([path, file(tmp_path, "b.csv")], ["x"]).name == "file:trades_2023-01.csv+1"


@pytest.mark.parametrize(("stored", "says"), [
    (Identity("file:a.csv", "other", "s1"), "other contents"),
    (Identity("file:a.csv", "c1", "s2"), "other settings"),
    (Identity("file:b.csv", "c1", "s1"), "another name"),
])  # fmt: skip
def test_what_would_store_rows_twice_is_refused(stored: Identity, says: str) -> None:
    with pytest.raises(Fatal, match=says):
        check_unchanged(Identity("file:a.csv", "c1", "s1"), {(stored.topic, 0): WHOLE, ("market", 0): 7})


def test_other_loads_and_the_log_are_no_hindrance() -> None:
    others = {("market", 3): 5, ("file:b.csv@c2.s1", 0): WHOLE, ("file:a.csv@c1.s1", 2): 40}
    check_unchanged(Identity("file:a.csv", "c1", "s1"), others)
