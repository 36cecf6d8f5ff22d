"""Files to rows: which files a setting names, those from elsewhere, blocks of whole lines, and CSV and JSON of others."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.errors import EnvironmentProblem, Fatal, ParameterError, Retryable, SettingsError
from marketpulse.ports import RejectedInput
from marketpulse.settings import ReplaySettings, S3Settings, SimulateSettings
from marketpulse.sources.csv_rows import read_csv
from marketpulse.sources.defaults import bundled, default_sources, source_name
from marketpulse.sources.files import blocks_of_lines, expand, fingerprint, line_ends, open_bytes, stem
from marketpulse.sources.json_rows import from_records, read_json
from marketpulse.sources.remote import fetch, gather, is_url, name_in, objects_under
from refused import assert_raises
from s3_server import Bucket
from vendor_server import Reply, Request, vendor


def test_names_globs_and_directories_are_taken_once_and_fingerprints_are_of_content_and_mapping(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "c.parquet", "notes.md", "d.csv.gz", ".hidden.csv"):
        (tmp_path / name).write_text("x")
    paths = expand([str(tmp_path / "b.csv"), str(tmp_path), str(tmp_path / "*.csv")])
    assert [p.name for p in paths] == ["b.csv", "a.jsonl", "c.parquet", "d.csv.gz"]
    (tmp_path / "empty").mkdir()
    for name, says in (("nothing.csv", r"nothing\.csv"), ("empty", "")):
        assert_raises(SettingsError, says, expand, [str(tmp_path / name)])
    names = ("AAPL.csv", "brk.b.csv.gz", "BTC-USD.COINBASE.parquet", "intraday")
    assert [stem(Path(name)) for name in names] == ["AAPL", "brk.b", "BTC-USD.COINBASE", "intraday"]
    file, copy = tmp_path / "a.csv", tmp_path / "elsewhere" / "a.csv"
    copy.parent.mkdir()
    for path in (file, copy):
        path.write_text("one")
    first = fingerprint([file], "m")
    assert fingerprint([copy], "m") == first
    assert fingerprint([file], "other") != first
    file.write_text("two")
    assert fingerprint([file], "m") != first


@given(st.lists(st.binary(max_size=9).filter(lambda b: b"\n" not in b), max_size=30), st.integers(1, 40))
def test_blocks_hold_whole_lines_and_lose_nothing(lines: list[bytes], block_bytes: int) -> None:
    data = b"\n".join(lines).replace(b'"', b"'")
    blocks = list(blocks_of_lines(io.BytesIO(data), Path("x"), block_bytes))
    assert b"".join(blocks) == data
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_a_line_break_inside_quotes_ends_no_line_and_a_damaged_file_or_no_csv_says_so(tmp_path: Path) -> None:
    data = b'a,"x\ny"\nb,"z"\n'
    assert line_ends(np.frombuffer(data, np.uint8)).tolist() == [7, 13]
    assert next(blocks_of_lines(io.BytesIO(data), Path("x"), 5)) == b'a,"x\ny"\n'
    assert_raises(EnvironmentProblem, r"missing\.csv", open_bytes, tmp_path / "missing.csv")
    damaged = tmp_path / "x.csv.gz"
    damaged.write_bytes(gzip.compress(bytes(range(256)) * 1_000)[:-20])
    with open_bytes(damaged) as stream, pytest.raises(Fatal, match="damaged"):
        list(blocks_of_lines(stream, damaged))
    names = r"3 names \(a, b, c\).*2 fields"
    for data, says in ((b"", "empty"), (b"hello\nworld\n", "is it CSV"), (b"a,b,c\n1,2\n3,4\n", names)):
        assert_raises(Fatal, says, csv, tmp_path, data)


Places = list[tuple[int, bytes]]


def csv(path: Path, data: bytes, size: int = 1 << 20) -> tuple[dict[str, list[str]], list[RejectedInput], Places]:
    """(columns, broken lines, where each row stands)."""
    columns, broken, places = dict[str, list[str]](), list[RejectedInput](), Places()
    (path / "x.csv").write_bytes(data)
    for raw in read_csv(path / "x.csv", size):
        for name in raw.frame.columns:
            columns.setdefault(name, []).extend(raw.frame[name].to_list())
        broken += raw.broken
        places += [raw.locate(i) for i in range(len(raw.frame))]
    return columns, broken, places


@pytest.mark.parametrize(("data", "columns", "places", "broken"), [
    *((f"a{mark}b\n1{mark}2\n".encode(), {"a": ["1"], "b": ["2"]}, [(2, f"1{mark}2".encode())], []) for mark in ",;\t|"),
    pytest.param(b"\xef\xbb\xbfdate,p\r\n\r\n1,2\r\n3,4\r\n", {"date": ["1", "3"], "p": ["2", "4"]}, [(3, b"1,2"), (4, b"3,4")], [],
                 id="a byte order mark, blank lines and carriage returns do not show"),
    pytest.param(b'a,b\n"x\ny",1\n"q""r, s",2\n', {"a": ["x\ny", 'q"r, s'], "b": ["1", "2"]}, [(2, b'"x\ny",1'), (4, b'"q""r, s",2')], [],
                 id="quotes may hold delimiters, quotes and line breaks"),
    pytest.param(b"a,b\n1,2\n\n3\n4,5\n6,7,8\n", {"a": ["1", "4"], "b": ["2", "5"]}, [(2, b"1,2"), (5, b"4,5")], [(4, b"3"), (6, b"6,7,8")],
                 id="a line with too few fields is set aside whole and the others go on"),
    pytest.param(b"Date,Close,Adj,Close,Volume\nd1,1,2,300\nd2,4,5,600\n",
                 {"Date": ["d1", "d2"], "Close": ["1", "4"], "Adj Close": ["2", "5"], "Volume": ["300", "600"]},
                 [(2, b"d1,1,2,300"), (3, b"d2,4,5,600")], [], id="a header that splits Adj Close is mended"),
    pytest.param(b"1,2\n3,4\n", {"1": ["1", "3"], "2": ["2", "4"]}, [(1, b"1,2"), (2, b"3,4")], [],
                 id="without a header there are numbers for names"),
    pytest.param(b"https://example.org\ndate,open\n1,2\n", {"date": ["1"], "open": ["2"]}, [(3, b"1,2")], [],
                 id="a title above the header is passed over"),
])  # fmt: skip
def test_csv_is_read_however_it_is_written(tmp_path: Path, data: bytes, columns: Any, places: Any, broken: Any) -> None:
    got = csv(tmp_path, data)
    assert (got[0], got[2]) == (columns, places)
    assert [(b.row, b.value, b.reason) for b in got[1]] == [(*one, "missing_field") for one in broken]


def test_no_delimiter_at_line_ends_or_stray_quote_spoils_a_file_and_western_text_is_read(tmp_path: Path) -> None:
    assert csv(tmp_path, b"a,b\n1,2,\n3,4,\n")[0]["b"] == ["2", "4"]
    for encoding in ("utf-16", "cp1252"):
        assert csv(tmp_path, "a,b\nü,1\n".encode(encoding))[0] == {"a": ["ü"], "b": ["1"]}
    head = b"date,close\n2020-01-01,1.2345\n2020-01-02,1.3456\n2020-01-03,"
    [cut_off] = csv(tmp_path, head + b"1.4")[1]
    assert (cut_off.row, cut_off.value) == (4, b"2020-01-03,1.4")
    assert "ends inside this line" in cut_off.detail
    assert not csv(tmp_path, head + b"1.4\n")[1], "a line that ends is whole"
    assert not csv(tmp_path, head + b"1.4567")[1], "as long as the others"
    body = b"".join(f"n{i},{i}\n".encode() for i in range(20_000))
    columns, broken, places = csv(tmp_path, b'name,n\n5" pipe,1\n' + body)
    assert (len(columns["n"]) + len(broken), places[-1]) == (20_001, (20_002, b"n19999,19999"))


@pytest.mark.parametrize("block_bytes", [7, 16, 33, 64])
def test_blocks_of_any_size_give_the_same_rows_and_lines(tmp_path: Path, block_bytes: int) -> None:
    data = b"a,b\n" + b"".join(f"{i},{i * i}\n".encode() + (b"\n" if i % 5 == 0 else b"") for i in range(40))
    rows = csv(tmp_path, data)
    assert (len(rows[0]["a"]), csv(tmp_path, data, block_bytes)) == (40, rows)
    data = b"".join(b'{"p":%d}\n' % i for i in range(30)) + b"bad\n"
    objects = json_of(tmp_path, data)
    assert (len(objects[0]), json_of(tmp_path, data, block_bytes)) == (30, objects)


def json_of(path: Path, data: bytes, block_bytes: int = 1 << 20) -> tuple[list[dict[str, Any]], Places, list[int]]:
    """(rows, faults as (row, bytes), line of each row)."""
    rows, faults, lines = list[dict[str, Any]](), Places(), list[int]()
    (path / "x.json").write_bytes(data)
    for raw in read_json(path / "x.json", block_bytes):
        rows += raw.frame.to_dicts()
        faults += [(b.row, b.value) for b in raw.broken]
        lines += [raw.locate(i)[0] for i in range(len(raw.frame))]
    return rows, faults, lines


P1, P2 = {"p": 1}, {"p": 2}
DEEP = (
    b"[" * 10_240,  # Python's own decoder ends in a RecursionError
    b'{"p":3,"q":' + b"[" * 300 + b"]" * 300 + b"}",  # orjson reads it and does not write it
    b'{"p":3,"q":' + b'{"a":' * 800 + b"1" + b"}" * 801,  # Polars ends the process
)


@pytest.mark.parametrize(("data", "rows", "faults", "lines"), [
    pytest.param(b'{"p":1}\n\n{"p":2}\n', [P1, P2], [], [1, 3], id="lines are rows and blank ones are none"),
    pytest.param(b'{"p":1}\n{"p":\n5\n{"p":2}\n', [P1, P2], [(2, b'{"p":'), (3, b"5")], [1, 4], id="a bad line is set aside"),
    pytest.param(b' [{"p":1},\n {"p":2}]', [P1, P2], [], None, id="an array over many lines"),
    pytest.param(json.dumps({"p": 1, "q": "x"}, indent=2).encode(), [{"p": 1, "q": "x"}], [], None, id="an object over many lines"),
    pytest.param(b'[{"p":1}, 7, {"p":2}]', [P1, P2], [(2, b"7")], None, id="an array is set aside element by element"),
    pytest.param(b'{"symbol":"A","bars":[{"c":1},{"c":2}]}\n{"symbol":"B","bars":[{"c":3}]}\n',
                 [{"symbol": "A", "c": 1}, {"symbol": "A", "c": 2}, {"symbol": "B", "c": 3}], [], [1, 1, 2],
                 id="rows under a list take the fields beside it"),
    pytest.param(b'{"p":1}{"p":2}', [P1, P2], [], None, id="objects one behind the other"),
    pytest.param(b"\n".join((DEEP[0], b'{"p":1}', *DEEP[1:], b'{"p":2}')), [P1, P2],
                 [(1, DEEP[0]), *enumerate(DEEP[1:], start=3)], [2, 5], id="a line that nests too deeply is set aside, the first too"),
])  # fmt: skip
def test_json_is_read_however_it_is_written(tmp_path: Path, data: bytes, rows: Any, faults: Any, lines: Any) -> None:
    got = json_of(tmp_path, data)
    assert got == (rows, faults, got[2] if lines is None else lines)


def test_json_may_hold_numbers_as_texts_and_nan_and_several_rows_a_record_each_in_its_place(tmp_path: Path) -> None:
    rows, faults, _ = json_of(tmp_path, b'{"p":1.5}\n{"p":"2.50"}\n')
    assert ([float(r["p"]) for r in rows], faults) == ([1.5, 2.5], [])
    rows, faults, _ = json_of(tmp_path, b'{"p":NaN}\n{"p":2}\n')
    assert (len(rows), faults) == (2, [])
    assert_raises(Fatal, "not JSON", json_of, tmp_path, b"[1, 2")
    values = [b'{"p":1}', b'[{"p":2},{"p":3}]', b"\x00bin", b'{"p":4}', *DEEP]
    raw, of_record = from_records(values, "t", range(10, 17))
    assert (raw.frame["p"].to_list(), of_record) == ([1, 2, 3, 4], [0, 1, 1, 3])
    assert [(b.row, b.value, b.origin) for b in raw.broken] == [(n, values[n - 10], "t") for n in (12, 14, 15, 16)]
    assert raw.locate(2) == (11, b'[{"p":2},{"p":3}]')
    raw, of_record = from_records([b'{"p":1}', b'{"p":2}'], "t", [5, 9])
    assert (of_record, raw.locate(1)) == ([0, 1], (9, b'{"p":2}'))


def test_a_first_run_has_named_sources_bundled_files_with_licences_and_a_simulated_market() -> None:
    sources = default_sources()
    assert list(sources) == ["daily", "minutes", "market"]
    minutes, market = sources["minutes"], sources["market"]
    assert isinstance(minutes, ReplaySettings)
    assert (minutes.mapping.venue, minutes.mapping.symbol, minutes.loop) == ("XNYS", "SPY", True)
    assert isinstance(market, SimulateSettings)
    for file in bundled(".").rglob("*.csv"):
        assert list(file.parent.glob("LICENSE*")), file
    assert_raises(ParameterError, r"daily/AAPL\.csv", bundled, "daily/TSLA.csv")
    given = (("replay", "daily"), ("simulate", "market"), ("simulate", "simulate"), ("replay", "replay-x"))
    assert [source_name(*one) for one in given] == ["replay-daily", "simulate-market", "simulate", "replay-x"]


def answer(request: Request) -> Reply:
    code = {"/busy.csv": 503, "/no.csv": 404}.get(request.path, 200)
    return Reply(code, b"a,b\n1.....", cut=5) if "short" in request.path else Reply(code, b"a,b\n1")


@pytest.fixture
def web() -> Iterator[str]:
    with vendor(answer) as server:
        yield server.url


def test_a_file_comes_whole_from_good_urls_and_a_fault_says_what_it_was_and_no_secret(web: str, tmp_path: Path) -> None:
    path = fetch(f"{web}/years/2024%20a.csv?key=1", tmp_path, S3Settings())
    assert (path.name, path.read_bytes()) == ("2024 a.csv", b"a,b\n1")
    assert [is_url(name) for name in ("s3://bucket/a.parquet", "data/a.parquet")] == [True, False]
    assert_raises(ParameterError, "begins with", fetch, "ftp://host/a.csv", tmp_path, S3Settings())
    assert_raises(ParameterError, "names no file", name_in, "https://host/")
    faults: dict[str, tuple[type[Exception], str]] = {
        "no.csv": (Fatal, "404"), "busy.csv": (Retryable, "503"), "short.csv": (Retryable, "try again"),
    }  # fmt: skip
    for name, (error, says) in faults.items():
        with pytest.raises(error, match=says) as found:
            fetch(f"{web}/{name}?signature=SECRET", tmp_path, S3Settings())
        assert "SECRET" not in str(found.value)
    assert_raises(Retryable, "could not be fetched", fetch, "http://127.0.0.1:9/a.csv", tmp_path, S3Settings())
    nobody = S3Settings(endpoint_url="http://127.0.0.1:9", region="us-east-1", path_style=True)
    assert_raises(Retryable, "", gather, ["s3://bucket/folder/"], tmp_path, nobody, lambda: None)


def test_an_object_comes_whole_and_a_folder_is_all_data_files_below_it(s3_bucket: Bucket, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one read
    s3_bucket.server.client.put_object(Bucket=s3_bucket.name, Key="years/2024 a.csv", Body=data)
    settings, told = S3Settings(**s3_bucket.settings()), list[int]()
    path = fetch(f"{s3_bucket.url}/years/2024%20a.csv", tmp_path, settings, told.append)
    assert (path.name, path.read_bytes(), told[-1]) == ("2024 a.csv", data, len(data))
    assert len(told) > 1
    assert_raises(Fatal, "check bucket and name", fetch, f"{s3_bucket.url}/years/2025.csv", tmp_path, settings)
    for key in ("t/b/x y.csv", "t/a.jsonl.gz", "t/notes.md", "t/.hidden.csv", "tt/c.csv", "t/b/z.parquet"):
        s3_bucket.server.client.put_object(Bucket=s3_bucket.name, Key=key, Body=key.encode())
    settings = S3Settings(**s3_bucket.settings())
    found = objects_under(f"{s3_bucket.url}/t/", settings)
    assert found == [f"{s3_bucket.url}/{key}" for key in ("t/a.jsonl.gz", "t/b/x%20y.csv", "t/b/z.parquet")]
    assert_raises(Fatal, r"holds no file that ends in \.csv", objects_under, f"{s3_bucket.url}/nothing/", settings)
    here, beats = tmp_path / "here.csv", list[int]()
    here.write_text("here")
    names = [str(here), f"{s3_bucket.url}/t/", f"{s3_bucket.url}/tt/c.csv"]
    paths = gather(names, tmp_path / "fetched", settings, lambda: beats.append(1))
    assert [p.read_text() for p in paths] == ["here", "t/a.jsonl.gz", "t/b/x y.csv", "t/b/z.parquet", "tt/c.csv"]
    assert [p.name for p in paths[1:]] == ["a.jsonl.gz", "x y.csv", "z.parquet", "c.csv"]
    assert beats, "who waits hears that it goes on"
