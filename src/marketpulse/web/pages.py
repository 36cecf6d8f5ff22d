"""The built pages, read once into memory: no path of a request ever touches the disk."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

STATIC = Path(__file__).with_name("static")
_SMALL = 600  # bytes; below, compressing costs more than it saves
_COMPRESSED = {".html", ".js", ".css", ".svg", ".json", ".map", ".webmanifest"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    compressed: bytes | None  # gzip
    media_type: str
    etag: str
    cache_control: str


def load_assets(folder: Path = STATIC) -> dict[str, Asset]:
    """URL path -> asset. Empty when the pages were not built.

    What lies in `assets/` carries a hash in its name and may be kept for ever; the rest is asked
    for again each time.
    """
    found: dict[str, Asset] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        body = path.read_bytes()
        packed = path.suffix in _COMPRESSED and len(body) > _SMALL
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        found["/" + name] = Asset(
            body,
            gzip.compress(body, 9, mtime=0) if packed else None,
            {"text/javascript": "text/javascript; charset=utf-8"}.get(media_type, media_type),
            f'"{hashlib.sha256(body).hexdigest()[:20]}"',
            _FOR_EVER if name.startswith("assets/") else "no-cache",
        )
    if page := found.get("/index.html"):
        found["/"] = page
    return found


class Pages:
    """The endpoint behind every path that is not the API's."""

    def __init__(self, assets: dict[str, Asset]) -> None:
        self._assets = assets

    async def answer(self, request: Request) -> Response:
        asset = self._assets.get(request.url.path)
        if asset is None:
            if request.url.path == "/" and not self._assets:
                text = "The pages are not built yet: run `make setup`, or `npm ci && npm run build` in ui/.\n"
                return PlainTextResponse(text, 503)
            return PlainTextResponse("There is nothing here: the page is at /\n", 404)
        headers = {"cache-control": asset.cache_control, "etag": asset.etag, "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        body = asset.body
        if asset.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"], body = "gzip", asset.compressed
        return Response(body, media_type=asset.media_type, headers=headers)
