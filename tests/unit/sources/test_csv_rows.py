"""CSV: sniffed, repaired where that is safe, and every bad line found again by number and bytes."""

from pathlib import Path

import pytest

from marketpulse.errors import Fatal
from marketpulse.ports import RejectedInput
from marketpulse.sources.csv_rows import read_csv


def rows_of(
    path: Path, block_bytes: int = 1 << 20
) -> tuple[dict[str, list[str]], list[RejectedInput], list[tuple[int, bytes]]]:
    columns: dict[str, list[str]] = {}
    broken: list[RejectedInput] = []
    places: list[tuple[int, bytes]] = []
    for raw in read_csv(path, block_bytes):
        for name in raw.frame.columns:
            columns.setdefault(name, []).extend(raw.frame[name].to_list())
        broken += raw.broken
        places += [raw.locate(i) for i in range(len(raw.frame))]
    return columns, broken, places


def written(path: Path, data: bytes) -> Path:
    file = path / "x.csv"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_sniffed(tmp_path: Path, mark: str) -> None:
    columns, broken, _ = rows_of(written(tmp_path, f"a{mark}b\n1{mark}2\n".encode()))
    assert columns == {"a": ["1"], "b": ["2"]}
    assert not broken


def test_a_byte_order_mark_blank_lines_and_carriage_returns_do_not_show(tmp_path: Path) -> None:
    columns, _, places = rows_of(written(tmp_path, b"\xef\xbb\xbfdate,p\r\n\r\n1,2\r\n3,4\r\n"))
    assert columns == {"date": ["1", "3"], "p": ["2", "4"]}
    assert places == [(3, b"1,2"), (4, b"3,4")]


def test_utf16_and_western_text_are_read(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, "a,b\nü,1\n".encode("utf-16")))[0] == {"a": ["ü"], "b": ["1"]}
    assert rows_of(written(tmp_path, "a,b\nü,1\n".encode("cp1252")))[0] == {"a": ["ü"], "b": ["1"]}


def test_quotes_may_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    columns, broken, places = rows_of(written(tmp_path, b'a,b\n"x\ny",1\n"q""r, s",2\n'))
    assert columns == {"a": ["x\ny", 'q"r, s'], "b": ["1", "2"]}
    assert not broken
    assert places == [(2, b'"x\ny",1'), (4, b'"q""r, s",2')]


def test_a_line_with_too_few_fields_is_set_aside_whole_and_the_others_go_on(tmp_path: Path) -> None:
    columns, broken, places = rows_of(written(tmp_path, b"a,b\n1,2\n\n3\n4,5\n6,7,8\n"))
    assert columns["a"] == ["1", "4"]
    assert [(b.row, b.value, b.reason) for b in broken] == [(4, b"3", "missing_field"), (6, b"6,7,8", "missing_field")]
    assert places == [(2, b"1,2"), (5, b"4,5")]


@pytest.mark.parametrize("block_bytes", [7, 16, 33, 64])
def test_blocks_of_any_size_give_the_same_rows_and_lines(tmp_path: Path, block_bytes: int) -> None:
    data = b"a,b\n" + b"".join(f"{i},{i * i}\n".encode() + (b"\n" if i % 5 == 0 else b"") for i in range(40))
    whole = rows_of(written(tmp_path, data))
    assert len(whole[0]["a"]) == 40
    assert rows_of(tmp_path / "x.csv", block_bytes) == whole


def test_a_header_that_splits_adj_close_is_mended(tmp_path: Path) -> None:
    columns, _, _ = rows_of(written(tmp_path, b"Date,Close,Adj,Close,Volume\nd1,1,2,300\nd2,4,5,600\n"))
    assert columns == {"Date": ["d1", "d2"], "Close": ["1", "4"], "Adj Close": ["2", "5"], "Volume": ["300", "600"]}


def test_a_header_that_does_not_pair_with_its_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"3 names \(a, b, c\).*2 fields"):
        rows_of(written(tmp_path, b"a,b,c\n1,2\n3,4\n"))


def test_a_delimiter_at_the_end_of_every_line_is_no_column(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, b"a,b\n1,2,\n3,4,\n"))[0]["b"] == ["2", "4"]


def test_a_file_without_a_header_gets_numbers_for_names(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, b"1,2\n3,4\n"))[0] == {"1": ["1", "3"], "2": ["2", "4"]}


def test_a_title_above_the_header_is_passed_over(tmp_path: Path) -> None:
    columns, _, places = rows_of(written(tmp_path, b"https://example.org\ndate,open\n1,2\n"))
    assert columns == {"date": ["1"], "open": ["2"]}
    assert places == [(3, b"1,2")]


def test_a_last_line_cut_off_in_mid_number_is_set_aside_when_it_can_be_told(tmp_path: Path) -> None:
    whole = b"date,close\n2020-01-01,1.2345\n2020-01-02,1.3456\n2020-01-03,"
    _, broken, _ = rows_of(written(tmp_path, whole + b"1.4"))
    assert [(b.row, b.value) for b in broken] == [(4, b"2020-01-03,1.4")]
    assert "ends inside this line" in broken[0].detail
    assert not rows_of(written(tmp_path, whole + b"1.4\n"))[1], "a line that ends is whole"
    assert not rows_of(written(tmp_path, whole + b"1.4567"))[1], "as long as the others"


def test_an_empty_file_and_one_without_columns_say_so(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="empty"):
        rows_of(written(tmp_path, b""))
    with pytest.raises(Fatal, match="is it CSV"):
        rows_of(written(tmp_path, b"hello\nworld\n"))


def test_a_stray_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    body = b"".join(f"n{i},{i}\n".encode() for i in range(20_000))
    columns, broken, places = rows_of(written(tmp_path, b'name,n\n5" pipe,1\n' + body))
    assert len(columns["n"]) + len(broken) == 20_001
    assert places[-1] == (20_002, b"n19999,19999")
