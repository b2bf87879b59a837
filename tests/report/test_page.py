"""The page of a run, made from a made-up run: what it says, and that it is safe and self-contained."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from storage.report.content import Report, ReportSample
from storage.report.page import duration, relative_link, render, render_index, save, write
from storage.report.verdict import JudgeFacts, RuleFacts, Verdict
from tests.report.made_up import HOSTILE, run_report


class Elements(HTMLParser):
    """Collects elements and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag and (not kind or kind in (attrs.get("class") or "").split())]


@pytest.fixture(scope="module")
def html(made_up_run: Report) -> str:
    return render(made_up_run)


def test_every_sample_has_a_card_with_its_pictures_pose_seed_and_scores(made_up_run: Report, html: str) -> None:
    cards = Elements(html).of("article", "card")
    assert {card["data-sample"] for card in cards} == {sample.sample_id for sample in made_up_run.samples}
    for sample in made_up_run.samples:
        assert sample.image is None or sample.image.uri in html
        assert sample.render is not None
        assert sample.render.uri in html
        assert all(drawn and drawn.uri in html for _, drawn in sample.controls)
        assert sample.caption in html
        assert sample.seed is None or str(sample.seed) in html


def test_what_was_left_out_of_a_cad_file_is_said(html: str) -> None:
    assert "texture_missing: wheels.png; shown without it" in html


def test_counts_are_those_of_the_run(made_up_run: Report, html: str) -> None:
    tiles = dict(re.findall(r"<dt>(\w+)</dt><dd>(\d+)</dd>", html))
    assert tiles["asked"] == "24"
    assert int(tiles["made"]) == int(tiles["kept"]) + int(tiles["dropped"]) == made_up_run.made
    assert int(tiles["failed"]) == made_up_run.count("failed") > 0


def test_dropped_and_failed_samples_have_sections_of_their_own(made_up_run: Report, html: str) -> None:
    dropped = html.split('id="dropped"')[1].split("</section>")[0]
    failed = html.split('id="failed"')[1].split("</section>")[0]
    assert dropped.count("<article") == made_up_run.count("dropped") > 0
    assert failed.count("<article") == made_up_run.count("failed")
    assert "black image" in failed


def test_the_page_refers_to_nothing_outside_itself(html: str) -> None:
    elements = Elements(html)
    assert all(image["src"].startswith("data:image/") for image in elements.of("img"))  # type: ignore[union-attr]
    assert not [attrs for attrs in elements.of("script") if "src" in attrs]
    assert [attrs["href"][:11] for attrs in elements.of("link")] == ["data:image/"]  # type: ignore[index]
    assert "url(" not in html
    assert "@import" not in html


def test_a_page_of_96_samples_is_under_6_megabytes() -> None:
    assert len(render(run_report(96)).encode()) < 6e6


def hostile_verdict() -> Verdict:
    rule = RuleFacts(name=HOSTILE, kind=HOSTILE, score=HOSTILE, reason=HOSTILE, threshold=3.0, words=HOSTILE)
    judge = JudgeFacts(name=HOSTILE, judged=3, not_judged=HOSTILE, facts={HOSTILE: HOSTILE})
    return Verdict(class_name=HOSTILE, words=HOSTILE, rules=(rule,), judges=(judge,), kept=1, dropped=1, unjudged=1)


def test_hostile_names_and_captions_stay_text() -> None:
    hostile = dataclasses.replace(
        run_report(12, hostile=True), class_name=HOSTILE, recipe=HOSTILE, status=HOSTILE, status_detail=HOSTILE,
        specs={HOSTILE: {HOSTILE: HOSTILE}}, provenance=((HOSTILE, HOSTILE),), verdict=hostile_verdict(),
        scores={HOSTILE: tuple((float(i), "kept") for i in range(20))},
    )  # fmt: skip
    hostile = dataclasses.replace(
        hostile,
        samples=tuple(
            dataclasses.replace(
                s,
                sample_id=HOSTILE + s.sample_id,
                reason=HOSTILE,
                detail=HOSTILE,
                stage=HOSTILE,
                scores={HOSTILE: 1.0},
                controls=((HOSTILE, s.render),),
            )
            for s in hostile.samples
        ),
        poses=tuple((a, e, status, HOSTILE) for a, e, status, _ in hostile.poses),
        cad_models=tuple(
            dataclasses.replace(m, source=HOSTILE, licence=HOSTILE, keywords=(HOSTILE,), warnings=(HOSTILE,))
            for m in hostile.cad_models
        ),
        stages=tuple(dataclasses.replace(s, stage=HOSTILE, reasons=((HOSTILE, 1),)) for s in hostile.stages),
    )
    for page in (render(hostile, docs='javascript:alert(1)"'), render_index([(HOSTILE, hostile.brief())])):
        elements = Elements(page)
        assert all((image.get("src") or "").startswith("data:image/") for image in elements.of("img"))
        assert not [attrs for _, attrs in elements.found if any(name.startswith("on") for name in attrs)]
        assert page.count("</script>") == 1
        assert "javascript:" not in page


def test_the_policy_in_the_page_allows_its_own_script_alone(html: str) -> None:
    import base64
    import hashlib

    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    allowed = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in html
    assert "default-src 'none'" in html


def test_a_selection_says_that_it_is_one(made_up_run: Report) -> None:
    big = dataclasses.replace(made_up_run, counts={"kept": 2300, "dropped": 180, "failed": 20})
    assert "24 of 2500 samples" in render(big)
    assert "samples are shown" not in render(made_up_run)


def test_a_run_without_any_sample_still_has_a_page() -> None:
    page = render(Report(run_id="r", class_name="car", asked=5, status="failed", status_detail="RendererDied: three times"))
    assert "RendererDied: three times" in page
    assert "No image was kept" in page


def test_a_sample_without_pose_score_or_pictures_still_has_a_card() -> None:
    bare = ReportSample(sample_id="car-1", cad_id="c" * 64, cad_name="x.obj", status="failed", stage="cad", reason="no_faces")
    page = render(Report(run_id="r", class_name="car", samples=(bare,), counts={"failed": 1}))
    assert "no faces" in page
    assert "no render" in page


def test_the_showcase_is_a_kept_sample_seen_from_three_quarters(made_up_run: Report) -> None:
    shown = made_up_run.showcase()
    assert shown is not None
    assert shown.status == "kept"


def test_the_index_links_every_page_and_adds_up_their_numbers(made_up_run: Report) -> None:
    other = run_report(12, "coffee mug", 3, seed=1)
    page = render_index([("car.html", made_up_run.brief()), ("coffee%20mug.html", other.brief())])
    live = {"../live/state", "../live/pictures"}
    assert {attrs["href"] for attrs in Elements(page).of("a")} == {"car.html", "coffee%20mug.html"} | live
    assert f"{made_up_run.made + other.made} images" in page


def test_links_between_pages_are_relative_and_quoted(tmp_path: Path) -> None:
    assert relative_link(tmp_path / "docs" / "a b#1.html", tmp_path / "reports" / "x.html") == "../docs/a%20b%231.html"


def test_saving_leaves_the_page_alone_in_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "reports" / "ärger.html"
    save(out, "one")
    assert save(out, "two").read_text() == "two"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.04, "0.0 s"), (9.9, "9.9 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_times_read_as_a_person_says_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_ten_thousand_samples_are_a_page_of_a_few_megabytes(made_up_run: Report) -> None:
    many = tuple(
        (i * 37 % 360 + 0.5, i * 7 % 120 - 40.0, status, f"car-{i}")
        for i, (_, _, status, _) in enumerate(made_up_run.poses * 420)
    )
    page = render(dataclasses.replace(made_up_run, poses=many, counts={"kept": len(many)}))
    assert len(many) > 10_000
    assert page.count('class="speck') <= 4000
    assert len(page.encode()) < 4e6


def test_a_score_far_out_does_not_squeeze_the_others_together(made_up_run: Report) -> None:
    from storage.report.plots import score_histogram

    near = tuple((i / 20, "kept") for i in range(60))
    drawn = str(score_histogram((*near, (900.0, "dropped"), (float("inf"), "dropped")), [3.0], "score"))
    assert drawn.count('class="bar kept"') > 10
    assert "threshold 3" in drawn


def test_every_score_has_a_plot_under_its_name_and_every_rule_its_threshold_in_it(made_up_run: Report, html: str) -> None:
    verdict = html.split('<section id="verdict">')[1].split("</section>")[0]
    plots = {plot.split('aria-label="')[1].split('"')[0]: plot for plot in verdict.split("<svg ")[1:]}
    assert list(plots) == ["kcf", "kcf_azimuth", "fidelity"], (
        "those of a judge stand together, and judges in the order of the rules"
    )
    assert "threshold 6.2" in plots["kcf"]
    assert "threshold 0.25" in plots["fidelity"]
    assert "threshold" not in plots["kcf_azimuth"]
    assert f"{made_up_run.made} images judged; 4 folds by CAD model" in verdict
    assert "Kept: kcf at most 6.2; fidelity at least 0.25." in verdict


def test_what_nobody_judged_says_so(made_up_run: Report) -> None:
    assert made_up_run.verdict is not None
    silent = dataclasses.replace(
        made_up_run.verdict,
        judges=(JudgeFacts(name="kcf", judged=0, not_judged="4 images, at least 8 are needed"),),
        kept=0, dropped=0, unjudged=4,
    )  # fmt: skip
    samples = tuple(dataclasses.replace(s, status="unjudged", scores={}, reason="") for s in made_up_run.of("kept")[:4])
    report = dataclasses.replace(made_up_run, samples=samples, scores={}, verdict=silent, counts={"unjudged": 4})
    page = render(report)
    assert "none of them was judged" in page
    assert "<b>4 not judged</b>: kcf: 4 images, at least 8 are needed." in page
    assert '--where "in_cohort = 1"' in page
    assert re.search(r"<h2>Not judged <span class=.count.>4<", page)
    assert page.count(">not judged</span>") >= 4
    assert "4 not judged" in render_index([("car.html", report.brief())])
    assert "unjudged<" not in page


def test_a_class_with_one_cad_model_is_told_what_that_costs(made_up_run: Report, html: str) -> None:
    one = dataclasses.replace(made_up_run, cad_models=made_up_run.cad_models[:1])
    assert "This class has one CAD model." in render(one)
    assert "This class has one CAD model." not in html


def test_every_control_of_a_sample_is_shown_under_its_kind() -> None:
    page = render(run_report(4, kinds=2))
    assert page.count("<figcaption>control: canny</figcaption>") == page.count("<figcaption>control: depth</figcaption>") >= 4
    assert render(run_report(4)).count("control: depth") == 0


def test_what_the_index_says_of_a_run_is_kept_beside_its_page(made_up_run: Report, tmp_path: Path) -> None:
    from pydantic import TypeAdapter

    out = write(made_up_run, tmp_path / "car.html", docs=tmp_path / "docs" / "index.html")
    assert TypeAdapter(Report).validate_json((tmp_path / "car.json").read_bytes()) == made_up_run.brief()
    assert "Data Docs" not in out.read_text(), "the docs are not there"
    save(tmp_path / "docs" / "index.html", "docs")
    assert (
        'href="docs/index.html">Checks of this run (Data Docs)'
        in write(made_up_run, out, docs=tmp_path / "docs" / "index.html").read_text()
    )


def test_scores_that_do_not_differ_draw_no_plot() -> None:
    from storage.report.plots import score_histogram

    assert score_histogram(((0.0, "kept"),) * 8, [3.0], "score") == ""


def test_a_run_that_keeps_nothing_still_shows_what_it_made(made_up_run: Report) -> None:
    dropped = tuple(dataclasses.replace(s, status="dropped") for s in made_up_run.samples if s.image)
    page = render(dataclasses.replace(made_up_run, samples=dropped, counts={"dropped": len(dropped)}))
    assert "No image was kept" in page
    assert "hero-figure" in page.split("<main>")[0].split("</style>")[1]


def test_numbers_are_never_minus_zero() -> None:
    from storage.report.page import _number

    assert [_number(-0.001), _number(-0.01), _number(None), _number(2.5, 0)] == ["0.00", "-0.01", "–", "2"]
