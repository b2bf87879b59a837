"""The live pages in a real Chromium, from a real server: pictures land, keys and clicks tag, strangers cannot, phones read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from flows.landing import Progress
from flows.live import Live
from storage.fileserver import FileServer
from storage.live import TOKEN, mount
from storage.report.feed import Picture, Wanted
from storage.report.state import ClassState, Ended, Failed, Going, LastRun, StageCount, State
from storage.settings import Settings
from tests.answering import answering
from tests.report.painted import HOSTILE, PICTURES, Painted

pytestmark = pytest.mark.slow

NOW = "2026-01-01T12:00:00.000000Z"
EVERY_MS = 3100
"""A little more than from one look of a page to the next."""


class Shown(Live):
    """The live pages of a home with pictures, to which more can land; the state is what the test says."""

    def __init__(self, painted: Painted) -> None:
        super().__init__(Settings(home=painted.folder))
        self.landed: list[Picture] = []
        self.now = State(at=NOW, classes=(), going=(), scheduled=(), silence="", ended=(), refused=0)
        self._landing.look = self._look_at_landed  # type: ignore[method-assign]

    def _look_at_landed(self) -> tuple[list[Picture], list[Progress]]:
        going = Progress(class_name="car", recipe="r", status="running", made=3, samples=9)
        return self.landed, [going] if self.landed else []

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self.now)


@pytest.fixture(scope="module")
def live(painted: Painted) -> Shown:
    return Shown(painted)


@pytest.fixture(scope="module")
def server(live: Shown, painted: Painted) -> Iterator[str]:
    server = FileServer(painted.folder, painted.store, more=[mount(live, painted.store, person="ada")])
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    page.trouble, page.loaded = [], set()
    page.on("console", lambda message: page.trouble.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("dialog", lambda dialog: page.trouble.append(dialog.message))
    page.on("request", lambda request: page.loaded.add(request.url))
    page.clock.install()
    yield page
    page.close()


def opened(page: Any, server: str, query: str = "") -> Any:
    page.goto(f"{server}/live/pictures{query}")
    page.wait_for_selector(".shot")
    return page


def tags(painted: Painted) -> dict[str, str]:
    """image_key -> its tag."""
    return {row["image_key"]: row["tag"] for row in painted.catalog.tags()}


def key_of(page: Any, number: int) -> str:
    return str(page.locator(".shot").nth(number).get_attribute("data-key"))


def test_pictures_come_page_by_page_with_their_strip_and_load_only_in_sight(page: Any, server: str) -> None:
    opened(page, server)
    page.wait_for_timeout(500)
    first = page.locator(".shot").count()
    assert 60 <= first <= 180
    assert 10 < len([url for url in page.loaded if "/thumbnails/" in url]) < 3 * PICTURES / 2
    assert page.locator(".shot").first.locator("img").count() == 3
    for _ in range(40):
        page.keyboard.press("End")
        page.wait_for_timeout(150)
        if page.locator(".shot").count() == PICTURES:
            break
    keys = page.eval_on_selector_all(".shot", "all => all.map(shot => shot.dataset.key)")
    assert len(keys) == len(set(keys)) == PICTURES
    assert all(url.startswith((server, "data:")) for url in page.loaded)
    assert page.trouble == []


def test_keys_tag_walk_and_undo_and_a_note_goes_with_the_tag(page: Any, server: str, painted: Painted) -> None:
    opened(page, server, "?class=car")
    keys = [key_of(page, number) for number in range(4)]
    for key in ("ArrowRight", "g", "b", "d", "g"):
        page.keyboard.press(key)
    expect(page.locator(".saving")).to_have_count(0)
    assert {key: tags(painted).get(key) for key in keys} == dict(zip(keys, ("good", "bad", "doubtful", "good"), strict=True))
    page.keyboard.press("u")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("n")
    page.keyboard.type("the wheels, b and g")
    page.keyboard.press("Enter")
    expect(page.locator(".saving")).to_have_count(0)
    assert keys[3] not in tags(painted)
    (row,) = painted.catalog.tags_of([keys[2]]).values()
    assert (row["tag"], row["note"], row["tagged_by"]) == ("doubtful", "the wheels, b and g", "ada")
    assert [one["tag"] for one in painted.catalog.tag_history(keys[3])] == ["good", None]
    expect(page.locator("#shown")).to_contain_text("1 good, 1 bad, 1 doubtful")
    opened(page, server, "?tag=doubtful")
    assert page.locator(".shot").count() == 1
    assert page.locator(".said input").input_value() == "the wheels, b and g"
    assert page.trouble == []


def test_a_click_tags_in_the_card_and_in_the_large_view_and_a_second_one_takes_it_away(
    page: Any, server: str, painted: Painted
) -> None:
    opened(page, server, "?class=chair")
    dropped = page.locator(".shot .chip.dropped").first
    expect(dropped).to_have_attribute("title", "pose inconsistent: kcf: does not look as annotated")
    key = key_of(page, 1)
    shot = page.locator(".shot").nth(1)
    shot.get_by_role("button", name="good").click()
    expect(shot.locator("[data-tag=good]")).to_have_attribute("aria-pressed", "true")
    shot.locator(".shot-pictures").click()
    page.locator("#viewer [data-tag=bad]").click()
    expect(page.locator(".saving")).to_have_count(0)
    assert tags(painted)[key] == "bad"
    page.locator("#viewer [data-tag=bad]").click()
    expect(page.locator(".saving")).to_have_count(0)
    assert key not in tags(painted)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer .place")).to_have_text("3 / 60+")
    page.keyboard.press("Escape")
    assert page.locator(".shot.current").get_attribute("data-key") == key_of(page, 2)
    assert page.trouble == []


def test_what_lands_is_seen_without_loading_the_page_anew(page: Any, server: str, live: Shown) -> None:
    opened(page, server, "?class=car")
    page.evaluate("window.mine = true")
    first = live.pictures(Wanted(class_name="car"), None, ())["pictures"][0]
    names = {field.name for field in dataclasses.fields(Picture)}
    known = Picture(**{name: value for name, value in first.items() if name in names})
    live.landed = [
        dataclasses.replace(known, key="f" * 64, created_at="2026-06-01T00:00:00Z", verdict="", scores={}, caption="new")
    ]
    try:
        page.clock.fast_forward(EVERY_MS)
        expect(page.locator(".shot").first.locator(".caption")).to_have_text("new", timeout=15_000)
        expect(page.locator("#making")).to_contain_text("car r: 3 of 9 images")
        page.mouse.wheel(0, 1500)
        expect(page.locator(".shot").first).not_to_be_in_viewport()
        live.landed = [dataclasses.replace(live.landed[0], key="e" * 64, created_at="2026-06-02T00:00:00Z"), *live.landed]
        page.clock.fast_forward(EVERY_MS)
        page.get_by_role("button", name="1 new picture").click(timeout=15_000)
        expect(page.locator(".shot").first).to_have_attribute("data-key", "e" * 64)
        assert page.evaluate("window.mine")
    finally:
        live.landed = []


def test_texts_from_elsewhere_stay_texts(page: Any, server: str) -> None:
    opened(page, server, "?class=mug")
    assert HOSTILE in page.locator(".shot").first.inner_text()
    assert page.trouble == []


STRANGER = """async ([server, header, image]) => {
    const body = JSON.stringify({image, tag: "bad", note: ""}), url = `${server}/live/tag`
    const found = await fetch(`${server}/live/pictures`).then(page => page.text(), () => "")
    const token = found.match(/data-token="(.+?)"/)?.[1] ?? ""
    const json = {"content-type": "application/json", [header]: token || "guess"}
    const tries = {
        read: () => fetch(`${server}/live/pictures.json`),
        ask: () => fetch(url, {method: "POST", body, headers: json}),
        plain: () => fetch(url, {method: "POST", body, mode: "no-cors", headers: {"content-type": "text/plain"}}),
        bare: () => fetch(url, {method: "POST", body: new Blob([body]), mode: "no-cors"}),
        script: () => new Promise((onload, onerror) => {
            const script = Object.assign(document.createElement("script"), {src: `${server}/live/pictures.json`})
            document.head.append(Object.assign(script, {onload: () => onload({ok: true}), onerror}))
        }),
    }
    const got = {token}
    for (const [name, attempt] of Object.entries(tries))
        got[name] = await attempt().then(answer => answer.ok ? "let in" : "refused", () => "refused")
    const frame = document.createElement("iframe")
    frame.src = `${server}/live/pictures`
    await new Promise(done => { frame.onload = done; document.body.append(frame) })
    const form = document.createElement("form")
    Object.assign(form, {action: url, method: "POST", enctype: "text/plain", target: "elsewhere"})
    const field = {name: '{"image":"' + image + '","tag":"bad","x":"', value: '"}'}
    form.append(Object.assign(document.createElement("input"), field))
    document.body.append(Object.assign(document.createElement("iframe"), {name: "elsewhere"}), form)
    form.submit()
    await new Promise(done => setTimeout(done, 500))
    return got
}"""
"""What a page of somebody else's can try: take the token, read, tag in each way that a browser knows, frame the page."""


@pytest.mark.parametrize("place", ["another origin", "a foreign host"])
def test_a_page_from_elsewhere_can_neither_tag_nor_read_nor_frame(page: Any, server: str, painted: Painted, place: str) -> None:
    (image,) = painted.catalog.rows("select image_key as k from images where class_name = 'mug' order by 1 limit 1")
    before = tags(painted)
    with answering() as elsewhere:
        # To a browser, a page under a rebound name asks its own origin.
        asked = server.replace("127.0.0.1", "rebound.test") if place == "a foreign host" else server
        page.goto(asked if place == "a foreign host" else elsewhere)
        got = page.evaluate(STRANGER, [asked, TOKEN, image["k"]])
        inside = [frame.content() for frame in page.frames[1:] if frame.url.startswith("http")]
    assert got == {"token": ""} | dict.fromkeys(("read", "ask", "plain", "bare", "script"), "refused")
    assert not any("data-token" in html for html in inside)
    assert tags(painted) == before


def test_what_was_not_written_is_said_and_taken_back(page: Any, server: str, painted: Painted) -> None:
    opened(page, server, "?class=mug")
    page.evaluate("document.body.dataset.token")
    page.route("**/live/tag", lambda route: route.abort())
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    expect(page.locator("#alert")).to_contain_text("Not written: no answer from dst serve")
    expect(page.locator(".shot").first.locator("[data-tag=good]")).to_have_attribute("aria-pressed", "false")
    assert key_of(page, 0) not in tags(painted)


def a_class(**changes: Any) -> ClassState:
    run = LastRun(run_id="r1", status="complete", reason="", started_at=NOW, finished_at=NOW, report="reports/r1.html", url="")
    stages = tuple(StageCount(stage=name, done=30, pending=2, failed=1) for name in ("render", "image"))
    usual: dict[str, Any] = {
        "class_name": "car", "recipe": "embedded", "last": True, "standing": "fresh", "why": (), "cad_models": 4, "rejected": 0,
        "samples": 32, "made": 30, "kept": 24, "dropped": 4, "not_judged": 2, "failed": 2, "pending": 0, "kept_share": 0.8,
        "stages": stages, "failures": (Failed(stage="image", reason="black_image", samples=2, retry='dst retry "car"'),),
        "run": run, "to_go_s": None, "cost_s": 95.0, "cost_each_s": 3.96,
    }  # fmt: skip
    return ClassState(**(usual | changes))


def test_the_state_page_says_how_each_class_is_and_renews_itself(page: Any, server: str, live: Shown) -> None:
    why = ("2 CAD models are not in its cohort", "its recipe has changed")
    ended = Ended(
        run_id="r1", kind="generate", class_name="car", recipe="embedded", samples=32, status="failed", reason=HOSTILE,
        finished_at=NOW,
    )  # fmt: skip
    never = a_class(
        class_name=HOSTILE, recipe="", standing="never run", made=0, samples=0, kept_share=None, stages=(), run=None, cost_s=0.0
    )  # fmt: skip
    stale = a_class(class_name="mug", standing="stale", why=why)
    live.now = dataclasses.replace(live.now, classes=(a_class(), stale, never), ended=(ended,), refused=2)
    page.goto(f"{server}/live/state")
    rows = page.locator("#classes tr")
    expect(rows).to_have_count(3)
    judged = "24 kept, 4 dropped, 2 not judged"
    for said in ("fresh", "30 of 32 made", "2 failed", "80 %", judged, "complete", "95 s", "4.0 s a kept image"):
        expect(rows.first).to_contain_text(said)
    for said in ("stale", *why):
        expect(rows.nth(1)).to_contain_text(said)
    expect(rows.nth(2)).to_contain_text(HOSTILE)
    expect(page.locator("#ended")).to_contain_text(HOSTILE)
    expect(page.locator("#refused")).to_contain_text("2 files refused")
    assert rows.first.get_by_role("link", name="report").get_attribute("href") == "../reports/r1.html"
    rows.first.locator("summary").click()
    assert page.locator("#running").is_hidden()
    going = Going(
        run_id="r2", kind="generate", class_name="car", recipe="embedded", samples=64, since=NOW, heartbeat="3 s ago", done=40,
        to_go_s=75.0,
    )  # fmt: skip
    running = a_class(standing="running", made=40, samples=64)
    live.now = dataclasses.replace(live.now, classes=(running, stale, never), going=(going,))
    page.clock.fast_forward(EVERY_MS)
    expect(page.locator("#going")).to_contain_text("40 of 64 images", timeout=15_000)
    expect(page.locator("#going")).to_contain_text("about 75 s to go")
    expect(rows.first).to_contain_text("40 of 64 made")
    assert rows.first.locator("details").get_attribute("open") is not None
    assert page.trouble == []


def test_a_phone_needs_no_sideways_scrolling_with_none_few_or_many_pictures(page: Any, server: str, live: Shown) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    live.now = dataclasses.replace(
        live.now, classes=(a_class(), a_class(class_name="a class with a long name", standing="stale"))
    )
    for path in ("state", "pictures", "pictures?tag=doubtful", "pictures?class=none&tag=bad", "pictures?class=mug"):
        page.goto(f"{server}/live/{path}")
        expect(page.locator("#pulse")).to_have_text("live")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_a_server_that_has_gone_is_said_and_what_was_there_stays(page: Any, server: str, live: Shown) -> None:
    live.now = dataclasses.replace(live.now, classes=(a_class(),))
    page.goto(f"{server}/live/state")
    expect(page.locator("#classes tr")).to_have_count(1)
    page.route("**/state.json", lambda route: route.abort())
    page.clock.fast_forward(EVERY_MS)
    expect(page.locator("#pulse")).to_contain_text("no answer from dst serve, since", timeout=15_000)
    expect(page.locator("#classes tr")).to_have_count(1)
    page.unroute("**/state.json")
    page.clock.fast_forward(EVERY_MS)
    expect(page.locator("#pulse")).to_have_text("live", timeout=15_000)
