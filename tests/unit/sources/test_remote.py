"""Files from elsewhere: from a loopback server, whole or not at all, and no secret in a message."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.settings import S3Settings
from marketpulse.sources.remote import fetch, gather, is_url, name_in, objects_under
from s3_server import Bucket
from vendor_server import Reply, Request, vendor


def answer(request: Request) -> Reply:
    code = {"/busy.csv": 503, "/no.csv": 404}.get(request.path, 200)
    return Reply(code, b"a,b\n1.....", cut=5) if "short" in request.path else Reply(code, b"a,b\n1")


@pytest.fixture
def web() -> Iterator[str]:
    with vendor(answer) as server:
        yield server.url


def test_a_file_comes_whole_under_its_own_name_and_only_urls_that_can_be_fetched_are_taken(
    web: str, tmp_path: Path
) -> None:
    path = fetch(f"{web}/years/2024%20a.csv?key=1", tmp_path, S3Settings())
    assert (path.name, path.read_bytes()) == ("2024 a.csv", b"a,b\n1")
    assert is_url("s3://bucket/a.parquet")
    assert not is_url("data/a.parquet")
    with pytest.raises(ParameterError, match="begins with"):
        fetch("ftp://host/a.csv", tmp_path, S3Settings())
    with pytest.raises(ParameterError, match="names no file"):
        name_in("https://host/")


@pytest.mark.parametrize(("name", "error", "says"), [
    ("no.csv", Fatal, "404"), ("busy.csv", Retryable, "503"), ("short.csv", Retryable, "try again"),
])  # fmt: skip
def test_a_fault_says_what_it_was_and_no_secret(
    web: str, tmp_path: Path, name: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as found:
        fetch(f"{web}/{name}?signature=SECRET", tmp_path, S3Settings())
    assert "SECRET" not in str(found.value)


def test_who_is_not_there_is_asked_again_later(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="could not be fetched"):
        fetch("http://127.0.0.1:9/a.csv", tmp_path, S3Settings())
    nobody = S3Settings(endpoint_url="http://127.0.0.1:9", region="us-east-1", path_style=True)
    with pytest.raises(Retryable):
        gather(["s3://bucket/folder/"], tmp_path, nobody, lambda: None)


def test_an_object_comes_whole_from_a_bucket(s3_bucket: Bucket, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one read
    s3_bucket.server.client.put_object(Bucket=s3_bucket.name, Key="years/2024 a.csv", Body=data)
    settings, told = S3Settings(**s3_bucket.settings()), list[int]()
    path = fetch(f"{s3_bucket.url}/years/2024%20a.csv", tmp_path, settings, told.append)
    assert (path.name, path.read_bytes(), told[-1]) == ("2024 a.csv", data, len(data))
    assert len(told) > 1
    with pytest.raises(Fatal, match="check bucket and name"):
        fetch(f"{s3_bucket.url}/years/2025.csv", tmp_path, settings)


def test_a_folder_of_a_bucket_is_all_data_files_below_it_by_name(s3_bucket: Bucket, tmp_path: Path) -> None:
    for key in ("t/b/x y.csv", "t/a.jsonl.gz", "t/notes.md", "t/.hidden.csv", "tt/c.csv", "t/b/z.parquet"):
        s3_bucket.server.client.put_object(Bucket=s3_bucket.name, Key=key, Body=key.encode())
    settings = S3Settings(**s3_bucket.settings())
    found = objects_under(f"{s3_bucket.url}/t/", settings)
    assert found == [f"{s3_bucket.url}/{key}" for key in ("t/a.jsonl.gz", "t/b/x%20y.csv", "t/b/z.parquet")]
    with pytest.raises(Fatal, match=r"holds no file that ends in \.csv"):
        objects_under(f"{s3_bucket.url}/nothing/", settings)
    here, beats = tmp_path / "here.csv", list[int]()
    here.write_text("here")
    names = [str(here), f"{s3_bucket.url}/t/", f"{s3_bucket.url}/tt/c.csv"]
    paths = gather(names, tmp_path / "fetched", settings, lambda: beats.append(1))
    assert [p.read_text() for p in paths] == ["here", "t/a.jsonl.gz", "t/b/x y.csv", "t/b/z.parquet", "tt/c.csv"]
    assert [p.name for p in paths[1:]] == ["a.jsonl.gz", "x y.csv", "z.parquet", "c.csv"]
    assert beats, "who waits hears that it goes on"
