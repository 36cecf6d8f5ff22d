"""`load` without a broker: what it stores, says and refuses."""

from pathlib import Path

import pytest

from marketpulse.app.cli.load import lines
from marketpulse.app.loading.load import Request, Summary, load
from marketpulse.errors import Fatal
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Mapping, Settings

T0 = 1_767_366_000
pytestmark = pytest.mark.usefixtures("kernels")


def settings(home: Path) -> Settings:
    return Settings(data_dir=home, engine={"timeframes": ["1m", "1h"], "indicators": "sma(2)"})


def trades(path: Path, count: int = 300, more: str = "") -> Path:
    rows = "".join(f"{T0 + n},{'AB'[n % 2]},{10 + n % 7},{n % 5},x{n}\n" for n in range(count))
    path.write_text("time,symbol,price,size,trade_id\n" + rows + more)
    return path


def asked(home: Path, sql: str) -> list[dict[str, object]]:
    query = LakeQuery(settings(home))
    try:
        return list(query.run(sql).to_pylist())
    finally:
        query.close()


def test_a_file_is_loaded_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    request = Request([str(trades(tmp_path / "t.csv"))], lake_only=True)
    first = load(settings(tmp_path / "d"), request)
    assert (first.outcome, first.rows, first.symbols, first.stored["trades"]) == ("loaded", 300, 2, 300)
    second = load(settings(tmp_path / "d"), request)
    assert second.outcome == "nothing"
    assert lines(second) == [f"{first.topic} is in the lake already, whole: nothing was changed."]
    assert asked(tmp_path / "d", "SELECT count(*) AS n FROM trades") == [{"n": 300}]
    assert not (tmp_path / "d" / "load").exists()


def test_the_bars_at_the_end_stay_open_unless_the_data_is_complete(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv")
    open_ended = load(settings(tmp_path / "a"), Request([str(path)], lake_only=True))
    complete = load(settings(tmp_path / "b"), Request([str(path)], lake_only=True, complete=True))
    assert open_ended.forming == 4  # two symbols, two timeframes
    assert complete.forming == 0
    assert complete.stored["bars"] == open_ended.stored["bars"] + 4
    assert any("4 bars are open" in line for line in lines(open_ended))


def test_broken_rows_are_dead_letters_and_strict_stops_before_anything_is_stored(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv", more=f"{T0},A,cheap,1,y\n{T0},A,1e19,1,z\n")
    with pytest.raises(Fatal, match="--strict"):
        load(settings(tmp_path / "s"), Request([str(path)], lake_only=True, strict=True))
    found = load(settings(tmp_path / "d"), Request([str(path)], lake_only=True))
    assert found.refused == {"wrong_type": 1, "bad_price": 1}
    letters = asked(tmp_path / "d", 'SELECT topic, "offset", reason, value FROM dead_letters ORDER BY "offset"')
    assert [(r["topic"], r["offset"], r["reason"]) for r in letters] == [
        (found.topic, 302, "wrong_type"), (found.topic, 303, "bad_price"),
    ]  # fmt: skip
    assert any("1 wrong_type" in line for line in lines(found))


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv")
    load(settings(tmp_path / "d"), Request([str(path)], lake_only=True))
    trades(path, 301)
    with pytest.raises(Fatal, match="--as NAME"):
        load(settings(tmp_path / "d"), Request([str(path)], lake_only=True))
    named = load(settings(tmp_path / "d"), Request([str(path)], lake_only=True, name="more.csv"))
    assert named.topic.startswith("file:more.csv@")


def test_the_same_contents_read_in_another_way_are_refused(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv")
    load(settings(tmp_path / "d"), Request([str(path)], lake_only=True))
    with pytest.raises(Fatal, match="other settings"):
        load(settings(tmp_path / "d"), Request([str(path)], Mapping(venue="XNYS"), lake_only=True))


def test_what_was_done_is_told() -> None:
    found = Summary("file:a@1.2", rows=10, symbols=1, cut=3, duplicates=2, resumed_at=4, handed_over=True, forming=1)
    text = "\n".join(lines(found))
    for words in ("Left out 3", "Dropped 2", "behind row 4", "The pipeline goes on", "1 bars are open"):
        assert words in text
