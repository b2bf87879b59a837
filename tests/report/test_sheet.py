"""Picture strips as PNG."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.images import from_png
from storage.report.content import RunReport
from storage.report.sheet import SheetStyle, choose, data_uri, sheet, write_sheet
from tests.report.test_collect import finished_run


def test_a_sheet_holds_three_pictures_of_each_sample(made_up_run: RunReport) -> None:
    style = SheetStyle(tile=64, columns=2, text=False)
    page = sheet(choose(made_up_run, 4), style)
    assert page.shape == (2 * 64 + 3 * 8, 2 * (3 * 64 + 4) + 3 * 8, 3)
    middle = page[8 : 8 + 64, 8 + 66 : 8 + 66 + 64]
    assert (middle == 0).mean() > 0.5, "the edge map is black with white lines"


def test_boxes_are_drawn_over_render_and_image_but_not_over_edges(made_up_run: RunReport) -> None:
    chosen = choose(made_up_run, 1)
    plain = sheet(chosen, SheetStyle(tile=64, text=False)).astype(int)
    boxed = sheet(chosen, SheetStyle(tile=64, text=False, boxes=True)).astype(int)
    differs = [np.abs(plain - boxed)[8:72, 8 + i * 66 : 72 + i * 66].max() > 40 for i in range(3)]
    assert differs == [True, False, True]


def test_the_choice_shows_several_sides_and_cad_models_and_one_dropped(made_up_run: RunReport) -> None:
    chosen = choose(made_up_run, 6)
    assert len(chosen) == len({sample.sample_id for sample in chosen}) == 6
    assert [sample.status for sample in chosen].count("dropped") == 1
    assert len({sample.cad_id for sample in chosen}) == len(made_up_run.cad_models)
    assert len({sample.side for sample in chosen}) >= 3


def test_a_sample_without_image_leaves_its_place_grey(made_up_run: RunReport) -> None:
    bare = dataclasses.replace(made_up_run.samples[0], image=None)
    page = sheet([bare], SheetStyle(tile=64, text=False))
    assert np.ptp(page[20:60, -60:-20].reshape(-1, 3), axis=0).max() == 0


def test_no_sample_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="no picture to show"):
        sheet([])


def test_a_data_uri_holds_the_sheet(made_up_run: RunReport) -> None:
    import base64

    page = sheet(choose(made_up_run, 2), SheetStyle(tile=32))
    assert (from_png(base64.b64decode(data_uri(page).split(",")[1])) == page).all()


def test_the_sheet_of_a_run_is_written_as_png(store: ArtifactStore, tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", store)
    catalog.migrate()
    out = write_sheet(catalog, store, finished_run(catalog, store, models=2, views=3), tmp_path / "out" / "sheet.png", samples=4)
    assert from_png(out.read_bytes()).shape[2] == 3
    assert list(out.parent.iterdir()) == [out]
