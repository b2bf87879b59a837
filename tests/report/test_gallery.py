"""The gallery in a real Chromium: it filters, it loads what is in sight, it says where a picture is from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from storage.artifacts import ArtifactStore
from storage.report.gallery import SIZE, write_gallery
from tests.report.painted import HOSTILE, PICTURES, Painted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(painted: Painted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_gallery(painted.catalog, painted.store, "in_cohort = 1", tmp_path_factory.mktemp("page") / "all.html")
    assert (made.pictures, made.lost) == (PICTURES, 0)
    return made.page


@pytest.fixture
def page(browser: Any, written: Path) -> Iterator[Any]:
    page = browser.new_page()
    page.trouble, page.loaded = [], set()
    page.on("console", lambda message: page.trouble.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    # A page that is left drops the pictures that it was still reading; that is no trouble.
    page.on("requestfailed", lambda request: None if "ERR_ABORTED" in str(request.failure) else page.trouble.append(request.url))
    page.on("request", lambda request: page.loaded.add(request.url))
    page.on("dialog", lambda dialog: page.trouble.append(dialog.message))
    page.goto(written.as_uri())
    page.wait_for_selector(".tile img")
    yield page
    page.close()


def shown(page: Any) -> str:
    return str(page.input_value("#shown") if page.locator("#shown").get_attribute("value") else page.inner_text("#shown"))


def test_it_opens_without_trouble_and_loads_only_what_is_in_sight(page: Any) -> None:
    page.wait_for_timeout(500)
    assert page.trouble == []
    assert all(url.startswith(("file:", "data:")) for url in page.loaded)
    pictures = sum(url.endswith(".webp") for url in page.loaded)
    assert 0 < pictures < PICTURES / 2, "thumbnails out of sight were loaded"
    assert page.eval_on_selector_all(".tile img", "all => all.filter(i => i.complete && i.naturalWidth).length") > 0
    for _ in range(40):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(50)
    assert page.locator(".tile").count() == PICTURES, "the end was not reached by scrolling"


def test_filters_show_what_they_say(page: Any, painted: Painted) -> None:
    def count(sql: str) -> int:
        return int(painted.catalog.rows(f"select count(*) as n from samples where {sql}")[0]["n"])

    page.select_option("select[name=class]", "car")
    assert shown(page) == f"{PICTURES // 3} of {PICTURES} pictures"
    page.check("input[name=verdict][value=dropped]", force=True)
    dropped = count("class_name = 'car' and kept = 0")
    assert shown(page) == f"{dropped} of {PICTURES} pictures"
    page.check("input[name=verdict][value='']", force=True)
    cell = page.locator("#bins button[data-bin='90,0']")
    of_cell = "azimuth_deg >= 90 and azimuth_deg < 120 and elevation_deg >= 0 and elevation_deg < 30"
    wanted = count(f"class_name = 'car' and {of_cell}")
    assert int(cell.inner_text() or 0) == wanted > 0
    cell.click()
    assert shown(page) == f"{wanted} of {PICTURES} pictures"
    for azimuth in page.eval_on_selector_all(".tile-pose", "all => all.map(e => parseInt(e.textContent))"):
        assert 89 <= azimuth <= 121
    page.click("#all-views")
    page.select_option("select[name=class]", "")
    seed = painted.catalog.rows("select cast(seed as text) as seed from samples limit 1")[0]["seed"]
    page.fill("input[name=text]", seed)
    assert shown(page) == f"1 of {PICTURES} pictures"
    page.fill("input[name=text]", "no such words")
    assert page.locator("#nothing").is_visible()


def test_a_picture_leads_to_the_text_of_where_it_comes_from_and_has_an_address(
    page: Any, painted: Painted, written: Path
) -> None:
    page.locator(".tile").first.click()
    expect(page.locator("#viewer h3")).not_to_be_empty()
    sample_id = page.inner_text("#viewer h3")
    (row,) = painted.catalog.rows("select * from samples where sample_id = :name", name=sample_id)
    text = page.inner_text("#provenance")
    for name in ("cad_id", "prompt", "model_id", "model_revision", "recipe", "run_id", "image_key", "render_key", "control_key"):
        assert str(row[name]) in text, name
    assert f"kcf {row['kcf']:g}," in text
    assert "control: canny" in text
    assert page.locator(".viewer-pictures figure").count() == 3
    assert str(row["seed"]) in text
    assert f"dst show {sample_id}" in page.inner_text("#viewer")
    link = page.locator(".viewer-pictures a").first.get_attribute("href")
    assert (written.parent / link).resolve() == Path(painted.store.where) / row["file"]
    page.keyboard.press("ArrowRight")
    # The page allows no evaluated strings, so what is waited for is asked from outside.
    expect(page.locator("#viewer h3")).not_to_have_text(sample_id)
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    page.wait_for_url(lambda url: not url.partition("#")[2])
    page.goto("about:blank")
    page.goto(f"{written.as_uri()}#{sample_id}")
    expect(page.locator("#viewer h3")).to_have_text(sample_id)
    assert page.trouble == []


def test_scores_filter_and_order_by_their_names(page: Any, painted: Painted) -> None:
    page.select_option("select[name=score]", label="kcf")
    page.fill("input[name=least]", "2")
    wanted = painted.catalog.rows("select count(*) as n from samples where kcf >= 2")[0]["n"]
    assert shown(page) == f"{wanted} of {PICTURES} pictures"
    assert set(page.eval_on_selector_all(".tile .chip", "all => all.map(e => e.textContent)")) == {"dropped"}
    page.fill("input[name=least]", "")
    page.fill("input[name=most]", "-1")
    assert page.locator("#nothing").is_visible()
    page.fill("input[name=most]", "")
    page.select_option("select[name=order]", label="kcf, highest first")
    assert page.locator(".tile .chip").first.inner_text() == "dropped"
    page.select_option("select[name=order]", label="kcf, lowest first")
    assert page.locator(".tile .chip").first.inner_text() == "kept"
    assert page.trouble == []


def test_the_chosen_score_shows_its_distribution_with_the_threshold_and_a_bar_leads_to_its_pictures(
    page: Any, painted: Painted
) -> None:
    assert not page.locator("#distribution").is_visible()
    page.select_option("select[name=score]", label="kcf")
    assert page.locator("#distribution .threshold-label").all_text_contents() == ["threshold 2"]
    assert f"kcf: {PICTURES} of {PICTURES} pictures have a value. kcf decides." in page.inner_text("#distribution .note")
    bars = page.locator("#distribution .bar")
    assert sorted(bar.get_attribute("class") for bar in bars.all()) == ["bar dropped", "bar kept"]
    page.locator("#distribution .bar.dropped").click()
    wanted = painted.catalog.rows("select count(*) as n from samples where kcf >= 2")[0]["n"]
    assert shown(page) == f"{wanted} of {PICTURES} pictures"
    page.fill("input[name=least]", "")
    page.select_option("select[name=reason]", "pose inconsistent")
    assert shown(page) == f"{wanted} of {PICTURES} pictures"
    page.locator(".tile").first.click()
    expect(page.locator("#provenance")).to_contain_text("dropped: pose inconsistent: kcf: does not look as annotated")
    page.keyboard.press("Escape")
    page.select_option("select[name=score]", label="kcf_inplane")
    assert "No rule looks at it." in page.inner_text("#distribution .note")
    assert page.trouble == []


def test_texts_from_elsewhere_stay_texts(page: Any) -> None:
    page.select_option("select[name=class]", "mug")
    page.locator(".tile").first.click()
    assert HOSTILE in page.inner_text("#provenance")
    assert page.trouble == []


def test_a_narrow_screen_needs_no_sideways_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_made_again_only_new_thumbnails_are_made(painted: Painted, written: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in written.with_name("all_files").rglob("*.webp")}
    assert len(files) == 3 * PICTURES
    write_gallery(painted.catalog, painted.store, "in_cohort = 1", written)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert SIZE == 224


def test_lost_pictures_are_counted_and_said(painted: Painted, tmp_path: Path) -> None:
    import shutil

    home = tmp_path / "artifacts"
    shutil.copytree(painted.store.where, home)
    (row,) = painted.catalog.rows("select file from samples limit 1")
    shutil.rmtree((home / row["file"]).parent)
    store = ArtifactStore(home)
    made = write_gallery(painted.catalog, store, "class_name = 'car'", tmp_path / "page.html")
    assert (made.pictures, made.lost) == (PICTURES // 3 - 1, 1)
    assert "1 sample has a picture that is missing" in made.page.read_text()


@pytest.mark.parametrize(
    ("where", "out", "complaint"),
    [
        ("kpet = 1", "page.html", 'no such column "kpet"'),
        ("class_name = 'cra'", "page.html", "no sample with an image"),
        ("in_cohort = 1", "page", "is no name of a page"),
    ],
)
def test_bad_input_is_one_clear_line(painted: Painted, tmp_path: Path, where: str, out: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        write_gallery(painted.catalog, painted.store, where, tmp_path / out)
    assert len(str(raised.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())
