"""The page in a real Chromium: it opens without an error or a request, its controls work, and there is something to see."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.report.content import Report
from storage.report.page import render, render_index, save

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    page.trouble = []
    page.on("console", lambda message: page.trouble.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("data:", "file:")) else page.trouble.append(request.url))
    yield page
    page.close()


def opened(page: Any, html: str, folder: Path) -> Any:
    page.goto(save(folder / "page.html", html).as_uri())
    return page


def pixels(page: Any) -> Any:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), dtype=np.int16)


def test_the_page_opens_without_error_and_without_a_request(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    page.wait_for_timeout(300)
    assert page.trouble == []
    assert page.eval_on_selector_all("img", "all => all.filter(i => i.complete && !i.naturalWidth).length") == 0


def test_the_first_screen_is_not_blank_in_light_and_dark_and_they_differ(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    light = pixels(page)
    page.click("#theme")
    dark = pixels(page)
    assert light.std() > 20
    assert dark.std() > 20
    assert np.median(light) - np.median(dark) > 100


def test_filters_show_what_they_say(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)

    def shown() -> list[str]:
        return list(page.eval_on_selector_all(".card:not([hidden])", "all => all.map(card => card.dataset.sample)"))

    assert len(shown()) == len(made_up_run.samples)
    page.check("input[name=status][value=dropped]", force=True)
    assert set(shown()) == {sample.sample_id for sample in made_up_run.of("dropped")}
    page.check("input[name=status][value='']", force=True)
    cad_id = made_up_run.cad_models[0].cad_id
    page.select_option("select[name=cad]", cad_id)
    assert set(shown()) == {sample.sample_id for sample in made_up_run.samples if sample.cad_id == cad_id}
    page.select_option("select[name=cad]", "")
    page.select_option("select[name=side]", "front")
    assert set(shown()) == {sample.sample_id for sample in made_up_run.samples if sample.side == "front"}
    assert page.inner_text("#shown") == f"{len(shown())} of {len(made_up_run.samples)} shown"
    page.select_option("select[name=side]", "")
    seed = next(sample.seed for sample in made_up_run.samples if sample.seed)
    page.fill("input[name=text]", str(seed))
    assert shown() == [sample.sample_id for sample in made_up_run.samples if sample.seed == seed]


def test_sorting_by_a_score_goes_by_its_name(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    for name, falling in (("kcf", True), ("fidelity", False)):
        page.select_option("select[name=order]", f"{'-' if falling else ''}scores.{name}")
        found = page.eval_on_selector_all("#samples .card", "all => all.map(card => JSON.parse(card.dataset.scores))")
        scores = [scores[name] for scores in found]
        assert scores == sorted(scores, reverse=falling)
        assert len(set(scores)) > 10


def test_the_boxes_are_drawn_only_when_asked_for(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    assert not page.locator(".card .box3d").first.is_visible()
    page.check("input[name=box3d]", force=True)
    assert page.locator(".card .box3d").first.is_visible()
    assert not page.locator(".card .box2d").first.is_visible()


def test_the_drawn_2d_box_encloses_the_object_in_the_render(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    page.check("input[name=box2d]", force=True)
    sample = made_up_run.samples[0]
    assert sample.annotation is not None
    assert sample.annotation.box is not None
    picture = page.locator(f'.card[data-sample="{sample.sample_id}"] .pic-render')
    picture.scroll_into_view_if_needed()
    frame, box = picture.bounding_box(), picture.locator(".box2d").bounding_box()
    scale = frame["width"] / sample.annotation.width
    x0, _, x1, _ = sample.annotation.box
    assert box["x"] - frame["x"] == pytest.approx(x0 * scale, abs=2)
    assert box["width"] == pytest.approx((x1 - x0 + 1) * scale, abs=3)


def test_a_click_opens_the_sample_in_full_and_arrows_walk_on(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    first, second = page.eval_on_selector_all(".card", "all => all.slice(0, 2).map(card => card.dataset.sample)")
    page.click(".card .strip")
    assert page.inner_text("#viewer h3") == first
    assert f"dst reproduce {first}" in page.inner_text("#viewer")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer h3") == second
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_a_dot_of_the_plot_opens_its_sample(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    dot = page.locator(".dot").last
    dot.click()
    assert page.inner_text("#viewer h3") == dot.get_attribute("data-sample")


def test_an_image_beside_a_threshold_opens_its_sample(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    opened(page, render(made_up_run), tmp_path)
    nearest = page.locator(".passes .opens").first
    nearest.click()
    assert page.inner_text("#viewer h3") == nearest.get_attribute("data-sample")
    left, right = (page.locator(f".sides .{side}").last.bounding_box() for side in ("fails", "passes"))
    page.keyboard.press("Escape")
    assert left["x"] + left["width"] == pytest.approx(right["x"], abs=2), "both sides stand beside each other"
    assert page.locator(".drop-rate").first.is_visible()
    assert page.locator(".low-yield article").count() > 0


def test_a_narrow_screen_needs_no_sideways_scrolling(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    for html in (render(made_up_run), render_index([("a.html", made_up_run.brief())])):
        opened(page, html, tmp_path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_index_opens_and_its_links_lead_to_the_pages(page: Any, made_up_run: Report, tmp_path: Path) -> None:
    save(tmp_path / "car.html", render(made_up_run, home="page.html"))
    opened(page, render_index([("car.html", made_up_run.brief())]), tmp_path)
    assert page.trouble == []
    page.click(".entry-head")
    assert page.inner_text("h1") == "car"
    page.click(".home")
    assert page.locator(".entry").count() == 1
