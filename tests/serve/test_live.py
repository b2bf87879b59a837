"""The live pages' door by plain HTTP: who may tag, what is refused before anything is written, and what each answer carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from storage.artifacts import ArtifactStore, Record, at
from storage.catalog.database import CatalogLocked
from storage.fileserver import app
from storage.images import to_png
from storage.live import TOKEN, mount
from storage.report.feed import Place, Wanted

HERE = "127.0.0.1:4201"
PAGE = f"http://{HERE}"
KEY = "a" * 64
GOOD = {"image": KEY, "tag": "good", "note": ""}


class Told:
    """A Live that remembers what it was told."""

    def __init__(self) -> None:
        self.tags: list[tuple[str, str | None, str, str]] = []
        self.asked: list[tuple[Wanted, Place | None, Sequence[str]]] = []

    def state(self) -> dict[str, Any]:
        return {"classes": []}

    def pictures(self, wanted: Wanted, before: Place | None, keys: Sequence[str]) -> dict[str, Any]:
        self.asked.append((wanted, before, keys))
        if wanted.class_name == "locked":
            raise CatalogLocked("another process has been writing the catalog for over 60 s")
        return {"pictures": []}

    def tag(self, image_key: str, tag: str | None, note: str, by: str) -> dict[str, Any]:
        if tag not in (None, "good", "bad", "doubtful"):
            raise ValueError(f'no tag "{tag}"; a tag is good, bad or doubtful')
        self.tags.append((image_key, tag, note, by))
        return {"tag": tag, "note": note, "tagged_by": by, "tagged_at": "2026-01-01T00:00:00.000000Z"}


@pytest.fixture
def live() -> Told:
    return Told()


def client(live: Told, folder: Path, auth: str = "", own: str = "", here: bool = True) -> httpx.Client:
    store = ArtifactStore(folder / "artifacts")
    routes = [mount(live, store, person="ada", auth=auth, own=own)]
    found: httpx.Client = TestClient(app(folder, store, more=routes, only_here=here), base_url=PAGE)
    return found


def token_of(client: httpx.Client, **more: Any) -> str:
    page = client.get("/live/pictures", **more)
    assert page.status_code == 200
    return re.findall(r'data-token="([\w-]{43})"', page.text)[0]


def sent(client: httpx.Client, changes: dict[str, str | None] | None = None, body: Any = GOOD, **more: Any) -> httpx.Response:
    """Send a tag as the page does, with some headers changed or left out."""
    headers = {"origin": PAGE, TOKEN: token_of(client), "sec-fetch-site": "same-origin", **(changes or {})}
    return client.post("/live/tag", json=body, headers={k: v for k, v in headers.items() if v is not None}, **more)


def test_the_own_page_writes_a_tag_in_the_name_of_who_serves(live: Told, tmp_path: Path) -> None:
    answer = sent(client(live, tmp_path), body=GOOD | {"note": "  fine  "})
    assert answer.status_code == 200
    assert answer.json()["tagged_by"] == "ada"
    assert live.tags == [(KEY, "good", "fine", "ada")]


STRANGE: dict[str, dict[str, str | None]] = {
    "another port": {"origin": "http://127.0.0.1:4202"},
    "another name of this machine": {"origin": "http://localhost:4201"},
    "another site": {"origin": "https://example.org"},
    "a name that begins alike": {"origin": f"{PAGE}.example.org"},
    "a sandbox or a file": {"origin": "null"},
    "no page at all": {"origin": None},
    "an extension": {"origin": f"chrome-extension://{HERE}"},
    "no token": {TOKEN: None},
    "an empty token": {TOKEN: ""},
    "another token": {TOKEN: "x" * 43},
    "a page of another site by the browser's word": {"sec-fetch-site": "cross-site"},
    "a form": {"content-type": "application/x-www-form-urlencoded"},
    "a form's other spelling": {"content-type": "text/plain"},
}


@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE)
def test_a_tag_from_elsewhere_is_refused_in_a_line_and_not_written(
    live: Told, tmp_path: Path, headers: dict[str, str | None]
) -> None:
    answer = sent(client(live, tmp_path), headers)
    assert answer.status_code == 403
    assert answer.text.count("\n") == 1
    assert live.tags == []


def test_a_name_that_was_pointed_at_this_machine_is_let_in_nowhere(live: Told, tmp_path: Path) -> None:
    rebound = client(live, tmp_path)
    assert sent(rebound, {"host": "rebound.test:4201", "origin": "http://rebound.test:4201"}).status_code == 400
    for path in ("state", "pictures", "state.json", "pictures.json"):
        assert rebound.get(f"/live/{path}", headers={"host": "rebound.test"}).status_code == 400
    assert live.tags == []


def test_only_a_post_tags_and_nothing_else_can_be_posted(live: Told, tmp_path: Path) -> None:
    here = client(live, tmp_path)
    headers = {"origin": PAGE, TOKEN: token_of(here)}
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert here.request(method, "/live/tag", headers=headers).status_code == 405
    for path in ("state", "pictures", "state.json", "pictures.json"):
        assert here.post(f"/live/{path}", json=GOOD, headers=headers).status_code == 405
    assert live.tags == []


def test_the_token_is_in_the_page_that_tags_only_and_another_one_each_time_it_is_served(live: Told, tmp_path: Path) -> None:
    first, second = client(live, tmp_path), client(live, tmp_path)
    assert token_of(first) == token_of(first) != token_of(second)
    assert token_of(first) not in first.get("/live/state").text + first.get("/live/pictures.json").text
    assert sent(first, {TOKEN: token_of(second)}).status_code == 403
    assert "load it anew" in sent(first, {TOKEN: token_of(second)}).text


@pytest.mark.parametrize("path", ["state", "pictures", "state.json", "pictures.json"])
def test_no_other_page_can_frame_or_read_it(live: Told, tmp_path: Path, path: str) -> None:
    answer = client(live, tmp_path).get(f"/live/{path}", headers={"origin": "http://127.0.0.1:9"})
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    if not path.endswith("json"):
        policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', answer.text)[0]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert len(re.findall(r"<script", answer.text)) == 1


@pytest.mark.parametrize(
    "body", [{}, [], {"image": 3, "tag": "good"}, GOOD | {"tag": "fine"}, GOOD | {"tag": 1}, GOOD | {"note": ["x"]}, "x"]
)
def test_what_is_no_tag_is_refused_in_a_line(live: Told, tmp_path: Path, body: Any) -> None:
    answer = sent(client(live, tmp_path), body=body)
    assert answer.status_code == 422
    assert answer.text.count("\n") == 1
    assert live.tags == []


def test_a_body_without_end_is_not_read(live: Told, tmp_path: Path) -> None:
    assert sent(client(live, tmp_path), body=GOOD | {"note": "x" * 20_000}).status_code == 413
    assert live.tags == []


def test_where_there_is_a_password_pages_and_tags_ask_for_it_and_its_name_is_who_tags(live: Told, tmp_path: Path) -> None:
    here = client(live, tmp_path, auth="bob:secret")
    for path in ("state", "pictures", "state.json", "pictures.json"):
        assert here.get(f"/live/{path}").status_code == 401
    token = token_of(here, auth=("bob", "secret"))
    headers = {"origin": PAGE, TOKEN: token}
    assert here.post("/live/tag", json=GOOD, headers=headers).status_code == 401
    assert here.post("/live/tag", json=GOOD, headers=headers, auth=("bob", "wrong")).status_code == 401
    assert live.tags == []
    assert here.post("/live/tag", json=GOOD, headers=headers, auth=("bob", "secret")).status_code == 200
    assert live.tags == [(KEY, "good", "", "bob")]


def test_behind_a_proxy_the_address_that_people_use_is_its_own(live: Told, tmp_path: Path) -> None:
    here = client(live, tmp_path, own="https://box.example", here=False)
    assert sent(here, {"origin": "https://box.example"}).status_code == 200
    assert sent(here, {"origin": "https://box.example.org"}).status_code == 403


def test_what_is_asked_for_arrives_and_what_cannot_be_answered_is_said_in_a_line(live: Told, tmp_path: Path) -> None:
    here = client(live, tmp_path)
    query = {"class": "car", "recipe": "embedded", "tag": "untagged", "before": "2026-01-01T00:00:00Z~abc", "keys": "k1,k2"}
    assert here.get("/live/pictures.json", params=query).status_code == 200
    wanted = Wanted(class_name="car", recipe="embedded", tag="untagged")
    assert live.asked == [(wanted, ("2026-01-01T00:00:00Z", "abc"), ["k1", "k2"])]
    for params, status in (({"tag": "fine"}, 422), ({"class": "locked"}, 503)):
        answer = here.get("/live/pictures.json", params=params)
        assert (answer.status_code, answer.text.count("\n")) == (status, 1)


def test_what_has_not_changed_is_not_sent_again(live: Told, tmp_path: Path) -> None:
    here = client(live, tmp_path)
    first = here.get("/live/state.json")
    assert here.get("/live/state.json", headers={"if-none-match": first.headers["etag"]}).status_code == 304


def test_a_thumbnail_is_small_kept_by_the_browser_and_of_pictures_of_the_store_only(live: Told, tmp_path: Path) -> None:
    here, store = client(live, tmp_path), ArtifactStore(tmp_path / "artifacts")
    picture = np.zeros((640, 640, 3), np.uint8)
    store.put(Record(key=KEY, stage="image", version=1, spec={}, inputs={}), {"image.png": to_png(picture), "no.png": b"no"})
    answer = here.get(f"/live/thumbnails/{at('image', KEY)}/image.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert "immutable" in answer.headers["cache-control"]
    image = at("image", KEY)
    for path in (f"{image}/record.json", f"{image}/no.png", "../catalog.sqlite", "x.png", "..%2f..%2fx.png"):
        assert here.get(f"/live/thumbnails/{path}").status_code == 404
