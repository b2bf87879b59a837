"""Picture strips as PNG."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from storage.images import from_png
from storage.report.content import Report
from storage.report.sheet import SheetStyle, choose, data_uri, sheet, write_sheet
from tests.report.made_up import run_report


def test_a_sheet_holds_three_pictures_of_each_sample(made_up_run: Report) -> None:
    style = SheetStyle(tile=64, columns=2, text=False)
    page = sheet(choose(made_up_run, 4), style)
    assert page.shape == (2 * 64 + 3 * 8, 2 * (3 * 64 + 4) + 3 * 8, 3)
    middle = page[8 : 8 + 64, 8 + 66 : 8 + 66 + 64]
    assert (middle == 0).mean() > 0.5, "the control is black with white lines"


def test_each_control_has_its_place_and_its_kind_in_it() -> None:
    report = run_report(3, kinds=2)
    both = dataclasses.replace(report.samples[0], status="kept")
    one = dataclasses.replace(both, controls=both.controls[:1])
    page = sheet([both, one], SheetStyle(tile=64, columns=1, text=False))
    assert page.shape == (2 * 64 + 3 * 8, 4 * 64 + 3 * 2 + 2 * 8, 3)
    assert np.ptp(page[8 + 72 : 8 + 72 + 64, 8 + 2 * 66 : 8 + 2 * 66 + 64].reshape(-1, 3), axis=0).max() == 0, "it has no second"
    named = sheet([both], SheetStyle(tile=128, columns=1)).astype(int)
    other = sheet(
        [dataclasses.replace(both, controls=(("geometry", both.controls[0][1]), both.controls[1]))], SheetStyle(tile=128)
    )
    changed = np.argwhere((named != other).any(axis=2))
    assert len(changed), "the kind is not in the picture"
    assert changed[:, 1].min() > 128
    assert changed[:, 1].max() < 2 * 140


def test_the_text_tells_the_scores_that_are_asked_for_and_says_what_was_not_judged(made_up_run: Report) -> None:
    (sample,) = choose(made_up_run, 1)
    pages = [
        sheet([one], SheetStyle(tile=96), scores)
        for one in (sample, dataclasses.replace(sample, status="unjudged"))
        for scores in ((), ("kcf",), ("kcf", "fidelity"))
    ]
    assert len({page.tobytes() for page in pages}) == 6


def test_boxes_are_drawn_over_render_and_image_but_not_over_a_control(made_up_run: Report) -> None:
    chosen = choose(made_up_run, 1)
    plain = sheet(chosen, SheetStyle(tile=64, text=False)).astype(int)
    boxed = sheet(chosen, SheetStyle(tile=64, text=False, boxes=True)).astype(int)
    differs = [np.abs(plain - boxed)[8:72, 8 + i * 66 : 72 + i * 66].max() > 40 for i in range(3)]
    assert differs == [True, False, True]


def test_the_choice_shows_several_sides_and_cad_models_and_one_dropped(made_up_run: Report) -> None:
    chosen = choose(made_up_run, 6)
    assert len(chosen) == len({sample.sample_id for sample in chosen}) == 6
    assert [sample.status for sample in chosen].count("dropped") == 1
    assert len({sample.cad_id for sample in chosen}) == len(made_up_run.cad_models)
    assert len({sample.side for sample in chosen}) >= 3


def test_a_sample_without_image_leaves_its_place_grey(made_up_run: Report) -> None:
    bare = dataclasses.replace(made_up_run.samples[0], image=None)
    page = sheet([bare], SheetStyle(tile=64, text=False))
    assert np.ptp(page[20:60, -60:-20].reshape(-1, 3), axis=0).max() == 0


def test_no_sample_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="no picture to show"):
        sheet([])


def test_a_data_uri_holds_the_sheet(made_up_run: Report) -> None:
    import base64

    page = sheet(choose(made_up_run, 2), SheetStyle(tile=32))
    assert (from_png(base64.b64decode(data_uri(page).split(",")[1])) == page).all()


def test_the_sheet_of_a_run_is_written_as_png(made_up_run: Report, tmp_path: Path) -> None:
    out = write_sheet(made_up_run, tmp_path / "out" / "sheet.png", samples=4)
    assert from_png(out.read_bytes()).shape[2] == 3
    assert list(out.parent.iterdir()) == [out]
