"""JSON of other people: lines, arrays, one object a file, many in one record; faults one by one."""

import json
from pathlib import Path
from typing import Any

import pytest

from marketpulse.errors import Fatal
from marketpulse.sources.json_rows import from_records, read_json


def read(
    path: Path, data: bytes, block_bytes: int = 1 << 20
) -> tuple[list[dict[str, Any]], list[tuple[int, bytes]], list[int]]:
    """(rows, faults as (row, bytes), line of each row)."""
    file = path / "x.json"
    file.write_bytes(data)
    rows: list[dict[str, Any]] = []
    faults: list[tuple[int, bytes]] = []
    lines: list[int] = []
    for raw in read_json(file, block_bytes):
        rows += raw.frame.to_dicts()
        faults += [(b.row, b.value) for b in raw.broken]
        lines += [raw.locate(i)[0] for i in range(len(raw.frame))]
    return rows, faults, lines


def test_lines_are_rows_and_blank_ones_are_none(tmp_path: Path) -> None:
    assert read(tmp_path, b'{"p":1}\n\n{"p":2}\n') == ([{"p": 1}, {"p": 2}], [], [1, 3])


def test_a_bad_line_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    rows, faults, lines = read(tmp_path, b'{"p":1}\n{"p":\n5\n{"p":2}\n')
    assert [r["p"] for r in rows] == [1, 2]
    assert faults == [(2, b'{"p":'), (3, b"5")]
    assert lines == [1, 4]


def test_a_field_may_be_a_number_here_and_a_text_there(tmp_path: Path) -> None:
    rows, faults, _ = read(tmp_path, b'{"p":1.5}\n{"p":"2.50"}\n')
    assert [float(r["p"]) for r in rows] == [1.5, 2.5]
    assert not faults


def test_an_array_and_one_object_over_many_lines_are_rows(tmp_path: Path) -> None:
    assert read(tmp_path, b' [{"p":1},\n {"p":2}]')[0] == [{"p": 1}, {"p": 2}]
    assert read(tmp_path, json.dumps({"p": 1, "q": "x"}, indent=2).encode())[0] == [{"p": 1, "q": "x"}]


def test_an_array_of_arrays_is_set_aside_element_by_element(tmp_path: Path) -> None:
    rows, faults, _ = read(tmp_path, b'[{"p":1}, 7, {"p":2}]')
    assert [r["p"] for r in rows] == [1, 2]
    assert faults == [(2, b"7")]


def test_rows_under_a_list_take_the_fields_beside_it(tmp_path: Path) -> None:
    rows, _, _ = read(tmp_path, b'{"symbol":"A","bars":[{"c":1},{"c":2}]}\n{"symbol":"B","bars":[{"c":3}]}\n')
    assert rows == [{"symbol": "A", "c": 1}, {"symbol": "A", "c": 2}, {"symbol": "B", "c": 3}]


def test_objects_one_behind_the_other_are_rows(tmp_path: Path) -> None:
    assert read(tmp_path, b'{"p":1}{"p":2}')[0] == [{"p": 1}, {"p": 2}]


def test_nan_as_python_writes_it_is_understood(tmp_path: Path) -> None:
    rows, faults, _ = read(tmp_path, b'{"p":NaN}\n{"p":2}\n')
    assert len(rows) == 2
    assert not faults


@pytest.mark.parametrize("block_bytes", [9, 20, 50])
def test_blocks_of_any_size_give_the_same_rows(tmp_path: Path, block_bytes: int) -> None:
    data = b"".join(b'{"p":%d}\n' % i for i in range(30)) + b"bad\n"
    whole = read(tmp_path, data)
    assert len(whole[0]) == 30
    assert read(tmp_path, data, block_bytes) == whole


def test_a_file_that_is_no_json_says_so(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="not JSON"):
        read(tmp_path, b"[1, 2")


def test_records_of_a_topic_may_hold_several_rows_each() -> None:
    raw, of_record = from_records([b'{"p":1}', b'[{"p":2},{"p":3}]', b"\x00bin", b'{"p":4}'], "t", [10, 11, 12, 13])
    assert raw.frame["p"].to_list() == [1, 2, 3, 4]
    assert of_record == [0, 1, 1, 3]
    assert [(b.row, b.value, b.origin) for b in raw.broken] == [(12, b"\x00bin", "t")]
    assert raw.locate(2) == (11, b'[{"p":2},{"p":3}]')


def test_flat_records_keep_their_places() -> None:
    raw, of_record = from_records([b'{"p":1}', b'{"p":2}'], "t", [5, 9])
    assert of_record == [0, 1]
    assert raw.locate(1) == (9, b'{"p":2}')
