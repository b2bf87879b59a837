"""The live pages: the state of all classes, pictures as they land, and tags, which are the only thing a browser can write.

Enters: requests below /live, and a Live that knows the answers. Leaves: two pages, JSON, thumbnails; and tags, taken from the own
page alone: a POST whose Origin is this server, with the token that the page was given. Another page can neither read that token
nor send the header it travels in, and can put this page into no frame.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from storage.artifacts import ArtifactError, ArtifactStore
from storage.catalog.database import CatalogError
from storage.folders import NoRoomLeft
from storage.images import UnreadablePicture, from_png
from storage.keys import digest
from storage.password import asked_for
from storage.report import feed, livepage, thumbnails
from storage.report.feed import Wanted

TOKEN = "x-dst-token"
"""The header that says that a request comes from our page."""
THUMBNAIL = 320
"""Pixels of a thumbnail's longer side: a card on a phone, at twice the density, is not much wider."""
_THUMBNAILS = 2000
"""Thumbnails that are kept in memory, about 10 kB each."""
_BODY_AT_MOST = 16_384
"""Bytes of a request to tag."""
_KEYS_AT_MOST = 300
"""Images asked for by key at once."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    "cross-origin-resource-policy": "same-origin",
    # In a frame of somebody else's page, a click could be led onto a tag.
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
}


class Live(Protocol):
    """Whoever knows how things are."""

    def state(self) -> dict[str, Any]:
        """Return storage.report.state.State as JSON types."""

    def pictures(self, wanted: Wanted, before: feed.Place | None, keys: Sequence[str]) -> dict[str, Any]:
        """Return a page of storage.report.feed.Picture as JSON types, and what else can be asked for."""

    def tag(self, image_key: str, tag: str | None, note: str, by: str) -> dict[str, Any]:
        """Write a tag; return what stands now. Raises ValueError, in one line, for what is none."""


def mount(live: Live, store: ArtifactStore, *, person: str, auth: str = "", own: str = "") -> Mount:
    """Return the pages below /live.

    person: who tags where no name is brought. auth: "name:password" that every request must bring; "" asks for none. own: the
    address under which browsers know this server, where it is another than the one that requests name (behind a proxy).
    """
    token = secrets.token_urlsafe(32)

    def tag(body: bytes, by: str) -> Response:
        said = _said(body)
        return _json(live.tag(said["image"], said["tag"], said["note"], by))

    async def tagged(request: Request) -> Response:
        if why := _strange(request, token, own):
            return _line(403, why)
        by = request.user.display_name if auth else person
        return await run_in_threadpool(_answered, tag, await request.body(), by)

    return Mount(
        "/live",
        routes=[
            Route("/", lambda request: RedirectResponse("/live/state", 302)),
            Route("/state", lambda request: HTMLResponse(livepage.state(), headers=_HEADERS)),
            Route("/pictures", lambda request: HTMLResponse(livepage.pictures(token), headers=_HEADERS)),
            Route("/state.json", _asking(lambda request: live.state())),
            Route("/pictures.json", _asking(lambda request: live.pictures(*_asked(request)))),
            Route("/thumbnails/{address:path}", _thumbnails(store)),
            Route("/tag", tagged, methods=["POST"]),
        ],
        middleware=asked_for(auth),
        max_body_size=_BODY_AT_MOST,
    )


def _strange(request: Request, token: str, own: str) -> str:
    """Return why a request to write is not from our own page; "" when it is."""
    scheme, _, host = request.headers.get("origin", "").partition("://")
    # A browser says its page's origin with every POST, and no page can say another.
    ours = scheme in ("http", "https") and host == request.headers.get("host", "")
    if not (ours or (own and f"{scheme}://{host}" == own)):
        return "tags are taken from this server's own page only (behind a proxy, DST_FILES_URL says its address)"
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "tags are taken from this server's own page only"
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return "a tag is sent as application/json"
    if not hmac.compare_digest(request.headers.get(TOKEN, "").encode(), token.encode()):
        return "the page is of an earlier `dst serve`: load it anew"
    return ""


def _said(body: bytes) -> dict[str, Any]:
    """Return image, tag and note of a request. Raises ValueError, in one line."""
    try:
        said = json.loads(body)
    except ValueError:
        raise ValueError("this is no JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("image"), str):
        raise ValueError('a tag is {"image": key, "tag": "good" | "bad" | "doubtful" | null, "note": text}')
    tag, note = said.get("tag"), said.get("note") or ""
    if not (tag is None or isinstance(tag, str)) or not isinstance(note, str):
        raise ValueError("tag and note are texts")
    return {"image": said["image"], "tag": tag, "note": note.strip()}


def _asked(request: Request) -> tuple[Wanted, feed.Place | None, list[str]]:
    query = request.query_params
    at, _, key = query.get("before", "").partition("~")
    wanted = Wanted(class_name=query.get("class", ""), recipe=query.get("recipe", ""), tag=query.get("tag", ""))
    return wanted, (at, key) if key else None, [key for key in query.get("keys", "").split(",") if key][:_KEYS_AT_MOST]


def _asking(ask: Callable[[Request], Any]) -> Callable[[Request], Response]:
    """Return the endpoint that tells what `ask` returns, and that nothing has changed where the browser knows it already."""

    def told(request: Request) -> Response:
        return _answered(lambda: _json(ask(request), request.headers.get("if-none-match", "")))

    return told


def _answered(answer: Callable[..., Response], *given: Any) -> Response:
    """Return an answer, or the one line that says why there is none."""
    try:
        return answer(*given)
    except (CatalogError, NoRoomLeft) as error:
        return _line(503, str(error))
    except ValueError as error:
        return _line(422, str(error))


def _json(value: Any, known: str = "") -> Response:
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    tag = f'"{digest(body)[:32]}"'
    headers = {**_HEADERS, "etag": tag}
    return Response(status_code=304, headers=headers) if known == tag else Response(body, 200, headers, "application/json")


def _line(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status, _HEADERS)


def _thumbnails(store: ArtifactStore) -> Callable[[Request], Response]:
    @lru_cache(maxsize=_THUMBNAILS)
    def small(address: str) -> bytes:
        return thumbnails.photograph_file(np.asarray(from_png(store.open_address(address)), dtype=np.uint8), THUMBNAIL)

    def thumbnail(request: Request) -> Response:
        address = request.path_params["address"]
        try:
            data = small(address) if address.endswith(".png") else None
        except (ArtifactError, UnreadablePicture):
            data = None
        if data is None:
            raise HTTPException(404)
        # An address names its content: it never changes.
        headers = {**_HEADERS, "cache-control": "private, max-age=31536000, immutable"}
        return Response(data, 200, headers, "image/webp")

    return thumbnail
