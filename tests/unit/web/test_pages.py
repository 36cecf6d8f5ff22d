import asyncio
import gzip
from pathlib import Path

import httpx
import pytest

from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.pages import load_assets

SCRIPT = "console.log(1);" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<p>page")
    (built / "assets" / "index-abc123.js").write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("not for you")
    return built


def get(folder: Path, path: str, **headers: str) -> httpx.Response:
    async def run() -> httpx.Response:
        app = create_app(Board(), ServeSettings(), load_assets(folder))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(run())


def test_the_page_is_asked_for_each_time_and_hashed_parts_are_kept_for_ever(folder: Path) -> None:
    page, script = get(folder, "/"), get(folder, "/assets/index-abc123.js")
    assert (page.text, page.headers["cache-control"]) == ("<p>page", "no-cache")
    assert page.headers["content-type"].startswith("text/html")
    assert script.text == SCRIPT
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")


def test_large_parts_are_compressed_for_who_takes_it(folder: Path) -> None:
    assets = load_assets(folder)
    packed = assets["/assets/index-abc123.js"].compressed
    assert packed is not None
    assert gzip.decompress(packed).decode() == SCRIPT
    assert assets["/index.html"].compressed is None
    answer = get(folder, "/assets/index-abc123.js", **{"accept-encoding": "gzip"})
    assert (answer.headers["content-encoding"], answer.headers["content-length"]) == ("gzip", str(len(packed)))
    plain = get(folder, "/assets/index-abc123.js", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_what_has_not_changed_is_not_sent_again(folder: Path) -> None:
    etag = get(folder, "/").headers["etag"]
    again = get(folder, "/", **{"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/..%2fsecret.txt", "/assets/..%2f..%2fsecret.txt", "//etc/passwd", "/nothing"]
)
def test_nothing_outside_the_built_pages_can_be_had(folder: Path, path: str) -> None:
    assert get(folder, path).status_code == 404


def test_pages_that_are_not_built_say_how_to_build_them(tmp_path: Path) -> None:
    answer = get(tmp_path / "nowhere", "/")
    assert answer.status_code == 503
    assert "make setup" in answer.text
